"""Node that pretrains a decoder across participants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces.base import Directory, traits

from bids_decoder.interfaces.fitting import FitInputSpec, FitInterface, ModelOutputSpec
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.responses import load_person
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.models.store import Model, save_model
from bids_decoder.training.decoders import describe_targets
from bids_decoder.trials import Person, Targets

Runtime = Any


@dataclass(frozen=True)
class SourcePeople:
    """Training trials of the source participants, loaded one by one at each iteration."""

    folders: Sequence[str]
    labels: Sequence[str]
    targets: Targets
    normalise: str

    def __iter__(self) -> Iterator[Person]:
        """Load the participants in order."""
        for folder, label in zip(self.folders, self.labels, strict=True):
            yield load_person(
                Path(folder), label, self.targets, fold=None, normalise=self.normalise
            )[0]


class _PretrainInputSpec(FitInputSpec):
    folders = traits.List(
        Directory(exists=True), mandatory=True, desc="responses of the source participants"
    )
    participants = traits.List(traits.Str(), mandatory=True)
    card = traits.Dict(desc="entries of the card besides those of the decoder")
    checkpoint_dir = traits.Str(desc="folder for the state of an unfinished training")


class Pretrain(FitInterface):
    """Pretrain a decoder across the source participants."""

    input_spec = _PretrainInputSpec
    output_spec = ModelOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        people = SourcePeople(inputs.folders, inputs.participants, targets, inputs.normalise)
        checkpoint = None
        if inputs.checkpoint_dir:
            Path(inputs.checkpoint_dir).mkdir(parents=True, exist_ok=True)
            checkpoint = Path(inputs.checkpoint_dir) / f"{inputs.card['stage_key']}.safetensors"
        context = self._context(checkpoint=checkpoint, progress=log_progress("pretraining"))
        model = self._decoder().pretrain(people, targets, context)
        card = {**model.card, **inputs.card, "targets": describe_targets(targets)}
        path = save_model(Path(runtime.cwd) / "model.safetensors", Model(model.tensors, card))
        self._results["model_file"] = str(path)
        return runtime
