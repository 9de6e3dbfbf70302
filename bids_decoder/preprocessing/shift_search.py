"""Displacement along one axis that makes two images agree, by least squares from coarse to fine.

Each image is corrected by its share of one displacement, with its Jacobian; the squared difference
plus the squared gradient of the displacement is minimised by Gauss-Newton steps. Displacements are
along one axis only, so that each step is a sparse linear problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from bids_decoder.preprocessing.resampling import Grid, resample_volume

_CG_STEPS = 60
_LEAST_GAIN = 1e-3


@dataclass(frozen=True)
class Level:
    """One resolution of the search.

    Parameters
    ----------
    size_mm : float
        Voxels, at least.
    sigma_mm : float
        Of the Gaussian filter before.
    n_steps : int
        At most.
    smoothness : float
        Weight of the squared gradient of the displacement (mm per mm).
    """

    size_mm: float
    sigma_mm: float
    n_steps: int
    smoothness: float


@dataclass(frozen=True, eq=False)
class ShiftSearch:
    """Search for the displacement between two images.

    Parameters
    ----------
    images : tuple of two ndarray, shape (i, j, k)
        On one grid, with values of the order of one.
    factors : tuple of two float
        How far each image is displaced for one mm; 0 for an image without distortion.
    grid : Grid
    axis : int
        Along which signal was displaced.
    weight : ndarray, shape (i, j, k), or None
        Of the difference in each voxel; None is one everywhere.
    """

    images: tuple[np.ndarray, ...]
    factors: tuple[float, float]
    grid: Grid
    axis: int
    weight: np.ndarray | None = None

    def refine(self, shift: np.ndarray, levels: tuple[Level, ...]) -> np.ndarray:
        """Improve a displacement.

        Parameters
        ----------
        shift : ndarray, shape (i, j, k)
            In mm, on the grid without distortion.
        levels : tuple of Level
            From coarse to fine.

        Returns
        -------
        ndarray, shape (i, j, k)
        """
        for level in levels:
            sizes = np.maximum(voxel_sizes(self.grid.affine), level.size_mm)
            grid = self.grid.with_voxel_sizes(sizes)
            problem = _Problem(
                [self._at_level(image, grid, level) for image in self.images], self.factors,
                self.axis, sizes, level.smoothness,
                None if self.weight is None else self._at_level(self.weight, grid, level),
            )
            coarse = _at_grid(shift, self.grid.affine, grid)
            found = problem.solve(coarse, level.n_steps)
            shift = shift + _at_grid(found - coarse, grid.affine, self.grid)
        return shift

    def _at_level(self, volume: np.ndarray, grid: Grid, level: Level) -> np.ndarray:
        sigma = level.sigma_mm / voxel_sizes(self.grid.affine)
        smooth = ndimage.gaussian_filter(np.asarray(volume, dtype=np.float32), sigma)
        return resample_volume(smooth, self.grid.affine, grid, order=1)


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
        self, images: list[np.ndarray], factors: tuple[float, float], axis: int,
        sizes: np.ndarray, smoothness: float, weight: np.ndarray | None,
    ) -> None:
        self.images = [ndimage.spline_filter(image, order=3) for image in images]
        self.factors = factors
        self.axis, self.step = axis, float(sizes[axis])
        self.shape = images[0].shape
        self.places = np.indices(self.shape, dtype=np.float32)
        self.slope = _along(self.shape, axis, _central(self.shape[axis])) / self.step
        self.weight = np.ones(images[0].size) if weight is None else weight.ravel()
        self.rough = smoothness * sum(
            _along(self.shape, k, _forward(n)).T @ _along(self.shape, k, _forward(n)) / sizes[k]**2
            for k, n in enumerate(self.shape) if n > 1
        )

    def solve(self, shift: np.ndarray, n_steps: int) -> np.ndarray:
        """Minimise from a start, shape of the images, until a step improves nothing."""
        found = shift.ravel().astype(float)
        residual, reach = self._state(found)
        cost = self._cost(found, residual)
        weighted = sparse.diags(self.weight) @ self.slope
        for _ in range(n_steps):
            jacobian = weighted @ sparse.diags(reach)
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
        return self.weight * residual, reach

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
