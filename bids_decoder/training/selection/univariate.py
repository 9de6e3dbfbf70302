"""Voxel selectors that score each voxel in closed form, without low-pass filter."""

from __future__ import annotations

import numpy as np

from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.selection.task import Selection, SelectionTask
from bids_decoder.training.selectors import select_top

N_COMPONENTS = 20
"""Number of principal components of the targets in the F test, if rank and trials allow."""


def select_univariate(task: SelectionTask) -> Selection:
    """Select the voxels whose responses depend most on the targets, by F test."""
    return select_top(task, f_scores(task.person.betas, task.wanted), "top F value of each voxel")


def select_ridge_norm(task: SelectionTask) -> Selection:
    """Select the voxels with the longest rows of a ridge input layer."""
    person = task.person
    fit = fit_input_layer(person.betas, task.wanted, person.run_groups)
    return select_top(task, np.linalg.norm(fit.weight, axis=1), "top row norm of ridge")


def f_scores(
    betas: np.ndarray, wanted: np.ndarray, chunk: int = 8192
) -> np.ndarray:
    """Compute the F value of the regression of each voxel on leading components of the targets.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        Responses of training trials.
    wanted : ndarray, shape (n_trials, n_dims)
        Targets. With up to ``N_COMPONENTS + 1`` categories this is a one-way analysis of
        variance.
    chunk : int
        Number of voxels processed together.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        0 for constant voxels.
    """
    left, values, _ = np.linalg.svd(wanted - wanted.mean(axis=0), full_matrices=False)
    rank = int((values > values.max() * 1e-5).sum())
    n_used = max(1, min(N_COMPONENTS, rank, len(wanted) // 2))
    basis = left[:, :n_used].astype(np.float64)
    freedom = len(wanted) - n_used - 1
    scores = np.zeros(betas.shape[1], dtype=np.float32)
    for start in range(0, betas.shape[1], chunk):
        part = np.asarray(betas[:, start:start + chunk], dtype=np.float64)
        total = ((part - part.mean(axis=0)) ** 2).sum(axis=0)
        explained = ((basis.T @ part) ** 2).sum(axis=0)
        rest = np.maximum(total - explained, 1e-12 * total)
        ratio = np.divide(explained, rest, out=np.zeros_like(total), where=rest > 0)
        scores[start:start + chunk] = ratio * freedom / n_used
    return scores
