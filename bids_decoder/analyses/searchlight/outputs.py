"""Outputs of searchlights in the derivatives of one participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.evaluation.search_maps import PEAK_COLUMNS, SearchMaps, find_peaks
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.reports.results import Results
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.training.spheres import Spheres

LEVEL = 0.05
MAPS = {
    "accuracy": "Balanced accuracy of held-out trials, decoded from the sphere around the voxel",
    "crossnobis": "Mean crossnobis distance of all pairs of labels in the sphere around the "
                  "voxel, per voxel",
    "tfce": "Threshold-free cluster enhancement of the distance from chance, in standard errors",
    "logp": "Minus log10 of the permutation p-value of the sphere alone, not corrected",
    "logpmax": "Minus log10 of the p-value corrected for all spheres, by the largest value",
    "logptfce": "Minus log10 of the p-value corrected for all spheres, after cluster enhancement",
}
"""What each ``stat`` holds."""


def write_search(
    outputs: PersonOutputs, maps: SearchMaps, spheres: Spheres, facts: list[dict[str, Any]],
    settings: Searchlight,
) -> None:
    """Write the maps and the peaks.

    Parameters
    ----------
    outputs : PersonOutputs
    maps : SearchMaps
    spheres : Spheres
    facts : list of dict
        What each fold recorded.
    settings : Searchlight
    """
    grid, sizes = spheres.grid, spheres.sizes()
    values = {main_stat(settings.estimator): maps.values}
    if maps.tfce is not None:
        values["tfce"] = maps.tfce
    for stat, p in (("logp", maps.p), ("logpmax", maps.p_max), ("logptfce", maps.p_tfce)):
        if p is not None:
            values[stat] = np.abs(np.log10(p))
    card = {**outputs.card, **_card(maps, sizes, facts, settings)}
    for stat, found in values.items():
        outputs.image("search_map", grid.to_volume(found.astype(np.float32)), grid, {
            "Description": MAPS[stat], **card, "SkullStripped": True, "TrainingTrialsOnly": False,
            **outputs.space,
        }, stat=stat)
    peaks = find_peaks(maps, grid, sizes, _distance(settings, spheres))
    notes = {"Measure": settings.measure, "Estimator": settings.estimator,
             "Chance": float(maps.chance),
             "MinimalDistance": _distance(settings, spheres)}
    outputs.table("search_peaks", peaks, PEAK_COLUMNS, notes)


def main_stat(estimator: str) -> str:
    """Return the ``stat`` of the map that an estimator makes."""
    return "crossnobis" if estimator == "crossnobis" else "accuracy"


def main_map(results: Results) -> Path | None:
    """Return the map that the last call tested; None where there is none."""
    peaks = results.card("search_peaks")
    paths = results.files("search_map", stat=main_stat(peaks["Estimator"])) if peaks else []
    return paths[0] if paths else None


def _card(
    maps: SearchMaps, sizes: np.ndarray, facts: list[dict[str, Any]], settings: Searchlight
) -> dict[str, Any]:
    """Describe how the maps were made, for their sidecars."""
    n_permutations = len(maps.null_max)
    card = {
        "Measure": settings.measure, "Estimator": settings.estimator, "Radius": settings.radius_mm,
        "VoxelsPerSphere": int(np.median(sizes)), "Spheres": len(sizes),
        "Shrinkage": [fold["shrinkage"] for fold in facts],
        "Chance": float(maps.chance), "Labels": facts[0]["n_tested_labels"], "Folds": len(facts),
        "Trials": sum(fold["n_test"] for fold in facts), "Permutations": n_permutations,
    }
    if settings.estimator == "gnb":
        del card["Shrinkage"]
    if settings.radius_mm is None:
        del card["Radius"]
    if n_permutations:
        card |= {
            **facts[0]["exchange"],
            "Null": "refitted" if len(facts) > 1 else "fixed",
            "SmallestP": facts[0]["p_min"],
            "SignificantMax": int((maps.p_max <= LEVEL).sum()),
            "SignificantTFCE": int((maps.p_tfce <= LEVEL).sum()),
        }
    return card


def _distance(settings: Searchlight, spheres: Spheres) -> float:
    """Return the least distance of two peaks: spheres that hardly share voxels."""
    if settings.radius_mm is not None:
        return settings.radius_mm
    volume = settings.n_voxels * spheres.grid.voxel_volume
    return round(float((0.75 * volume / np.pi) ** (1 / 3)), 3)
