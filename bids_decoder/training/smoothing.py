"""Low-pass filters for voxel values, restricted to the mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from bids_decoder.training.diffusion import FWHM_PER_SD, Diffusion
from bids_decoder.trials import VoxelGrid

LOWPASS_VOXELS = 0.7 * FWHM_PER_SD
"""Default full width at half maximum of the low-pass filter, in voxels (sigma of 0.7 voxel)."""


def default_fwhm_mm(grid: VoxelGrid) -> float:
    """Return the default full width at half maximum of the low-pass filter, in mm.

    On a mesh, the length of edges is what a voxel is elsewhere.
    """
    if grid.mesh is not None:
        steps = np.diff(grid.coordinates[grid.edges], axis=1)[:, 0]
        return LOWPASS_VOXELS * float(np.linalg.norm(steps, axis=1).mean() if len(steps) else 1.0)
    return LOWPASS_VOXELS * float(grid.voxel_sizes.min())


def evidence_around(values: np.ndarray, grid: VoxelGrid, fwhm_mm: float) -> np.ndarray:
    """Sum evidence over each voxel's neighbourhood, with Gaussian weights (1 for the voxel itself).

    Parameters
    ----------
    values : ndarray, shape (n_voxels,)
        For instance log likelihoods.
    grid : VoxelGrid
        A grid without geometry has no neighbourhoods.
    fwhm_mm : float
        Full width at half maximum; 0 changes nothing.

    Returns
    -------
    ndarray, shape (n_voxels,)
        Near the edge of the mask, weights are normalised as for a full neighbourhood.
    """
    if fwhm_mm <= 0 or not grid.has_neighbours:
        return np.asarray(values)
    if grid.mesh is not None:
        # What the kernel, which sums to one, gives to the vertex itself: a kernel of half the
        # variance, applied twice.
        own = Diffusion(grid, fwhm_mm / np.sqrt(2)).spread() ** 2
        return smooth_within(values, grid, fwhm_mm) / own
    steps = np.arange(-4, 5)
    sigma = fwhm_mm / FWHM_PER_SD / grid.voxel_sizes
    weights = np.exp(-0.5 * (steps[:, None] / sigma) ** 2).sum(axis=0)
    return float(weights.prod()) * smooth_within(values, grid, fwhm_mm)


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
    if grid.mesh is not None:
        diffusion = Diffusion(grid, fwhm_mm)
        return lambda values: diffusion.smooth(np.asarray(values, float)[None])[0]
    sigma = fwhm_mm / FWHM_PER_SD / grid.voxel_sizes
    reach = np.maximum(gaussian_filter(grid.mask.astype(float), sigma, truncate=3), 1e-12)

    def smooth(values: np.ndarray) -> np.ndarray:
        volume = gaussian_filter(grid.to_volume(np.asarray(values, float)), sigma, truncate=3)
        return (volume / reach)[grid.mask]

    return smooth
