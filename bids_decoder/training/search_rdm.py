"""Models of crossnobis distances in a sphere around every voxel [1]_.

Distances are those of :mod:`bids_decoder.evaluation.dissimilarity`: mean responses of each
condition in each run, whitened by the covariance of the residuals, which is shrunk towards its
diagonal by an intensity that is estimated in each sphere. Products of residuals are computed once
for a block of neighbouring spheres; what is left for a sphere is one Cholesky factorisation.

References
----------
.. [1] Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis - connecting
   the branches of systems neuroscience, Front Syst Neurosci 2:4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, solve_triangular

from bids_decoder.evaluation.dissimilarity import Design, vectorise
from bids_decoder.evaluation.rdm_models import correlate_orders
from bids_decoder.training.spheres import Block, Spheres


def search_distances(
    betas: np.ndarray, design: Design, spheres: Spheres
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Measure the distances of all conditions in every sphere.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    design : Design
        Which trials are averaged.
    spheres : Spheres

    Yields
    ------
    centres : ndarray of int, shape (n_spheres,)
    distances : ndarray, shape (n_spheres, n_conditions, n_conditions)
        Crossnobis, per voxel; those of
        :func:`~bids_decoder.evaluation.dissimilarity.measure_geometry` in the voxels of the sphere.
    shrinkage : ndarray, shape (n_spheres,)
    """
    for block in spheres.blocks():
        means, residuals = design.whiten(betas[:, block.voxels].astype(np.float64))
        products = residuals.T @ residuals
        shrinkage = _shrinkage(design, block, products, residuals**2)
        distances = [
            _distances(design, means[:, inside], products[np.ix_(inside, inside)], weight)
            for inside, weight in zip(map(np.flatnonzero, block.members), shrinkage, strict=True)
        ]
        yield block.centres, np.stack(distances), shrinkage


def _shrinkage(
    design: Design, block: Block, products: np.ndarray, squares: np.ndarray
) -> np.ndarray:
    """Estimate the shrinkage of every sphere from sums over its pairs of voxels."""
    members = block.members.astype(np.float64)
    pairs = np.einsum("sv,sv->s", members @ products**2, members)
    own = members @ np.diagonal(products) ** 2
    fourth = ((members @ squares.T) ** 2).sum(axis=1) - members @ (squares**2).sum(axis=0)
    return design.shrinkage(pairs - own, fourth)


def _distances(
    design: Design, means: np.ndarray, products: np.ndarray, shrinkage: float
) -> np.ndarray:
    """Return the distances in one sphere."""
    if shrinkage < 1:
        products *= (1 - shrinkage) / design.freedom
        products.flat[::len(products) + 1] += shrinkage
        factor = cho_factor(products, lower=True, overwrite_a=True, check_finite=False)[0]
        means = solve_triangular(factor, means.T, lower=True, check_finite=False).T
    return design.geometry(means @ means.T / means.shape[1], shrinkage).distances()


def search_models(
    betas: np.ndarray,
    design: Design,
    spheres: Spheres,
    models: np.ndarray,
    orders: Sequence[np.ndarray],
    values: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Correlate models with the distances in every sphere, also with conditions exchanged.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    design : Design
        Which trials are averaged; every two conditions are together in two runs or more.
    spheres : Spheres
    models : ndarray, shape (n_models, n_conditions, n_conditions)
    orders : sequence of ndarray of int, each of shape (n_conditions,)
        Of the conditions, the same for all spheres, so that their dependence is kept.
    values : ndarray, shape (n_models, 1 + n_orders, n_voxels)
        Filled with whitened correlations; may be memory-mapped. 0 in spheres without distances,
        where all voxels are constant.
    progress : callable, optional
        Called with (spheres done, spheres in all).

    Returns
    -------
    dict
        JSON-able: ``shrinkage``, the median over spheres; ``n_empty``, the number of spheres
        without distances; ``residuals``, what noise is.
    """
    shrinkage, n_empty, done = np.empty(spheres.grid.n_voxels), 0, 0
    for centres, distances, weights in search_distances(betas, design, spheres):
        found = correlate_orders(models, vectorise(distances), orders)
        is_empty = np.isnan(found[0]).all(axis=0)
        values[:, :, centres] = np.where(is_empty, 0, found).transpose(1, 0, 2)
        shrinkage[centres] = weights
        n_empty += int(is_empty.sum())
        done += len(centres)
        if progress is not None:
            progress(done, spheres.grid.n_voxels)
    return {
        "shrinkage": float(np.median(shrinkage)), "n_empty": n_empty,
        "residuals": design.residuals,
    }
