"""Nodes of relevance maps of held-out trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import Directory, File, TraitedSpec, traits

from bids_decoder.analyses.explain.relevance import read_relevance, save_relevance
from bids_decoder.bids.names import unique_names
from bids_decoder.interfaces.fitting import PersonalInterface, PersonInputSpec
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.models.store import load_model
from bids_decoder.training.decoders import Relevance, join_relevance

Runtime = Any


class _ExplainInputSpec(PersonInputSpec):
    model_file = File(exists=True, mandatory=True, desc="that predicted the trials of the fold")


class _ExplainOutputSpec(TraitedSpec):
    relevance_file = File(exists=True, desc="maps of held-out trials; empty without such maps")


class ExplainHeldOut(PersonalInterface):
    """Compute relevance maps of the test trials of one fold."""

    input_spec = _ExplainInputSpec
    output_spec = _ExplainOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        targets = read_targets(self.inputs.targets_file)
        _, test = self._people(targets)
        model = load_model(Path(self.inputs.model_file))
        relevance = self._decoder().relevance(model, test, self._context())
        path = save_relevance(Path(runtime.cwd) / "relevance.npz", relevance)
        self._results["relevance_file"] = str(path)
        return runtime


class _WriteInputSpec(WriteInputSpec):
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    relevance_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")


class WriteRelevance(WriteInterface):
    """Write the maps, averaged over folds, into the derivatives."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        relevance = join_relevance([read_relevance(f) for f in self.inputs.relevance_files])
        if relevance is not None:
            write_relevance(outputs, relevance, Path(self.inputs.folder))


def write_relevance(outputs: PersonOutputs, relevance: Relevance, folder: Path) -> None:
    """Write one map per label.

    Parameters
    ----------
    outputs : PersonOutputs
    relevance : Relevance
    folder : Path
        Joined responses of the participant; they define the grid.
    """
    grid = read_grid(folder)
    names = unique_names(list(relevance.maps))
    for label, values in relevance.maps.items():
        outputs.image("relevance_map", grid.to_volume(values), grid, {
            "Description": f"Where decisions for {label} came from", "Label": label,
            "n_trials": relevance.counts[label], **relevance.notes, "SkullStripped": True,
            "TrainingTrialsOnly": False, **outputs.space,
        }, contrast=names[label])
