"""How well predictions identify their own targets among others."""

from __future__ import annotations

import numpy as np

_BLOCK = 2048  # predictions whose cosines are computed together
_LEAST = 1e-30  # spread of predictions that are zero


def identifiability(predicted: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Measure how well each prediction identifies its own target among all targets.

    Parameters
    ----------
    predicted, wanted : ndarray, shape (n, d)

    Returns
    -------
    ndarray, shape (n,)
        Cosine with the own target, as z-score over the cosines with all targets. Unlike the
        plain cosine it does not favour predictions that are shrunk to a few strong dimensions.
    """
    return standing_out(predicted, unit_rows(wanted))


def standing_out(predicted: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Measure as :func:`identifiability` does, among targets of unit length (n, d)."""
    parts = []
    for start in range(0, len(predicted), _BLOCK):
        # Cosines times the length of the prediction, of which the z-score does not depend.
        products = predicted[start:start + _BLOCK] @ directions.T
        products -= products.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.einsum("nt,nt->n", products, products) / products.shape[1])
        parts.append(np.diagonal(products, start) / np.maximum(spread, _LEAST))
    return np.concatenate(parts)


def distinctness(
    predicted: np.ndarray, rows: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """Measure how well predictions identify their own targets among those that occur.

    Parameters
    ----------
    predicted : ndarray, shape (n, d)
    rows : ndarray of int, shape (n,)
        Row of each prediction's own target; all rows that occur are candidates.
    vectors : ndarray, shape (n_ids, d)

    Returns
    -------
    ndarray, shape (n,)
        :func:`identifiability`, with every candidate counted once.
    """
    names, own = np.unique(rows, return_inverse=True)
    candidates = unit_rows(vectors[names]).T
    parts = []
    for start in range(0, len(predicted), _BLOCK):
        cosines = unit_rows(predicted[start:start + _BLOCK]) @ candidates
        mine = cosines[np.arange(len(cosines)), own[start:start + _BLOCK]]
        spread = np.maximum(cosines.std(axis=1), 1e-12)
        parts.append((mine - cosines.mean(axis=1)) / spread)
    return np.concatenate(parts)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale each row to unit length, (n, d)."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def row_cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Compute the cosine of each row of *left* with the same row of *right*, both (n, d)."""
    return (unit_rows(left) * unit_rows(right)).sum(axis=1)
