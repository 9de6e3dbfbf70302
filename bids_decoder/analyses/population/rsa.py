"""Distances of conditions and models of them in several participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.population.collect import NUMBERS, find_outputs
from bids_decoder.bids.names import derivative_path, sidecar_path
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.evaluation.population import Measure
from bids_decoder.evaluation.rdm_models import LEAST_CONDITIONS
from bids_decoder.evaluation.rdm_population import (
    RSA_GROUP_COLUMNS,
    RSA_STATISTICS,
    PeopleDistances,
    compare_people,
)
from bids_decoder.files import read_json
from bids_decoder.seeds import derive_seed

WHOLE, REGIONS = "rsa", "rsaregions"
"""Stages that leave distances."""


def write_comparison(output_dir: Path, people: Sequence[str], seed: int) -> list[Path]:
    """Compare models of distances over participants and write the table.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    people : sequence of str
        Labels.
    seed : int

    Returns
    -------
    list of Path
        Empty where fewer than two participants have distances of the same conditions.
    """
    families = [read_whole(output_dir, people), read_regions(output_dir, people)]
    tables = [
        compare_people(family, derive_seed(seed, "population", "rsa", str(number)))
        for number, family in enumerate(families) if family
    ]
    if not tables:
        return []
    described: dict[str, Any] = {
        name: {"Description": text} for name, text in RSA_GROUP_COLUMNS.items()
    }
    described["statistic"]["Levels"] = RSA_STATISTICS
    path = derivative_path(output_dir, "group_rsa")
    save_table(path, pd.concat(tables, ignore_index=True), {**described, "Seed": seed})
    return [path, sidecar_path(path)]


def read_whole(output_dir: Path, people: Sequence[str]) -> list[PeopleDistances]:
    """Read the distances from all voxels; nothing where participants share too little."""
    found = {}
    for label in people:
        paths = find_outputs(output_dir, label, WHOLE, "rsa_distances")
        if paths:
            found[label] = read_table(paths[0]).set_index("condition").astype(float)
    common = _common(found)
    models = _shared_models(output_dir, list(found), common) if common else {}
    if not models:
        return []
    tables = _tables(output_dir, list(found), WHOLE, "rsa_metrics")
    nulls = _tables(output_dir, list(found), WHOLE, "rsa_nulls")
    measures = {name: _measure(tables, name, nulls) for name in models}
    stacked = np.stack([table.loc[common, common].to_numpy() for table in found.values()])
    return [PeopleDistances(None, stacked, models, measures)]


def read_regions(output_dir: Path, people: Sequence[str]) -> list[PeopleDistances]:
    """Read the distances in the regions that all participants have."""
    found = {}
    for label in people:
        paths = find_outputs(output_dir, label, REGIONS, "rsa_region_distances")
        if paths:
            found[label] = read_table(paths[0]).set_index(["condition", "other"]).astype(float)
    if len(found) < 2:
        return []
    first = next(iter(found.values()))
    regions = [name for name in first if all(name in table for table in found.values())]
    squares = {
        label: {name: _square(table[name]) for name in regions} for label, table in found.items()
    }
    common = _common({label: own[regions[0]] for label, own in squares.items()}) if regions else []
    models = _shared_models(output_dir, list(found), common) if common else {}
    if not models:
        return []
    tables = _tables(output_dir, list(found), REGIONS, "rsa_region_metrics")
    families = []
    for region in regions:
        stacked = np.stack([own[region].loc[common, common].to_numpy() for own in squares.values()])
        own = {label: table[table["region"] == region] for label, table in tables.items()}
        measures = {name: _measure(own, name, {}) for name in models}
        families.append(PeopleDistances(region, stacked, models, measures))
    return families


def _square(column: pd.Series) -> pd.DataFrame:
    """Return a symmetric table of conditions from one row per pair."""
    names = list(dict.fromkeys([*column.index.get_level_values(0),
                                *column.index.get_level_values(1)]))
    upper = column.unstack().reindex(index=names, columns=names).fillna(0.0)
    return upper + upper.T


def _common(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the conditions of all participants; none where they are too few."""
    if len(tables) < 2:
        return []
    shared = sorted(set.intersection(*(set(table.index) for table in tables.values())))
    return shared if len(shared) >= LEAST_CONDITIONS else []


def _shared_models(
    output_dir: Path, people: Sequence[str], conditions: list[str]
) -> dict[str, np.ndarray]:
    """Return the models that are the same, and not constant, in all participants."""
    found: list[dict[str, np.ndarray]] = []
    for label in people:
        own = {}
        for path in find_outputs(output_dir, label, WHOLE, "rsa_model"):
            table = read_table(path).set_index("condition").astype(float)
            own[read_json(sidecar_path(path))["Model"]] = \
                table.reindex(index=conditions, columns=conditions).to_numpy()
        found.append(own)
    first = found[0]
    return {
        name: values for name, values in first.items()
        if all(name in own and np.allclose(own[name], values) for own in found)
        and np.ptp(values[np.triu_indices(len(values), 1)]) > 0
    }


def _tables(
    output_dir: Path, people: Sequence[str], stage: str, key: str
) -> dict[str, pd.DataFrame]:
    found = {}
    for label in people:
        paths = find_outputs(output_dir, label, stage, key)
        if paths:
            found[label] = read_table(paths[0])
    return found


def _measure(
    tables: Mapping[str, pd.DataFrame], model: str, nulls: Mapping[str, pd.DataFrame]
) -> Measure:
    """Return the scores of single participants for one model."""
    rows, drawn = [], []
    for label, table in tables.items():
        own = table[table["model"] == model].iloc[0]
        rows.append({"participant": f"sub-{label}", **{name: own[name] for name in NUMBERS}})
        null = nulls.get(label)
        values = [] if null is None else null["value"][null["model"] == model]
        drawn.append(np.asarray(values, dtype=np.float64))
    scores = pd.DataFrame(rows)
    scores[list(NUMBERS)] = scores[list(NUMBERS)].apply(pd.to_numeric)
    return Measure(scores, {}, drawn, bounds=(-1.0, 1.0))
