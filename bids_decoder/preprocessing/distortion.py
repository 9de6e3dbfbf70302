"""Susceptibility distortion: from a field in Hz to shifts along the phase-encoding axis.

The model is that of ``sdcflows`` (Esteban et al. 2021, OSF Preprints gy8nt) and of the BIDS
specification: an offset of *f* Hz moves signal by *f* times the total readout time, in voxels,
along ``PhaseEncodingDirection``. Fields are on grids without distortion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from bids_decoder.preprocessing.resampling import AxisShift, Grid, resample_volume

_AXES = "ijk"
_FILL_MM = (3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
_LEAST_WEIGHT = 0.05
_LEAST_SCALE, _MOST_SCALE = 0.1, 4.0


@dataclass(frozen=True)
class PhaseEncoding:
    """Axis, direction and duration of the phase encoding of an image.

    Parameters
    ----------
    axis : int
        Of the image.
    sign : int
        1 for ``i``, ``j``, ``k``, and -1 for ``i-``, ``j-``, ``k-``.
    readout : float
        Total readout time in seconds.
    """

    axis: int
    sign: int
    readout: float

    @property
    def voxels_per_hz(self) -> float:
        """Displacement along the axis, in voxels, for one Hz."""
        return self.sign * self.readout

    @property
    def direction(self) -> str:
        """The direction as BIDS writes it."""
        return _AXES[self.axis] + ("-" if self.sign < 0 else "")


def read_direction(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return axis and sign of ``PhaseEncodingDirection``; None where it is absent or not one."""
    text = metadata.get("PhaseEncodingDirection")
    if not isinstance(text, str) or text.rstrip("-") not in tuple(_AXES) or len(text) > 2:
        return None
    return _AXES.index(text[0]), -1 if text.endswith("-") else 1


def read_readout(metadata: Mapping[str, Any], shape: tuple[int, ...]) -> float | None:
    """Return the total readout time of an image in seconds; None where it is unknown.

    Parameters
    ----------
    metadata : mapping
        Sidecar. The first of ``TotalReadoutTime``, ``EffectiveEchoSpacing`` times the number of
        phase-encoding steps less one, and the estimates of both (``Estimated...``) is used.
    shape : tuple of int
        Of the image.
    """
    for prefix in ("", "Estimated"):
        total = metadata.get(f"{prefix}TotalReadoutTime")
        if _is_time(total):
            return float(total)
        spacing, direction = metadata.get(f"{prefix}EffectiveEchoSpacing"), read_direction(metadata)
        if _is_time(spacing) and direction is not None:
            return float(spacing) * (shape[direction[0]] - 1)
    return None


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < 1


def read_phase_encoding(
    metadata: Mapping[str, Any], shape: tuple[int, ...]
) -> PhaseEncoding | None:
    """Return the phase encoding of an image from its sidecar; None where a part is unknown."""
    direction, readout = read_direction(metadata), read_readout(metadata, shape)
    if direction is None or readout is None:
        return None
    return PhaseEncoding(*direction, readout)


@dataclass(frozen=True, eq=False)
class Epi:
    """An image with its geometry and phase encoding.

    Parameters
    ----------
    volume : ndarray, shape (i, j, k)
    affine : ndarray, shape (4, 4)
    encoding : PhaseEncoding
    """

    volume: np.ndarray
    affine: np.ndarray
    encoding: PhaseEncoding

    @property
    def grid(self) -> Grid:
        """Voxels of the image."""
        return Grid(self.volume.shape, self.affine)

    @property
    def mm_per_hz(self) -> float:
        """Displacement in mm along the axis for one Hz."""
        return self.encoding.voxels_per_hz * float(voxel_sizes(self.affine)[self.encoding.axis])


@dataclass(frozen=True, eq=False)
class EstimatedField:
    """Field that makes two images of a head agree.

    Parameters
    ----------
    field : ndarray of float32, shape of the first image
        Hz, on its grid without distortion, defined everywhere.
    corrected : ndarray of float32, shape of the first image
        The image without distortion; of two images with opposite phase encoding their mean.
    agreement : tuple of float
        Correlation of both images in the head, before and after. Where one is expected from the
        T1w image, in the brain.
    """

    field: np.ndarray
    corrected: np.ndarray
    agreement: tuple[float, float]


@dataclass(frozen=True, eq=False)
class ShiftMap:
    """Displacement that distortion causes in an image.

    Parameters
    ----------
    voxels : ndarray, shape (i, j, k)
        On the grid of the image, without distortion: how far along *axis* the signal of each
        voxel was recorded.
    affine : ndarray, shape (4, 4)
    axis : int
    """

    voxels: np.ndarray
    affine: np.ndarray
    axis: int

    @property
    def scale(self) -> np.ndarray:
        """Jacobian, shape (i, j, k), that spreads signal that was piled up.

        Bounded, so that voxels to which no signal can be assigned do not become bright.
        """
        slope = np.gradient(self.voxels, axis=self.axis)
        return np.clip(1.0 + slope, _LEAST_SCALE, _MOST_SCALE).astype(np.float32)

    def at(self, points: np.ndarray) -> AxisShift:
        """Return the displacement at points (mm), shape (n_points, 3); linear interpolation.

        Points outside the grid have the displacement of the nearest voxel.
        """
        places = apply_affine(np.linalg.inv(self.affine), points).T
        shift, scale = (
            ndimage.map_coordinates(values, places, order=1, mode="nearest", output=np.float32)
            for values in (self.voxels, self.scale)
        )
        return AxisShift(self.axis, shift, scale)

    def correct(self, volume: np.ndarray) -> np.ndarray:
        """Correct an image on the same grid, shape (i, j, k); returns float32."""
        grid = Grid(volume.shape, self.affine)
        shift = AxisShift(self.axis, self.voxels.ravel(), self.scale.ravel())
        return resample_volume(volume, self.affine, grid, shift=shift)


def shift_map(
    field: np.ndarray, affine: np.ndarray, encoding: PhaseEncoding, grid: Grid,
    matrix: np.ndarray,
) -> ShiftMap:
    """Compute the displacement in an image from a field map.

    Parameters
    ----------
    field : ndarray, shape (i, j, k)
        In Hz, defined everywhere (:func:`fill_field`).
    affine : ndarray, shape (4, 4)
        Of the field.
    encoding : PhaseEncoding
        Of the image.
    grid : Grid
        Of the image.
    matrix : ndarray, shape (4, 4)
        Points of the image, undistorted (mm), to points of the field (mm).

    Returns
    -------
    ShiftMap
    """
    to_field = np.linalg.inv(affine) @ matrix @ grid.affine
    hertz = ndimage.affine_transform(
        np.asarray(field, dtype=np.float32), to_field[:3, :3], to_field[:3, 3],
        output_shape=grid.shape, order=1, mode="nearest",
    )
    return ShiftMap(hertz * np.float32(encoding.voxels_per_hz), grid.affine, encoding.axis)


def fill_field(field: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Smooth a field in the head, and continue it smoothly outside.

    Parameters
    ----------
    field : ndarray, shape (i, j, k)
        In Hz.
    mask : ndarray of bool, shape (i, j, k)
        Where it was measured.
    affine : ndarray, shape (4, 4)

    Returns
    -------
    ndarray of float32, shape (i, j, k)
        Averages under Gaussian kernels (FWHM from 3 mm on) of measured voxels only. Each voxel
        has that of the narrowest kernel that reaches enough of them, so that the field at the
        edge is continued, and not drawn to zero.
    """
    known = np.where(mask, field, 0).astype(np.float32)
    weight = mask.astype(np.float32)
    filled = np.full(field.shape, np.median(field[mask]), dtype=np.float32)
    for fwhm in reversed(_FILL_MM):
        sigma = fwhm / 2.355 / voxel_sizes(affine)
        share = ndimage.gaussian_filter(weight, sigma)
        here = share > _LEAST_WEIGHT
        # Blended over the edge of each kernel: a step in the field would fold the image.
        trust = np.clip(share[here] / 0.5, 0, 1)
        mean = ndimage.gaussian_filter(known, sigma)[here] / share[here]
        filled[here] = trust * mean + (1 - trust) * filled[here]
    return filled
