"""A head that can be imaged anywhere: ground truth for the tests of preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from bids_decoder.preprocessing.geometry import grid_centre, rigid_matrix

EPI_SHAPE = (64, 64, 35)
EPI_AFFINE = np.array(
    [[-3.0, 0, 0, 94.5], [0, 3.0, 0, -94.5], [0, 0, 3.5, -59.5], [0, 0, 0, 1.0]]
)
SMALL_SHAPE = (32, 32, 18)
SMALL_AFFINE = np.array([[-6.0, 0, 0, 93], [0, 6.0, 0, -93], [0, 0, 6.0, -51], [0, 0, 0, 1.0]])
T1W_LEVELS = (0.0, 0.25, 0.6, 1.0, 0.8)
EPI_LEVELS = (0.0, 1.5, 1.0, 0.75, 0.25)


@dataclass(frozen=True, eq=False)
class Head:
    """Tissue shares on a fine grid: air, CSF, grey, white, scalp (last axis)."""

    shares: np.ndarray
    affine: np.ndarray

    def intensity(self, levels: tuple[float, ...]) -> np.ndarray:
        return (self.shares @ np.array(levels, dtype=np.float32)).astype(np.float32)

    @property
    def brain(self) -> np.ndarray:
        return self.shares[..., 1:4].sum(axis=-1)


def make_head(seed: int = 0, size_mm: float = 2.0) -> Head:
    rng = np.random.default_rng(seed)
    shape = tuple(int(v / size_mm) for v in (180, 220, 190))
    affine = np.diag([size_mm, size_mm, size_mm, 1.0])
    affine[:3, 3] = -size_mm * (np.array(shape) - 1) / 2
    x, y, z = np.moveaxis(
        apply_affine(affine, np.indices(shape).reshape(3, -1).T.astype(float)), -1, 0
    ).reshape(3, *shape)
    radius = np.sqrt((x / 64) ** 2 + (y / 82) ** 2 + (z / 54 + 0.08 * (y / 82) ** 2) ** 2)
    folds = ndimage.gaussian_filter(rng.standard_normal(shape), 5 / size_mm)
    folds /= folds.std()
    depth = (1 - radius) * 64 + 3.0 * folds
    head = np.sqrt((x / 76) ** 2 + (y / 96) ** 2 + ((z + 6) / 74) ** 2) < 1
    skull = np.sqrt((x / 71) ** 2 + (y / 89) ** 2 + ((z + 3) / 63) ** 2) < 1
    ventricles = ((np.abs(x) - 9) / 6) ** 2 + ((y + 5) / 26) ** 2 + ((z - 8) / 11) ** 2 < 1
    brain = radius < 1
    labels = np.zeros(shape, dtype=int)
    labels[head & ~skull] = 4
    labels[brain] = 1
    labels[brain & (depth > 2)] = 2
    labels[brain & (depth > 9)] = 3
    labels[ventricles] = 1
    shares = np.stack(
        [ndimage.gaussian_filter((labels == i).astype(np.float32), 0.5) for i in range(5)], axis=-1
    )
    return Head(shares, affine)


def sample(
    volume: np.ndarray, source_affine: np.ndarray, shape: tuple, affine: np.ndarray,
    matrix: np.ndarray | None = None, n_sub: int = 2,
) -> np.ndarray:
    """Image *volume* on a grid; each voxel averages n_sub**3 points; *matrix* pulls (mm)."""
    coefficients = ndimage.spline_filter(volume.astype(np.float32), order=3)
    return sample_coefficients(coefficients, source_affine, shape, affine, matrix, n_sub)


def sample_coefficients(
    coefficients: np.ndarray, source_affine: np.ndarray, shape: tuple, affine: np.ndarray,
    matrix: np.ndarray | None = None, n_sub: int = 2,
) -> np.ndarray:
    """Image a volume whose spline coefficients are known, as :func:`sample` does."""
    chain = np.linalg.inv(source_affine) @ (np.eye(4) if matrix is None else matrix) @ affine
    offsets = (np.arange(n_sub) + 0.5) / n_sub - 0.5
    total = np.zeros(shape, dtype=np.float64)
    for shift in np.array(np.meshgrid(offsets, offsets, offsets)).reshape(3, -1).T:
        moved = chain @ np.block([[np.eye(3), shift[:, None]], [np.zeros((1, 3)), 1.0]])
        total += ndimage.affine_transform(
            coefficients, moved[:3, :3], moved[:3, 3], output_shape=shape, order=3,
            prefilter=False, output=np.float32,
        )
    return total / n_sub**3


def random_motion(
    rng: np.random.Generator, n_volumes: int, trans_mm: float, rot_deg: float
) -> np.ndarray:
    """Six parameters per volume: a smooth walk with jumps, scaled to the given maximum."""
    steps = rng.standard_normal((n_volumes, 6)) + 6 * (rng.random((n_volumes, 6)) < 0.05)
    walk = np.cumsum(steps, axis=0)
    walk -= walk[0]
    walk /= np.abs(walk).max(axis=0) + 1e-12
    return walk * np.r_[[trans_mm] * 3, np.radians([rot_deg] * 3)]


def coil(shape: tuple, affine: np.ndarray) -> np.ndarray:
    """Receive sensitivity: fixed in the scanner, brighter at the back."""
    index = np.indices(shape).astype(float)
    size = (np.array(shape) * voxel_sizes(affine))[:, None, None, None]
    place = index * voxel_sizes(affine)[:, None, None, None] / size - 0.5
    return 1.0 + 0.4 * place[1] ** 2 - 0.3 * place[1] + 0.15 * place[0]


def moving_series(
    head: Head, parameters: np.ndarray, shape: tuple = EPI_SHAPE, affine: np.ndarray = EPI_AFFINE,
    *, noise: float = 0.02, bias: bool = True, seed: int = 1, n_sub: int = 2,
    levels: tuple = EPI_LEVELS,
) -> tuple[np.ndarray, np.ndarray]:
    """Image a moving head; gives the series and the true matrices (reference to volume, mm)."""
    rng = np.random.default_rng(seed)
    tissue = ndimage.spline_filter(head.intensity(levels), order=3)
    centre = grid_centre(shape, affine)
    field = coil(shape, affine) if bias else np.ones(shape)
    series = np.empty((*shape, len(parameters)), dtype=np.float32)
    matrices = np.empty((len(parameters), 4, 4))
    for t, row in enumerate(parameters):
        to_reference = rigid_matrix(row, centre)
        matrices[t] = np.linalg.inv(to_reference)
        clean = sample_coefficients(tissue, head.affine, shape, affine, to_reference, n_sub)
        clean *= field
        series[..., t] = 1000 * (clean + noise * rng.standard_normal(shape))
    return series, matrices


def brain_mask(head: Head, shape: tuple = EPI_SHAPE, affine: np.ndarray = EPI_AFFINE) -> np.ndarray:
    return sample(head.brain, head.affine, shape, affine) > 0.5


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())
