"""Bring responses from the voxels of one image to those of another one."""

from __future__ import annotations

import numpy as np

from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.trials import VoxelGrid

LEAST_SHARE = 0.5
"""Share of the weights of an interpolated voxel that must be voxels with responses."""


def transfer_responses(
    betas: np.ndarray, source: VoxelGrid, target: VoxelGrid, matrix: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate responses at the voxels of another grid.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_source)
    source, target : VoxelGrid
    matrix : ndarray, shape (4, 4), optional
        Points of *target* (mm) to points of *source* (mm), from
        :func:`~.registration.align_runs`. Without it both are the same grid, and nothing is
        interpolated.

    Returns
    -------
    values : ndarray of float32, shape (n_trials, n_target)
        NaN where there are no responses.
    covered : ndarray of bool, shape (n_target,)

    Raises
    ------
    ValueError
        Without *matrix*, when the grids differ.

    Notes
    -----
    Interpolation is linear. Voxels outside the mask of *source* have no weight.
    """
    if matrix is None:
        if not target.holds(source.mask.shape, source.affine):
            raise ValueError("responses on another grid need a transform")
        covered = source.mask[target.mask]
        values = np.full((len(betas), target.n_voxels), np.nan, dtype=np.float32)
        values[:, covered] = betas[:, target.mask[source.mask]]
        return values, covered
    grid = Grid(target.mask.shape, target.affine)

    def at_target(volume: np.ndarray) -> np.ndarray:
        found = resample_volume(volume, source.affine, grid, matrix, order=1)
        return np.asarray(found[target.mask], dtype=np.float32)

    weight = at_target(source.mask.astype(np.float32))
    covered = weight >= LEAST_SHARE
    values = np.full((len(betas), target.n_voxels), np.nan, dtype=np.float32)
    for row, one in enumerate(betas):
        # One trial at a time: beta series of all trials on the grid may not fit into memory.
        sums = at_target(source.to_volume(np.asarray(one, dtype=np.float32)))
        values[row, covered] = sums[covered] / weight[covered]
    return values, covered
