"""Outputs of representational similarity analysis in the derivatives of one participant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.names import unique_names
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_COLUMNS
from bids_decoder.interfaces.person_outputs import PersonOutputs

METRIC = "whitened_correlation"

RSA_COLUMNS: dict[str, str] = {
    "model": "Model of the distances.",
    "metric": "whitened_correlation: correlation weighted by the covariance of the errors.",
    "value": METRIC_COLUMNS["value"],
    "chance": "Its value for a model without relation to the distances.",
    "ci_low": "Lower limit of the 95 % interval, by leaving out runs in turn; the conditions are "
              "taken as fixed.",
    "ci_high": "Upper limit.",
    "p": "p-value by exchanging the names of conditions, one-sided.",
    "p_max": "The same, corrected for the number of models by the largest value.",
    "p_min": "The smallest p-value possible: by the number of permutations, or of different "
             "arrangements of the model.",
    "n_null": METRIC_COLUMNS["n_null"],
    "n": "Number of conditions.",
}
"""Columns of the table of models, with descriptions for its sidecar."""

COMPARISON_COLUMNS: dict[str, str] = {
    "first": "Model whose correlation comes first.",
    "second": "Model whose correlation is subtracted.",
    "metric": RSA_COLUMNS["metric"],
    "value": "Difference, first less second.",
    "ci_low": "Lower limit of the 95 % interval, for conditions like these.",
    "ci_high": "Upper limit.",
    "p": "Two-sided p-value of no difference for conditions like these: Student's t with the "
         "variance over resampled conditions.",
    "p_holm": "The same, corrected for the number of pairs (Holm 1979).",
    "n": "Number of conditions.",
}
"""Columns of the table of comparisons, with descriptions for its sidecar."""

NULLS = {
    **{name: NULL_COLUMNS[name] for name in ("permutation", "metric", "value")},
    "model": RSA_COLUMNS["model"],
}
"""Columns of null distributions."""


def write_rsa(outputs: PersonOutputs, arrays: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write distances, models and scores.

    Parameters
    ----------
    outputs : PersonOutputs
    arrays : dict of str to ndarray
        ``distances``, ``models`` and the fields of
        :class:`~bids_decoder.evaluation.rdm_models.Comparison`.
    facts : dict
        Names, and what was measured.
    """
    names, models = facts["conditions"], facts["models"]
    card = {
        **outputs.card, "Conditions": len(names), "Runs": facts["n_runs"],
        "Trials": facts["n_trials"], "Voxels": facts["n_voxels"],
        "Residuals": facts["residuals"], "Shrinkage": round(facts["shrinkage"], 4),
        "Permutations": len(arrays["null"]),
        "ExchangedUnits": "names of conditions",
    }
    metrics = pd.DataFrame({
        "model": models, "metric": METRIC, "value": arrays["values"], "chance": 0.0,
        "ci_low": arrays["low"], "ci_high": arrays["high"], "p": arrays["p"],
        "p_max": arrays["p_max"], "p_min": arrays["p_min"], "n_null": len(arrays["null"]),
        "n": len(names),
    })
    outputs.table("rsa_metrics", metrics, RSA_COLUMNS, card)
    if len(arrays["null"]):
        outputs.table("rsa_nulls", _null_table(arrays["null"], models), NULLS, card)
    if facts["comparisons"]:
        pairs = pd.DataFrame(facts["comparisons"]).assign(metric=METRIC, n=len(names))
        outputs.table("rsa_comparisons", pairs[list(COMPARISON_COLUMNS)], COMPARISON_COLUMNS, card)
    about = "Crossnobis distance, per voxel"
    table, columns = _matrix(arrays["distances"], names, about)
    outputs.table("rsa_distances", table, columns, {**card, "Description": about})
    labels = unique_names(models)
    for name, values in zip(models, arrays["models"], strict=True):
        about = f"Dissimilarity of the model {name}"
        table, columns = _matrix(values, names, about)
        outputs.table("rsa_model", table, columns, {"Description": about, "Model": name},
                      label=labels[name])


def _null_table(null: np.ndarray, models: list[str]) -> pd.DataFrame:
    numbers = np.arange(1, len(null) + 1)
    return pd.concat([
        pd.DataFrame({"model": name, "permutation": numbers, "metric": METRIC, "value": values})
        for name, values in zip(models, null.T, strict=True)
    ])


def _matrix(
    values: np.ndarray, names: list[str], about: str
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return a square table of conditions, and what its columns are."""
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "condition", names)
    columns = {"condition": "Condition of the row."}
    return table, {**columns, **{name: f"{about}, to {name}." for name in names}}
