"""Maps over participants: means, selected voxels, and tests by flipping signs.

Tests are corrected over voxels by the maximum statistic, of t and after threshold-free cluster
enhancement (:mod:`.tfce`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import ndtri, stdtr

from bids_decoder.evaluation.search_maps import corrected_p
from bids_decoder.evaluation.tfce import enhance_clusters
from bids_decoder.trials import VoxelGrid

N_PERMUTATIONS = 1_000

N_ENHANCED = 128
"""Flips of which maps are enhanced, which takes up to a second for a whole brain."""

LARGEST_Z = 8.0
"""t of few participants may be of any size; thresholds end here."""


@dataclass(frozen=True, eq=False)
class FlippedMap:
    """A map tested by flipping the signs of participants.

    Parameters
    ----------
    statistic : ndarray of float32, shape (n_voxels,)
        0 where some participant has no value.
    log_p : ndarray, shape (n_voxels,)
        Minus log10 of the p-value, corrected over voxels by the maximum statistic.
    resolution : float
        Smallest possible p-value.
    """

    statistic: np.ndarray
    log_p: np.ndarray
    resolution: float


def flip_signs(values: np.ndarray, seed: int) -> FlippedMap:
    """Test which voxels exceed 0 over participants [1]_.

    Parameters
    ----------
    values : ndarray, shape (n_participants, n_voxels)
        NaN where a participant has no value; such voxels are not tested.
    seed : int

    Returns
    -------
    FlippedMap
        One-sided, corrected for the family of voxels. As a test of information it rejects that
        *no* participant has any; it says nothing of how many have.

    References
    ----------
    .. [1] Nichols and Holmes (2002), Nonparametric permutation tests for functional neuroimaging,
       Human Brain Mapping 15:1.
    """
    from nilearn.mass_univariate import permuted_ols

    n_people = len(values)
    tested = np.isfinite(values).all(axis=0) & (np.ptp(values, axis=0) > 0)
    t, log_p = np.zeros(values.shape[1], np.float32), np.zeros(values.shape[1], np.float32)
    if tested.any():
        # The only regressor is constant, so that nilearn flips signs.
        found = permuted_ols(
            np.ones((n_people, 1)), values[:, tested], model_intercept=False,
            n_perm=N_PERMUTATIONS, two_sided_test=False, random_state=seed, n_jobs=1, verbose=0,
            output_type="dict",
        )
        t[tested], log_p[tested] = found["t"][0], found["logp_max_t"][0]
    return FlippedMap(t, log_p, max(1 / (1 + N_PERMUTATIONS), 0.5**n_people))


def flip_enhanced(values: np.ndarray, grid: VoxelGrid, seed: int) -> FlippedMap:
    """Test which voxels exceed 0 over participants, after cluster enhancement [1]_.

    t is brought to the scale of z before, because t of few participants has heavy tails. All
    arrangements of signs are used where there are no more than :data:`N_ENHANCED`.

    Parameters
    ----------
    values : ndarray, shape (n_participants, n_voxels)
        NaN where a participant has no value; such voxels are not tested.
    grid : VoxelGrid
        Of these voxels.
    seed : int

    Returns
    -------
    FlippedMap
        One-sided. What it rejects is that of :func:`flip_signs`.

    References
    ----------
    .. [1] Smith and Nichols (2009), Threshold-free cluster enhancement, NeuroImage 44:83.
    """
    n_people = len(values)
    tested = np.isfinite(values).all(axis=0) & (np.ptp(values, axis=0) > 0)
    if not tested.any():
        return FlippedMap(*np.zeros((2, values.shape[1]), np.float32), 1.0)
    if 2**n_people <= N_ENHANCED:
        signs = np.array(list(product((1.0, -1.0), repeat=n_people)))
    else:
        drawn = np.random.default_rng(seed).choice((1.0, -1.0), (N_ENHANCED, n_people))
        signs = np.vstack([np.ones(n_people), drawn])
    chosen = values[:, tested].astype(np.float64)
    squares = (chosen**2).sum(axis=0)

    def enhance(one: np.ndarray) -> np.ndarray:
        found = np.zeros(values.shape[1])
        found[tested] = _positive_z(one @ chosen / n_people, squares, n_people)
        return enhance_clusters(found, grid)

    # The first signs are the true ones.
    observed = enhance(signs[0])
    largest = np.array([enhance(one).max() for one in signs[1:]])
    p = corrected_p(observed, largest, 1e-9 * float(observed.max()))
    log_p = np.where(observed > 0, -np.log10(p), 0.0)
    resolution = max(1 / len(signs), 0.5**n_people)
    return FlippedMap(observed.astype(np.float32), log_p.astype(np.float32), resolution)


def _positive_z(mean: np.ndarray, squares: np.ndarray, n_people: int) -> np.ndarray:
    """Return z of the p-values of positive t, 0 for others, from means and sums of squares."""
    variance = np.maximum(squares / n_people - mean**2, 0.0) / (n_people - 1)
    t = mean / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    return np.where(t > 0, np.minimum(-ndtri(stdtr(n_people - 1, -np.abs(t))), LARGEST_Z), 0.0)


def share_selected(masks: np.ndarray, level: float = 0.0) -> np.ndarray:
    """Return the share of participants who selected each voxel.

    Parameters
    ----------
    masks : ndarray, shape (n_participants, n_voxels)
        Above *level* where a voxel was selected; may be NaN elsewhere.
    level : float

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
    """
    return (np.asarray(masks) > level).mean(axis=0).astype(np.float32)
