"""Base classes of nodes that fit or apply a decoder."""

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

from bids_decoder.config import Network, Troi, Volumes
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.responses import load_person
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.trials import Person, Targets

_OWN = "own.safetensors"


class DeviceInputSpec(BaseInterfaceInputSpec):
    """Inputs of all nodes that compute on a device."""

    # Nipype hashes only the path of a folder; the key changes when its content does.
    key = traits.Str(desc="key of the stage")
    seed = traits.Int(mandatory=True)
    device = traits.Str("cpu", usedefault=True)
    use_gpu = traits.Bool(False, usedefault=True, desc="read by the scheduler")
    n_threads = traits.Int(1, usedefault=True, desc="threads of the numerical libraries")


class DecoderInputSpec(DeviceInputSpec):
    """Which decoder is fitted, and how."""

    decoder = traits.Str("troi", usedefault=True, desc="name of the decoder")
    network = traits.Dict(mandatory=True, desc="fields of config.Network")
    troi = traits.Dict(mandatory=True, desc="fields of config.Troi")
    volumes = traits.Dict(mandatory=True, desc="fields of config.Volumes")
    normalise = traits.Enum("session", "run", usedefault=True, desc="unit of the z-score")


class FitInputSpec(DecoderInputSpec):
    """Inputs of all nodes that fit or apply a decoder of the targets of the call."""

    targets_file = File(exists=True, mandatory=True)


class FitInterface(SimpleInterface):
    """Base class of pretraining and decoding nodes."""

    def _context(self, **extra: Any) -> Any:
        import torch

        from bids_decoder.training.decoders import FitContext

        torch.set_num_threads(self.inputs.n_threads)
        return FitContext(
            Network(**self.inputs.network), Troi(**self.inputs.troi), self.inputs.seed,
            self.inputs.device, Volumes(**self.inputs.volumes), **extra,
        )

    def _decoder(self) -> Any:
        from bids_decoder.training.ensemble import load_decoder

        return load_decoder(self.inputs.decoder)


class ModelOutputSpec(TraitedSpec):
    """Output of nodes that fit a model."""

    model_file = File(exists=True)


class PersonInputSpec(FitInputSpec):
    """Inputs of all nodes that read the responses of one participant."""

    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    participant = traits.Str(mandatory=True)
    fold = traits.Int(0, usedefault=True, desc="fold that is test; 0 for a fixed split or all")
    pretrained_file = File(exists=True)


class PersonalInterface(FitInterface):
    """Base class of the decoding nodes of one participant."""

    def _people(self, targets: Targets, fold: int | None = None) -> tuple[Person, Person]:
        inputs = self.inputs
        return load_person(
            Path(inputs.folder), inputs.participant, targets,
            fold=(inputs.fold if fold is None else fold) or None, normalise=inputs.normalise,
        )

    def _pretrained(self, targets: Targets) -> Model | None:
        if not self.inputs.pretrained_file:
            return None
        from bids_decoder.training.decoders import DECODERS, check_same_targets

        model = load_model(Path(self.inputs.pretrained_file))
        if not DECODERS[self.inputs.decoder].transfers:
            check_same_targets(model, targets)
        return model


def save_selection(path: Path, selection: Any) -> Path:
    """Write a selection: arrays as npz; beside it notes as JSON, what was learned as a model."""
    arrays = {"mask": selection.mask, "weights": selection.weights, "score": selection.score}
    for name in ("start_weight", "seed_agreement"):
        if (values := getattr(selection, name)) is not None:
            arrays[name] = values
    np.savez(path, **arrays)
    write_json(path.with_suffix(".json"),
               {"notes": selection.notes, "history": selection.history})
    if selection.own is not None:
        save_model(path.with_name(_OWN), selection.own)
    return path


def read_selection(path: Path | str) -> Any:
    """Read a selection that :func:`save_selection` wrote."""
    from bids_decoder.training.selection.task import Selection

    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    own = Path(path).with_name(_OWN)
    return Selection(
        **arrays, **read_json(Path(path).with_suffix(".json")),
        own=load_model(own) if own.exists() else None,
    )
