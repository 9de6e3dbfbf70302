"""Voxels on a regular lattice."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from scipy.ndimage import find_objects, gaussian_filter1d, label
from scipy.spatial import cKDTree

from bids_decoder.grids.base import BLOCK_EDGE, FWHM_PER_SD, SLACK_MM, Density, Geometry
from bids_decoder.grids.waves import Waves

_COUNTED_AT_ONCE = 4096

_REACH = 3.0
"""Gaussian kernels end at so many standard deviations."""


class Volume(Geometry):
    """Voxels of a volume, which are neighbours where they share a face.

    Parameters
    ----------
    mask : ndarray of bool, shape (i, j, k)
    affine : ndarray, shape (4, 4)
    """

    kind = "volume"
    fills_volume = True

    def __init__(self, mask: np.ndarray, affine: np.ndarray) -> None:
        self.mask, self.affine = mask, affine
        self._known: tuple[float, tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None

    @cached_property
    def indices(self) -> np.ndarray:
        """Grid indices of the voxels, shape (n_voxels, 3)."""
        return np.argwhere(self.mask)

    @property
    def voxel_sizes(self) -> np.ndarray:
        """Edge lengths in millimetres, shape (3,)."""
        return voxel_sizes(self.affine)

    @property
    def positions(self) -> np.ndarray:
        """See :class:`Geometry`."""
        return self.indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    @property
    def spacing_mm(self) -> float:
        """See :class:`Geometry`."""
        return float(self.voxel_sizes.min())

    @property
    def steps(self) -> np.ndarray:
        """Grid indices."""
        return self.indices

    @property
    def densities(self) -> tuple[Density, ...]:
        """See :class:`Geometry`."""
        sizes = self.voxel_sizes
        shown = " × ".join(f"{size:.3g}" for size in sizes)
        return (Density(
            int(self.mask.sum()), float(sizes.min()), float(sizes.prod()),
            f"voxels of {shown} mm",
        ),)

    def card(self) -> dict[str, Any]:
        """Return the sizes of voxels."""
        return {"voxel_sizes_mm": [round(float(size), 4) for size in self.voxel_sizes]}

    def kernel(self, fwhm_mm: float) -> _GaussianKernel:
        """See :class:`Geometry`."""
        return _GaussianKernel(self.mask, fwhm_mm / FWHM_PER_SD / self.voxel_sizes)

    def random_field(self, fwhm_mm: float) -> Waves:
        """See :class:`Geometry`."""
        return Waves(self.mask, fwhm_mm / FWHM_PER_SD / self.voxel_sizes)

    def clusters(self, above: np.ndarray) -> np.ndarray:
        """See :class:`Geometry`."""
        volume = np.zeros(self.mask.shape, dtype=bool)
        volume[self.mask] = above
        return label(volume)[0][self.mask]

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.positions)

    def _lattice(self, radius_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of voxels with a margin around them, its width, and steps within a radius."""
        axes, radius = self.affine[:3, :3], radius_mm + SLACK_MM
        margin = np.floor(np.linalg.norm(np.linalg.inv(axes), axis=1) * radius).astype(int)
        margin = np.minimum(margin, self.mask.shape)
        steps = np.indices(2 * margin + 1).reshape(3, -1).T - margin
        steps = steps[np.linalg.norm(steps @ axes.T, axis=1) <= radius]
        numbers = np.full(self.mask.shape, -1, dtype=np.intp)
        numbers[self.mask] = np.arange(len(self.indices))
        return np.pad(numbers, margin[:, None], constant_values=-1), margin, steps

    def _around(self, centres: np.ndarray, radius_mm: float) -> np.ndarray:
        """Return the voxel numbers within the radius, (n_centres, n_steps); -1 for no voxel."""
        if self._known is None or self._known[0] != radius_mm:
            self._known = radius_mm, self._lattice(radius_mm)
        numbers, margin, steps = self._known[1]
        strides = np.array(numbers.strides) // numbers.itemsize
        places = (self.indices[centres] + margin) @ strides
        return numbers.ravel()[places[:, None] + steps @ strides]

    def within(self, centres: np.ndarray, radius_mm: float) -> list[np.ndarray]:
        """See :class:`Geometry`."""
        return [found[found >= 0] for found in self._around(centres, radius_mm)]

    def nearest(self, centres: np.ndarray, n_voxels: int) -> list[np.ndarray]:
        """See :class:`Geometry`."""
        nearest = self._tree.query(self.positions[centres], min(n_voxels, len(self.indices)))[1]
        return list(nearest.reshape(len(centres), -1).astype(np.intp))

    def count_within(self, radius_mm: float) -> np.ndarray:
        """See :class:`Geometry`."""
        n_voxels = len(self.indices)
        groups = np.array_split(np.arange(n_voxels), n_voxels // _COUNTED_AT_ONCE + 1)
        return np.concatenate([
            (self._around(group, radius_mm) >= 0).sum(axis=1) for group in groups
        ])

    def count_nearest(self, n_voxels: int) -> np.ndarray:
        """See :class:`Geometry`."""
        return np.full(len(self.indices), min(n_voxels, len(self.indices)))


class _GaussianKernel:
    """A Gaussian normalised inside the mask, ``G*(v) / G*(mask)``.

    The filter is separable. Each axis is a matrix product, of the box around the mask alone.
    """

    def __init__(self, mask: np.ndarray, sigma: np.ndarray) -> None:
        box = find_objects(mask.astype(np.uint8))[0]
        self.mask = mask[box]
        # Reflected at the edges of the whole grid, so that the filter is its own transpose.
        axes = [
            gaussian_filter1d(np.eye(size), width, axis=0, truncate=_REACH)[part, part]
            for size, width, part in zip(mask.shape, sigma, box, strict=True)
        ]
        self._own = float(np.prod([_own_weight(width) for width in sigma]))
        self._axes = {kind: [axis.astype(kind) for axis in axes] for kind in ("f4", "f8")}
        self.reach = np.maximum(self._blur(np.ones(int(mask.sum()))), 1e-12)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`; in single precision where values are."""
        blurred = self._blur(values)
        return blurred / self.reach.astype(blurred.dtype)

    def total(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        return self.mean(values) / self._own

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        return self._blur(values / self.reach.astype(np.result_type(values, np.float32)))

    def _blur(self, values: np.ndarray) -> np.ndarray:
        if values.ndim > 1:
            return np.stack([self._blur(row) for row in values])
        kind = "f4" if values.dtype == np.float32 else "f8"
        first, second, third = self._axes[kind]
        volume = np.zeros(self.mask.shape, dtype=kind)
        volume[self.mask] = values
        planes = (first @ volume.reshape(len(first), -1)).reshape(volume.shape)
        return (second @ planes @ third.T)[self.mask]


def _own_weight(sigma: float) -> float:
    """Return what a kernel along one axis gives to the voxel itself, far from edges."""
    steps = np.arange(int(_REACH * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * np.square(steps / max(sigma, 1e-12)))
    return float(1 / (2 * weights.sum() - 1))


class Container(Geometry):
    """Voxels of which nothing is known but their order.

    Parameters
    ----------
    positions : ndarray, shape (n_voxels, 3)
        By which nothing is said.
    """

    kind = "none"
    has_neighbours = False
    spacing_mm = 1.0

    def __init__(self, positions: np.ndarray) -> None:
        self._positions = positions

    @property
    def positions(self) -> np.ndarray:
        """See :class:`Geometry`."""
        return self._positions

    @property
    def steps(self) -> np.ndarray:
        """Numbers of voxels, far from each other."""
        return np.arange(len(self._positions))[:, None] * [BLOCK_EDGE, 0, 0]

    @property
    def densities(self) -> tuple[Density, ...]:
        """None."""
        return ()

    def kernel(self, fwhm_mm: float) -> _NoKernel:
        """Return what leaves values as they are."""
        del fwhm_mm
        return _NoKernel()

    def random_field(self, fwhm_mm: float) -> _NoField:
        """Return a field of no waves."""
        del fwhm_mm
        return _NoField(len(self._positions))

    def clusters(self, above: np.ndarray) -> np.ndarray:
        """Return every voxel above the threshold as a cluster of its own."""
        return np.where(above, np.cumsum(above), 0)

    def within(self, centres: np.ndarray, radius_mm: float) -> list[np.ndarray]:
        """Return each centre alone."""
        del radius_mm
        return list(np.asarray(centres)[:, None])

    def nearest(self, centres: np.ndarray, n_voxels: int) -> list[np.ndarray]:
        """Return each centre alone."""
        return self.within(centres, n_voxels)


class _NoKernel:
    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the values."""
        return np.asarray(values)

    total = adjoint = mean


class _NoField:
    n_waves = 0

    def __init__(self, n_voxels: int) -> None:
        self.n_voxels = n_voxels

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """Return zeros."""
        return np.zeros((len(amplitudes), self.n_voxels))

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """Return no amplitudes."""
        return np.zeros((len(values), 0))
