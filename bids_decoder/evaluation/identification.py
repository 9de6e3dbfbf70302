"""Identification of stimuli under cross-validation over stimuli.

Predictions of different folds come from different models, so that a prediction is compared only
with stimuli that its model was not fitted on: those of its own fold. Scores are sums over folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import gammaln

from bids_decoder.averages import average_rows
from bids_decoder.evaluation.comparison import corrected_t
from bids_decoder.evaluation.intervals import bounded_interval, mean_interval, spread_inflation
from bids_decoder.evaluation.nulls import p_values
from bids_decoder.evaluation.similarity import cosine_similarity, normalise
from bids_decoder.evaluation.tables import (
    METRIC_COLUMNS,
    NULL_VALUES,
    Nulls,
    make_nulls,
    split_nulls,
)

TIE = 1e-12
"""Cosines that differ by less are tied."""

UNITS = ("single", "averaged")


@dataclass(frozen=True, eq=False)
class FoldMatch:
    """Predictions of one fold beside the stimuli of the fold, under one or more pairings.

    Parameters
    ----------
    stimulus_of : ndarray of int, shape (n_trials,)
        Number of the stimulus of each trial, in the order of the columns of *single*.
    single : ndarray of float32, shape (n_pairings, n_trials, n_stimuli)
        Cosine of the prediction for each trial and the vector of each stimulus.
    averaged : ndarray of float32, shape (n_pairings, n_stimuli, n_stimuli)
        The same for the mean of the normalised predictions of all repeats.
    profiles : ndarray of float32, shape (n_pairings, 2, n_stimuli, n_features)
        Predicted feature vectors, means over repeats, and the true ones; both less the mean of
        the training stimuli.
    """

    stimulus_of: np.ndarray
    single: np.ndarray
    averaged: np.ndarray
    profiles: np.ndarray

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli of the fold."""
        return self.averaged.shape[-1]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predictions for the test trials of one fold.

    Parameters
    ----------
    values : ndarray, shape (n_trials, n_dims)
        Predicted embeddings.
    gallery : ndarray, shape (n_stimuli, n_dims)
        The stimuli of the fold in the same space.
    features : ndarray, shape (n_trials, n_features)
        Predicted feature vectors, less the mean of the training stimuli.
    shown : ndarray, shape (n_stimuli, n_features)
        Feature vectors of the stimuli, less the same mean.
    """

    values: np.ndarray
    gallery: np.ndarray
    features: np.ndarray
    shown: np.ndarray


def match_fold(found: Prediction, stimulus_of: np.ndarray) -> FoldMatch:
    """Compare predictions with the stimuli of their fold, under one pairing.

    Parameters
    ----------
    found : Prediction
    stimulus_of : ndarray of int, shape (n_trials,)
        Every stimulus has a trial.
    """
    averaged = cosine_similarity(average_rows(normalise(found.values), stimulus_of), found.gallery)
    return FoldMatch(
        stimulus_of, cosine_similarity(found.values, found.gallery).astype(np.float32)[None],
        averaged.astype(np.float32)[None],
        np.stack([average_rows(found.features, stimulus_of), found.shown]).astype(np.float32)[None],
    )


def stack_matches(parts: Sequence[FoldMatch]) -> FoldMatch:
    """Stack the pairings of several matches of the same fold."""
    first, rest = parts[0], ("single", "averaged", "profiles")
    return FoldMatch(
        first.stimulus_of,
        *(np.concatenate([getattr(part, name) for part in parts]) for name in rest),
    )


def pair_wins(fold: FoldMatch, unit: str) -> np.ndarray:
    """Decide for each pair of stimuli of a fold which response belongs to which [1]_.

    Parameters
    ----------
    fold : FoldMatch
    unit : {"single", "averaged"}
        One response of each of the two stimuli, or the means of their repeats.

    Returns
    -------
    ndarray of float64, shape (n_pairings, n_stimuli, n_stimuli)
        Symmetric: 1 where the cosines of the right assignment have the larger sum, .5 for a tie;
        for single trials the share of pairs of trials. The diagonal is 0.

    References
    ----------
    .. [1] Mitchell et al. (2008), Predicting human brain activity associated with the meanings of
       nouns, Science 320:1191.
    """
    n_stimuli = fold.n_stimuli
    if unit == "averaged":
        responses = [np.array([k]) for k in range(n_stimuli)]
        cosines = fold.averaged.astype(np.float64)
    else:
        responses = [np.flatnonzero(fold.stimulus_of == k) for k in range(n_stimuli)]
        cosines = fold.single.astype(np.float64)
    wins = np.zeros((len(cosines), n_stimuli, n_stimuli))
    for i in range(n_stimuli):
        for j in range(i):
            one, two = cosines[:, responses[i]], cosines[:, responses[j]]
            gain = (one[..., i] - one[..., j])[..., None] + (two[..., j] - two[..., i])[:, None]
            won = (gain > TIE) + 0.5 * (np.abs(gain) <= TIE)
            wins[:, i, j] = wins[:, j, i] = won.mean(axis=(1, 2))
    return wins


def top1_hits(fold: FoldMatch, unit: str, pool_size: int) -> np.ndarray:
    """Compute the chance of each response to find its stimulus in a random pool of the fold.

    Parameters
    ----------
    fold : FoldMatch
    unit : {"single", "averaged"}
    pool_size : int
        At most as many as the fold has stimuli.

    Returns
    -------
    ndarray of float64, shape (n_pairings, n_responses)
        Mean over all pools of this size that hold the stimulus; ties are broken at random.
    """
    own = np.arange(fold.n_stimuli) if unit == "averaged" else fold.stimulus_of
    cosines = getattr(fold, unit).astype(np.float64)
    right = np.take_along_axis(cosines, own[None, :, None], axis=2)
    above = (cosines > right + TIE).sum(axis=2)
    tied = (np.abs(cosines - right) <= TIE).sum(axis=2) - 1
    n_others = fold.n_stimuli - 1
    # Pools without a better stimulus, as a share of all, by the number of better ones.
    clear = np.array([
        np.exp(_log_choose(n_others - k, pool_size - 1) - _log_choose(n_others, pool_size - 1))
        for k in range(n_others + 1)
    ])
    sums = np.concatenate([[0.0], np.cumsum(clear)])
    return (sums[above + tied + 1] - sums[above]) / (tied + 1)


def _log_choose(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) if k <= n else -np.inf


def profile_correlations(folds: Sequence[FoldMatch]) -> np.ndarray:
    """Correlate predicted and true feature vectors of each stimulus, (n_pairings, n_stimuli)."""
    found = []
    for fold in folds:
        centred = fold.profiles - fold.profiles.mean(axis=-1, keepdims=True)
        found.append(_correlate(centred[:, 0], centred[:, 1]))
    return np.concatenate(found, axis=1)


def dimension_correlation(folds: Sequence[FoldMatch]) -> np.ndarray:
    """Correlate predictions with the truth over stimuli, mean over features, (n_pairings,).

    Means of folds are removed: training stimuli without large values predict small ones, so that
    the differences between folds are those of the training sets. Features that do not vary within
    folds are left out.
    """
    products = np.zeros(3)
    for fold in folds:
        centred = (fold.profiles - fold.profiles.mean(axis=2, keepdims=True)).astype(np.float64)
        predicted, true = centred[:, 0], centred[:, 1]
        products = products + np.stack(
            [(a * b).sum(axis=1) for a, b in (
                (predicted, true), (predicted, predicted), (true, true))], axis=-1,
        )
    both, predicted, true = np.moveaxis(products, -1, 0)
    varies = true > 1e-12
    size = np.sqrt(predicted * true)
    r = np.divide(both, size, out=np.zeros_like(both), where=size > 1e-12)
    return (r * varies).sum(axis=1) / np.maximum(varies.sum(axis=1), 1)


def _correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    products = (first * second).sum(axis=-1)
    return np.divide(products, size, out=np.zeros_like(products), where=size > 1e-12)


@dataclass(frozen=True, eq=False)
class _Shares:
    """A share of successes: its value under each pairing, and how stimuli move the first one."""

    values: np.ndarray  # (n_pairings,)
    influence: np.ndarray  # (n_stimuli,)
    twice: float = 0.0  # squares of influence that two stimuli share


def _two_way(folds: Sequence[FoldMatch], unit: str) -> _Shares:
    wins = [pair_wins(fold, unit) for fold in folds]
    # Each pair counts twice.
    n_pairs = sum(fold.n_stimuli * (fold.n_stimuli - 1) for fold in folds) / 2
    values = sum(won.sum(axis=(1, 2)) for won in wins) / 2 / n_pairs
    influence = [won[0].sum(axis=1) - values[0] * (len(won[0]) - 1) for won in wins]
    pairs = [np.square(np.triu(won[0] - values[0], 1)).sum() for won in wins]
    return _Shares(values, np.concatenate(influence) / n_pairs, sum(pairs) / n_pairs**2)


def _top1(folds: Sequence[FoldMatch], unit: str, pool_size: int) -> _Shares:
    hits = [top1_hits(fold, unit, pool_size) for fold in folds]
    n_responses = sum(hit.shape[1] for hit in hits)
    values = sum(hit.sum(axis=1) for hit in hits) / n_responses
    influence = []
    for fold, hit in zip(folds, hits, strict=True):
        own = np.arange(fold.n_stimuli) if unit == "averaged" else fold.stimulus_of
        influence.append(np.bincount(own, weights=hit[0] - values[0], minlength=fold.n_stimuli))
    return _Shares(values, np.concatenate(influence) / n_responses)


def usable_folds(folds: Sequence[FoldMatch]) -> list[FoldMatch]:
    """Return the folds with two stimuli or more; a single one cannot be told from another."""
    return [fold for fold in folds if fold.n_stimuli >= 2]


def _fold_of(folds: Sequence[FoldMatch]) -> np.ndarray:
    return np.repeat(np.arange(len(folds)), [fold.n_stimuli for fold in folds])


class IdentificationScores(NamedTuple):
    """Tables of :func:`score_identification`."""

    metrics: pd.DataFrame
    nulls: Nulls


def score_identification(
    folds: Sequence[FoldMatch], nulls: Sequence[FoldMatch], scheme: Mapping[str, Any],
    p_min: float, model: str,
) -> IdentificationScores:
    """Score the predictions of all folds.

    Parameters
    ----------
    folds : sequence of FoldMatch
        Under the true pairing.
    nulls : sequence of FoldMatch
        Of the same folds, one pairing for each permutation of the stimuli, with everything
        fitted again; empty without permutations.
    scheme : mapping
        How stimuli were permuted.
    p_min : float
        Smallest p-value possible.
    model : str

    Returns
    -------
    metrics : DataFrame
        Columns of :data:`.tables.METRIC_COLUMNS`: two-way identification (``two_way``) and
        ``top1`` of single trials and of means over repeats, and correlations of predicted feature
        vectors over features (``profile_correlation``) and over stimuli
        (``dimension_correlation``). Intervals take stimuli as clusters and allow for training
        data that folds share.
    nulls : Nulls
    """
    folds, nulls = usable_folds(folds), usable_folds(nulls)
    rows = [*_share_rows(folds, nulls), *_correlation_rows(folds, nulls)]
    n_stimuli = sum(fold.n_stimuli for fold in folds)
    n_null = len(nulls[0].averaged) if nulls else 0
    metrics, table = split_nulls([
        {**row, **p_values(row["value"], row[NULL_VALUES]), "n": n_stimuli} for row in rows
    ])
    metrics = metrics.assign(
        model=model, split="cv", null="refitted" if n_null else "none",
        p_min=p_min if n_null else np.nan,
    )
    return IdentificationScores(
        metrics.reindex(columns=list(METRIC_COLUMNS)),
        make_nulls(table, model, {"Null": "refitted", **scheme}),
    )


def _share_rows(
    folds: Sequence[FoldMatch], nulls: Sequence[FoldMatch]
) -> list[dict[str, Any]]:
    inflation, rows = spread_inflation(_fold_of(folds)), []
    smallest = min(fold.n_stimuli for fold in folds)
    for unit in UNITS:
        two_way, top1 = partial(_two_way, unit=unit), partial(
            _top1, unit=unit, pool_size=smallest
        )
        for metric, direction, size, score in (
            ("two_way", None, 2, two_way), ("top1", "b2i", smallest, top1),
        ):
            own = score(folds)
            value = float(own.values[0])
            low, high = bounded_interval(value, own.influence, inflation, own.twice)
            rows.append({
                "metric": metric, "direction": direction, "unit": unit, "similarity": "cosine",
                "pool_size": size, "value": value, "chance": 1 / size, "ci_low": low,
                "ci_high": high, NULL_VALUES: score(nulls).values if nulls else np.empty(0),
            })
    return rows


def _correlation_rows(
    folds: Sequence[FoldMatch], nulls: Sequence[FoldMatch]
) -> list[dict[str, Any]]:
    inflation, rows = spread_inflation(_fold_of(folds)), []
    of_stimuli = profile_correlations(folds)[0]
    for metric, units, score in (
        ("profile_correlation", of_stimuli, _mean_profile),
        ("dimension_correlation", _pseudo_values(folds), dimension_correlation),
    ):
        value = float(score(folds)[0])
        # The mean of pseudo-values differs from the value by the jackknife's estimate of bias.
        low, high = mean_interval(units - units.mean() + value, inflation=inflation)
        rows.append({
            "metric": metric, "direction": None, "unit": "averaged", "similarity": None,
            "value": value, "chance": 0.0, "ci_low": low, "ci_high": high,
            NULL_VALUES: score(nulls) if nulls else np.empty(0),
        })
    return rows


def _mean_profile(folds: Sequence[FoldMatch]) -> np.ndarray:
    return profile_correlations(folds).mean(axis=1)


def _pseudo_values(folds: Sequence[FoldMatch]) -> np.ndarray:
    """Compute the jackknife's pseudo-values of the correlation within features, (n_stimuli,)."""
    n_stimuli = sum(fold.n_stimuli for fold in folds)
    whole, values = float(dimension_correlation(folds)[0]), []
    for number, fold in enumerate(folds):
        for k in range(fold.n_stimuli):
            less = replace(fold, profiles=np.delete(fold.profiles, k, axis=2))
            others = [*folds[:number], less, *folds[number + 1:]]
            values.append(n_stimuli * whole - (n_stimuli - 1) * dimension_correlation(others)[0])
    return np.array(values)


def compare_identification(
    first: Sequence[FoldMatch], second: Sequence[FoldMatch]
) -> dict[str, Any]:
    """Compare the two-way identification of two models, by means over repeats.

    Parameters
    ----------
    first, second : sequence of FoldMatch
        The same folds, under the true pairing.

    Returns
    -------
    dict
        Columns of :data:`.comparison.COMPARISON_COLUMNS` without the names; the test is the
        corrected t-test over folds.
    """
    one, two = (_two_way(usable_folds(folds), "averaged") for folds in (first, second))
    fold_of = _fold_of(usable_folds(first))
    found = corrected_t(
        float(one.values[0] - two.values[0]), one.influence - two.influence, fold_of
    )
    return {
        "metric": "two_way", "unit": "averaged", "similarity": "cosine", "pool_size": 2,
        "value": found.value, "ci_low": found.ci_low, "ci_high": found.ci_high, "p": found.p,
        "test": "corrected t", "n": int(fold_of.max()) + 1,
    }
