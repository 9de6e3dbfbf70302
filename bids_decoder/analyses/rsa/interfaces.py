"""Nodes of representational similarity analysis: read files, call ``evaluation``, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.analyses.rsa.conditions import Conditions, load_conditions
from bids_decoder.analyses.rsa.outputs import write_rsa
from bids_decoder.analyses.rsa.region_outputs import write_regions
from bids_decoder.evaluation.dissimilarity import Geometry, measure_geometry, vectorise
from bids_decoder.evaluation.rdm_inference import LEAST_RESAMPLED, compare_pairs, fit_models
from bids_decoder.evaluation.rdm_models import compare_models, compare_regions
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.regions import read_regions
from bids_decoder.preprocessing.labels import Region

Runtime = Any


class ConditionsInputSpec(BaseInterfaceInputSpec):
    """Inputs of nodes that compare models with distances of conditions."""

    key = traits.Str(desc="key of the stage")
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    targets_file = File(exists=True, mandatory=True)
    normalise = traits.Enum("session", "run", mandatory=True)
    kind = traits.Str(mandatory=True, desc="of the targets")
    models = traits.Dict(mandatory=True, desc="name -> label, features or path of a table")
    n_permutations = traits.Int(mandatory=True)
    seed = traits.Int(mandatory=True)

    def load(self) -> Conditions:
        """Load responses and models."""
        return load_conditions(
            Path(self.folder), Path(self.targets_file), self.kind, self.normalise, self.models
        )


class _CompareOutputSpec(TraitedSpec):
    arrays_file = File(exists=True, desc="npz")
    facts_file = File(exists=True, desc="what was measured, as JSON")


class CompareModels(SimpleInterface):
    """Measure the distances of all conditions and compare models with them."""

    input_spec = ConditionsInputSpec
    output_spec = _CompareOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        data = inputs.load()
        geometry = measure_geometry(data.betas, data.numbers, data.runs)
        found = compare_models(
            geometry, data.stacked, inputs.n_permutations, np.random.default_rng(inputs.seed)
        )
        distances = geometry.distances()
        np.savez(folder / "rsa.npz", distances=distances, models=data.stacked, **vars(found))
        facts = {
            **data.facts, "n_voxels": data.betas.shape[1], "shrinkage": geometry.shrinkage,
            "residuals": geometry.residuals,
            "comparisons": _comparisons(data, distances, inputs.seed),
        }
        self._results["arrays_file"] = str(folder / "rsa.npz")
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime


def _comparisons(data: Conditions, distances: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Compare any two models; none where the conditions are too few to speak for others."""
    if len(data.names) < LEAST_RESAMPLED or len(data.models) < 2:
        return []
    fits = fit_models(distances[None], data.stacked, np.random.default_rng(seed))
    # JSON has no NaN, which is what models without variance have.
    return [
        {name: None if pd.isna(cell) else cell for name, cell in row.items()}
        for row in compare_pairs(fits, list(data.models))
    ]


class _RegionsInputSpec(ConditionsInputSpec):
    regions_file = File(exists=True, mandatory=True, desc="of FindRegions")


class CompareRegions(SimpleInterface):
    """Measure the distances of all conditions in each region and compare models with them."""

    input_spec = _RegionsInputSpec
    output_spec = _CompareOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        data = inputs.load()
        measured = _Measured(data, read_regions(inputs.regions_file))
        found = compare_regions(
            measured, data.stacked, inputs.n_permutations, np.random.default_rng(inputs.seed)
        )
        np.savez(folder / "rsa.npz", distances=vectorise(np.stack(measured.distances)),
                 **vars(found))
        facts = {**data.facts, "shrinkage": measured.shrinkage, "residuals": measured.residuals}
        self._results["arrays_file"] = str(folder / "rsa.npz")
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime


@dataclass(eq=False)
class _Measured:
    """Geometries of regions, made one after the other; what is written of them is kept."""

    data: Conditions
    regions: list[Region]
    distances: list[np.ndarray] = field(default_factory=list)
    shrinkage: list[float] = field(default_factory=list)
    residuals: str = ""

    def __iter__(self) -> Iterator[Geometry]:
        progress = log_progress("models of distances", unit="region")
        for number, region in enumerate(self.regions, start=1):
            betas = self.data.betas[:, region.voxels]
            geometry = measure_geometry(betas, self.data.numbers, self.data.runs)
            self.distances.append(geometry.distances())
            self.shrinkage.append(geometry.shrinkage)
            self.residuals = geometry.residuals
            yield geometry
            progress(number, len(self.regions))


class _WriteInputSpec(WriteInputSpec):
    arrays_file = File(exists=True, mandatory=True)
    facts_file = File(exists=True, mandatory=True)


class WriteRsa(WriteInterface):
    """Write distances, models and scores."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        write_rsa(outputs, read_arrays(self.inputs.arrays_file),
                  read_json(Path(self.inputs.facts_file)))


class _WriteRegionsInputSpec(_WriteInputSpec):
    regions_file = File(exists=True, mandatory=True, desc="of FindRegions")
    left_out = traits.List(traits.Str, desc="regions of few voxels")


class WriteRsaRegions(WriteInterface):
    """Write distances and scores of all regions."""

    input_spec = _WriteRegionsInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        outputs.card["LeftOut"] = list(self.inputs.left_out)
        write_regions(
            outputs, read_regions(self.inputs.regions_file),
            read_arrays(self.inputs.arrays_file), read_json(Path(self.inputs.facts_file)),
        )


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Return all arrays of an npz file."""
    with np.load(path, allow_pickle=False) as content:
        return dict(content)
