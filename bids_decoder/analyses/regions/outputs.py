"""Outputs of decoding in regions in the derivatives of one participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.regions import (
    REGION_COLUMNS,
    REGION_NULL_COLUMNS,
    RegionScores,
)
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.preprocessing.labels import Region
from bids_decoder.reports.results import Results, numeric
from bids_decoder.trials import VoxelGrid

TABLE = OutputName("metrics", ".tsv", "func", {"desc": "regions"})
NULLS = OutputName("metrics", ".tsv", "func", {"desc": "regionsnull"})
MAP = OutputName("statmap", ".nii.gz", "func", {"desc": "regions"})

STATS = {"balanced_accuracy": "accuracy", "top1": "top1"}
"""Value of the ``stat`` entity of the map of each metric."""

_MAPS = {
    "accuracy": "Balanced accuracy of held-out trials, decoded from the region of the voxel",
    "top1": "Share of single held-out trials whose image is the nearest one in a pool, retrieved "
            "from the region of the voxel",
    "logpmax": "Minus log10 of the p-value of the region of the voxel, corrected for all regions "
               "by the largest value",
}
_OVERLAP = "; 0 outside regions; a voxel in several regions has the largest value"
_NUMBERS = ("n_voxels", "value", "chance", "ci_low", "ci_high", "p", "p_max", "p_min", "n_null",
            "n", "noise_ceiling")


def write_scores(
    outputs: PersonOutputs, scores: RegionScores, regions: list[Region], ceilings: np.ndarray,
    grid: VoxelGrid,
) -> None:
    """Write the table, the null distributions and the maps.

    Parameters
    ----------
    outputs : PersonOutputs
        Its card goes into all sidecars.
    scores : RegionScores
    regions : list of Region
    ceilings : ndarray, shape (n_regions,)
        Mean noise ceiling of each region.
    grid : VoxelGrid
    """
    table = pd.DataFrame({
        "region": [region.name for region in regions],
        "atlas": [region.atlas for region in regions],
        "label": [region.label for region in regions],
        "n_voxels": [len(region.voxels) for region in regions],
    }).join(scores.table()).assign(noise_ceiling=ceilings)
    significant = int((table["p_max"] <= ALPHA).sum()) if scores.n_null else None
    card = {
        **outputs.card, "Metric": scores.metric, "Chance": scores.chance,
        "Permutations": scores.n_null, "SmallestP": scores.p_min if scores.n_null else None,
        "Significant": significant, "Regions": len(table),
    }
    outputs.table(TABLE, table[list(REGION_COLUMNS)], REGION_COLUMNS, card)
    if scores.n_null:
        nulls = scores.nulls([region.name for region in regions])
        outputs.table(NULLS, nulls, REGION_NULL_COLUMNS, card)
    maps = {STATS[scores.metric]: table["value"].to_numpy()}
    if scores.n_null:
        maps["logpmax"] = -np.log10(table["p_max"].to_numpy())
    for stat, values in maps.items():
        volume = grid.to_volume(paint(values, regions, grid.n_voxels))
        outputs.image(MAP, volume, grid, {
            "Description": _MAPS[stat] + _OVERLAP, **card, "SkullStripped": True,
            "TrainingTrialsOnly": False, **outputs.space,
        }, stat=stat)


def paint(values: np.ndarray, regions: list[Region], n_voxels: int) -> np.ndarray:
    """Put the largest value of its regions at each voxel, 0 in none, (n_voxels,) float32."""
    painted = np.zeros(n_voxels, dtype=np.float32)
    for number in np.argsort(values, kind="stable"):
        painted[regions[number].voxels] = values[number]
    return painted


def read_scores(results: Results) -> pd.DataFrame | None:
    """Return the table of regions, the highest score first; None where there is none."""
    table = results.table(TABLE)
    if table is None:
        return None
    return numeric(table, *_NUMBERS).sort_values("value", ascending=False, kind="stable")


def main_map(results: Results) -> Path | None:
    """Return the map of the scores that the last call wrote."""
    card: dict[str, Any] = results.card(TABLE)
    paths = results.files(MAP, stat=STATS[card["Metric"]]) if card else []
    return paths[0] if paths else None
