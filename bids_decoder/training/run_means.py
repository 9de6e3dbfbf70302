"""Means of runs, which are subtracted from responses and targets."""

from __future__ import annotations

import numpy as np
from scipy.linalg import helmert

from bids_decoder.averages import average_rows, averages

_BLOCK = 1024

MIN_TRIALS_PER_OFFSET = 4
"""If a run has fewer trials, whose mean would be mostly noise, all trials share one mean."""


def centre_runs(values: np.ndarray, run_groups: np.ndarray) -> np.ndarray:
    """Subtract the mean of each run, or the mean of all trials if a run is very short.

    Parameters
    ----------
    values : ndarray of float, shape (n_trials, ...)
    run_groups : ndarray of str, shape (n_trials,)

    Returns
    -------
    ndarray, shape and precision of *values*
    """
    values, member = np.asarray(values), run_members(run_groups)[0]
    return values - average_rows(values, member)[member]


def centre_products(products: np.ndarray, run_groups: np.ndarray) -> None:
    """Turn inner products of trials into those without the means of runs, in place.

    Parameters
    ----------
    products : ndarray of float64, shape (n_trials, n_trials)
        Symmetric; changed.
    run_groups : ndarray of str, shape (n_trials,)
    """
    member = run_members(run_groups)[0]
    weights = averages(member)
    means = weights @ products
    both = means @ weights.T
    for start in range(0, len(products), _BLOCK):
        rows = slice(start, start + _BLOCK)
        products[rows] -= means[member[rows]]
        products[rows] -= means[:, rows].T[:, member]
        products[rows] += both[member[rows]][:, member]


def degrees_of_freedom(run_groups: np.ndarray) -> int:
    """Return the number of trials minus that of the means subtracted by :func:`centre_runs`."""
    return max(1, len(run_groups) - len(run_members(run_groups)[1]))


def run_contrasts(run_groups: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of what :func:`centre_runs` leaves, (n_trials, freedom).

    Helmert contrasts within runs, or of all trials if a run is very short; see
    :func:`degrees_of_freedom`.
    """
    member, counts = run_members(run_groups)
    basis, start = np.zeros((len(member), degrees_of_freedom(run_groups))), 0
    for number, count in enumerate(counts):
        rows, columns = np.flatnonzero(member == number), np.arange(start, start + count - 1)
        basis[np.ix_(rows, columns)] = helmert(count).T
        start += count - 1
    return basis


def run_members(run_groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the mean of each trial, and the trials of each mean.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)

    Returns
    -------
    member : ndarray of int, shape (n_trials,)
    counts : ndarray of int, shape (n_means,)
    """
    member, counts = np.unique(run_groups, return_inverse=True, return_counts=True)[1:]
    if counts.min() < MIN_TRIALS_PER_OFFSET:
        return np.zeros(len(run_groups), dtype=int), np.array([len(run_groups)])
    return member, counts
