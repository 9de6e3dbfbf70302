"""Scores of decoded numbers: correlation, explained variance, absolute error, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bids_decoder.averages import average_rows
from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.comparison import Paired, paired_test
from bids_decoder.evaluation.intervals import correlation_interval, fold_inflation, real_interval
from bids_decoder.evaluation.nulls import Exchange, find_exchange, p_values
from bids_decoder.evaluation.tables import (
    LOWER_IS_BETTER,
    NULL_VALUES,
    VALUE_COLUMNS,
    VALUE_NULL_COLUMNS,
    Nulls,
    make_nulls,
    split_nulls,
)

COMPARED = ("r", "r2")
"""Metrics on which two models are compared; both are linear in trials, or nearly so."""

MAX_DIFFERENCE = 2.0
"""Of two correlations; differences of explained variance beyond it stay as they are."""

UNTESTED = "slope"
"""The metric without chance level and p-value: it describes the calibration."""

_CONSTANT = 1e-20
"""Share of the mean square of predictions below which their variance is rounding."""


@dataclass(frozen=True, eq=False)
class HeldoutValues:
    """Predicted numbers of held-out trials, all folds together.

    Parameters
    ----------
    predicted : ndarray, shape (n_trials, n_columns)
        In the units of the columns.
    reference : ndarray, shape (n_trials, n_columns)
        Mean of the training trials of the fold in which the trial was test.
    rows : ndarray of int, shape (n_trials,)
        Row of the true values of each trial in *values*.
    values : ndarray, shape (n_values, n_columns)
        All values that occur.
    columns : tuple of str
    runs : ndarray of str, shape (n_trials,)
    folds : ndarray of int, shape (n_trials,)
        Fold in which each trial was test.
    """

    predicted: np.ndarray
    reference: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    columns: tuple[str, ...]
    runs: np.ndarray
    folds: np.ndarray

    @property
    def is_crossed(self) -> bool:
        """Whether predictions come from more than one fold."""
        return len(np.unique(self.folds)) > 1

    @cached_property
    def true(self) -> np.ndarray:
        """True values, (n_trials, n_columns)."""
        return np.asarray(self.values, dtype=np.float64)[self.rows]


@dataclass(frozen=True, eq=False)
class RefittedValues:
    """Predictions of the whole pipeline when it is fitted again on exchanged values.

    Parameters
    ----------
    rows : ndarray of int, shape (n_permutations, n_trials)
        Row of the exchanged values of each held-out trial.
    predicted, reference : ndarray, shape (n_permutations, n_trials, n_columns)
        As in :class:`HeldoutValues`, for the same trials.
    exchange : dict
        How values were exchanged (:meth:`.nulls.Exchange.describe`).
    """

    rows: np.ndarray
    predicted: np.ndarray
    reference: np.ndarray
    exchange: dict[str, Any]


class ValueScores(NamedTuple):
    """Tables of :func:`score_values`."""

    metrics: pd.DataFrame
    nulls: Nulls


def score_values(
    heldout: HeldoutValues, *, settings: Evaluation, rng: np.random.Generator,
    model: str = "decoder", refitted: RefittedValues | None = None,
) -> ValueScores:
    """Score predicted numbers of held-out trials, column by column.

    Parameters
    ----------
    heldout : HeldoutValues
    settings : Evaluation
    rng : numpy.random.Generator
        Use a generator of the same seed for each model.
    model : str
    refitted : RefittedValues, optional
        Null predictions. Under cross-validation there is no p-value without them (:mod:`.nulls`);
        with one fold values are exchanged against the fixed predictions.

    Returns
    -------
    metrics : DataFrame
        Columns of :data:`.tables.VALUE_COLUMNS`: the metrics of :func:`value_metrics` for each
        column. Intervals take runs as clusters (:func:`.intervals.real_interval`,
        :func:`.intervals.correlation_interval`); under cross-validation ``slope`` has none.
    nulls : Nulls
        Null distribution of each metric; empty where there is no p-value.

    Raises
    ------
    InputError
        For shapes that do not fit, or predictions that are not finite.
    """
    _check(heldout)
    exchange = find_exchange(heldout.rows, heldout.runs, heldout.folds, heldout.true)
    null, scheme = _null_predictions(heldout, refitted, exchange, settings.n_permutations, rng)
    n_null = 0 if null is None else len(null.rows)
    rows = [row for k in range(len(heldout.columns)) for row in _rows(heldout, null, k)]
    metrics, null_table = split_nulls(rows)
    metrics = metrics.assign(
        model=model, split="cv" if heldout.is_crossed else "test", n=len(heldout.rows),
        null=np.where(metrics["n_null"] > 0, scheme["Null"], "none"),
        p_min=np.where(metrics["n_null"] > 0, exchange.smallest_p(n_null), np.nan),
    ).reindex(columns=list(VALUE_COLUMNS))
    nulls = make_nulls(null_table, model, scheme, VALUE_NULL_COLUMNS)
    return ValueScores(metrics, nulls)


def _check(heldout: HeldoutValues) -> None:
    shape = (len(heldout.rows), len(heldout.columns))
    problems = {
        f"predictions {heldout.predicted.shape}, {shape[0]} trials, {shape[1]} columns":
            heldout.predicted.shape != shape or heldout.reference.shape != shape or not shape[0],
        "predictions are not finite": not np.isfinite(heldout.predicted).all(),
    }
    for why, bad in problems.items():
        if bad:
            raise InputError("values cannot be scored", why, "check targets and split")


def _null_predictions(
    heldout: HeldoutValues, refitted: RefittedValues | None, exchange: Exchange,
    n_permutations: int, rng: np.random.Generator,
) -> tuple[RefittedValues | None, dict[str, Any]]:
    """Choose the null predictions that are valid, and describe them for a sidecar."""
    if refitted is not None:
        return refitted, {"Null": "refitted", **refitted.exchange}
    if heldout.is_crossed or not n_permutations:
        return None, {"Null": "none"}
    rows, shape = exchange.draw(n_permutations, rng), (n_permutations, *heldout.predicted.shape)
    fixed = RefittedValues(
        rows, np.broadcast_to(heldout.predicted, shape), np.broadcast_to(heldout.reference, shape),
        exchange.describe(),
    )
    return fixed, {"Null": "fixed", **fixed.exchange}


def _rows(
    heldout: HeldoutValues, null: RefittedValues | None, column: int
) -> list[dict[str, Any]]:
    """Return the rows of metrics of one column."""
    run_of = pd.factorize(np.asarray(heldout.runs))[0]
    own = [part[:, column] for part in (heldout.true, heldout.predicted, heldout.reference)]
    metrics = value_metrics(*(part[None] for part in own), run_of)
    found = {name: float(values[0]) for name, values in metrics.items()}
    nulls: dict[str, np.ndarray] = {}
    if null is not None:
        drawn = np.asarray(heldout.values, dtype=np.float64)[null.rows, column]
        nulls = value_metrics(
            drawn, null.predicted[..., column], null.reference[..., column], run_of
        )
    influences = value_influence(*own, run_of)
    chance = {"r": 0.0, "r2": 0.0, "mae": float(np.abs(own[0] - own[2]).mean()), UNTESTED: np.nan}
    rows = []
    for name, value in found.items():
        tested = name in nulls and name != UNTESTED and np.isfinite(value)
        draws = np.nan_to_num(nulls[name]) if tested else np.zeros(0)
        low, high = _interval(name, value, influences[name], run_of, heldout.folds, draws)
        rows.append({
            "target": heldout.columns[column], "metric": name, "unit": "single", "value": value,
            "chance": chance[name], "ci_low": low, "ci_high": high,
            **p_values(value, draws, "less" if name in LOWER_IS_BETTER else "greater"),
            NULL_VALUES: draws,
        })
    return rows


def _interval(
    name: str, value: float, influence: np.ndarray, run_of: np.ndarray, folds: np.ndarray,
    null: np.ndarray,
) -> tuple[float, float]:
    inflation = fold_inflation(folds)
    if name == "r":
        return correlation_interval(value, influence, run_of, folds, null)
    if name == UNTESTED and inflation > 1:
        # It varies less than trials where decoders are calibrated on all other folds, and more
        # where predictions hardly vary: trials do not show how much.
        return np.nan, np.nan
    low, high = real_interval(value, influence, run_of, inflation=inflation)
    return (max(low, 0.0) if name == "mae" else low), (min(high, 1.0) if name == "r2" else high)


def value_metrics(
    true: np.ndarray, predicted: np.ndarray, reference: np.ndarray, runs: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the metrics of one column, for one or more sets of predictions.

    Parameters
    ----------
    true, predicted, reference : ndarray, shape (n_sets, n_trials)
        See :class:`HeldoutValues`.
    runs : ndarray, shape (n_trials,)

    Returns
    -------
    dict of str to ndarray, shape (n_sets,)
        ``r``: Pearson correlation of deviations from the means of runs. Runs differ in the signal
        of the scanner, and the training mean of a fold is low where its test mean is high, so
        that over runs together predictions without information would correlate with the truth.
        ``r2``: one minus the squared error, divided by that of the training mean of the same
        fold; below 0 for predictions that are worse than this mean. ``mae``: mean absolute
        error. ``slope``: of the regression of true on predicted deviations; 1 where predictions
        are calibrated, less where they are too far apart. ``r`` and ``slope`` are NaN where
        predictions are constant.
    """
    own, other = _centred(true, runs), _centred(predicted, runs)
    both, spread = (own * other).sum(axis=1), np.square(other).sum(axis=1)
    varies = spread > _CONSTANT * np.square(predicted).sum(axis=1)
    size = np.sqrt(np.square(own).sum(axis=1) * spread)
    against = np.square(true - reference).sum(axis=1)
    return {
        "r": _ratio(both, size, varies & (size > 0)),
        "r2": 1 - _ratio(np.square(true - predicted).sum(axis=1), against, against > 0),
        "mae": np.abs(true - predicted).mean(axis=1),
        UNTESTED: _ratio(both, spread, varies),
    }


def value_influence(
    true: np.ndarray, predicted: np.ndarray, reference: np.ndarray, runs: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the change of each metric per unit of weight of each trial, (n_trials,) each."""
    sets = tuple(part[None] for part in (true, predicted, reference))
    found = {name: float(value[0]) for name, value in value_metrics(*sets, runs).items()}
    n_trials, r, slope = len(true), found["r"], found[UNTESTED]
    own, other = (_centred(part, runs)[0] for part in sets[:2])
    u, v = (part / np.sqrt(np.maximum(np.square(part).mean(), 1e-300)) for part in (own, other))
    against = np.square(true - reference)
    return {
        "r": (u * v - r / 2 * (u**2 + v**2)) / n_trials,
        "r2": ((1 - found["r2"]) * against - np.square(true - predicted)) / against.sum(),
        "mae": (np.abs(true - predicted) - found["mae"]) / n_trials,
        UNTESTED: (own * other - slope * other**2) / np.maximum(np.square(other).sum(), 1e-300),
    }


def compare_values(
    first: HeldoutValues, second: HeldoutValues, *, n_permutations: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Compare the predictions of two models for the same trials.

    Parameters
    ----------
    first, second : HeldoutValues
        The same trials, in the same order.
    n_permutations : int
        Used with one fold.
    rng : numpy.random.Generator

    Returns
    -------
    list of dict
        One for each column and each metric of :data:`COMPARED`, with the entries of
        :data:`.tables.VALUE_COMPARISON_COLUMNS` but the names; metrics that a model does not have
        are left out.
    """
    rows = []
    for column, name in enumerate(first.columns):
        parts = [
            tuple(part[:, column] for part in (one.true, one.predicted, one.reference))
            for one in (first, second)
        ]
        for metric in COMPARED:
            values, influences, shares = zip(
                *(_terms(metric, own, first.runs) for own in parts), strict=True
            )
            if not np.isfinite(values).all():
                continue
            pair = Paired(
                values[0] - values[1], influences[0] - influences[1], shares[0] - shares[1],
                np.asarray(first.runs), np.asarray(first.folds),
            )
            rows.append({
                "target": name, "metric": metric,
                **paired_test(pair, n_permutations, rng, bound=MAX_DIFFERENCE),
            })
    return rows


def _terms(
    metric: str, own: tuple[np.ndarray, ...], runs: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return a metric, the influence of each trial, and its share: shares sum to the metric."""
    value = float(value_metrics(*(part[None] for part in own), runs)[metric][0])
    influence, (true, predicted, reference) = value_influence(*own, runs)[metric], own
    if metric == "r2":
        against = np.square(true - reference)
        return value, influence, (against - np.square(true - predicted)) / against.sum()
    u, v = (_centred(part[None], runs)[0] for part in (true, predicted))
    size = np.sqrt(np.square(u).sum() * np.square(v).sum())
    return value, influence, u * v / max(size, 1e-300)


def _centred(values: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Subtract the mean of each run, (n_sets, n_trials)."""
    run_of = np.unique(np.asarray(runs), return_inverse=True)[1]
    trials_first = np.asarray(values, dtype=np.float64).T
    return (trials_first - average_rows(trials_first, run_of)[run_of]).T


def _ratio(part: np.ndarray, whole: np.ndarray, defined: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=defined)
