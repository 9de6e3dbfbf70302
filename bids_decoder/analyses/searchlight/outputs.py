"""Outputs of searchlights in the derivatives of one participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_decoder.evaluation.search_maps import PEAK_COLUMNS, SearchMaps, find_peaks
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.interfaces.sphere_maps import (
    describe_maps,
    peak_distance,
    write_maps,
    write_mask,
)
from bids_decoder.reports.results import Results
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.training.spheres import Spheres


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
    card = {**outputs.card, **_card(maps, spheres, facts, settings)}
    write_maps(outputs, "search_map", maps, spheres, main_stat(settings.estimator), card)
    distance = peak_distance(settings, spheres)
    write_mask(outputs, "search_mask", spheres)
    peaks = find_peaks(maps, spheres.grid, spheres.sizes(), distance)
    notes = {"Measure": settings.measure, "Estimator": settings.estimator,
             "Chance": float(maps.chance), "MinimalDistance": distance}
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
    maps: SearchMaps, spheres: Spheres, facts: list[dict[str, Any]], settings: Searchlight
) -> dict[str, Any]:
    """Describe how the maps were made, for their sidecars."""
    card = {
        **describe_maps(maps, spheres, settings),
        "Shrinkage": [fold["shrinkage"] for fold in facts],
        "Labels": facts[0]["n_tested_labels"], "Folds": len(facts),
        "Trials": sum(fold["n_test"] for fold in facts),
    }
    if settings.estimator == "gnb":
        del card["Shrinkage"]
    if card["Permutations"]:
        card |= {
            **facts[0]["exchange"],
            "Null": "refitted" if len(facts) > 1 else "fixed",
            "SmallestP": facts[0]["p_min"],
        }
    return card
