"""The node that computes statistics over participants."""

from __future__ import annotations

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

from bids_decoder.analyses.population.collect import KEYS, Case, read_cases
from bids_decoder.analyses.population.columns import Column
from bids_decoder.analyses.population.maps import MapSet, read_maps
from bids_decoder.analyses.population.rsa import write_comparison
from bids_decoder.bids.map_files import save_layout
from bids_decoder.bids.names import derivative_path, sidecar_path
from bids_decoder.bids.writer import save_table
from bids_decoder.evaluation.population import (
    N_PERMUTATIONS,
    RESULT_COLUMNS,
    STATISTICS,
    describe,
    relate,
)
from bids_decoder.evaluation.population_maps import flip_enhanced, flip_signs, share_selected
from bids_decoder.evaluation.tables import METRIC_COLUMNS, VALUE_COLUMNS
from bids_decoder.interfaces.person_outputs import save_map
from bids_decoder.seeds import derive_seed

COLUMNS: dict[str, str] = {
    "source": "Table of the participants that is summarised: decoder, gallery, reconstruction, "
              "rsa, encoder or learning curve.",
    "model": "Decoder, encoder, or model of distances.",
    **{name: VALUE_COLUMNS[name] for name in KEYS if name in METRIC_COLUMNS},
    "target": "Column of the numbers that are decoded; n/a for other targets.",
    "features": "What is compared, in tables of reconstruction.",
    "voxels": "Set of voxels, in tables of encoders.",
    "n_runs": "Number of training runs, in tables of learning curves.",
    **RESULT_COLUMNS,
}
"""Columns of the table over participants, with descriptions for its sidecar."""


def summarise_people(
    cases: list[Case], columns: list[Column], seed: int
) -> pd.DataFrame:
    """Compute the statistics of all measures.

    Parameters
    ----------
    cases : list of Case
    columns : list of Column
    seed : int
        Each measure has random numbers of its own, so that others do not change it.

    Returns
    -------
    DataFrame
        One row per statistic; see :data:`COLUMNS`.
    """
    rows: list[dict[str, Any]] = []
    for case in cases:
        names = {"source": case.source, "model": case.model, **case.names}
        labels = [name.removeprefix("sub-") for name in case.measure.scores["participant"]]
        found = describe(case.measure, _rng(seed, names))
        for column in columns:
            variable = column.variable(labels)
            if variable.known.any():
                found += relate(case.measure, variable, _rng(seed, names, column.name))
        rows += [{**names, **row} for row in found]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"n": "Int64", "n_significant": "Int64"})


def _rng(seed: int, names: dict[str, Any], *more: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "population", sorted(names.items()), *more))


class _InputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    output_dir = Directory(mandatory=True)
    people = traits.List(traits.Str(), mandatory=True, desc="labels of participants with results")
    columns = traits.List(traits.Dict(), desc="fields of columns.Column")
    seed = traits.Int(mandatory=True)
    after = traits.List(traits.Any(), desc="markers of results that this call makes")


class _OutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True))


class SummarisePeople(SimpleInterface):
    """Compute statistics over participants, and write tables and maps."""

    input_spec = _InputSpec
    output_spec = _OutputSpec
    # What it reads and writes is in the derivatives.
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs, people = self.inputs, list(self.inputs.people)
        output_dir = Path(inputs.output_dir)
        cases = read_cases(output_dir, people)
        columns = [Column(**fields) for fields in inputs.columns or []]
        maps, notes = read_maps(output_dir, people)
        written = [
            path for one in maps for path in _write_maps(output_dir, one, inputs.seed)
        ]
        written += write_comparison(output_dir, people, inputs.seed)
        path = derivative_path(output_dir, "group_metrics")
        card = _card(people, cases, columns, notes, inputs.seed)
        save_table(path, summarise_people(cases, columns, inputs.seed), card)
        self._results["out_files"] = [str(path) for path in (*written, path, sidecar_path(path))]
        return runtime


def _card(
    people: list[str], cases: list[Case], columns: list[Column], notes: list[str], seed: int
) -> dict[str, Any]:
    with_nulls = {
        name for case in cases
        for name, null in zip(case.measure.scores["participant"], case.measure.nulls, strict=True)
        if len(null)
    }
    described: dict[str, Any] = {
        name: {"Description": text} for name, text in COLUMNS.items()
    }
    described["statistic"]["Levels"] = STATISTICS
    return {
        **described, "Participants": [f"sub-{label}" for label in people],
        "WithoutNullDistributions": sorted({f"sub-{label}" for label in people} - with_nulls),
        "NumberOfPermutations": N_PERMUTATIONS, "Seed": seed, "MapsLeftOut": notes,
        "Columns": {column.option: column.name for column in columns},
        "ExchangeWithin": any(column.blocks is not None for column in columns),
    }


def _write_maps(output_dir: Path, maps: MapSet, seed: int) -> list[Path]:
    """Write the share of participants, or mean and test, of one kind of map."""
    shared = {
        "Sources": [f"sub-{label}" for label in maps.people], "Space": maps.entities["space"],
        "SkullStripped": True,
    }
    if maps.kind.is_mask:
        content = {"prevalence": (
            share_selected(maps.values, maps.kind.level),
            "Share of participants; .05 by chance where all have a value, and less elsewhere."
            if maps.kind.level else
            "Share of participants who selected the voxel.",
        )}
    else:
        seed = derive_seed(seed, "population", maps.kind.key)
        found = flip_signs(maps.values, seed)
        enhanced = flip_enhanced(maps.values, maps.grid, seed)
        content = {
            "mean": (np.nanmean(maps.values, axis=0), "Mean over those who have a value."),
            "t": (found.statistic, "t over participants; 0 where one of them has no value."),
            "logp": (found.log_p, "Minus log10 of the one-sided p-value by sign flips, corrected "
                     "by the maximum statistic. It rejects that no participant has information; "
                     f"smallest possible p: {found.resolution:.3g}."),
            "tfce": (enhanced.statistic, "Threshold-free cluster enhancement of t, as z."),
            "logptfce": (enhanced.log_p, "The same p-value after cluster enhancement; smallest "
                         f"possible p: {enhanced.resolution:.3g}."),
        }
    written = []
    for stat, (values, text) in content.items():
        entities = {"label": maps.kind.stage, **maps.entities}
        path = derivative_path(output_dir, "group_map", **entities, stat=_stat(maps, stat))
        card = {"Description": f"{maps.kind.title}. {text}", **shared}
        written += save_map(path, maps.grid.to_volume(values), maps.grid, card)
    return written + save_layout(path, maps.grid.layout)


def _stat(maps: MapSet, stat: str) -> str:
    """Return the entity stat, which also names the statistic of the participants' maps."""
    return stat if maps.kind.is_mask else f"{maps.kind.stat or ''}{stat}"
