"""Reconstruction of coarse pictures from voxels by ridge regression."""

from __future__ import annotations

import numpy as np

from bids_decoder.evaluation.baselines import ridge_predict
from bids_decoder.evaluation.folds import assert_no_test
from bids_decoder.trials import Person

MAX_COMPONENTS = 256


def paint_pictures(
    train: Person, voxel_weights: np.ndarray, pictures: np.ndarray, picture_rows: np.ndarray,
    betas: np.ndarray,
) -> np.ndarray:
    """Reconstruct the pictures that were seen.

    Ridge regression predicts the principal components of the training pictures from the
    decoder's voxels, with the penalty of each component cross-validated over training runs.
    Components that cannot be predicted stay at the mean of the training pictures.

    Parameters
    ----------
    train : Person
        Training trials only.
    voxel_weights : ndarray, shape (n_voxels,)
        Prior scale of each voxel's weights; zero leaves a voxel out.
    pictures : ndarray of float32, shape (n_pictures, size, size, 3)
        Training pictures, sRGB in [0, 1].
    picture_rows : ndarray of int, shape (n_trials,)
        Picture of each training trial.
    betas : ndarray, shape (n, n_voxels)
        Responses to reconstruct from, scaled as those of *train*.

    Returns
    -------
    ndarray of float32, shape (n, size, size, 3)
        sRGB in [0, 1].

    Raises
    ------
    LeakageError
        If a trial of *train* is not a training trial.
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    left, values, right = np.linalg.svd(flat - mean, full_matrices=False)
    n_kept = min(MAX_COMPONENTS, int((values > values.max(initial=0.0) * 1e-6).sum()))
    if n_kept == 0:
        painted = np.tile(mean, (len(betas), 1))
        return painted.reshape(-1, *pictures.shape[1:]).astype(np.float32)
    scores = left[:, :n_kept] * values[:n_kept]
    used = np.flatnonzero(voxel_weights)
    scale = voxel_weights[used]
    predicted = ridge_predict(
        train.betas[:, used] * scale, scores[picture_rows], betas[:, used] * scale,
        train.run_groups,
    )
    painted = np.clip(predicted @ right[:n_kept] + mean, 0, 1)
    return painted.reshape(-1, *pictures.shape[1:]).astype(np.float32)
