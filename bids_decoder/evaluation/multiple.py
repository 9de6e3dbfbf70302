"""Correction for the number of scores that a model is tested with."""

from __future__ import annotations

import numpy as np
import pandas as pd

HEADLINES = {
    "category": {"metric": "balanced_accuracy"},
    "value": {"metric": "r"},
    "other": {
        "metric": "top1", "direction": "b2i", "unit": "single", "similarity": "cosine",
    },
    "folds": {"metric": "two_way", "unit": "averaged", "similarity": "cosine"},
}
"""The score that a result is judged by, for labels, for values, for images and features, and for
these in folds of stimuli; of several pools the smallest one, of several columns of values the first
one."""


def headline_of(kind: str, *, in_folds: bool = False) -> dict[str, str]:
    """Return the headline score for a kind of target (``Targets.kind``).

    Parameters
    ----------
    kind : str
    in_folds : bool
        Whether stimuli are cross-validated: folds may differ in size, and pairs do not.
    """
    return HEADLINES.get(kind, HEADLINES["folds" if in_folds else "other"])


def is_headline(metrics: pd.DataFrame, kind: str) -> np.ndarray:
    """Find the rows of the headline score, one for each model.

    Parameters
    ----------
    metrics : DataFrame
        Columns of :data:`.tables.METRIC_COLUMNS`.
    kind : str

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    chosen = np.ones(len(metrics), dtype=bool)
    in_folds = bool((metrics["metric"] == "two_way").any())
    for column, value in headline_of(kind, in_folds=in_folds).items():
        chosen &= (metrics[column] == value).to_numpy(dtype=bool)
    if "target" in metrics:
        chosen &= (metrics["target"] == metrics["target"].iloc[0]).to_numpy(dtype=bool)
    size = metrics["pool_size"].where(chosen)
    smallest = size.groupby(metrics["model"]).transform("min")
    # Values have no pool.
    return chosen & ((size == smallest) | smallest.isna()).to_numpy(dtype=bool)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values by the method of Holm (1979), NaN where there is none.

    Parameters
    ----------
    p_values : ndarray, shape (n,)

    Notes
    -----
    Written out, since ``multipletests`` of statsmodels collects garbage in each call: about half a
    second, thirty times for each participant.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    corrected, order = np.full(len(p_values), np.nan), np.argsort(p_values)
    order = order[:np.isfinite(p_values).sum()]  # NaN is sorted to the end
    stepped = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def correct_scores(metrics: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Add ``p_holm``: each model's p-values corrected for its scores other than the headline.

    Transductive scores are a family of their own.

    Parameters
    ----------
    metrics : DataFrame
        Columns of :data:`.tables.METRIC_COLUMNS`.
    kind : str
        ``Targets.kind``.

    Returns
    -------
    DataFrame
        ``p_holm`` is missing for the headline, which was chosen before anything was fitted.
    """
    others = metrics["p"].where(~is_headline(metrics, kind))
    families = [metrics[name] for name in ("model", "inference") if name in metrics]
    return metrics.assign(
        p_holm=others.groupby(families, dropna=False).transform(lambda p: holm(p.to_numpy()))
    )
