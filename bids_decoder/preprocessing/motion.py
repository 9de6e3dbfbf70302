"""Rigid head motion by inverse compositional Gauss-Newton least squares.

The method is that of Baker and Matthews (2004, IJCV 56), with the six rigid parameters, a gain
and an offset as unknowns, and Tukey's weights against voxels that change for other reasons than
motion. SimpleITK and antspyx take several times as long and are less accurate for large
movements (``benchmarks/motion.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_decoder.errors import InputError
from bids_decoder.preprocessing.geometry import grid_centre, rigid_parameters

MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
MIN_SLICES = 6
_HEAD_RADIUS_MM = 60.0
_TUKEY = 4.685
# With less smoothing, interpolation by cubic splines distorts fine detail.
_MIN_SIGMA_VOXELS = 0.6


@dataclass(frozen=True)
class Level:
    """One resolution of the optimisation.

    Parameters
    ----------
    sigma_mm : float
        Standard deviation of the Gaussian filter on both images.
    step : int
        Spacing in voxels of the sampled points along each axis.
    max_iterations : int
    tolerance_mm : float
        The optimisation ends when a step moves the head by less than this.
    """

    sigma_mm: float
    step: int
    max_iterations: int
    tolerance_mm: float


LEVELS = (Level(5.0, 2, 30, 0.02), Level(2.0, 1, 30, 0.002))


@dataclass(frozen=True, eq=False)
class MotionEstimate:
    """Estimated head motion of a run.

    Parameters
    ----------
    matrices : ndarray, shape (n_volumes, 4, 4)
        Points of the reference (mm) to points of each volume (mm).
    notes : tuple of str
        Remarks for the report.
    """

    matrices: np.ndarray
    notes: tuple[str, ...] = ()


def estimate_motion(
    series: np.ndarray, affine: np.ndarray, reference: np.ndarray, mask: np.ndarray, *,
    levels: tuple[Level, ...] = LEVELS,
) -> MotionEstimate:
    """Align every volume of a run to a reference on the same grid.

    Parameters
    ----------
    series : ndarray, shape (i, j, k, n_volumes)
    affine : ndarray, shape (4, 4)
    reference : ndarray, shape (i, j, k)
    mask : ndarray of bool, shape (i, j, k)
        Voxels of the head in the reference; it is dilated by one voxel, because the edge of the
        brain is most informative about its position.
    levels : tuple of Level
        Coarse to fine.

    Returns
    -------
    MotionEstimate
        The identity for every volume with fewer than six slices, which do not determine a
        rigid movement.

    Raises
    ------
    InputError
        If the mask is empty.

    Notes
    -----
    The estimate of a volume starts from that of its predecessor. The result is reproducible bit
    for bit.
    """
    n_volumes = series.shape[3]
    if min(series.shape[:3]) < MIN_SLICES:
        note = (
            f"head motion was not estimated: {min(series.shape[:3])} slices, "
            f"at least {MIN_SLICES} are needed"
        )
        return MotionEstimate(np.tile(np.eye(4), (n_volumes, 1, 1)), (note,))
    if not mask.any():
        raise InputError(
            "head motion", "the brain mask is empty", "check the BOLD file, which contains no head",
        )
    pyramid = [_ReferenceLevel(reference, affine, mask, level) for level in levels]
    matrices = np.empty((n_volumes, 4, 4))
    matrix = np.eye(4)
    for t in range(n_volumes):
        volume = series[..., t].astype(np.float32)
        for stage in pyramid:
            matrix = stage.align(volume, matrix)
        matrices[t] = matrix
    return MotionEstimate(matrices)


def motion_parameters(
    matrices: np.ndarray, shape: tuple[int, ...], affine: np.ndarray
) -> pd.DataFrame:
    """Convert transforms to the six motion parameters of a confounds table.

    Parameters
    ----------
    matrices : ndarray, shape (n_volumes, 4, 4)
        From :func:`estimate_motion`.
    shape, affine
        Grid of the run; its centre is the centre of rotation.

    Returns
    -------
    DataFrame
        ``trans_x`` ... in mm and ``rot_x`` ... in radians, along the world axes (RAS+): the
        movement that takes the volume to the reference, as in FSL.
    """
    centre = grid_centre(shape, affine)
    rows = [rigid_parameters(np.linalg.inv(matrix), centre) for matrix in matrices]
    return pd.DataFrame(np.array(rows), columns=list(MOTION_COLUMNS))


class _ReferenceLevel:
    """The reference at one resolution: points, values and derivatives by each unknown."""

    def __init__(
        self, reference: np.ndarray, affine: np.ndarray, mask: np.ndarray, level: Level
    ) -> None:
        self.level = level
        self.sigma = np.maximum(level.sigma_mm / voxel_sizes(affine), _MIN_SIGMA_VOXELS)
        self.to_voxels = np.linalg.inv(affine)
        self.bounds = np.array(reference.shape) - 1.0
        image = reference.astype(np.float64)
        indices = _point_indices(mask, level.step)
        here = tuple(indices.T)
        smooth = ndimage.gaussian_filter(image, self.sigma, mode="nearest")
        self.scale = float(np.abs(smooth[here]).mean()) or 1.0
        self.values = smooth[here] / self.scale
        slopes = np.stack([slope[here] for slope in _slopes(smooth)], axis=1) / self.scale
        self.points = apply_affine(affine, indices.astype(float))
        self.centre = self.points.mean(axis=0)
        gradient = slopes @ self.to_voxels[:3, :3]
        lever = np.cross(self.points - self.centre, gradient)
        constant = np.ones(len(self.points))
        self.columns = np.column_stack([gradient, lever, self.values, constant])

    def align(self, volume: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Optimise *matrix* (reference to volume, mm) until convergence."""
        smooth = ndimage.gaussian_filter(volume, self.sigma, mode="nearest")
        coefficients = ndimage.spline_filter(smooth / self.scale, order=3, mode="mirror")
        for _ in range(self.level.max_iterations):
            step = self._step(coefficients, matrix)
            matrix = matrix @ np.linalg.inv(_small_movement(step, self.centre))
            moved = np.linalg.norm(step[:3]) + _HEAD_RADIUS_MM * np.linalg.norm(step[3:])
            if moved < self.level.tolerance_mm:
                break
        return matrix

    def _step(self, coefficients: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        voxels = apply_affine(self.to_voxels @ matrix, self.points)
        inside = ((voxels >= 0) & (voxels <= self.bounds)).all(axis=1)
        columns, values = self.columns[inside], self.values[inside]
        sampled = ndimage.map_coordinates(
            coefficients, voxels[inside].T, order=3, mode="mirror", prefilter=False
        )
        residual = sampled.astype(float) - values
        start = columns[:, 6:]
        residual_only = residual - start @ _solve(start, residual, np.ones(len(residual)))
        weights = _tukey_weights(residual_only)
        solution = _solve(columns, residual, weights)
        # The slopes of the volume are those of the reference times the gain.
        return solution[:6] / max(1.0 + solution[6], 0.1)


def _point_indices(mask: np.ndarray, step: int) -> np.ndarray:
    widened = ndimage.binary_dilation(mask, iterations=1)
    lattice = np.zeros(mask.shape, dtype=bool)
    lattice[::step, ::step, ::step] = True
    return np.argwhere(widened & lattice)


def _slopes(image: np.ndarray) -> list[np.ndarray]:
    """Compute the derivatives of the cubic spline through *image* along its three axes."""
    slopes = []
    for axis in range(3):
        coefficients = ndimage.spline_filter1d(image, order=3, axis=axis, mode="mirror")
        slopes.append(ndimage.correlate1d(coefficients, [-0.5, 0.0, 0.5], axis, mode="mirror"))
    return slopes


def _solve(columns: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weighted = columns * weights[:, None]
    return np.linalg.lstsq(weighted.T @ columns, weighted.T @ values, rcond=None)[0]


def _tukey_weights(residual: np.ndarray) -> np.ndarray:
    spread = 1.4826 * float(np.median(np.abs(residual)))
    if spread == 0.0:
        return np.ones_like(residual)
    ratio = np.minimum(np.abs(residual) / (_TUKEY * spread), 1.0)
    return (1.0 - ratio**2) ** 2


def _small_movement(step: np.ndarray, centre: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(step[3:6]).as_matrix()
    matrix[:3, 3] = centre + step[:3] - matrix[:3, :3] @ centre
    return matrix
