"""Tests over participants: differences of scores between groups, or with a covariate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from scipy.special import factorial

from bids_decoder.averages import average_rows
from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import LEVEL
from bids_decoder.evaluation.statistics import permutation_p, permutations_within, smallest_p


@dataclass(frozen=True)
class Association:
    """Association of participants' scores with a group or a covariate.

    Parameters
    ----------
    value : float
        Difference of the means of two groups (second minus first), slope per unit of a covariate,
        or, with three and more groups, the share of the variance within blocks that lies between
        groups.
    ci_low, ci_high : float
        Interval of Student's t; NaN with three and more groups.
    statistic : float
        t, or F with three and more groups.
    p : float
        Two-sided, by permutation.
    resolution : float
        Smallest possible p.
    n_participants : int
    """

    value: float
    ci_low: float
    ci_high: float
    statistic: float
    p: float
    resolution: float
    n_participants: int


def associate(
    scores: np.ndarray, variable: np.ndarray, *, n_permutations: int, rng: np.random.Generator,
    blocks: np.ndarray | None = None,
) -> Association:
    """Test whether scores differ with two groups or a covariate, permuting within blocks.

    Parameters
    ----------
    scores : ndarray, shape (n_participants,)
    variable : ndarray, shape (n_participants,)
        0 and 1 for two groups, or a covariate.
    n_permutations : int
    rng : numpy.random.Generator
    blocks : ndarray, shape (n_participants,), optional
        Participants are exchanged within a block only (a site, a family). Means of blocks are
        subtracted from both variables.

    Returns
    -------
    Association

    Raises
    ------
    InputError
        When the variable or the scores do not vary within blocks.
    """
    variable = np.asarray(variable, np.float64)
    fit = _fit(scores, variable[:, None], blocks, n_permutations, rng)
    t_values = fit.signs * np.sqrt(fit.ratios)
    slope = fit.slope
    # t is the slope in units of its standard error.
    error = abs(slope / t_values[0]) if t_values[0] else fit.error
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, fit.freedom)) * error
    # Swapping two groups of equal size leaves the absolute t as it is.
    is_two = len(np.unique(variable)) == 2
    least = _smallest_p(variable, fit.block, n_permutations, renames=is_two)
    return Association(
        slope, slope - half, slope + half, float(t_values[0]), fit.p, least, len(variable)
    )


def compare_groups(
    scores: np.ndarray, groups: np.ndarray, *, n_permutations: int, rng: np.random.Generator,
    blocks: np.ndarray | None = None,
) -> Association:
    """Test whether scores differ between three or more groups, permuting within blocks.

    Parameters
    ----------
    scores : ndarray, shape (n_participants,)
    groups : ndarray, shape (n_participants,)
        Name or number of the group of each participant.
    n_permutations : int
    rng : numpy.random.Generator
    blocks : ndarray, shape (n_participants,), optional
        See :func:`associate`.

    Returns
    -------
    Association

    Raises
    ------
    InputError
        When groups or scores do not vary within blocks.
    """
    number = np.unique(groups, return_inverse=True)[1]
    design = np.eye(number.max() + 1)[number]
    fit = _fit(scores, design, blocks, n_permutations, rng)
    ratio = float(fit.ratios[0])
    share = ratio * fit.rank / (ratio * fit.rank + fit.freedom)
    least = _smallest_p(number, fit.block, n_permutations, renames=True)
    return Association(share, np.nan, np.nan, ratio, fit.p, least, len(number))


@dataclass(frozen=True, eq=False)
class _Fit:
    """Regression within blocks, under the observed order (first) and permuted ones."""

    ratios: np.ndarray  # (1 + n_permutations,), F
    signs: np.ndarray  # (1 + n_permutations,), sign of the first coefficient
    slope: float
    error: float
    freedom: int
    rank: int
    block: np.ndarray
    p: float


def _fit(
    scores: np.ndarray, design: np.ndarray, blocks: np.ndarray | None, n_permutations: int,
    rng: np.random.Generator,
) -> _Fit:
    scores, n_people = np.asarray(scores, np.float64), len(scores)
    block = np.zeros(n_people, int)
    if blocks is not None:
        block = np.unique(blocks, return_inverse=True)[1]
    outcome = _within(scores[:, None], block)[:, 0]
    centred = _within(design, block)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    axes = left[:, values > 1e-9 * max(1.0, values.max(initial=0.0))]
    rank = axes.shape[1]
    freedom = n_people - int(block.max()) - 1 - rank
    if not outcome.any() or not rank or freedom < 1:
        raise InputError(
            "test over participants", "scores or variable do not vary within blocks, or there "
            f"are too few participants ({n_people})",
            "include more participants, or use no blocks",
        )
    orders = permutations_within(block, n_permutations, rng)
    orders = np.concatenate([np.arange(n_people)[None], orders])
    products = np.einsum("kpr,p->kr", axes[orders], outcome)
    total = outcome @ outcome
    explained = np.square(products).sum(axis=1)
    ratios = explained / rank / np.maximum((total - explained) / freedom, 1e-12 * total)
    slope = float(right[0, 0] * products[0, 0] / values[0])
    error = float(np.sqrt((total - explained[0]) / freedom) / values[0])
    # The share explained orders arrangements as F does, and ties survive its rounding.
    p = permutation_p(float(explained[0] / total), explained[1:] / total)
    return _Fit(
        ratios, np.sign(right[0, 0] * products[:, 0]), slope, error, freedom, rank, block, p
    )


def _within(values: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Subtract the mean of each block, (n_participants, n_columns)."""
    centred = values - average_rows(values, block)[block]
    return np.where(np.abs(centred) < 1e-12, 0.0, centred)


def _smallest_p(
    variable: np.ndarray, block: np.ndarray, n_permutations: int, *, renames: bool
) -> float:
    """Return the smallest p possible, with the arrangements that give the same statistic.

    Groups of equal size in every block can change their names: t without sign, and F, stay. With
    *renames* such arrangements are counted together.
    """
    exact = smallest_p(variable, block, np.iinfo(int).max)
    if renames:
        names, group = np.unique(variable, return_inverse=True)
        counts = np.zeros((block.max() + 1, len(names)), int)
        np.add.at(counts, (block, group), 1)
        alike = np.unique(counts, axis=1, return_counts=True)[1]
        exact *= float(np.prod(factorial(alike)))
    return max(1 / (1 + n_permutations), min(1.0, exact))
