"""Low-pass filters for voxel values, restricted to the mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bids_decoder.grids.base import FWHM_PER_SD
from bids_decoder.trials import VoxelGrid

LOWPASS_VOXELS = 0.7 * FWHM_PER_SD
"""Default full width at half maximum of the low-pass filter, in voxels (sigma of 0.7 voxel)."""


def default_fwhm_mm(grid: VoxelGrid) -> float:
    """Return the default full width at half maximum of the low-pass filter, in mm.

    On a mesh, the length of edges is what a voxel is elsewhere.
    """
    return LOWPASS_VOXELS * grid.geometry.spacing_mm


def evidence_around(values: np.ndarray, grid: VoxelGrid, fwhm_mm: float) -> np.ndarray:
    """Sum evidence over each voxel's neighbourhood, with Gaussian weights (1 for the voxel itself).

    Parameters
    ----------
    values : ndarray, shape (n_maps, n_voxels)
        For instance log likelihoods.
    grid : VoxelGrid
        A grid without geometry has no neighbourhoods.
    fwhm_mm : float
        Full width at half maximum; 0 changes nothing.

    Returns
    -------
    ndarray, shape (n_maps, n_voxels)
        Near the edge of the mask, weights are normalised as for a full neighbourhood.
    """
    if fwhm_mm <= 0 or not grid.has_neighbours:
        return np.asarray(values)
    return grid.geometry.kernel(fwhm_mm).total(np.asarray(values))


def smooth_within(values: np.ndarray, grid: VoxelGrid, fwhm_mm: float) -> np.ndarray:
    """Smooth voxel values with a Gaussian normalised inside the mask, ``G*(v) / G*(mask)``.

    Parameters
    ----------
    values : ndarray, shape (n_voxels,)
    grid : VoxelGrid
        A grid without geometry is not smoothed.
    fwhm_mm : float
        Full width at half maximum; 0 changes nothing.

    Returns
    -------
    ndarray, shape (n_voxels,)
    """
    return smoother_within(grid, fwhm_mm)(values)


def smoother_within(grid: VoxelGrid, fwhm_mm: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return :func:`smooth_within` for many maps on one grid, for which it is prepared once.

    Parameters
    ----------
    grid : VoxelGrid
    fwhm_mm : float

    Returns
    -------
    callable
        Of values, shape (n_voxels,).
    """
    if fwhm_mm <= 0 or not grid.has_neighbours:
        return np.asarray
    return grid.geometry.kernel(fwhm_mm).mean
