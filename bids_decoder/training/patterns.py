"""Activation patterns of linear decoders: what the weights of a decoder cannot show.

The weights of a linear decoder also depend on the noise: a voxel without any signal has a large
weight when it helps to cancel the noise of others. Where signal is, the activation pattern
shows: how the responses of each voxel vary with the decoded variables [1]_.

References
----------
.. [1] Haufe, Meinecke, Görgen, Dähne, Haynes, Blankertz and Bießmann (2014), On the interpretation
   of weight vectors of linear models in multivariate neuroimaging, NeuroImage 87:96.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bids_decoder.training.run_means import centre_runs

_VALUES = 1 << 24  # responses that are copied at a time

TOLERANCE = 1e-6
"""Smallest singular value of the latents that counts, relative to the largest."""


def activation_patterns(
    betas: np.ndarray, weight: np.ndarray, run_groups: np.ndarray
) -> np.ndarray:
    """Compute the activation pattern of each latent by itself, as of decoders of one against rest.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        Responses of training trials.
    weight : ndarray, shape (n_voxels, n_latents)
        Latents are ``betas @ weight``.
    run_groups : ndarray of str, shape (n_trials,)
        Means of runs are subtracted, as in the fit of the weights.

    Returns
    -------
    ndarray of float32, shape (n_latents, n_voxels)
        Change of each voxel's response, in units of *betas*, with a change of the latent by one
        standard deviation: ``cov(betas, latent) / sd(latent)``; zero for latents that do not
        vary. Voxels with zero weight have a pattern too.
    """
    latents = _centred_latents(betas, weight, run_groups)
    length = np.linalg.norm(latents, axis=0)
    unit = latents / np.where(length > 0, length, np.inf)
    loads = np.hstack(list(_loads(unit, betas, run_groups)))
    return loads / np.float32(np.sqrt(len(betas)))


def explained_sd(betas: np.ndarray, weight: np.ndarray, run_groups: np.ndarray) -> np.ndarray:
    """Compute the standard deviation of each voxel's responses that varies with all latents.

    Parameters
    ----------
    betas, weight, run_groups
        As in :func:`activation_patterns`.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        Length of a voxel's pattern in the metric of the covariance of the latents: it stays the
        same when the latents are rotated, scaled or mixed. With k latents and n trials, voxels
        without signal have about ``sqrt(k / n)`` of their standard deviation.
    """
    latents = _centred_latents(betas, weight, run_groups)
    basis, strengths, _ = np.linalg.svd(latents, full_matrices=False)
    basis = basis[:, strengths > TOLERANCE * max(strengths.max(initial=0), 1e-12)]
    energy = np.concatenate([
        np.square(part).sum(axis=0) for part in _loads(basis, betas, run_groups)
    ])
    return np.sqrt(energy / max(len(betas), 1)).astype(np.float32)


def _centred_latents(
    betas: np.ndarray, weight: np.ndarray, run_groups: np.ndarray
) -> np.ndarray:
    single = np.asarray(betas, dtype=np.float32) @ np.asarray(weight, dtype=np.float32)
    return centre_runs(single.astype(np.float64), run_groups)


def _loads(basis: np.ndarray, betas: np.ndarray, run_groups: np.ndarray) -> Iterator[np.ndarray]:
    """Yield products (n_columns, n) of *basis* (n_trials, n_columns) and a part of the voxels."""
    single, block = basis.T.astype(np.float32), max(1, _VALUES // len(betas))
    for start in range(0, betas.shape[1], block):
        part = np.asarray(betas[:, start:start + block], dtype=np.float32)
        yield single @ centre_runs(part, run_groups)
