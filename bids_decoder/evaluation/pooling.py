"""Means over participants: random effects, bootstrap, and what to expect of one more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from scipy.optimize import brentq

from bids_decoder.evaluation.intervals import LEVEL, mean_interval

N_RESAMPLES = 9_999


@dataclass(frozen=True)
class Pooled:
    """A mean over participants.

    Parameters
    ----------
    mean, ci_low, ci_high : float
        With its interval; NaN limits for a single participant.
    error : float
        Standard error of the mean.
    sd_between : float
        Standard deviation of the true scores between participants; where their own errors are
        unknown, of the measured ones.
    method : str
    n_participants : int
    """

    mean: float
    ci_low: float
    ci_high: float
    error: float
    sd_between: float
    method: str
    n_participants: int


def random_effects(
    values: np.ndarray, errors: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Pooled:
    """Estimate the mean of the population from scores that are themselves uncertain.

    Parameters
    ----------
    values : ndarray, shape (n_participants,)
    errors : ndarray, shape (n_participants,)
        Standard error of each participant's score. Where one is unknown, all participants count
        alike and the interval is Student's t.
    bounds : tuple of float
        Smallest and largest possible value.

    Returns
    -------
    Pooled
        The variance between participants is that of Paule and Mandel [1]_; the interval that of
        Knapp and Hartung, never narrower than with the weights taken as known [2]_.

    References
    ----------
    .. [1] Paule and Mandel (1982), Journal of Research of the NBS 87:377.
    .. [2] Knapp and Hartung (2003), Statistics in Medicine 22:2693.
    """
    values, errors = np.asarray(values, np.float64), np.asarray(errors, np.float64)
    n_people = len(values)
    if not (errors > 0).all() or n_people < 2:
        low, high = (_finite(limit) for limit in mean_interval(values, bounds))
        spread = float(values.std(ddof=1)) if n_people > 1 else np.nan
        error = spread / np.sqrt(n_people)
        return Pooled(float(values.mean()), low, high, error, spread, "Student's t", n_people)
    variance = _between(values, errors)
    weights = 1 / (errors**2 + variance)
    mean = float(weights @ values / weights.sum())
    error = float(1 / np.sqrt(weights.sum()))
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, n_people - 1)) * error
    return Pooled(
        mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]), error,
        float(np.sqrt(variance)), "random effects (Paule-Mandel, Knapp-Hartung)", n_people,
    )


def _between(values: np.ndarray, errors: np.ndarray) -> float:
    """Return the variance between participants that explains their scatter."""
    freedom = len(values) - 1

    def excess(variance: float) -> float:
        weights = 1 / (errors**2 + variance)
        mean = weights @ values / weights.sum()
        return float(weights @ (values - mean) ** 2 - freedom)

    if excess(0.0) <= 0:
        return 0.0
    # At this variance every squared deviation is divided by more than their sum.
    largest = float(np.square(values - values.mean()).sum())
    return float(brentq(excess, 0.0, largest, xtol=1e-12))


def new_participant(pooled: Pooled, bounds: tuple[float, float]) -> tuple[float, float]:
    """Compute the 95 % limits of the true score of one more participant [1]_.

    Parameters
    ----------
    pooled : Pooled
    bounds : tuple of float
        Smallest and largest possible value.

    Returns
    -------
    low, high : float
        NaN with fewer than three participants, or where all scores are equal.

    References
    ----------
    .. [1] Higgins, Thompson and Spiegelhalter (2009), Journal of the Royal Statistical Society A
       172:137.
    """
    freedom = pooled.n_participants - 2
    spread = np.hypot(pooled.error, pooled.sd_between)
    if freedom < 1 or not spread > 0:
        return np.nan, np.nan
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * spread)
    return max(pooled.mean - half, bounds[0]), min(pooled.mean + half, bounds[1])


def bootstrap_interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Compute the 95 % limits of a mean by drawing participants with replacement (BCa).

    Parameters
    ----------
    values : ndarray, shape (n_participants,)
    rng : numpy.random.Generator

    Returns
    -------
    low, high : float
        NaN where all participants have the same value: there is nothing to draw from.
    """
    values = np.asarray(values, np.float64)
    if np.ptp(values) < 1e-12:
        return np.nan, np.nan
    found = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=N_RESAMPLES, confidence_level=LEVEL, method="BCa", rng=rng,
    ).confidence_interval
    return float(found.low), float(found.high)


def _finite(limit: float) -> float:
    return float(limit) if np.isfinite(limit) else np.nan
