"""Weights of voxels in the input layer, computed from training trials."""

from __future__ import annotations

import numpy as np

from bids_decoder.evaluation.encoding import encoding_scores
from bids_decoder.glm.reliability import enough_repeats, split_half_reliability
from bids_decoder.training.episodes import VoxelWeighting
from bids_decoder.training.signal import MIN_TRIALS_TO_SCORE, signal_shares
from bids_decoder.training.smoothing import default_fwhm_mm, smooth_within
from bids_decoder.trials import Person


def shrink_scores(scores: np.ndarray, n_trials: int) -> np.ndarray:
    """Shrink correlations towards their mean, by the share of their variance due to chance.

    Parameters
    ----------
    scores : ndarray, shape (n_voxels,)
        Cross-validated correlations.
    n_trials : int
        Trials of each correlation; the variance under the null is about ``1 / (n_trials - 1)``.

    Returns
    -------
    ndarray, shape (n_voxels,)
        Posterior means under a normal prior over voxels (empirical Bayes). With few trials
        all voxels have nearly the same value.
    """
    spread = float(np.var(scores))
    trust = np.clip(1 - 1 / max(n_trials - 1, 1) / max(spread, 1e-12), 0, 1)
    return scores.mean() + trust * (scores - scores.mean())


def soft_weights(scores: np.ndarray) -> np.ndarray:
    """Convert scores, (n_voxels,), to prior scales: their positive part, or ones if none is."""
    weights = np.maximum(scores, 0).astype(np.float32)
    return weights if weights.any() else np.ones_like(weights)


def signal_weights(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Compute prior scales from the shares of signal in training trials.

    Parameters
    ----------
    person : Person
    wanted : ndarray, shape (n_trials, n_latents)

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
    """
    return signal_shares(person, wanted, default_fwhm_mm(person.grid))


def encoding_weights(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Compute prior scales from cross-validated encoding scores; see :func:`signal_weights`."""
    return soft_weights(filtered_encoding_scores(person, wanted, default_fwhm_mm(person.grid)))


def reliability_weights(person: Person, wanted: np.ndarray) -> np.ndarray | None:
    """Compute prior scales from the split-half reliability over repeated stimuli.

    Returns
    -------
    ndarray of float32, shape (n_voxels,), or None
        None, which stands for equal weights, with fewer than three repeated stimuli.
    """
    if not enough_repeats(person.target_rows):
        return None
    scores = split_half_reliability(person.betas, person.target_rows)
    return soft_weights(smooth_within(scores, person.grid, default_fwhm_mm(person.grid)))


WEIGHTINGS: dict[str, VoxelWeighting] = {
    "signal": signal_weights,
    "encoding": encoding_weights,
    "reliability": reliability_weights,
    "all": lambda person, wanted: None,
}
"""Value of ``source_voxels`` -> function that weights the voxels of a source participant."""


def filtered_encoding_scores(person: Person, wanted: np.ndarray, fwhm_mm: float) -> np.ndarray:
    """Compute cross-validated encoding correlations, shrunken, then low-pass filtered.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
    fwhm_mm : float
        Full width at half maximum of the filter in millimetres.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        Zeros with fewer than :data:`.signal.MIN_TRIALS_TO_SCORE` trials.
    """
    if len(wanted) < MIN_TRIALS_TO_SCORE:
        return np.zeros(person.grid.n_voxels, dtype=np.float32)
    scores = encoding_scores(person.betas, wanted, person.run_groups)
    shrunk = shrink_scores(scores, len(wanted))
    return smooth_within(shrunk, person.grid, fwhm_mm).astype(np.float32)
