"""How much of each voxel's variance the targets explain, by marginal likelihood."""

from __future__ import annotations

import numpy as np

from bids_decoder.training.input_layer import centre_runs, degrees_of_freedom
from bids_decoder.training.smoothing import evidence_around
from bids_decoder.trials import Person

SIGNAL_SHARES = np.array([0, 0.003, 0.006, 0.012, 0.02, 0.035, 0.06, 0.1, 0.16, 0.25, 0.4])
"""Candidate shares of signal in the variance of a single trial's response."""

MIN_TRIALS_TO_SCORE = 8
"""With fewer trials no voxel can be told from another, and all are taken alike."""


def signal_shares(person: Person, wanted: np.ndarray, fwhm_mm: float) -> np.ndarray:
    """Estimate for each voxel the share of signal in a single trial's response.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
        Target of each trial.
    fwhm_mm : float
        Full width of the neighbourhood; 0 judges each voxel alone.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        Posterior mean under equal prior chances of :data:`SIGNAL_SHARES`.
    """
    return mean_shares(share_chances(person, wanted, fwhm_mm))


def share_evidence(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Give the log likelihood of each share of signal, for each voxel alone.

    A voxel's responses are taken as a random linear function of the targets plus noise.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)

    Returns
    -------
    ndarray, shape (n_shares, n_voxels)
        All zeros when there are fewer than :data:`MIN_TRIALS_TO_SCORE` trials.
    """
    if len(wanted) < MIN_TRIALS_TO_SCORE:
        return np.zeros((len(SIGNAL_SHARES), person.grid.n_voxels), dtype=np.float32)
    return log_evidence(person.betas, wanted, person.run_groups)


def share_chances(person: Person, wanted: np.ndarray, fwhm_mm: float) -> np.ndarray:
    """Give the posterior chance of each share under equal prior chances.

    Evidence is added up over the neighbourhood of each voxel, which is a composite likelihood:
    neighbours tend to have similar shares, whatever their tuning.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
    fwhm_mm : float
        Full width of the neighbourhood; 0 judges each voxel alone.

    Returns
    -------
    ndarray of float32, shape (n_shares, n_voxels)
    """
    evidence = share_evidence(person, wanted)
    total = np.stack([evidence_around(row, person.grid, fwhm_mm) for row in evidence])
    chances = np.exp(total - total.max(axis=0))
    return (chances / chances.sum(axis=0)).astype(np.float32)


def mean_shares(chances: np.ndarray) -> np.ndarray:
    """Give the mean share of each voxel, (n_voxels,), from chances (n_shares, n_voxels)."""
    return (SIGNAL_SHARES @ chances).astype(np.float32)


def log_evidence(betas: np.ndarray, wanted: np.ndarray, run_groups: np.ndarray) -> np.ndarray:
    """Give the log marginal likelihood of each candidate share, relative to no signal.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    wanted : ndarray, shape (n_trials, n_latents)
    run_groups : ndarray of str, shape (n_trials,)

    Returns
    -------
    ndarray, shape (n_shares, n_voxels)

    Notes
    -----
    With targets ``F`` of unit mean square and signal-to-noise ratio ``r``, responses of a voxel
    have covariance ``s2 (I + r F F')``; ``s2`` is set to its maximum likelihood value. This is
    the evidence of a Gaussian process with linear kernel (Rasmussen and Williams 2006, 5.4).
    """
    features = centre_runs(np.asarray(wanted, dtype=np.float64), run_groups)
    left, values, _ = np.linalg.svd(features, full_matrices=False)
    strengths = values**2 / max(np.mean((features**2).sum(axis=1)), 1e-12)
    kept = strengths > 1e-10 * max(strengths.max(initial=0), 1e-12)
    strengths, left = strengths[kept], left[:, kept]
    responses = centre_runs(np.asarray(betas, dtype=np.float32), run_groups)
    energies = (left.T.astype(np.float32) @ responses) ** 2
    total = np.einsum("tv,tv->v", responses, responses)
    freedom = degrees_of_freedom(run_groups)
    rest = np.maximum(total - energies.sum(axis=0), 1e-6 * total) + 1e-12
    rows = []
    for share in SIGNAL_SHARES:
        spread = 1 + share / (1 - share) * strengths
        noise = (1 / spread).astype(np.float32) @ energies + rest
        rows.append(-0.5 * (freedom * np.log(noise) + np.log(spread).sum()))
    return np.stack(rows) - rows[0]
