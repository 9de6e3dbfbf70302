"""Difference of two models on the same held-out trials: interval and p-value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from bids_decoder.evaluation.classification import Heldout
from bids_decoder.evaluation.intervals import LEVEL, mean_interval, spread_inflation
from bids_decoder.evaluation.label_scores import label_influence, label_metrics
from bids_decoder.evaluation.statistics import Difference, permutation_p

HEADLINE_LABELS = "balanced_accuracy"

MIN_RUNS = 6
"""With fewer test runs, exchanging runs cannot reach p = .05, so trials are exchanged."""

RARE_TRIALS = 10
"""Labels with fewer held-out trials may vary too little over folds by chance."""

COMPARISON_COLUMNS: dict[str, str] = {
    "first": "Model whose score comes first.",
    "second": "Model whose score is subtracted.",
    "metric": "What is compared.",
    "direction": "b2i: brain query, image gallery; n/a: labels.",
    "unit": "single: one trial; averaged: mean of the predictions of all repeats of a stimulus.",
    "similarity": "cosine, or n/a: labels.",
    "pool_size": "Number of alternatives.",
    "value": "Difference, first less second.",
    "ci_low": "Lower limit of the 95 % interval of the difference.",
    "ci_high": "Upper limit of the 95 % interval of the difference.",
    "p": "Two-sided p-value of no difference.",
    "test": "corrected t: t-test over folds whose variance allows for shared training data (as in "
            "Nadeau and Bengio 2003, with twice the covariance of folds); exchange of trials, runs "
            "or images: the models' results are exchanged at random in each, on one test set.",
    "n": "Number of folds (corrected t), or of units exchanged.",
}
"""Columns of the table of comparisons, with descriptions for its sidecar."""

VALUE_COMPARISON_COLUMNS: dict[str, str] = {
    **COMPARISON_COLUMNS, "target": "Column of the numbers that are decoded.",
}
"""Columns of the table of comparisons of decoded numbers, with descriptions."""


def compare_labels(
    first: Heldout, second: Heldout, *, n_permutations: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Compare the balanced accuracies of two models.

    Parameters
    ----------
    first, second : Heldout
        The same trials, in the same order.
    n_permutations : int
        Used with one fold.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``metric``, ``pool_size``, ``value``, ``ci_low``, ``ci_high``, ``p``, ``test`` and ``n``
        of :data:`COMPARISON_COLUMNS`.
    """
    scores = [
        float(label_metrics(one.true[None], one.guesses)[HEADLINE_LABELS][0])
        for one in (first, second)
    ]
    influence = np.subtract(*(
        label_influence(one.true, one.guesses)[HEADLINE_LABELS] for one in (first, second)
    ))
    pair = Paired(
        scores[0] - scores[1], influence, _shares(first, second), first.runs, first.folds,
        least=_variance_of_rare(first, second),
    )
    return {
        "metric": HEADLINE_LABELS, "pool_size": len(first.classes),
        **paired_test(pair, n_permutations, rng),
    }


@dataclass(frozen=True, eq=False)
class Paired:
    """Scores of two models for the same held-out trials.

    Parameters
    ----------
    value : float
        Difference of the scores, first less second.
    influence : ndarray, shape (n_trials,)
        Influence of each trial on it; sums to 0.
    shares : ndarray, shape (n_trials,)
        What each trial adds to it; sums to *value*.
    runs : ndarray of str, shape (n_trials,)
    folds : ndarray, shape (n_trials,)
        Fold in which each trial was test.
    least : float
        Smallest variance of *value* allowed.
    """

    value: float
    influence: np.ndarray
    shares: np.ndarray
    runs: np.ndarray
    folds: np.ndarray
    least: float = 0.0


def paired_test(
    pair: Paired, n_permutations: int, rng: np.random.Generator, bound: float = 1.0
) -> dict[str, Any]:
    """Test a difference: over folds, or by exchanging the models' results in runs or trials.

    Parameters
    ----------
    pair : Paired
    n_permutations : int
        Used with one fold.
    rng : numpy.random.Generator
    bound : float
        Largest possible difference.

    Returns
    -------
    dict
        ``value``, ``ci_low``, ``ci_high``, ``p``, ``test`` and ``n`` of
        :data:`COMPARISON_COLUMNS`.
    """
    folds = np.unique(np.asarray(pair.folds), return_inverse=True)[1]
    if folds.max() > 0:
        units, test = folds, "corrected t"
        found = corrected_t(pair.value, pair.influence, units, bound, least=pair.least)
    else:
        runs = pd.factorize(np.asarray(pair.runs))[0]
        whole = runs.max() + 1 >= MIN_RUNS
        units = runs if whole else np.arange(len(runs))
        test = f"exchange of {'runs' if whole else 'trials'}"
        found = _exchanged(pair, units, n_permutations, rng, bound)
    return {
        "value": found.value, "ci_low": found.ci_low, "ci_high": found.ci_high, "p": found.p,
        "test": test, "n": int(units.max()) + 1,
    }


def corrected_t(
    value: float, influence: np.ndarray, fold_of: np.ndarray, bound: float = 1.0, *,
    least: float = 0.0,
) -> Difference:
    """Test a difference under cross-validation with the corrected resampled t-test [1]_.

    Parameters
    ----------
    value : float
        Difference over all held-out trials.
    influence : ndarray, shape (n_trials,)
        Influence of each trial on it; sums to 0.
    fold_of : ndarray of int, shape (n_trials,)
        From 0.
    bound : float
        Largest possible difference; limits stay within it.
    least : float
        Smallest variance allowed.

    Returns
    -------
    Difference
        Folds share training trials, so that the variance of their differences, divided by their
        number, is too small; ``1 / n_folds`` is replaced by
        ``1 / n_folds + 2 * n_test / n_train``.

    Notes
    -----
    The source has ``n_test / n_train`` once. No estimate of this variance is unbiased [2]_. Where
    two models with weak signal depend on different noise, it is too small: in simulations the
    second term must be up to 1.8 times as large (``docs/statistics.md``).

    References
    ----------
    .. [1] Nadeau and Bengio (2003), Inference for the generalization error, Machine Learning 52.
    .. [2] Bengio and Grandvalet (2004), No unbiased estimator of the variance of K-fold
       cross-validation, JMLR 5.
    """
    n_folds = int(fold_of.max()) + 1
    between = np.square(np.bincount(fold_of, weights=influence)).sum() * n_folds / (n_folds - 1)
    error = np.sqrt(max((1 + 2 * (spread_inflation(fold_of) - 1)) * between, least))
    if error < 1e-12:
        # All folds are equal: there is no variance, so only the signs of the folds can be tested.
        low, high = mean_interval(np.full(n_folds, value), (-bound, bound))
        return Difference(value, low, high, 1.0 if abs(value) < 1e-12 else 0.5 ** (n_folds - 1))
    student = scipy.stats.t(n_folds - 1)
    half = student.ppf((1 + LEVEL) / 2) * error
    p = float(2 * student.sf(abs(value) / error))
    low, high = min(-bound, value), max(bound, value)
    return Difference(value, max(value - half, low), min(value + half, high), p)


def _shares(first: Heldout, second: Heldout) -> np.ndarray:
    """Compute what each trial adds to the difference of balanced accuracies, (n_trials,)."""
    hits = np.subtract(*(
        (one.true == one.guesses.first).astype(np.float64) for one in (first, second)
    ))
    counts = np.bincount(first.true)
    return hits / counts[first.true] / np.count_nonzero(counts)


def _variance_of_rare(first: Heldout, second: Heldout) -> float:
    """Compute the part of the variance that is from rare labels, with independent trials.

    Where one model is right in all trials of a label and the other in none, these trials do not
    vary, however few they are. Each label of fewer than :data:`RARE_TRIALS` therefore counts half
    a trial more that the first model alone gets right, and half a trial more for the second.
    """
    right, other = (one.true == one.guesses.first for one in (first, second))
    n_classes = first.true.max() + 1
    counts, wins, losses = (
        np.bincount(first.true[rows], minlength=n_classes)
        for rows in (slice(None), right & ~other, other & ~right)
    )
    n_used, rare = np.count_nonzero(counts), (counts > 0) & (counts < RARE_TRIALS)
    counts, wins, losses = counts[rare], wins[rare] + 0.5, losses[rare] + 0.5
    of_one = (wins + losses) / (counts + 1) - np.square((wins - losses) / (counts + 1))
    return float((of_one / counts).sum() / n_used**2)


def _exchanged(
    pair: Paired, units: np.ndarray, n_permutations: int, rng: np.random.Generator, bound: float
) -> Difference:
    sums = np.bincount(units, weights=pair.shares)
    signs = rng.integers(2, size=(n_permutations, len(sums))) * 2 - 1
    spread = np.bincount(units, weights=pair.influence)
    low, high = mean_interval(pair.value + spread * len(sums), (-bound, bound))
    half = scipy.stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(pair.least)
    low, high = min(low, max(pair.value - half, -bound)), max(high, min(pair.value + half, bound))
    p = permutation_p(abs(pair.value), np.abs(signs @ sums)) if n_permutations else np.nan
    return Difference(pair.value, low, high, p)
