"""Nodes of searchlights: read files, call ``training`` and ``evaluation``, write."""

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

from bids_decoder.analyses.searchlight.outputs import write_search
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.arrays import new_array
from bids_decoder.interfaces.label_folds import LabelFoldInputSpec, exchange_labels
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.interfaces.responses import load_person
from bids_decoder.interfaces.sphere_maps import read_maps, save_maps
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.training.search_fold import map_folds, search_fold
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.training.spheres import Spheres

Runtime = Any


class _SearchInputSpec(LabelFoldInputSpec):
    n_folds = traits.Int(1, usedefault=True)
    searchlight = traits.Dict(mandatory=True, desc="fields of Searchlight")
    seed = traits.Int(mandatory=True, desc="of the spheres from which shrinkage is estimated")


class _SearchOutputSpec(TraitedSpec):
    values_file = File(exists=True, desc="share of the fold, (1 + n_permutations, n_voxels)")
    facts_file = File(exists=True, desc="what was fitted, as JSON")


class SearchFold(SimpleInterface):
    """Decode the test trials of one fold in every sphere, with true and permuted labels."""

    input_spec = _SearchInputSpec
    output_spec = _SearchOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        settings = Searchlight(**inputs.searchlight)
        targets = read_targets(inputs.targets_file)
        train, test = load_person(
            Path(inputs.folder), inputs.participant, targets, fold=inputs.fold or None,
            normalise=inputs.normalise,
        )
        labels = exchange_labels(inputs, train, test, len(targets.ids))
        path = folder / "values.npy"
        values = new_array(path, (len(labels.test), train.grid.n_voxels))
        facts = search_fold(
            (train, test), labels, settings, values, n_folds=inputs.n_folds,
            rng=np.random.default_rng(inputs.seed),
            progress=log_progress(f"searchlight, fold {inputs.fold}", unit="sphere"),
        )
        values.flush()
        self._results["values_file"] = str(path)
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime


class _MapInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    values_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    facts_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    searchlight = traits.Dict(mandatory=True, desc="fields of Searchlight")


class _MapOutputSpec(TraitedSpec):
    maps_file = File(exists=True)


class MapSpheres(SimpleInterface):
    """Join the folds and test the map against those of permuted labels."""

    input_spec = _MapInputSpec
    output_spec = _MapOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        facts = [read_json(Path(path)) for path in self.inputs.facts_files]
        maps = map_folds(
            [np.load(path, mmap_mode="r") for path in self.inputs.values_files], facts,
            read_grid(Path(self.inputs.folder)), Searchlight(**self.inputs.searchlight),
            log_progress("searchlight, cluster enhancement", unit="permutation"),
        )
        self._results["maps_file"] = str(save_maps(Path(runtime.cwd) / "maps.npz", maps))
        return runtime


class _WriteInputSpec(WriteInputSpec):
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    maps_file = File(exists=True, mandatory=True)
    facts_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    searchlight = traits.Dict(mandatory=True, desc="fields of Searchlight")


class WriteSearch(WriteInterface):
    """Write the maps and the table of peaks."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        settings = Searchlight(**self.inputs.searchlight)
        grid = read_grid(Path(self.inputs.folder))
        facts = [read_json(Path(path)) for path in self.inputs.facts_files]
        spheres = Spheres(grid, settings.radius_mm, settings.n_voxels)
        write_search(outputs, read_maps(Path(self.inputs.maps_file)), spheres, facts, settings)
