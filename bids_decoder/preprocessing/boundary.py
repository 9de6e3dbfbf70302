"""Agreement of an EPI image with the boundary of grey and white matter in a T1w image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

_GREY, _WHITE = 2, 3
_SMOOTH_MM = 2.0
_REACH_MM = 2.0


@dataclass(frozen=True, eq=False)
class BoundaryPoints:
    """Points on both sides of the boundary in mm, each of shape (n_points, 3)."""

    grey: np.ndarray
    white: np.ndarray


@dataclass(frozen=True)
class BoundaryContrast:
    """Contrast across the boundary.

    Parameters
    ----------
    contrast : float
        Median over points of grey minus white, in percent of their mean, as in boundary-based
        registration (Greve & Fischl 2009, NeuroImage 48); grey matter is brighter in EPI.
    share : float
        Share of points with brighter grey matter; 0.5 where nothing agrees.
    n_points : int
        Inside the field of view.
    """

    contrast: float
    share: float
    n_points: int


def boundary_points(labels: np.ndarray, affine: np.ndarray) -> BoundaryPoints:
    """Find points 2 mm on either side of the boundary of grey and white matter.

    Parameters
    ----------
    labels : ndarray of int, shape (i, j, k)
        1 CSF, 2 grey matter, 3 white matter.
    affine : ndarray, shape (4, 4)

    Returns
    -------
    BoundaryPoints
        Along the gradient of the smoothed share of white matter, of white voxels next to grey
        ones.
    """
    white = labels == _WHITE
    edge = white & ndimage.binary_dilation(labels == _GREY)
    smooth = ndimage.gaussian_filter(white.astype(np.float32), _SMOOTH_MM / voxel_sizes(affine))
    slope = np.stack([g[edge] for g in np.gradient(smooth)], axis=-1)
    # Of voxel indices to mm: gradients transform with the inverse transpose.
    slope = slope @ np.linalg.inv(affine[:3, :3])
    length = np.linalg.norm(slope, axis=1)
    places = apply_affine(affine, np.argwhere(edge).astype(float))[length > 0]
    normal = slope[length > 0] / length[length > 0, None]
    return BoundaryPoints(places - _REACH_MM * normal, places + _REACH_MM * normal)


def boundary_contrast(
    volume: np.ndarray, affine: np.ndarray, points: BoundaryPoints, matrix: np.ndarray
) -> BoundaryContrast:
    """Measure the contrast of an image across the boundary.

    Parameters
    ----------
    volume : ndarray, shape (i, j, k)
    affine : ndarray, shape (4, 4)
    points : BoundaryPoints
    matrix : ndarray, shape (4, 4)
        Points of the T1w image (mm) to points of *volume* (mm).

    Returns
    -------
    BoundaryContrast
        NaN where no point is inside.
    """
    chain = np.linalg.inv(affine) @ matrix
    grey, white = (
        ndimage.map_coordinates(
            volume.astype(np.float32), apply_affine(chain, side).T, order=1, cval=np.nan
        ) for side in (points.grey, points.white)
    )
    inside = np.isfinite(grey) & np.isfinite(white) & (grey + white > 0)
    if not inside.any():
        return BoundaryContrast(np.nan, np.nan, 0)
    change = 200 * (grey - white)[inside] / (grey + white)[inside]
    return BoundaryContrast(
        float(np.median(change)), float((change > 0).mean()), int(inside.sum())
    )
