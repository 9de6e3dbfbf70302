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

import numpy as np

from bids_decoder.training.run_means import centre_runs

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
    responses, latents = _centred(betas, weight, run_groups)
    length = np.linalg.norm(latents, axis=0)
    unit = latents / np.where(length > 0, length, np.inf)
    return unit.T.astype(np.float32) @ responses / np.float32(np.sqrt(len(responses)))


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
    responses, latents = _centred(betas, weight, run_groups)
    basis, strengths, _ = np.linalg.svd(latents, full_matrices=False)
    basis = basis[:, strengths > TOLERANCE * max(strengths.max(initial=0), 1e-12)]
    energy = np.square(basis.T.astype(np.float32) @ responses).sum(axis=0)
    return np.sqrt(energy / max(len(responses), 1)).astype(np.float32)


def _centred(
    betas: np.ndarray, weight: np.ndarray, run_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    responses = centre_runs(np.asarray(betas, dtype=np.float32), run_groups)
    return responses, (responses @ np.asarray(weight, dtype=np.float32)).astype(np.float64)
