"""Intervals, p-values and agreement of masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from sklearn.metrics import roc_auc_score

LEVEL = 0.95
"""Coverage of all intervals."""


@dataclass(frozen=True)
class Difference:
    """A paired difference, its interval and its two-sided p-value."""

    value: float
    ci_low: float
    ci_high: float
    p: float


def bootstrap_weights(n_units: int, n_bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """Draw how often each unit is in each bootstrap sample.

    Returns
    -------
    ndarray of float64, shape (n_bootstrap, n_units)
        Each row sums to ``n_units``.
    """
    equal = np.full(n_units, 1 / n_units)
    return rng.multinomial(n_units, equal, size=n_bootstrap).astype(np.float64)


def bootstrap_ratio(
    numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """Interval of a ratio of sums over units, bias-corrected and accelerated (BCa) [1]_.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (n_units,)
        For instance hits and trials of each image; the statistic is sum / sum. Denominators
        are not negative and not all zero.
    weights : ndarray, shape (n_bootstrap, n_units)
        From :func:`bootstrap_weights`.

    Returns
    -------
    low, high : float
        95 % limits. When every unit has the value 0, or every unit the value 1, resampling
        sees no variance, and the exact binomial (Clopper-Pearson) limits for ``n_units``
        trials are given.

    References
    ----------
    .. [1] Efron (1987), Better bootstrap confidence intervals, JASA 82.
    """
    total, size = numerator.sum(), denominator.sum()
    value = total / size
    used = denominator > 0
    if np.allclose(numerator[used], value * denominator[used]):
        return _constant_interval(float(value), int(used.sum()))
    samples = _ratio(weights @ numerator, weights @ denominator)
    jackknife = _ratio(total - numerator, size - denominator)
    deviation = np.nanmean(jackknife) - jackknife
    spread = np.nansum(deviation**2)
    acceleration = np.nansum(deviation**3) / (6 * spread**1.5) if spread > 0 else 0.0
    return _bca_limits(samples[np.isfinite(samples)], float(value), float(acceleration))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    empty = np.full(len(numerator), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def _constant_interval(value: float, n_units: int) -> tuple[float, float]:
    if value not in (0.0, 1.0):
        return value, value
    exact = scipy.stats.binomtest(round(value * n_units), n_units).proportion_ci(LEVEL)
    return float(exact.low), float(exact.high)


def _bca_limits(samples: np.ndarray, value: float, acceleration: float) -> tuple[float, float]:
    n = len(samples)
    below = (samples < value).mean() + 0.5 * (samples == value).mean()
    bias = scipy.stats.norm.ppf(np.clip(below, 0.5 / n, 1 - 0.5 / n))
    tails = scipy.stats.norm.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shifted = bias + (bias + tails) / (1 - acceleration * (bias + tails))
    low, high = np.quantile(samples, scipy.stats.norm.cdf(shifted))
    return float(low), float(high)


def percentile_interval(samples: np.ndarray) -> tuple[float, float]:
    """95 % limits of bootstrap samples of a statistic, percentile method.

    Parameters
    ----------
    samples : ndarray, shape (n_bootstrap,)
        Not-a-numbers are left out; without any number the limits are not-a-number.
    """
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return np.nan, np.nan
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_median(
    values: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Interval of a median over units, percentile method (BCa fails for medians)."""
    rows = rng.integers(len(values), size=(n_bootstrap, len(values)))
    return percentile_interval(np.median(values[rows], axis=1))


def permutations_within(
    blocks: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw permutations that exchange only members of the same block.

    Parameters
    ----------
    blocks : ndarray of int, shape (n,)
        Block number of each item.

    Returns
    -------
    ndarray of int, shape (n_permutations, n)
        Item *i* takes the place of item ``result[k, i]``.
    """
    by_block = np.argsort(blocks, kind="stable")
    # A random number in [0, 1) added to a whole number never leaves its block.
    shuffled = np.argsort(blocks + rng.random((n_permutations, len(blocks))), axis=1)
    result = np.empty_like(shuffled)
    result[:, by_block] = shuffled
    return result


def permutation_p(observed: float, null: np.ndarray, tail: str = "greater") -> float:
    """P-value of a permutation test, ``(1 + #{as extreme}) / (1 + n)``.

    Parameters
    ----------
    observed : float
    null : ndarray, shape (n_permutations,)
    tail : {"greater", "less"}
        Which values count as extreme.

    Returns
    -------
    float
        Never zero; 1 without permutations.
    """
    null = np.asarray(null, dtype=np.float64)
    # Sums of the same numbers in another order differ by rounding; such ties count.
    slack = 1e-9 * max(1.0, abs(observed))
    extreme = null >= observed - slack if tail == "greater" else null <= observed + slack
    return float((1 + extreme.sum()) / (1 + len(null)))


def fdr_bh(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values for the false discovery rate (Benjamini and Hochberg).

    Parameters
    ----------
    p_values : ndarray
        Any shape; not-a-numbers (voxels without a test) stay and do not count.

    Returns
    -------
    ndarray of float64, same shape
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        adjusted[tested] = scipy.stats.false_discovery_control(p_values[tested], method="bh")
    return adjusted


def paired_difference(
    first: np.ndarray, second: np.ndarray, size: np.ndarray, *,
    n_bootstrap: int, n_permutations: int, rng: np.random.Generator,
) -> Difference:
    """Compare two models on the same units.

    Parameters
    ----------
    first, second : ndarray, shape (n_units,)
        Sum of hits (or any score) of each unit, for instance of each image.
    size : ndarray, shape (n_units,)
        Number of times each unit was tried.
    n_bootstrap, n_permutations : int
    rng : numpy.random.Generator

    Returns
    -------
    Difference
        Of the mean scores, first minus second; BCa interval over units; p by exchanging the
        two models at random for each unit, two-sided.
    """
    gap = np.asarray(first, dtype=np.float64) - second
    value = float(gap.sum() / size.sum())
    weights = bootstrap_weights(len(gap), n_bootstrap, rng)
    low, high = bootstrap_ratio(gap, np.asarray(size, dtype=np.float64), weights)
    signs = rng.integers(0, 2, size=(n_permutations, len(gap))) * 2 - 1
    p = permutation_p(abs(value), np.abs(signs @ gap / size.sum()))
    return Difference(value, low, high, p)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two boolean masks, ``2 |A and B| / (|A| + |B|)``; 1 when both are empty."""
    size = first.sum() + second.sum()
    return float(2 * (first & second).sum() / size) if size else 1.0


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two boolean masks, ``|A and B| / |A or B|``; 1 when both are empty."""
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def mask_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve of voxel scores against a boolean mask.

    Not-a-number when the mask is empty or full.
    """
    truth = np.asarray(truth, dtype=bool)
    if truth.all() or not truth.any():
        return np.nan
    return float(roc_auc_score(truth, scores))


def stability(masks: np.ndarray) -> float:
    """Stability of voxel selection over repetitions [1]_.

    Parameters
    ----------
    masks : ndarray of bool, shape (n_selections, n_voxels)
        At least two selections, for instance of seeds or half-splits.

    Returns
    -------
    float
        1 for equal masks, about 0 for random ones of equal size; not-a-number when nothing
        or everything is selected.

    References
    ----------
    .. [1] Nogueira, Sechidis and Brown (2018), On the stability of feature selection
       algorithms, JMLR 18.
    """
    masks = np.asarray(masks, dtype=bool)
    frequency = masks.mean(axis=0)
    share = frequency.mean()
    if len(masks) < 2 or share in (0.0, 1.0):
        return np.nan
    variance = frequency * (1 - frequency) * len(masks) / (len(masks) - 1)
    return float(1 - variance.mean() / (share * (1 - share)))
