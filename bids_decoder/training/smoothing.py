"""Low-pass filter for voxel scores that stays inside the mask."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from bids_decoder.trials import VoxelGrid

FWHM_PER_SD = 2.3548200450309493


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
    if fwhm_mm <= 0 or not grid.has_geometry:
        return np.asarray(values)
    sigma = fwhm_mm / FWHM_PER_SD / grid.voxel_sizes
    smooth = gaussian_filter(grid.to_volume(np.asarray(values, float)), sigma, truncate=3)
    reach = gaussian_filter(grid.mask.astype(float), sigma, truncate=3)
    return (smooth / np.maximum(reach, 1e-12))[grid.mask]
