"""Principal components of many rows, with a few of them in double precision at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_BLOCK = 1024


class Components(NamedTuple):
    """Principal components.

    Parameters
    ----------
    mean : ndarray of float64, shape (n_dims,)
    axes : ndarray of float64, shape (n_components, n_dims)
        Orthonormal rows, the strongest first; the largest element of each is positive.
    shares : ndarray of float64, shape (n_components,)
        Share of the variance along each of them.
    """

    mean: np.ndarray
    axes: np.ndarray
    shares: np.ndarray


def principal_components(rows: np.ndarray, least_share: float = 1e-12) -> Components:
    """Compute principal components from the smaller one of both matrices of products.

    Parameters
    ----------
    rows : ndarray, shape (n_rows, n_dims)
    least_share : float
        Components with this share of the variance or less are left out: beyond the rank they are
        arbitrary directions, which the squares in double precision do not tell from 0.

    Returns
    -------
    Components
        Memory beyond that of *rows* and of the components is the square of the smaller side.
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    few = len(rows) <= rows.shape[1]
    products = np.zeros(2 * (min(rows.shape),))
    for start in range(0, max(rows.shape), _BLOCK):
        if few:
            part = (rows[:, start:start + _BLOCK] - mean[start:start + _BLOCK]).T
        else:
            part = rows[start:start + _BLOCK] - mean
        products += part.T @ part
    values, vectors = np.linalg.eigh(products)
    shares = values[::-1] / max(float(np.trace(products)), 1e-300)
    kept = shares > least_share
    shares, axes = shares[kept], vectors[:, ::-1][:, kept].T
    if few:
        axes = (axes @ rows - (axes @ np.ones(len(rows)))[:, None] * mean) / np.sqrt(
            values[::-1][kept]
        )[:, None]
    top = np.abs(axes).argmax(axis=1)
    return Components(mean, axes * np.sign(axes[np.arange(len(axes)), top])[:, None], shares)
