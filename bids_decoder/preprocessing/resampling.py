"""Resampling of raw volumes to the output grid with one cubic interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.orientations import io_orientation
from scipy import ndimage

from bids_decoder.preprocessing.geometry import grid_points


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels of an output image.

    Parameters
    ----------
    shape : tuple of int
        Three axes.
    affine : ndarray, shape (4, 4)
        Voxel indices to mm.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    def with_voxel_sizes(self, sizes: np.ndarray) -> Grid:
        """Return a grid over the same box with other voxel sizes (mm)."""
        old = voxel_sizes(self.affine)
        extent = np.array(self.shape) * old
        shape = np.maximum(np.ceil(extent / sizes - 1e-6), 1).astype(int)
        affine = self.affine.copy()
        affine[:3, :3] = self.affine[:3, :3] / old * sizes
        corner = apply_affine(self.affine, np.full((1, 3), -0.5))[0]
        affine[:3, 3] = corner + affine[:3, :3] @ np.full(3, 0.5)
        return Grid(tuple(int(n) for n in shape), affine)

    def as_fine_as(self, other: Grid) -> Grid:
        """Return a grid over the same box with the voxel sizes of another grid.

        Along each axis they are those of the most parallel axis of *other*: images of one head may
        be stored in different orders of axes.
        """
        own, others = (io_orientation(grid.affine)[:, 0].astype(int) for grid in (self, other))
        along_world = np.empty(3)
        along_world[others] = voxel_sizes(other.affine)
        return self.with_voxel_sizes(along_world[own])


@dataclass(frozen=True, eq=False)
class AxisShift:
    """Displacement of points along one axis of an image, as susceptibility distortion makes it.

    Parameters
    ----------
    axis : int
        Of the image that is resampled.
    voxels : ndarray, shape (n_points,)
        Added to the position in this image, after all other transforms.
    scale : ndarray, shape (n_points,)
        Factor of the values: where signal was piled up, it is spread again.
    """

    axis: int
    voxels: np.ndarray
    scale: np.ndarray

    def rows(self, rows: slice) -> AxisShift:
        """Return the displacement of some of the points."""
        return AxisShift(self.axis, self.voxels[rows], self.scale[rows])

    def move(self, voxels: np.ndarray) -> np.ndarray:
        """Displace voxel positions, shape (3, n_points)."""
        moved = voxels.copy()
        moved[self.axis] += self.voxels
        return moved


def resample_series(
    series: np.ndarray, affine: np.ndarray, grid: Grid, matrices: np.ndarray,
    points: np.ndarray | None = None, shift: AxisShift | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Resample all volumes of a run to another grid, each with its own transform.

    Parameters
    ----------
    series : ndarray, shape (i, j, k, n_volumes)
        Raw (or slice-time corrected) volumes.
    affine : ndarray, shape (4, 4)
    grid : Grid
        Of the output.
    matrices : ndarray, shape (n_volumes, 4, 4)
        From *points* (mm) to each volume (mm): all rigid transforms multiplied.
    points : ndarray, shape (n_voxels, 3), or None
        Positions of the voxels of *grid* before *matrices*, for warps; None is *grid* itself.
    shift : AxisShift or None
        Distortion of each point, which moves with the head.

    Returns
    -------
    resampled : ndarray of float32, shape (*grid.shape, n_volumes)
        Zero outside the field of view.
    covered : ndarray of bool, grid.shape
        Voxels inside the field of view in every volume.
    """
    if points is None:
        points = grid_points(grid.shape, grid.affine)
    to_voxels = np.linalg.inv(affine)
    resampled = np.empty((*grid.shape, series.shape[3]), dtype=np.float32)
    covered = np.ones(len(points), dtype=bool)
    for t, matrix in enumerate(matrices):
        voxels = apply_affine(to_voxels @ matrix, points).T
        if shift is not None:
            voxels = shift.move(voxels)
        values, inside = interpolate(spline_coefficients(series[..., t]), voxels)
        if shift is not None:
            values *= shift.scale
        resampled[..., t] = values.reshape(grid.shape)
        covered &= inside
    return resampled, covered.reshape(grid.shape)


def resample_volume(
    volume: np.ndarray, affine: np.ndarray, grid: Grid, matrix: np.ndarray | None = None, *,
    points: np.ndarray | None = None, order: int = 3, shift: AxisShift | None = None,
) -> np.ndarray:
    """Resample one volume to another grid.

    Parameters
    ----------
    volume : ndarray, shape (i, j, k)
    affine : ndarray, shape (4, 4)
    grid : Grid
    matrix : ndarray, shape (4, 4), or None
        From *points* (mm) to the volume (mm); None is the identity.
    points : ndarray, shape (n_voxels, 3), or None
        As in :func:`resample_series`.
    order : int
        0 for masks and labels, 1 for shares, 3 for images.
    shift : AxisShift or None
        As in :func:`resample_series`.

    Returns
    -------
    ndarray, grid.shape
        Float32, or the dtype of *volume* when *order* is 0.
    """
    chain = np.linalg.inv(affine) @ (np.eye(4) if matrix is None else matrix)
    coefficients = spline_coefficients(volume, order)
    result = np.empty(grid.shape, dtype=volume.dtype if order == 0 else np.float32)
    plane = int(np.prod(grid.shape[1:]))
    # Plane by plane: the positions of all voxels of a T1w image at once would take gigabytes.
    for i in range(grid.shape[0]):
        rows = slice(i * plane, (i + 1) * plane)
        here = _plane_points(grid, i) if points is None else points[rows]
        voxels = apply_affine(chain, here).T
        if shift is not None:
            voxels = shift.rows(rows).move(voxels)
        values, _ = interpolate(coefficients, voxels, order)
        if shift is not None:
            values *= shift.scale[rows]
        result[i] = values.reshape(grid.shape[1:])
    return result


def _plane_points(grid: Grid, i: int) -> np.ndarray:
    shift = np.eye(4)
    shift[0, 3] = i
    return grid_points((1, *grid.shape[1:]), grid.affine @ shift)


def spline_coefficients(volume: np.ndarray, order: int = 3) -> np.ndarray:
    """Compute the B-spline coefficients for :func:`interpolate`, float32, same shape."""
    coefficients = volume.astype(np.float32)
    if order > 1:
        for axis in (axis for axis in range(3) if volume.shape[axis] > 1):
            coefficients = ndimage.spline_filter1d(
                coefficients, order, axis, output=np.float32, mode="mirror"
            )
    return coefficients


def interpolate(
    coefficients: np.ndarray, voxels: np.ndarray, order: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate a volume at voxel positions, shape (3, n_points).

    Parameters
    ----------
    coefficients : ndarray of float32, shape (i, j, k)
        From :func:`spline_coefficients` with the same *order*.
    voxels : ndarray, shape (3, n_points)
    order : int

    Returns
    -------
    values : ndarray of float32, shape (n_points,)
        Zero outside the field of view.
    inside : ndarray of bool, shape (n_points,)
        Within the volume, its outer half voxel included.
    """
    # Along an axis with one slice the position is exact, and a spline needs no neighbours.
    size = np.array(coefficients.shape)[:, None]
    inside = ((voxels >= -0.5 - 1e-6) & (voxels <= size - 0.5 + 1e-6)).all(axis=0)
    places = np.where(size > 1, voxels, 0.0)[:, inside]
    # Splines continue as their coefficients were filtered. Without filter the mirror of the outer
    # face of a volume would be its last voxel but one.
    mode = "mirror" if order > 1 else "nearest"
    values = np.zeros(voxels.shape[1], dtype=np.float32)
    values[inside] = ndimage.map_coordinates(
        coefficients, places, output=np.float32, order=order, mode=mode, prefilter=False
    )
    return values, inside
