"""Target vectors: their node and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.stimuli.cache import CachedEncoder
from bids_decoder.stimuli.encoders import EncoderChoice, ImageEncoder, load_encoder
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.stimuli.weights import Weights
from bids_decoder.trials import KINDS, Targets

Runtime = Any


def save_targets(path: Path, targets: Targets) -> Path:
    """Write targets as npz without pickles."""
    np.savez(path, ids=np.array(targets.ids, dtype=np.str_), vectors=targets.vectors,
             kind=np.array(targets.kind), source=np.array(targets.source),
             columns=np.array(targets.columns, dtype=np.str_), sketched=np.array(targets.sketched))
    return path


def read_targets(path: Path | str) -> Targets:
    """Read targets that :func:`save_targets` wrote."""
    with np.load(path, allow_pickle=False) as content:
        return Targets(
            tuple(content["ids"].tolist()), content["vectors"], str(content["kind"]),
            str(content["source"]), tuple(content["columns"].tolist()),
            int(content["sketched"]),
        )


class _TargetsInputSpec(BaseInterfaceInputSpec):
    kind = traits.Enum(*KINDS, mandatory=True)
    ids = traits.List(traits.Str(), mandatory=True, desc="labels, values or stimulus ids")
    columns = traits.List(traits.Str(), desc="names of values")
    features = traits.Either(
        File(exists=True), Directory(exists=True), desc="feature table or text encoder"
    )
    images = traits.Dict(traits.Str(), traits.Str(), desc="stimulus id -> image file")
    encoder = traits.Str("gabor", usedefault=True, desc="name of the image encoder")
    weights = traits.Str(desc="file or folder of its weights")
    weights_sha256 = traits.Str(desc="what the weights are")
    device = traits.Str("cpu", usedefault=True)
    cache_dir = traits.Str(desc="where vectors of images are kept")
    use_gpu = traits.Bool(False, usedefault=True, desc="read by the scheduler")
    n_threads = traits.Int(1, usedefault=True, desc="threads of the numerical libraries")


class _TargetsOutputSpec(TraitedSpec):
    targets_file = File(exists=True)


class MakeTargets(SimpleInterface):
    """Make the table of target vectors from labels, values, features or images."""

    input_spec = _TargetsInputSpec
    output_spec = _TargetsOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        targets = make_targets(
            inputs.kind, inputs.ids, features=Path(inputs.features) if inputs.features else None,
            images={k: Path(v) for k, v in inputs.images.items()} if inputs.images else None,
            encoder=self._encoder() if inputs.kind == "image" else "gabor",
            columns=inputs.columns or (),
        )
        path = save_targets(Path(runtime.cwd) / "targets.npz", targets)
        self._results["targets_file"] = str(path)
        return runtime

    def _encoder(self) -> ImageEncoder:
        inputs = self.inputs
        weights = None
        if inputs.weights:
            import torch

            torch.set_num_threads(inputs.n_threads)
            weights = Weights(Path(inputs.weights), inputs.weights_sha256, verified=True)
        encoder = load_encoder(EncoderChoice(inputs.encoder, weights), inputs.device)
        return CachedEncoder(encoder, Path(inputs.cache_dir)) if inputs.cache_dir else encoder
