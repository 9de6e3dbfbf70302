"""Inference on the population: prevalence, effects over participants, groups.

A t-test of accuracies against chance shows that *some* participants carry information, because no
participant's true accuracy is below chance [1]_. Prevalence is the share of the population that
carries information.

References
----------
.. [1] Allefeld, Görgen and Haynes (2016), Valid population inference for information-based
   imaging, NeuroImage 141:378.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from scipy.optimize import brentq

from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import LEVEL, mean_interval
from bids_decoder.evaluation.statistics import permutation_p, permutations_within

MAX_EXACT = 14
"""Up to this number of participants all sign flips are used."""


@dataclass(frozen=True)
class BayesianPrevalence:
    """Posterior of the share of the population in which a test of this kind would be significant.

    Parameters
    ----------
    n_significant, n_participants : int
    alpha : float
        Level of the test within a participant.
    most_likely, mean : float
        Mode and mean of the posterior.
    ci_low, ci_high : float
        Highest-density interval of 95 %.
    """

    n_significant: int
    n_participants: int
    alpha: float
    most_likely: float
    mean: float
    ci_low: float
    ci_high: float


def bayesian_prevalence(
    n_significant: int, n_participants: int, alpha: float = 0.05
) -> BayesianPrevalence:
    """Estimate prevalence from the number of participants with a significant result [1]_.

    Parameters
    ----------
    n_significant : int
        Participants whose own p-value is at most *alpha*.
    n_participants : int
    alpha : float

    Returns
    -------
    BayesianPrevalence
        Under a uniform prior, with sensitivity 1: prevalence of a true effect *that this test
        finds*, a lower bound of that of any effect.

    Raises
    ------
    InputError
        For counts or a level that are impossible.

    References
    ----------
    .. [1] Ince, Paton, Kay and Schyns (2021), Bayesian inference of population prevalence,
       eLife 10:e62461.
    """
    if not (0 <= n_significant <= n_participants > 0 and 0 < alpha < 1):
        raise InputError(
            "prevalence", f"{n_significant} of {n_participants} participants at level {alpha}",
            "use counts of at least one participant and a level between 0 and 1",
        )
    rate = scipy.stats.beta(n_significant + 1, n_participants - n_significant + 1)
    below, missing = rate.cdf(alpha), rate.sf(alpha)
    mode = np.clip((n_significant / n_participants - alpha) / (1 - alpha), 0.0, 1.0)
    # The rate of significant results is alpha + (1 - alpha) * prevalence, truncated below alpha.
    shape = (n_significant + 2, n_participants - n_significant + 1)
    mean_rate = rate.mean() * scipy.stats.beta(*shape).sf(alpha) / missing
    low, high = _densest(rate, below, missing, float(alpha + (1 - alpha) * mode), alpha)
    limits = [(value - alpha) / (1 - alpha) for value in (mean_rate, low, high)]
    mean, low, high = (float(np.clip(value, 0.0, 1.0)) for value in limits)
    return BayesianPrevalence(
        n_significant, n_participants, alpha, float(mode), mean, low, high
    )


def _densest(
    rate: object, below: float, missing: float, mode: float, alpha: float
) -> tuple[float, float]:
    """Find the shortest interval of rates above alpha with 95 % of the truncated posterior."""
    def quantile(mass: float) -> float:
        return float(rate.ppf(np.clip(below + mass * missing, 0.0, 1.0)))

    if mode <= alpha:
        return alpha, quantile(LEVEL)
    if mode >= 1:
        return quantile(1 - LEVEL), 1.0

    def imbalance(mass: float) -> float:
        return float(rate.pdf(quantile(mass)) - rate.pdf(quantile(mass + LEVEL)))

    if imbalance(0.0) >= 0:
        return alpha, quantile(LEVEL)
    mass = brentq(imbalance, 0.0, 1 - LEVEL, xtol=1e-10)
    return quantile(mass), quantile(mass + LEVEL)


@dataclass(frozen=True)
class PermutationPrevalence:
    """Population inference from each participant's null distribution (minimum statistic).

    Parameters
    ----------
    p_global : float
        P-value of the null hypothesis that no participant has an effect.
    p_majority : float
        P-value of the null hypothesis that at most half of the population has one.
    largest_rejected : float
        Largest prevalence that can be rejected at *alpha*; NaN where the global null is not
        rejected.
    resolution : float
        Smallest possible ``p_global``.
    alpha : float
    """

    p_global: float
    p_majority: float
    largest_rejected: float
    resolution: float
    alpha: float


def permutation_prevalence(
    observed: np.ndarray, nulls: np.ndarray, *, n_draws: int = 10_000,
    rng: np.random.Generator, alpha: float = 0.05,
) -> PermutationPrevalence:
    """Test the global null and prevalence nulls by the minimum over participants [1]_.

    Parameters
    ----------
    observed : ndarray, shape (n_participants,)
        Scores; larger is better.
    nulls : ndarray, shape (n_participants, n_permutations)
        Scores of each participant under permutation, on the same scale.
    n_draws : int
        Combinations of the participants' permutations; the observed one is one of them.
    rng : numpy.random.Generator
    alpha : float

    Returns
    -------
    PermutationPrevalence

    Raises
    ------
    InputError
        For shapes that do not fit.

    References
    ----------
    .. [1] Allefeld, Görgen and Haynes (2016), NeuroImage 141:378; equations 11, 13 and 14.
    """
    observed, nulls = np.asarray(observed, np.float64), np.asarray(nulls, np.float64)
    if nulls.ndim != 2 or len(nulls) != len(observed) or not nulls.size:
        raise InputError(
            "prevalence", f"{observed.shape} observed scores, null scores {nulls.shape}",
            "pass one row of permutation scores for each participant",
        )
    n_people, n_permutations = nulls.shape
    # The observed labelling is the first of each participant's permutations.
    together = np.column_stack([observed, nulls])
    chosen = rng.integers(n_permutations + 1, size=(n_draws - 1, n_people))
    minima = together[np.arange(n_people), chosen].min(axis=1)
    p_global = permutation_p(float(observed.min()), minima)
    root = p_global ** (1 / n_people)
    rejected = np.nan
    if p_global <= alpha:
        level = alpha ** (1 / n_people)
        rejected = max(0.0, float((level - root) / (1 - root))) if root < 1 else 0.0
    majority = ((1 - 0.5) * root + 0.5) ** n_people
    return PermutationPrevalence(p_global, float(majority), rejected, 1 / n_draws, alpha)


@dataclass(frozen=True)
class GroupEffect:
    """A mean over participants with its interval, and the test that signs are exchangeable.

    Parameters
    ----------
    mean, ci_low, ci_high : float
        Student's t interval over participants.
    p : float
        Two-sided, by flipping signs.
    resolution : float
        Smallest possible p.
    n_participants : int
    """

    mean: float
    ci_low: float
    ci_high: float
    p: float
    resolution: float
    n_participants: int


def group_effect(
    values: np.ndarray, *, n_permutations: int, rng: np.random.Generator,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> GroupEffect:
    """Test a mean over participants against 0 by flipping signs.

    Parameters
    ----------
    values : ndarray, shape (n_participants,)
        One value each, for instance decoder minus baseline, or score minus its null mean.
    n_permutations : int
        Number of random flips; all possible ones are used with few participants.
    rng : numpy.random.Generator
    bounds : tuple of float
        Smallest and largest possible value.

    Returns
    -------
    GroupEffect
    """
    values = np.asarray(values, dtype=np.float64)
    n_people = len(values)
    if n_people <= MAX_EXACT:
        flips = (np.arange(2**n_people)[:, None] >> np.arange(n_people)) & 1
        means = np.abs((1 - 2 * flips) @ values) / n_people
        p = float((means >= abs(values.mean()) - 1e-12).mean())
        resolution = 2 / 2**n_people
    else:
        flips = rng.integers(2, size=(n_permutations, n_people))
        null = np.abs((1 - 2 * flips) @ values) / n_people
        p, resolution = permutation_p(float(abs(values.mean())), null), 1 / (1 + n_permutations)
    low, high = mean_interval(values, bounds)
    return GroupEffect(float(values.mean()), low, high, p, resolution, n_people)


def leave_one_out_means(values: np.ndarray) -> np.ndarray:
    """Compute the mean without each participant in turn.

    Parameters
    ----------
    values : ndarray, shape (n_participants,)
        At least two.

    Returns
    -------
    ndarray, shape (n_participants,)
    """
    values = np.asarray(values, dtype=np.float64)
    return (values.sum() - values) / (len(values) - 1)


@dataclass(frozen=True)
class Association:
    """Association of participants' scores with a group or a covariate.

    Parameters
    ----------
    value : float
        Difference of the means of two groups (second minus first), or slope per unit.
    t : float
        Statistic of the test.
    p : float
        Two-sided, by permutation.
    resolution : float
        Smallest possible p.
    n_participants : int
    """

    value: float
    t: float
    p: float
    resolution: float
    n_participants: int


def associate(
    scores: np.ndarray, variable: np.ndarray, *, n_permutations: int, rng: np.random.Generator,
    blocks: np.ndarray | None = None,
) -> Association:
    """Test whether scores differ with a group or a covariate, permuting within blocks.

    Parameters
    ----------
    scores : ndarray, shape (n_participants,)
    variable : ndarray, shape (n_participants,)
        0 and 1 for two groups, or a covariate.
    n_permutations : int
    rng : numpy.random.Generator
    blocks : ndarray of int, shape (n_participants,), optional
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
    scores, variable = np.asarray(scores, np.float64), np.asarray(variable, np.float64)
    if blocks is None:
        block = np.zeros(len(scores), int)
    else:
        block = np.unique(blocks, return_inverse=True)[1]
    outcome, cause = _within(scores, block), _within(variable, block)
    freedom = len(scores) - block.max() - 2
    if not outcome.any() or not cause.any() or freedom < 1:
        raise InputError(
            "test over participants", "scores or variable do not vary within blocks, or there "
            f"are too few participants ({len(scores)})",
            "include more participants, or use no blocks",
        )
    drawn = cause[permutations_within(block, n_permutations, rng)]
    products = np.append(cause[None], drawn, axis=0) @ outcome
    share = products / np.sqrt((cause @ cause) * (outcome @ outcome))
    t_values = share * np.sqrt(freedom / np.maximum(1 - share**2, 1e-12))
    return Association(
        float(products[0] / (cause @ cause)), float(t_values[0]),
        permutation_p(float(abs(t_values[0])), np.abs(t_values[1:])), 1 / (1 + n_permutations),
        len(scores),
    )


def _within(values: np.ndarray, block: np.ndarray) -> np.ndarray:
    means = np.bincount(block, weights=values) / np.bincount(block)
    centred = values - means[block]
    return np.where(np.abs(centred) < 1e-12, 0.0, centred)
