"""Share of each voxel's variance that the targets explain, by marginal likelihood."""

from __future__ import annotations

import numpy as np

from bids_decoder.training.run_means import centre_runs, degrees_of_freedom
from bids_decoder.training.smoothing import evidence_around
from bids_decoder.trials import Person

SIGNAL_SHARES = np.array([0, 0.003, 0.006, 0.012, 0.02, 0.035, 0.06, 0.1, 0.16, 0.25, 0.4])
"""Candidate shares of signal in the variance of single-trial responses."""

_VALUES = 1 << 23
"""Responses of which copies in double precision are made at a time."""

_LEAST_REST = 1e-6
"""Least share of a voxel's variance that is taken as noise."""

MIN_TRIALS_TO_SCORE = 8
"""With fewer trials voxels are not scored, and all are treated equally."""


def signal_shares(
    person: Person, wanted: np.ndarray, fwhm_mm: float, prior: np.ndarray | None = None
) -> np.ndarray:
    """Estimate the share of signal in the variance of each voxel's single-trial responses.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
        Target of each trial.
    fwhm_mm : float
        Full width at half maximum of the neighbourhood; with 0 the voxels are independent.
    prior : ndarray, shape (n_shares,), optional
        Prior probabilities of :data:`SIGNAL_SHARES`, above zero; by default they are equal.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        Posterior mean.
    """
    return mean_shares(share_chances(person, wanted, fwhm_mm, prior))


def share_evidence(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Compute the log likelihood of each share of signal, for independent voxels.

    The responses of a voxel are modelled as a random linear function of the targets plus noise.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (..., n_trials, n_latents)
        One or more sets of targets.

    Returns
    -------
    ndarray, shape (..., n_shares, n_voxels)
        Zeros with fewer than :data:`MIN_TRIALS_TO_SCORE` trials.
    """
    if len(person.betas) < MIN_TRIALS_TO_SCORE:
        return np.zeros((*wanted.shape[:-2], len(SIGNAL_SHARES), person.grid.n_voxels))
    return log_evidence(person.betas, wanted, person.run_groups)


def share_chances(
    person: Person, wanted: np.ndarray, fwhm_mm: float, prior: np.ndarray | None = None
) -> np.ndarray:
    """Compute the posterior probability of each share.

    Evidence is summed over the neighbourhood of each voxel (a composite likelihood), because
    neighbours tend to have similar shares, whatever their tuning. Voxels that do not vary have no
    signal, and tell their neighbours nothing.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
    fwhm_mm : float
        Full width at half maximum of the neighbourhood; with 0 the voxels are independent.
    prior : ndarray, shape (n_shares,), optional
        As for :func:`signal_shares`.

    Returns
    -------
    ndarray of float32, shape (n_shares, n_voxels)
    """
    evidence = share_evidence(person, wanted)
    flat = ~varies(person.betas)
    evidence[:, flat] = 0
    total = evidence_around(evidence, person.grid, fwhm_mm)
    if prior is not None:
        total = total + np.log(prior)[:, None]
    total[1:, flat] = -np.inf
    chances = np.exp(total - total.max(axis=0))
    return (chances / chances.sum(axis=0)).astype(np.float32)


def varies(betas: np.ndarray) -> np.ndarray:
    """Return which voxels vary over trials: (n_trials, n_voxels) to bool (n_voxels,).

    Those outside the field of view do not, in responses that are z-scored.
    """
    return np.ptp(betas, axis=0) > 0


def mean_shares(chances: np.ndarray) -> np.ndarray:
    """Compute mean shares (..., n_voxels) from probabilities (..., n_shares, n_voxels)."""
    return SIGNAL_SHARES.astype(np.float32) @ chances


def log_evidence(betas: np.ndarray, wanted: np.ndarray, run_groups: np.ndarray) -> np.ndarray:
    """Compute the log marginal likelihood of each candidate share, relative to no signal.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    wanted : ndarray, shape (..., n_trials, n_latents)
        One or more sets of targets.
    run_groups : ndarray of str, shape (n_trials,)

    Returns
    -------
    ndarray of float32, shape (..., n_shares, n_voxels)

    Notes
    -----
    With targets ``F`` of unit mean square and signal-to-noise ratio ``r``, responses of a voxel
    have covariance ``s2 (I + r F F')``; ``s2`` is set to its maximum likelihood value. This is
    the evidence of a Gaussian process with linear kernel (Rasmussen and Williams 2006, 5.4).
    """
    trials_first = np.moveaxis(np.asarray(wanted, dtype=np.float64), -2, 0)
    features = np.moveaxis(centre_runs(trials_first, run_groups), 0, -2)
    mean_square = np.maximum((features**2).sum(axis=(-1, -2)) / features.shape[-2], 1e-12)
    values, turned = np.linalg.eigh(np.swapaxes(features, -1, -2) @ features)
    strengths = values / mean_square[..., None]
    strongest = np.maximum(strengths.max(axis=-1, initial=0, keepdims=True), 1e-12)
    strengths = np.where(strengths > 1e-10 * strongest, strengths, 0.0)
    lengths = np.where(strengths > 0, np.sqrt(np.maximum(values, 1e-300)), np.inf)
    axes = np.swapaxes(features @ (turned / lengths[..., None, :]), -1, -2)
    block = max(1, _VALUES // len(betas))
    explained = np.concatenate([
        _explained(axes, betas[:, start:start + block], run_groups)
        for start in range(0, betas.shape[1], block)
    ], axis=-1)
    # In single precision from here on, by far the longest part for many sets of targets.
    spread = 1 + (SIGNAL_SHARES / (1 - SIGNAL_SHARES))[:, None] * strengths[..., None, :]
    evidence = (1 / spread - 1).astype(np.float32) @ explained
    # Near 0 log1p has more correct digits, of values that do not matter, and takes 4 times as long.
    evidence += 1
    np.log(np.maximum(evidence, _LEAST_REST, out=evidence), out=evidence)
    evidence *= -0.5 * degrees_of_freedom(run_groups)
    evidence -= 0.5 * np.log(spread).sum(axis=-1, keepdims=True).astype(np.float32)
    return evidence


def _explained(axes: np.ndarray, betas: np.ndarray, run_groups: np.ndarray) -> np.ndarray:
    """Return the share of each axis (..., n_axes, n_trials) in the variance of some voxels."""
    responses = centre_runs(np.asarray(betas, dtype=np.float32), run_groups)
    total = np.einsum("tv,tv->v", responses, responses, dtype=np.float64) + 1e-12
    responses /= np.sqrt(total).astype(np.float32)
    shares = axes.astype(np.float32).reshape(-1, len(responses)) @ responses
    np.minimum(np.square(shares, out=shares), 1.0, out=shares)
    return shares.reshape(*axes.shape[:-1], -1)
