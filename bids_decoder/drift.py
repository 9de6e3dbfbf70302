"""Values of neighbouring trials that resemble each other."""

from __future__ import annotations

import numpy as np

SIGNIFICANT = 1.645
"""Standard errors above which values are taken for slow; few do so in random order, where the
exchange of series is valid, too."""


def neighbour_correlation(values: np.ndarray, run_of: np.ndarray) -> float:
    """Compute the correlation of each trial with the next one of its run, deviations from runs.

    Parameters
    ----------
    values : ndarray, shape (n_trials,)
        In order of time within each run.
    run_of : ndarray of int, shape (n_trials,)

    Returns
    -------
    float
        0 where nothing varies within runs.
    """
    order = np.argsort(run_of, kind="stable")
    values, run_of = values[order], run_of[order]
    rest = values - (np.bincount(run_of, values) / np.bincount(run_of))[run_of]
    same, size = np.diff(run_of) == 0, float((rest**2).mean())
    if not same.any() or size <= 0:
        return 0.0
    return float((rest[1:] * rest[:-1])[same].mean() / size)


def are_slow(values: np.ndarray, run_of: np.ndarray) -> bool:
    """Return whether neighbouring trials have more similar values than in random order.

    Parameters
    ----------
    values : ndarray, shape (n_trials, n_columns)
        In order of time within each run. One slow column is enough.
    run_of : ndarray of int, shape (n_trials,)
    """
    sizes = np.bincount(run_of)
    n_pairs = int((sizes - 1).clip(min=0).sum())
    if n_pairs < 2:
        return False
    # Deviations from the mean of a run are correlated by -1 / (its trials - 1) in random order.
    expected = -1 / max(len(run_of) / len(sizes) - 1, 1)
    limit = expected + SIGNIFICANT / np.sqrt(n_pairs)
    return any(neighbour_correlation(column, run_of) > limit for column in values.T)
