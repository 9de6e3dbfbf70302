"""Field from two images with opposite phase encoding.

Both images are corrected by one field, whose effects have opposite signs, until they agree: the
model of TOPUP (Andersson et al. 2003, NeuroImage 20) and HySCO (Ruthotto et al. 2012, Phys Med
Biol 57).
Displacements are along one axis only, so that each step is a sparse linear problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from bids_decoder.preprocessing.distortion import PhaseEncoding, ShiftMap
from bids_decoder.preprocessing.masks import head_mask
from bids_decoder.preprocessing.motion import MIN_SLICES, estimate_motion
from bids_decoder.preprocessing.resampling import Grid, resample_volume

_LEAST_PARALLEL = 0.9


@dataclass(frozen=True)
class _Level:
    """Voxel size and filter (sigma) in mm, number of steps, weight of the smoothness."""

    size_mm: float
    sigma_mm: float
    n_steps: int
    smoothness: float


_LEVELS = (
    _Level(8.0, 4.0, 12, 0.2), _Level(5.0, 2.0, 12, 0.05), _Level(2.5, 0.8, 12, 0.02),
)
_CG_STEPS = 60
_LEAST_GAIN = 1e-3


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
class PairField:
    """Field between two images.

    Parameters
    ----------
    field : ndarray of float32, shape of the first image
        Hz, on its grid without distortion, defined everywhere.
    corrected : ndarray of float32, shape of the first image
        Mean of both corrected images.
    agreement : tuple of float
        Correlation of both images in the head, before and after.
    """

    field: np.ndarray
    corrected: np.ndarray
    agreement: tuple[float, float]


def are_opposite(
    affine: np.ndarray, encoding: PhaseEncoding, other_affine: np.ndarray, other: PhaseEncoding
) -> bool:
    """Return whether two images are encoded along one axis of the scanner in opposite directions.

    Parameters
    ----------
    affine, other_affine : ndarray, shape (4, 4)
    encoding, other : PhaseEncoding
    """
    return _parallel(affine, encoding, other_affine, other) * encoding.sign * other.sign < 0


def _parallel(
    affine: np.ndarray, encoding: PhaseEncoding, other_affine: np.ndarray, other: PhaseEncoding
) -> int:
    """Return 1 or -1 where both axes point the same or opposite ways, and 0 where they differ."""
    first, second = affine[:3, encoding.axis], other_affine[:3, other.axis]
    cosine = float(first @ second) / float(np.linalg.norm(first) * np.linalg.norm(second))
    return round(np.sign(cosine)) if abs(cosine) >= _LEAST_PARALLEL else 0


def field_of_pair(first: Epi, second: Epi) -> PairField:
    """Estimate the field from two images with opposite phase encoding.

    Parameters
    ----------
    first, second : Epi
        Of one contrast. Grids and readout times may differ.

    Returns
    -------
    PairField

    Raises
    ------
    ValueError
        When the phase encoding is not opposite (:func:`are_opposite`).

    Notes
    -----
    The squared difference of both images, corrected with their Jacobians, plus the squared
    gradient of the displacement, is minimised by Gauss-Newton steps at 8, 5 and 2.5 mm. Head
    movement between the images is estimated from the corrected images, after which the field is
    estimated again.
    """
    ways = first.affine, first.encoding, second.affine, second.encoding
    if not are_opposite(*ways):
        raise ValueError("images without opposite phase encoding")
    ratio = _parallel(*ways) * second.mm_per_hz / first.mm_per_hz
    shift = np.zeros(first.grid.shape, dtype=np.float32)
    matrix = np.eye(4)
    start = resample_volume(second.volume, second.affine, first.grid)
    head = head_mask(np.maximum(first.volume, start))
    # Movement changes the field little: the second time, only the finest level is repeated.
    for levels in (_LEVELS, _LEVELS[-1:]):
        moved = resample_volume(second.volume, second.affine, first.grid, matrix)
        shift = _estimate(first, moved, ratio, shift, levels)
        one, two = _corrected(first, moved, ratio, shift)
        if min(first.volume.shape) < MIN_SLICES:
            break
        rest = estimate_motion(two[..., None], first.affine, one, head).matrices[0]
        matrix = matrix @ rest
    agreement = tuple(
        float(np.corrcoef(a[head], b[head])[0, 1])
        for a, b in ((first.volume, start), (one, two))
    )
    return PairField(shift / np.float32(first.mm_per_hz), (one + two) / 2, agreement)


def _corrected(
    first: Epi, second: np.ndarray, ratio: float, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    axis = first.encoding.axis
    voxels = shift / voxel_sizes(first.affine)[axis]
    return (
        ShiftMap(voxels, first.affine, axis).correct(first.volume),
        ShiftMap(ratio * voxels, first.affine, axis).correct(second),
    )


def _estimate(
    first: Epi, second: np.ndarray, ratio: float, shift: np.ndarray, levels: tuple[_Level, ...]
) -> np.ndarray:
    """Estimate the displacement in mm on the grid of the first image, from coarse to fine."""
    scale = float(np.percentile(first.volume, 98)), float(np.percentile(second, 98))
    for level in levels:
        sizes = np.maximum(voxel_sizes(first.affine), level.size_mm)
        grid = first.grid.with_voxel_sizes(sizes)
        images = [
            _at_level(image / max(norm, 1e-6), first, grid, level)
            for image, norm in zip((first.volume, second), scale, strict=True)
        ]
        problem = _Problem(images, ratio, first.encoding.axis, sizes, level.smoothness)
        coarse = _at_grid(shift, first.affine, grid)
        found = problem.solve(coarse, level.n_steps)
        shift = shift + _at_grid(found - coarse, grid.affine, first.grid)
    return shift


def _at_level(volume: np.ndarray, first: Epi, grid: Grid, level: _Level) -> np.ndarray:
    sigma = level.sigma_mm / voxel_sizes(first.affine)
    smooth = ndimage.gaussian_filter(np.asarray(volume, dtype=np.float32), sigma)
    return resample_volume(smooth, first.affine, grid, order=1)


def _at_grid(values: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Interpolate linearly; outside, the nearest voxel counts."""
    chain = np.linalg.inv(affine) @ grid.affine
    return ndimage.affine_transform(
        values.astype(np.float32), chain[:3, :3], chain[:3, 3], output_shape=grid.shape, order=1,
        mode="nearest",
    )


class _Problem:
    """Least squares between two images on one grid, for the displacement in mm."""

    def __init__(
        self, images: list[np.ndarray], ratio: float, axis: int, sizes: np.ndarray,
        smoothness: float,
    ) -> None:
        self.images = [ndimage.spline_filter(image, order=3) for image in images]
        self.factors = (1.0, ratio)
        self.axis, self.step = axis, float(sizes[axis])
        self.shape = images[0].shape
        self.places = np.indices(self.shape, dtype=np.float32)
        self.slope = _along(self.shape, axis, _central(self.shape[axis])) / self.step
        self.rough = smoothness * sum(
            _along(self.shape, k, _forward(n)).T @ _along(self.shape, k, _forward(n)) / sizes[k]**2
            for k, n in enumerate(self.shape) if n > 1
        )

    def solve(self, shift: np.ndarray, n_steps: int) -> np.ndarray:
        """Minimise from a start, shape of the images, until a step improves nothing."""
        found = shift.ravel().astype(float)
        residual, reach = self._state(found)
        cost = self._cost(found, residual)
        for _ in range(n_steps):
            jacobian = self.slope @ sparse.diags(reach)
            matrix = jacobian.T @ jacobian + self.rough
            right = -(jacobian.T @ residual + self.rough @ found)
            diagonal = sparse.diags(1 / np.maximum(matrix.diagonal(), 1e-9))
            step, _ = cg(matrix, right, rtol=1e-3, maxiter=_CG_STEPS, M=diagonal)
            for fraction in (1.0, 0.5, 0.25, 0.125):
                tried = found + fraction * step
                residual_tried, reach_tried = self._state(tried)
                cost_tried = self._cost(tried, residual_tried)
                if cost_tried < cost:
                    break
            else:
                break
            gain = (cost - cost_tried) / cost
            found, residual, reach, cost = tried, residual_tried, reach_tried, cost_tried
            if gain < _LEAST_GAIN:
                break
        return found.reshape(self.shape)

    def _state(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the difference of the corrected images, and what its derivative is made of.

        The derivative of ``I(y + u) (1 + u')`` in the direction *d* is the slope of
        ``I(y + u) d``.
        """
        slope = self.slope @ shift
        residual, reach = np.zeros(shift.size), np.zeros(shift.size)
        for sign, factor, image in zip((1, -1), self.factors, self.images, strict=True):
            places = self.places.copy()
            places[self.axis] += (factor / self.step * shift).reshape(self.shape)
            values = ndimage.map_coordinates(
                image, places, order=3, mode="nearest", prefilter=False
            ).ravel()
            residual += sign * values * (1 + factor * slope)
            reach += sign * factor * values
        return residual, reach

    def _cost(self, shift: np.ndarray, residual: np.ndarray) -> float:
        return float(residual @ residual + shift @ (self.rough @ shift))


def _along(shape: tuple[int, ...], axis: int, matrix: sparse.spmatrix) -> sparse.csr_matrix:
    """Return the operator that applies *matrix* along one axis of raveled images."""
    before, after = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1:]))
    return sparse.kron(sparse.eye(before), sparse.kron(matrix, sparse.eye(after)), format="csr")


def _forward(n: int) -> sparse.spmatrix:
    return sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n))


def _central(n: int) -> sparse.spmatrix:
    matrix = sparse.diags([-0.5, 0.5], [-1, 1], shape=(n, n)).tolil()
    matrix[0, :2], matrix[-1, -2:] = [-1.0, 1.0], [-1.0, 1.0]
    return matrix.tocsr()
