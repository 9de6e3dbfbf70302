"""Grids of voxels of released responses: from masks, coordinates, or none."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.released.base import Responses, Stored
from bids_decoder.released.files import Shape, reading
from bids_decoder.trials import VoxelGrid

REGULAR = 0.05
"""Share of a voxel by which coordinates may be off a regular grid."""

MAX_GRID = 50_000_000
"""Voxels of a grid above which coordinates are taken not to be on one."""


def without_positions(parts: tuple[Stored, ...], shape: Shape, n_voxels: int = 0) -> Responses:
    """Return responses whose voxels have no known position.

    Parameters
    ----------
    parts : tuple of Stored
    shape : Shape
        Of the first array.
    n_voxels : int
        Of all arrays together; by default that of the first one.
    """
    count = n_voxels or shape.n_voxels
    grid = VoxelGrid(np.ones((count, 1, 1), dtype=bool), np.eye(4))
    return Responses(parts, np.arange(shape.n_trials), np.arange(count), grid)


def read_mask(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a mask; voxels above 0 are in it.

    Returns
    -------
    mask : ndarray of bool, shape (i, j, k)
    affine : ndarray, shape (4, 4)

    Raises
    ------
    MissingInputError, InputError
        When it is absent, damaged, empty, or no volume.
    """
    if not path.is_file():
        raise MissingInputError(str(path), "there is no such file", "fetch or copy it")
    mask, affine = read_map(path) > 0, np.asarray(nib.load(path).affine)
    if mask.ndim != 3 or not mask.any():
        raise InputError(
            str(path), f"shape {mask.shape}, {int(mask.sum())} voxels above 0",
            "give a 3-D mask that is not empty",
        )
    return mask, affine


def read_map(path: Path) -> np.ndarray:
    """Read the values of an image, in their own shape.

    Raises
    ------
    InputError
        When it is damaged.
    """
    with reading(path):
        return np.asarray(nib.load(path).dataobj)


def of_volumes(
    stored: Stored, shape: Shape, mask: np.ndarray, affine: np.ndarray, mask_name: str
) -> Responses:
    """Return responses stored as volumes, of the voxels in a mask.

    Parameters
    ----------
    stored : Stored
    shape : Shape
        Of *stored*.
    mask : ndarray of bool, shape (i, j, k)
    affine : ndarray, shape (4, 4)
        Of the mask: voxel indices to millimetres.
    mask_name : str
        For messages.

    Raises
    ------
    InputError
        When mask and volumes differ in shape.
    """
    if mask.shape != shape.space:
        flipped = mask.shape == shape.space[::-1]
        raise InputError(
            str(stored), f"volumes of {shape.space} voxels, but {mask_name} has {mask.shape}"
            + (": the axes seem to be in reversed order" if flipped else ""),
            "give a mask on the grid of the responses",
        )
    grid = VoxelGrid(mask, affine)
    return Responses(
        (stored,), np.arange(shape.n_trials), np.flatnonzero(mask.ravel()), grid
    )


def of_masked(
    parts: tuple[Stored, ...], shape: Shape, mask: np.ndarray, affine: np.ndarray, mask_name: str
) -> Responses:
    """Return responses stored in a row per trial, whose voxels are those of a mask in C order.

    Parameters
    ----------
    parts : tuple of Stored
        Files of the same trials.
    shape, mask, affine, mask_name
        As for :func:`of_volumes`.

    Raises
    ------
    InputError
        When the mask has another number of voxels.
    """
    if int(mask.sum()) != shape.n_voxels:
        raise InputError(
            str(parts[0]), f"{shape.n_voxels} voxels, but {mask_name} has {int(mask.sum())}",
            "give the mask with which the responses were made",
        )
    return Responses(
        parts, np.arange(shape.n_trials), np.arange(shape.n_voxels), VoxelGrid(mask, affine)
    )


def of_coordinates(
    parts: tuple[Stored, ...], shape: Shape, places: np.ndarray, source: str
) -> Responses:
    """Return responses whose voxels have coordinates.

    Parameters
    ----------
    parts : tuple of Stored
    shape : Shape
    places : ndarray, shape (n_voxels, 3)
        Millimetres, or indices of voxels, along the axes of a regular grid.
    source : str
        File of the coordinates, for messages.

    Raises
    ------
    InputError
        When they are not on a regular grid, or their number is another one.
    """
    places = np.asarray(places, dtype=float)
    if places.shape != (shape.n_voxels, 3):
        raise InputError(
            source, f"shape {places.shape}; expected ({shape.n_voxels}, 3), one row per voxel "
            f"of {parts[0]}", "give the coordinates of these voxels: x, y and z",
        )
    sizes = np.array([_step(column) for column in places.T])
    steps = (places - places.min(axis=0)) / sizes
    indices = np.rint(steps).astype(int)
    extent = indices.max(axis=0) + 1
    off_grid = not np.isfinite(places).all() or np.abs(steps - indices).max() > REGULAR
    if off_grid or len(np.unique(indices, axis=0)) < len(indices) or np.prod(extent) > MAX_GRID:
        raise InputError(
            source, "the coordinates are not those of different voxels of one regular grid",
            "give indices of voxels, or leave the file out: then voxels have no positions",
        )
    mask = np.zeros(tuple(extent), dtype=bool)
    mask[tuple(indices.T)] = True
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = places.min(axis=0)
    columns = np.argsort(np.ravel_multi_index(tuple(indices.T), mask.shape))
    return Responses(parts, np.arange(shape.n_trials), columns, VoxelGrid(mask, affine))


def _step(values: np.ndarray) -> float:
    """Return the edge length of voxels along an axis: the smallest difference of coordinates."""
    levels = np.unique(np.round(values[np.isfinite(values)], 4))
    return float(np.diff(levels).min()) if len(levels) > 1 else 1.0
