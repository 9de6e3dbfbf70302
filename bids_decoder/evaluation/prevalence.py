"""Inference on the population: prevalence, and effects over participants.

A t-test of accuracies against chance shows that *some* participants carry information, because no
participant's true accuracy is below chance [1]_. Prevalence is the share of the population that
carries information.

References
----------
.. [1] Allefeld, Görgen and Haynes (2016), Valid population inference for information-based
   imaging, NeuroImage 141:378.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from scipy.optimize import brentq

from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import LEVEL, mean_interval
from bids_decoder.evaluation.statistics import ALPHA, permutation_p

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
    n_significant: int, n_participants: int, alpha: float = ALPHA
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
    low, high = _densest(rate, below, missing, float(mode), alpha)
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

    if mode >= 1:
        return quantile(1 - LEVEL), 1.0

    def imbalance(mass: float) -> float:
        return float(rate.pdf(quantile(mass)) - rate.pdf(quantile(mass + LEVEL)))

    if imbalance(0.0) >= 0:  # the mode is near alpha, or at it
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
    resolution, resolution_majority : float
        Smallest possible ``p_global`` and ``p_majority``.
    alpha : float
    """

    p_global: float
    p_majority: float
    largest_rejected: float
    resolution: float
    resolution_majority: float
    alpha: float


def permutation_prevalence(
    observed: np.ndarray, nulls: Sequence[np.ndarray], *, alpha: float = ALPHA
) -> PermutationPrevalence:
    """Test the global null and prevalence nulls by the minimum over participants [1]_.

    Parameters
    ----------
    observed : ndarray, shape (n_participants,)
        Scores; larger is better.
    nulls : sequence of ndarray, each (n_permutations,)
        Scores of each participant under permutation, on the same scale. Their number may differ.
    alpha : float

    Returns
    -------
    PermutationPrevalence

    Raises
    ------
    InputError
        For shapes that do not fit.

    Notes
    -----
    The published procedure draws combinations of the participants' permutations. As these are drawn
    independently, the probability that the smallest of them reaches the smallest observed score
    is a product over participants, which is computed here.

    References
    ----------
    .. [1] Allefeld, Görgen and Haynes (2016), NeuroImage 141:378; equations 11, 13 and 14.
    """
    observed, n_people = np.asarray(observed, np.float64), len(observed)
    if len(nulls) != n_people or not n_people or not all(len(null) for null in nulls):
        raise InputError(
            "prevalence", f"{n_people} observed scores, {len(nulls)} null distributions",
            "pass the permutation scores of each participant",
        )
    smallest = float(observed.min())
    # The observed labelling is one of each participant's permutations.
    reached = [permutation_p(smallest, null) for null in nulls]
    p_global = float(np.prod(reached))
    rejected = np.nan
    if p_global <= alpha:
        root, level = p_global ** (1 / n_people), alpha ** (1 / n_people)
        rejected = max(0.0, float((level - root) / (1 - root)))
    least = float(np.prod([1 / (1 + len(null)) for null in nulls]))
    return PermutationPrevalence(
        p_global, _majority(p_global, n_people), rejected, least, _majority(least, n_people), alpha
    )


def _majority(p_global: float, n_people: int) -> float:
    """Return the p-value of a prevalence of at most one half (equation 13)."""
    return float((0.5 * p_global ** (1 / n_people) + 0.5) ** n_people)


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
