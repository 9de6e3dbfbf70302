"""Reliability of responses to repeated stimuli."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_decoder.averages import average_rows
from bids_decoder.glm.base import TrialRun
from bids_decoder.glm.hrf import Hrf
from bids_decoder.glm.onoff import explained_variance
from bids_decoder.glm.repeats import MIN_CONDITIONS, occurrence

REPEATED = "reliability and noise ceiling over repeats of {}"
"""Note in the sidecars of maps: of ``stimuli``, or of ``labels`` where no stimuli repeat."""


def repeated(conditions: np.ndarray) -> np.ndarray:
    """Return which trials have a condition that occurs at least twice, shape (n_trials,)."""
    _, codes, counts = np.unique(conditions, return_inverse=True, return_counts=True)
    return counts[codes] > 1


def enough_repeats(conditions: np.ndarray) -> bool:
    """Return whether at least three conditions occur at least twice."""
    return len(np.unique(conditions[repeated(conditions)])) >= MIN_CONDITIONS


def split_half_reliability(betas: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Compute the correlation of condition means over odd and even repeats, for each voxel.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        Training trials in order of time; best z-scored per session.
    conditions : ndarray of str, shape (n_trials,)
        Conditions that occur once are left out; see :func:`enough_repeats`.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        Pearson correlation over conditions, without correction for length; zero where a half
        does not vary.
    """
    rows = repeated(conditions)
    odd = occurrence(conditions[rows]) % 2 == 0
    codes = np.unique(conditions[rows], return_inverse=True)[1]
    values = np.asarray(betas[rows], dtype=np.float64)
    halves = [average_rows(values[half], codes[half]) for half in (odd, ~odd)]
    first, second = (half - half.mean(axis=0) for half in halves)
    scale = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    joint = (first * second).sum(axis=0)
    return np.divide(joint, scale, out=np.zeros_like(joint), where=scale > 0).astype(np.float32)


def noise_ceiling(
    betas: np.ndarray, conditions: np.ndarray, n_averaged: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the noise ceiling signal-to-noise ratio and the noise ceiling of each voxel.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        Training trials, z-scored per session.
    conditions : ndarray of str, shape (n_trials,)
    n_averaged : int
        Number of trials that are averaged when the ceiling is applied.

    Returns
    -------
    ncsnr : ndarray of float32, shape (n_voxels,)
        Standard deviation of signal over that of noise.
    ceiling : ndarray of float32, shape (n_voxels,)
        Percent of variance that the best model could explain.

    Notes
    -----
    Allen et al. 2022, Nature Neuroscience 25:116: the noise variance is the variance across
    repeats, averaged over conditions by degrees of freedom; the signal variance is what
    remains of the total, not below zero.
    """
    rows = repeated(conditions)
    values = np.asarray(betas[rows], dtype=np.float64)
    names, codes = np.unique(conditions[rows], return_inverse=True)
    within = values - average_rows(values, codes)[codes]
    noise = (within**2).sum(axis=0) / max(len(values) - len(names), 1)
    signal = np.maximum(values.var(axis=0, ddof=1) - noise, 0.0)
    alive = noise > 0
    ratio = np.divide(signal, noise, out=np.zeros_like(signal), where=alive)
    ceiling = 100 * ratio / (ratio + 1 / n_averaged)
    return np.sqrt(ratio).astype(np.float32), ceiling.astype(np.float32)


def rsquare(runs: Sequence[TrialRun], hrf: Hrf, chunk_voxels: int = 5000) -> np.ndarray:
    """Compute the variance that the training trials explain with one height per voxel.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        See :func:`bids_decoder.glm.onoff.explained_variance`.
    """
    return explained_variance(runs, [hrf], chunk_voxels)[0]
