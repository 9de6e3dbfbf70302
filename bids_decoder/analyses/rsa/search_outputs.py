"""Outputs of searchlights with models of distances."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.rsa.outputs import RSA_COLUMNS
from bids_decoder.bids.names import unique_names
from bids_decoder.evaluation.search_maps import PEAK_COLUMNS, SearchMaps, find_peaks
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.interfaces.sphere_maps import (
    describe_maps,
    peak_distance,
    write_maps,
    write_mask,
)
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.training.spheres import Spheres

MAIN = "whitenedcorrelation"
"""``stat`` of the map itself."""

TESTS = "spheres and models"


def write_search(
    outputs: PersonOutputs, maps: list[SearchMaps], spheres: Spheres, facts: dict[str, Any],
    settings: Searchlight,
) -> None:
    """Write the maps of all models and their peaks.

    Parameters
    ----------
    outputs : PersonOutputs
    maps : list of SearchMaps
        One per model.
    spheres : Spheres
    facts : dict
        Names, and what was measured.
    settings : Searchlight
    """
    labels, distance = unique_names(facts["models"]), peak_distance(settings, spheres)
    shared = {
        **outputs.card, "Conditions": len(facts["conditions"]), "Runs": facts["n_runs"],
        "Trials": facts["n_trials"], "Residuals": facts["residuals"],
        "Shrinkage": round(facts["shrinkage"], 4), "SpheresWithoutDistances": facts["n_empty"],
        "ExchangedUnits": "names of conditions", "Models": facts["models"],
    }
    write_mask(outputs, "rsa_search_mask", spheres)
    tables = []
    for number, (model, each) in enumerate(zip(facts["models"], maps, strict=True)):
        card = {**shared, **describe_maps(each, spheres, settings), "Model": model}
        if facts["smallest_p"]:
            card["SmallestP"] = facts["smallest_p"][number]
        write_maps(outputs, "rsa_search_map", each, spheres, MAIN, card, tests=TESTS,
                   label=labels[model])
        peaks = find_peaks(each, spheres.grid, spheres.sizes(), distance)
        peaks.insert(0, "model", model)
        tables.append(peaks)
    columns = {
        "model": RSA_COLUMNS["model"], **PEAK_COLUMNS,
        "p_max": "p-value corrected for all spheres and models, by the largest value.",
        "p_tfce": "p-value corrected for all spheres and models, after cluster enhancement.",
    }
    outputs.table("rsa_search_peaks", pd.concat(tables), columns,
                  {"Measure": settings.measure, "MinimalDistance": distance})
