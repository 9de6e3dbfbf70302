"""Means of rows that belong together: of a run, of a condition, of a stimulus."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array


def averages(member: np.ndarray) -> csr_array:
    """Return the matrix that averages rows with the same number.

    Parameters
    ----------
    member : ndarray of int, shape (n_rows,)
        From 0; rows of a number that does not occur are zero.

    Returns
    -------
    csr_array of float64, shape (n_means, n_rows)
        Sparse: a full one would grow with the square of a dataset, and ``np.add.at`` takes ten
        times as long.
    """
    n_rows = len(member)
    shape = (int(np.max(member, initial=-1)) + 1, n_rows)
    return csr_array((1 / np.bincount(member)[member], (member, np.arange(n_rows))), shape)


def average_rows(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Average rows with the same number.

    Parameters
    ----------
    values : ndarray of float, shape (n_rows, ...)
    member : ndarray of int, shape (n_rows,)
        From 0, without gaps.

    Returns
    -------
    ndarray, shape (n_means, ...)
        In the precision of *values*.
    """
    found = averages(member).astype(values.dtype) @ values.reshape(len(values), -1)
    return found.reshape(-1, *values.shape[1:])
