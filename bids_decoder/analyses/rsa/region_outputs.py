"""Outputs of models of distances in regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.rsa.outputs import METRIC, NULLS, RSA_COLUMNS
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.preprocessing.labels import Region
from bids_decoder.reports.results import Results, numeric

TABLE = "rsa_region_metrics"
_OWN = {
    "region": "Name of the region.",
    "atlas": "File, segmentation or atlas that it comes from.",
    "label": "Number of the region there.",
    "n_voxels": "Number of voxels with responses.",
    "shrinkage": "Weight of the diagonal in the covariance of the noise.",
}
COLUMNS = {
    **_OWN, **RSA_COLUMNS,
    "p_max": "The same, corrected for the number of regions and models by the largest value.",
}
"""Columns of the table of regions, with descriptions for its sidecar."""

_NUMBERS = ("n_voxels", "shrinkage", "value", "ci_low", "ci_high", "p", "p_max", "p_min", "n_null",
            "n")


def write_regions(
    outputs: PersonOutputs, regions: list[Region], arrays: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Write scores, null distributions and distances.

    Parameters
    ----------
    outputs : PersonOutputs
    regions : list of Region
    arrays : dict of str to ndarray
        ``distances`` (n_regions, n_distances) and the fields of
        :class:`~bids_decoder.evaluation.rdm_models.Comparison`.
    facts : dict
        Names, and what was measured.
    """
    table = _scores(regions, arrays, facts)
    tested = bool(len(arrays["null"]))
    card = {
        **outputs.card, "Conditions": len(facts["conditions"]), "Runs": facts["n_runs"],
        "Trials": facts["n_trials"], "Residuals": facts["residuals"],
        "Permutations": len(arrays["null"]), "ExchangedUnits": "names of conditions",
        "Regions": len(regions),
        "Atlases": list(dict.fromkeys(region.atlas for region in regions)),
        "Significant": int((table["p_max"] <= ALPHA).sum()) if tested else None,
    }
    outputs.table(TABLE, table, COLUMNS, card)
    names = [region.name for region in regions]
    if tested:
        nulls = _nulls(arrays["null"], names, facts["models"])
        outputs.table("rsa_region_nulls", nulls, {"region": COLUMNS["region"], **NULLS}, card)
    first, second = np.triu_indices(len(facts["conditions"]), 1)
    conditions = np.array(facts["conditions"], dtype=object)
    about = "Crossnobis distance of the two conditions in the region {}, per voxel."
    distances = pd.DataFrame(arrays["distances"].T, columns=names)
    distances.insert(0, "condition", conditions[first])
    distances.insert(1, "other", conditions[second])
    outputs.table("rsa_region_distances", distances, {
        "condition": "First condition.", "other": "Second condition.",
        **{name: about.format(name) for name in names},
    }, card)


def _scores(
    regions: list[Region], arrays: dict[str, Any], facts: dict[str, Any]
) -> pd.DataFrame:
    """Return one row per region and model."""
    rows = []
    for number, region in enumerate(regions):
        own = {
            "region": region.name, "atlas": region.atlas, "label": region.label,
            "n_voxels": len(region.voxels), "shrinkage": round(facts["shrinkage"][number], 4),
            "metric": METRIC, "chance": 0.0, "n_null": len(arrays["null"]),
            "n": len(facts["conditions"]),
        }
        for place, model in enumerate(facts["models"]):
            found = {name: arrays[name][number, place] for name in ("p", "p_max")}
            rows.append({
                **own, **found, "model": model, "value": arrays["values"][number, place],
                "ci_low": arrays["low"][number, place], "ci_high": arrays["high"][number, place],
                "p_min": arrays["p_min"][place],
            })
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _nulls(null: np.ndarray, regions: list[str], models: list[str]) -> pd.DataFrame:
    """Return one row per permutation, region and model."""
    index = pd.MultiIndex.from_product(
        [range(1, len(null) + 1), regions, models], names=["permutation", "region", "model"]
    )
    table = pd.DataFrame({"metric": METRIC, "value": null.ravel()}, index=index).reset_index()
    return table[["region", *NULLS]]


def read_regions_table(results: Results) -> pd.DataFrame | None:
    """Return the scores of regions, in their order; None where there are none."""
    table = results.table(TABLE)
    return None if table is None or table.empty else numeric(table, *_NUMBERS)
