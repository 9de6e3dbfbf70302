"""Grids and rigid transforms: world coordinates are millimetres, RAS+, as in NIfTI.

A transform here always *pulls*: it takes a point of the output (reference) to the point of the
input (moving image) whose value belongs there. Chains are read from the output back to the raw
volume, so that any number of them needs one interpolation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    import SimpleITK as sitk

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def grid_centre(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Return the world position of the middle of a grid, shape (3,)."""
    middle = (np.array(shape[:3], dtype=float) - 1) / 2
    return apply_affine(affine, middle[None])[0]


def grid_points(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Return the world positions of all voxels in C order, shape (n_voxels, 3)."""
    indices = np.indices(shape[:3]).reshape(3, -1).T
    return apply_affine(affine, indices.astype(float))


def rigid_matrix(parameters: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Build the movement of the head from six parameters.

    Parameters
    ----------
    parameters : ndarray, shape (6,)
        ``trans_x, trans_y, trans_z`` in mm, ``rot_x, rot_y, rot_z`` in radians. The rotation is
        ``Rx @ Ry @ Rz`` about *centre* along the world axes, as FSL composes it.
    centre : ndarray, shape (3,)
        Centre of rotation in mm.

    Returns
    -------
    ndarray, shape (4, 4)
        Takes a point of the volume to its place in the reference.
    """
    rotation = Rotation.from_euler("XYZ", parameters[3:]).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre + parameters[:3] - rotation @ centre
    return matrix


def rigid_parameters(matrix: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Read six parameters from a rigid matrix (4, 4); the inverse of :func:`rigid_matrix`."""
    angles = Rotation.from_matrix(matrix[:3, :3]).as_euler("XYZ")
    shift = matrix[:3, 3] + matrix[:3, :3] @ centre - centre
    return np.concatenate([shift, angles])


def displacement(first: np.ndarray, second: np.ndarray, points: np.ndarray) -> float:
    """Compute the mean distance in mm between two transforms over *points*, shape (n, 3)."""
    gap = apply_affine(first, points) - apply_affine(second, points)
    return float(np.sqrt((gap**2).sum(axis=1)).mean())


def to_sitk(volume: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """Convert a volume, shape (i, j, k), to a float32 SimpleITK image with its geometry."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.T, dtype=np.float32))
    lps, zooms = LPS_FROM_RAS @ affine, voxel_sizes(affine)
    image.SetOrigin([float(v) for v in lps[:3, 3]])
    image.SetSpacing([float(v) for v in zooms])
    image.SetDirection([float(v) for v in nearest_rotation(lps[:3, :3] / zooms).ravel()])
    return image


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Compute the orthonormal matrix nearest to *matrix*, keeping reflections.

    ITK rejects directions that are orthonormal only to the precision of a NIfTI header.
    """
    left, _, right = np.linalg.svd(matrix)
    return left @ right
