"""Resampling between the voxels of a participant and volumes on a common grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import nibabel as nib
import numpy as np
import scipy.sparse

from bids_decoder.errors import InputError
from bids_decoder.trials import VoxelGrid

_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Frame:
    """Grid of the input volumes of a network.

    Parameters
    ----------
    shape : tuple of int
        (i, j, k), axes to the right, anterior and superior.
    affine : ndarray, shape (4, 4)
        Voxel indices to millimetres.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))


def common_frame(grids: Iterable[VoxelGrid]) -> Frame:
    """Compute the smallest frame that contains the voxels of all participants.

    Parameters
    ----------
    grids : iterable of VoxelGrid
        The first one determines voxel size and axes, reoriented to RAS+.

    Returns
    -------
    Frame

    Raises
    ------
    InputError
        If the voxels of a grid have no positions in space.
    """
    low = high = affine = None
    for grid in grids:
        if not grid.has_geometry:
            raise InputError(
                "voxel grid", f"shape {grid.mask.shape}: the voxels have no positions in a volume",
                "decode with --decoder troi, which needs no positions",
            )
        if affine is None:
            affine = _turned(grid)
        places = _places(grid.coordinates, affine)
        low = places.min(axis=0) if low is None else np.minimum(low, places.min(axis=0))
        high = places.max(axis=0) if high is None else np.maximum(high, places.max(axis=0))
    if affine is None:
        raise InputError("voxel grids", "none were given", "give at least one participant")
    first, last = np.floor(low + _TOLERANCE).astype(int), np.ceil(high - _TOLERANCE).astype(int)
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ first
    return Frame(tuple(int(n) for n in last - first + 1), shifted)


def _turned(grid: VoxelGrid) -> np.ndarray:
    """Return the affine of the grid with its axes reoriented to RAS+."""
    turn = nib.orientations.io_orientation(grid.affine)
    return grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.mask.shape)


def _places(coordinates: np.ndarray, affine: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(affine)
    return coordinates @ inverse[:3, :3].T + inverse[:3, 3]


def sampling(grid: VoxelGrid, frame: Frame) -> scipy.sparse.csr_matrix:
    """Build the matrix of trilinear interpolation from a participant's voxels to the frame.

    Parameters
    ----------
    grid : VoxelGrid
    frame : Frame

    Returns
    -------
    scipy.sparse.csr_matrix, shape (frame.n_voxels, grid.n_voxels)
        Voxels outside the mask count as 0, the mean of z-scored responses. If the grids
        coincide, voxels are copied. The transpose maps back to voxels and preserves sums.
    """
    indices = np.indices(frame.shape).reshape(3, -1).T
    coordinates = indices @ frame.affine[:3, :3].T + frame.affine[:3, 3]
    places = _places(coordinates, grid.affine)
    near = np.abs(places - places.round()) < _TOLERANCE
    places = np.where(near, places.round(), places)
    number = np.full(grid.mask.shape, -1)
    number[grid.mask] = np.arange(grid.n_voxels)
    corner = np.floor(places).astype(int)
    part = places - corner
    rows, columns, weights = [], [], []
    for step in product((0, 1), repeat=3):
        place = corner + step
        weight = np.where(np.array(step) == 1, part, 1 - part).prod(axis=1)
        inside = ((place >= 0) & (place < grid.mask.shape)).all(axis=1) & (weight > 0)
        found = number[tuple(place[inside].T)]
        known = found >= 0
        rows.append(np.flatnonzero(inside)[known])
        columns.append(found[known])
        weights.append(weight[inside][known])
    return scipy.sparse.csr_matrix(
        (np.concatenate(weights).astype(np.float32),
         (np.concatenate(rows), np.concatenate(columns))),
        shape=(frame.n_voxels, grid.n_voxels),
    )


def to_volumes(betas: np.ndarray, grid: VoxelGrid, frame: Frame) -> np.ndarray:
    """Resample voxel values to volumes.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    grid : VoxelGrid
    frame : Frame

    Returns
    -------
    ndarray of float32, shape (n_trials, i, j, k)
    """
    values = sampling(grid, frame) @ np.asarray(betas, dtype=np.float32).T
    return np.ascontiguousarray(values.T).reshape(len(betas), *frame.shape)


def share_inside(grid: VoxelGrid, frame: Frame) -> float:
    """Compute the share of a participant's voxels inside the frame."""
    weights = sampling(grid, frame)
    return float((np.diff(weights.tocsc().indptr) > 0).mean())


def to_voxels(maps: np.ndarray, grid: VoxelGrid, frame: Frame) -> np.ndarray:
    """Map volumes (n, i, j, k) back to a participant's voxels, (n, n_voxels).

    Sums are preserved, except for values outside the participant's mask.
    """
    return np.asarray(maps, dtype=np.float32).reshape(len(maps), -1) @ sampling(grid, frame)
