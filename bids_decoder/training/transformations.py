"""Transformations between the voxels of participants, and spaces that they share.

All are estimated from responses to the same targets: an orthogonal transformation (Procrustes
[1]_), the deterministic shared response model (SRM [2]_), or optimal transport [3]_.

References
----------
.. [1] Haxby et al. (2011), A common, high-dimensional model of the representational space in human
   ventral temporal cortex, Neuron 72:404.
.. [2] Chen et al. (2015), A reduced-dimension fMRI shared response model, NeurIPS 28.
.. [3] Bazeille et al. (2019), Local optimal transport for functional brain template estimation,
   Information Processing in Medical Imaging (IPMI) 26:237.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

N_FEATURES, N_ITERATIONS = 50, 10
"""Largest number of dimensions of the shared space, and updates of it; those of BrainIAK."""

TOLERANCE = 1e-6
"""Singular values below this share of the largest are noise of the arithmetic."""

REGULARISATION, N_UPDATES, STOP = 0.01, 1000, 1e-7
"""Of optimal transport, relative to the largest cost; those of fmralign."""


class Procrustes(NamedTuple):
    """An orthogonal transformation with a scale.

    Parameters
    ----------
    rotation : ndarray, shape (n_source_dims, n_target_dims)
        Zero outside the span of the responses it was estimated from.
    scale : float
    """

    rotation: np.ndarray
    scale: float

    def apply(self, betas: np.ndarray) -> np.ndarray:
        """Bring trials (n_trials, n_source_dims) to the dimensions of the target."""
        return self.scale * betas @ self.rotation


def fit_procrustes(source: np.ndarray, target: np.ndarray) -> Procrustes:
    """Estimate the orthogonal transformation and the scale that bring *source* to *target*.

    Parameters
    ----------
    source : ndarray, shape (n_shared, n_source_dims)
    target : ndarray, shape (n_shared, n_target_dims)
        Responses to the same targets.

    Returns
    -------
    Procrustes
        Minimises ``||scale * source @ rotation - target||``.
    """
    left, values, right = np.linalg.svd(source.T @ target, full_matrices=False)
    kept = values > TOLERANCE * values.max(initial=0.0)
    power = np.square(source).sum()
    scale = float(values[kept].sum() / power) if power > 0 else 0.0
    return Procrustes(left[:, kept] @ right[kept], scale)


def fit_srm(
    responses: Sequence[np.ndarray], n_features: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Fit the deterministic shared response model.

    Parameters
    ----------
    responses : sequence of ndarray, shape (n_shared, n_dims)
        Of the participants, to the same targets.
    n_features : int
        Dimensions of the shared space.

    Returns
    -------
    weights : list of ndarray, shape (n_dims, n_features)
        Orthonormal columns, by participant.
    shared : ndarray, shape (n_shared, n_features)
        Shared responses; they start as the principal components of all participants' responses, so
        that no random start is needed.
    """
    left, values, _ = np.linalg.svd(np.hstack(responses), full_matrices=False)
    shared = left[:, :n_features] * values[:n_features]
    weights: list[np.ndarray] = []
    for _ in range(N_ITERATIONS):
        weights = [fit_weights(one, shared) for one in responses]
        shared = np.mean([one @ w for one, w in zip(responses, weights, strict=True)], axis=0)
    return weights, shared


def fit_weights(responses: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Return the orthonormal weights of a participant in a shared space, (n_dims, n_features).

    Parameters
    ----------
    responses : ndarray, shape (n_shared, n_dims)
    shared : ndarray, shape (n_shared, n_features)
    """
    left, _, right = np.linalg.svd(responses.T @ shared, full_matrices=False)
    return left @ right


def fit_transport(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Estimate which voxels of *target* the voxels of *source* correspond to.

    Parameters
    ----------
    source : ndarray, shape (n_shared, n_source_voxels)
    target : ndarray, shape (n_shared, n_target_voxels)
        Responses to the same targets.

    Returns
    -------
    ndarray, shape (n_source_voxels, n_target_voxels)
        Weights of the source voxels in each target voxel; columns sum to 1. They are the plan that
        carries equal masses from voxel to voxel at the least squared difference of responses,
        smoothed by entropy (:data:`REGULARISATION`), and computed with POT.
    """
    import ot

    cost = ot.dist(source.T, target.T)
    cost /= cost.max() or 1.0
    # Costs are at most 1, so that the kernel, at least exp(-100), is far from underflow.
    plan = ot.sinkhorn(
        np.full(len(cost), 1 / len(cost)), np.full(cost.shape[1], 1 / cost.shape[1]), cost,
        REGULARISATION, numItermax=N_UPDATES, stopThr=STOP, warn=False,
    )
    # Exactly, also where the number of updates ended before convergence.
    return plan / plan.sum(axis=0)
