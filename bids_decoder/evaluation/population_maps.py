"""Maps over participants: means, selected voxels, and a test with the maximum statistic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_PERMUTATIONS = 1_000


@dataclass(frozen=True, eq=False)
class FlippedMap:
    """A map tested by flipping the signs of participants.

    Parameters
    ----------
    t : ndarray, shape (n_voxels,)
        0 where some participant has no value.
    log_p : ndarray, shape (n_voxels,)
        Minus log10 of the p-value, corrected over voxels by the maximum statistic.
    resolution : float
        Smallest possible p-value.
    """

    t: np.ndarray
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


def share_selected(masks: np.ndarray) -> np.ndarray:
    """Return the share of participants who selected each voxel.

    Parameters
    ----------
    masks : ndarray, shape (n_participants, n_voxels)
        Above 0 where a voxel was selected; may be NaN elsewhere.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
    """
    return (np.asarray(masks) > 0).mean(axis=0).astype(np.float32)
