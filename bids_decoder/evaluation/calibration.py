"""Probabilities from the scores of a decoder, and how far they can be trusted.

Scores are multiplied by one number and passed through a softmax: temperature scaling [1]_. The
number maximises the likelihood of the right answers in trials that were held out of the fit of the
decoder. The right answers count a little less than certain, as in Platt's method [2]_, so that it
is finite where all of them have the highest score; how much less depends on the number of trials
only, so that many candidates do not make all answers improbable.

References
----------
.. [1] Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, ICML.
.. [2] Platt (1999), Probabilistic outputs for support vector machines, Advances in Large Margin
   Classifiers.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

N_BINS = 10
RELIABILITY_COLUMNS = {
    "bin": "Number of the bin; bins are of equal width from the chance of guessing to 1.",
    "n": "Number of trials whose highest probability is in the bin.",
    "confidence": "Mean of the highest probability of these trials.",
    "accuracy": "Share of them in which the most probable answer is right.",
}
_LIMITS = (-7.0, 7.0)


def fit_slope(scores: np.ndarray, true: np.ndarray) -> float:
    """Fit the number by which scores are multiplied (the inverse temperature).

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_candidates)
        Finite; of trials that were held out of the fit of the decoder.
    true : ndarray of int, shape (n_trials,)
        Column of the right answer.

    Returns
    -------
    float
        Positive. Where scores say nothing it is near zero, so that all answers are about equally
        probable.
    """
    size = float(scores.std()) or 1.0
    n_trials, n_candidates = scores.shape
    doubt = 1 / (n_trials + 2)
    trials = np.arange(n_trials)

    def loss(log_slope: float) -> float:
        log_p = log_softmax(np.exp(log_slope) / size * scores, axis=1)
        right = log_p[trials, true]
        others = log_p.sum(axis=1) - right
        return -float(np.mean((1 - doubt) * right + doubt / max(n_candidates - 1, 1) * others))

    return float(np.exp(minimize_scalar(loss, bounds=_LIMITS, method="bounded").x) / size)


def probabilities(scores: np.ndarray, slope: float) -> np.ndarray:
    """Return the probability of each candidate, (n_trials, n_candidates); rows sum to 1."""
    return softmax(slope * np.asarray(scores, dtype=np.float64), axis=1)


def cross_fitted(scores: np.ndarray, true: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return probabilities of held-out trials, each calibrated on the other groups.

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_candidates)
    true : ndarray of int, shape (n_trials,)
    groups : ndarray, shape (n_trials,)
        Runs or folds; at least two.

    Returns
    -------
    ndarray, shape (n_trials, n_candidates)

    Raises
    ------
    ValueError
        With one group.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError("calibration cannot be tested with one group of trials")
    found = np.empty(scores.shape)
    for name in names:
        test = groups == name
        found[test] = probabilities(scores[test], fit_slope(scores[~test], true[~test]))
    return found


def reliability(chances: np.ndarray, true: np.ndarray, n_bins: int = N_BINS) -> pd.DataFrame:
    """Compare the probability of the most probable answer with how often it is right.

    Parameters
    ----------
    chances : ndarray, shape (n_trials, n_candidates)
    true : ndarray of int, shape (n_trials,)
    n_bins : int

    Returns
    -------
    DataFrame
        One row per bin that holds trials; see :data:`RELIABILITY_COLUMNS`.
    """
    least, top = 1 / chances.shape[1], chances.max(axis=1)
    place = np.floor((top - least) / (1 - least) * n_bins).astype(int).clip(0, n_bins - 1)
    right = chances.argmax(axis=1) == true
    rows = [
        (number + 1, int(inside.sum()), float(top[inside].mean()), float(right[inside].mean()))
        for number in range(n_bins) if (inside := place == number).any()
    ]
    return pd.DataFrame(rows, columns=list(RELIABILITY_COLUMNS))


def expected_calibration_error(chances: np.ndarray, true: np.ndarray) -> float:
    """Return the mean distance of accuracy from confidence over trials, by bins; 0 to 1."""
    bins = reliability(chances, true)
    return float(np.average((bins["accuracy"] - bins["confidence"]).abs(), weights=bins["n"]))
