"""Nodes of searchlights with models of distances."""

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

from bids_decoder.analyses.rsa.interfaces import ConditionsInputSpec
from bids_decoder.analyses.rsa.search_outputs import write_search
from bids_decoder.evaluation.dissimilarity import Design
from bids_decoder.evaluation.rdm_models import draw_orders, smallest_p
from bids_decoder.evaluation.search_maps import compute_maps, correct_together
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.arrays import new_array
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.interfaces.sphere_maps import read_maps, save_maps
from bids_decoder.training.search_rdm import search_models
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.training.spheres import Spheres

Runtime = Any


class _SearchInputSpec(ConditionsInputSpec):
    searchlight = traits.Dict(mandatory=True, desc="fields of Searchlight")


class _SearchOutputSpec(TraitedSpec):
    values_file = File(exists=True, desc="(n_models, 1 + n_permutations, n_voxels)")
    facts_file = File(exists=True, desc="what was measured, as JSON")


class SearchModels(SimpleInterface):
    """Compare models with the distances of all conditions in every sphere."""

    input_spec = _SearchInputSpec
    output_spec = _SearchOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        data, settings = inputs.load(), Searchlight(**inputs.searchlight)
        spheres = Spheres(read_grid(Path(inputs.folder)), settings.radius_mm, settings.n_voxels)
        rng = np.random.default_rng(inputs.seed)
        orders = draw_orders(len(data.names), inputs.n_permutations, rng)
        path = folder / "values.npy"
        values = new_array(path, (len(data.models), 1 + len(orders), spheres.grid.n_voxels))
        found = search_models(
            data.betas, Design(data.numbers, data.runs), spheres, data.stacked, orders, values,
            log_progress("models of distances", unit="sphere"),
        )
        values.flush()
        least = smallest_p(data.stacked, orders).tolist() if orders else []
        facts = {**data.facts, **found, "smallest_p": least}
        self._results["values_file"] = str(path)
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime


class _MapInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    values_file = File(exists=True, mandatory=True, desc="of SearchModels")


class _MapOutputSpec(TraitedSpec):
    maps_files = traits.List(File(exists=True), desc="one per model")


class MapModels(SimpleInterface):
    """Test the maps of all models against those with exchanged conditions."""

    input_spec = _MapInputSpec
    output_spec = _MapOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        values = np.load(self.inputs.values_file, mmap_mode="r")
        grid = read_grid(Path(self.inputs.folder))
        progress = log_progress("models of distances, cluster enhancement", unit="permutation")
        maps = correct_together([
            compute_maps([of_model], grid, chance=0.0, progress=progress) for of_model in values
        ])
        self._results["maps_files"] = [
            str(save_maps(Path(runtime.cwd) / f"maps_{number}.npz", each))
            for number, each in enumerate(maps)
        ]
        return runtime


class _WriteInputSpec(WriteInputSpec):
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    maps_files = traits.List(File(exists=True), mandatory=True, desc="one per model")
    facts_file = File(exists=True, mandatory=True)
    searchlight = traits.Dict(mandatory=True, desc="fields of Searchlight")


class WriteRsaSearch(WriteInterface):
    """Write the maps of all models and the table of peaks."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        settings = Searchlight(**self.inputs.searchlight)
        grid = read_grid(Path(self.inputs.folder))
        maps = [read_maps(Path(path)) for path in self.inputs.maps_files]
        facts = read_json(Path(self.inputs.facts_file))
        spheres = Spheres(grid, settings.radius_mm, settings.n_voxels)
        write_search(outputs, maps, spheres, facts, settings)
