"""P-values, paired differences and agreement of masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from scipy.special import gammaln

from bids_decoder.evaluation.intervals import mean_interval

ALPHA = 0.05
"""Level of all tests: a result is significant where its p-value is at most this."""


@dataclass(frozen=True)
class Difference:
    """A paired difference, its interval and its two-sided p-value."""

    value: float
    ci_low: float
    ci_high: float
    p: float


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
    # A random number in [0, 1) added to the block number keeps items within their block.
    shuffled = np.argsort(blocks + rng.random((n_permutations, len(blocks))), axis=1)
    result = np.empty_like(shuffled)
    result[:, by_block] = shuffled
    return result


def permutation_p(observed: float, null: np.ndarray, tail: str = "greater") -> float:
    """Compute the p-value of a permutation test, ``(1 + #{as extreme}) / (1 + n)``.

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


def smallest_p(labels: np.ndarray, blocks: np.ndarray, n_permutations: int) -> float:
    """Return the smallest p-value possible when labels are exchanged within blocks.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        What is exchanged; exchanging equal ones makes no new arrangement.
    blocks : ndarray, shape (n,)
        Only members of the same block are exchanged.
    n_permutations : int

    Returns
    -------
    float
        The larger one of 1 / (1 + n_permutations) and 1 / (number of distinct arrangements).
        The p-value of even a perfect decoder is not expected to be lower.
    """
    block_of, label_of = (np.unique(x, return_inverse=True)[1] for x in (blocks, labels))
    alike = np.unique(np.stack([block_of, label_of]), axis=1, return_counts=True)[1]
    log_arrangements = gammaln(np.bincount(block_of) + 1).sum() - gammaln(alike + 1).sum()
    return max(1 / (1 + n_permutations), float(np.exp(-log_arrangements)))


def fdr_bh(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values for the false discovery rate (Benjamini and Hochberg).

    Parameters
    ----------
    p_values : ndarray
        Any shape; NaN (voxels without a test) stay and do not count.

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
    n_permutations: int, rng: np.random.Generator,
) -> Difference:
    """Compare two models on the same units.

    Parameters
    ----------
    first, second : ndarray, shape (n_units,)
        Sum of hits (or any score) of each unit, for instance of each image.
    size : ndarray, shape (n_units,)
        Number of attempts of each unit.
    n_permutations : int
    rng : numpy.random.Generator

    Returns
    -------
    Difference
        Of the mean scores, first minus second; Student's t interval over units
        (:func:`.intervals.mean_interval`); p by exchanging the two models at random for each
        unit, two-sided. Valid for one test set, not for folds that share training data.
    """
    gap = np.asarray(first, dtype=np.float64) - second
    value = float(gap.sum() / size.sum())
    # Linearised: values with the mean and the variance of the ratio of sums.
    spread = value + (gap - value * size) / np.mean(size)
    low, high = mean_interval(spread)
    signs = rng.integers(0, 2, size=(n_permutations, len(gap))) * 2 - 1
    p = permutation_p(abs(value), np.abs(signs @ gap / size.sum()))
    return Difference(value, low, high, p)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the Dice overlap of two masks, ``2 |A and B| / (|A| + |B|)``; 1 if both are empty."""
    size = first.sum() + second.sum()
    return float(2 * (first & second).sum() / size) if size else 1.0


def stability(masks: np.ndarray) -> float:
    """Compute the stability of voxel selection over repetitions [1]_.

    Parameters
    ----------
    masks : ndarray of bool, shape (n_selections, n_voxels)
        At least two selections, for instance of seeds or half-splits.

    Returns
    -------
    float
        1 for equal masks, about 0 for random ones of equal size; NaN when no voxel or every
        voxel is selected.

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
