"""A linear filter of responses that reduces noise that voxels share with their surroundings.

The covariance of noise between voxels is described by white noise and smooth fields of several
widths. Their variances are estimated from training responses, and the filter is a power of
the covariance, as a sum of Gaussian means of the surroundings of each voxel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from bids_decoder.evaluation.folds import spread_runs
from bids_decoder.grids.base import FWHM_PER_SD, Kernel
from bids_decoder.training.run_means import centre_runs
from bids_decoder.trials import Person, VoxelGrid

FIELD_WIDTHS = (1.0, 2.0, 4.0, 8.0)
"""Smoothness of the fields, full width at half maximum in voxels; on a mesh, in edges."""

FILTER_WIDTHS = (1.5, 2.5, 4.0, 7.0)
"""Widths of the means around each voxel, in the same unit."""

POWER = 0.5
"""The filter is the covariance to the power of minus this, which makes noise white.

With 1 it would suit a prior for a known covariance and a known region. With estimates of both,
stimuli are identified better with less; see ``docs/troi.md``.
"""

_VALUES = 1 << 21
"""Values of maps that are smoothed together."""

_N_PROBES = 12
_MOST_TRIALS = 300
"""Trials, in whole runs, by which the covariance is estimated: there are many voxels."""


@dataclass(frozen=True, eq=False)
class NoiseFilter:
    """Responses plus weighted means of their surroundings.

    Parameters
    ----------
    kernels : sequence of Kernel
    factors : ndarray, shape (1 + n_kernels,)
        Of the responses, and of the mean of each kernel.
    """

    kernels: Sequence[Kernel]
    factors: np.ndarray

    def apply(self, maps: np.ndarray) -> np.ndarray:
        """Filter maps of shape (n_maps, n_voxels)."""
        return self._sum(maps, [kernel.mean for kernel in self.kernels])

    def adjoint(self, maps: np.ndarray) -> np.ndarray:
        """Apply the transpose of :meth:`apply` to maps of shape (n_maps, n_voxels)."""
        return self._sum(maps, [kernel.adjoint for kernel in self.kernels])

    def of_responses(self, weight: np.ndarray) -> np.ndarray:
        """Return weights of responses (n_voxels, n_latents) from weights of filtered ones."""
        return self.adjoint(weight.T).T

    def _sum(self, maps: np.ndarray, parts: Sequence) -> np.ndarray:
        found = np.empty(maps.shape, dtype=np.float32)
        for rows in blocks_of_rows(*maps.shape):
            own = maps[rows]
            found[rows] = self.factors[0] * own
            for factor, part in zip(self.factors[1:], parts, strict=True):
                found[rows] += factor * part(own)
        return found


def blocks_of_rows(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield parts of the rows of an array that are smoothed together."""
    size = max(1, _VALUES // max(n_columns, 1))
    return (slice(start, start + size) for start in range(0, n_rows, size))


def knows_all_neighbours(grid: VoxelGrid) -> bool:
    """Return whether the neighbours of all voxels are known, not only of some structures.

    A mean of surroundings that is the voxel itself would be taken for noise of all that surrounds
    it, and be reduced to a few percent of what is left of other voxels.
    """
    return bool(grid.geometry.densities)


def fit_noise_filter(person: Person, rng: np.random.Generator) -> NoiseFilter:
    """Fit the filter of :data:`POWER`; see :func:`fit_noise_filters`."""
    return fit_noise_filters(person, rng, [(POWER, 0.0)])[0]


def fit_noise_filters(
    person: Person, rng: np.random.Generator, shapes: Sequence[tuple[float, float]]
) -> list[NoiseFilter]:
    """Fit filters to the responses of training trials.

    Signal is a small part of the variance of single responses, and is counted as noise.

    Parameters
    ----------
    person : Person
        Training trials only.
    rng : numpy.random.Generator
        Draws the fields by which means of surroundings are calibrated on this grid.
    shapes : sequence of (float, float)
        Of each filter, the power of the covariance is minus the first number; the second is the
        full width at half maximum of a Gaussian that follows, in voxels.
    """
    geometry = person.grid.geometry
    kernels, fields = (
        [geometry.kernel(width * geometry.spacing_mm) for width in widths]
        for widths in (FILTER_WIDTHS, FIELD_WIDTHS)
    )
    white = rng.standard_normal((_N_PROBES, person.grid.n_voxels), dtype=np.float32)
    smooth = [field.mean(white) for field in fields]
    library = np.stack([_moments(own, kernels) for own in (white, *smooth)], axis=1)
    shares = nnls(library, _moments(_noise(person), kernels))[0]
    sizes = np.array([1.0, *(np.square(own).mean() for own in smooth)])
    return [NoiseFilter(kernels, _factors(shares / sizes, *shape)) for shape in shapes]


def _noise(person: Person) -> np.ndarray:
    """Return responses of some runs, less their means."""
    rows = spread_runs(person.run_groups, _MOST_TRIALS)
    return centre_runs(np.asarray(person.betas[rows], np.float32), person.run_groups[rows])


def _moments(maps: np.ndarray, kernels: Sequence[Kernel]) -> np.ndarray:
    """Return 1, and the covariance of maps with each of their means, relative to the variance."""
    size = float(np.square(maps, dtype=np.float64).sum()) or 1.0
    return np.array([1.0, *(
        sum(
            np.vecdot(maps[rows], kernel.mean(maps[rows])).sum(dtype=np.float64)
            for rows in blocks_of_rows(*maps.shape)
        ) / size for kernel in kernels
    )])


def _factors(densities: np.ndarray, power: float, width: float) -> np.ndarray:
    """Approximate the power of a covariance, and a Gaussian after it, by means of surroundings.

    Parameters
    ----------
    densities : ndarray, shape (1 + n_fields,)
        Spectral densities at frequency 0 of white noise and of the fields.
    power, width : float
        As in :func:`fit_noise_filters`.

    Returns
    -------
    ndarray, shape (1 + n_kernels,)
        As :attr:`NoiseFilter.factors`; the power is 1 at the highest frequencies.
    """
    frequencies = np.linspace(0, np.pi, 200)
    fields, means = (
        np.exp(-0.5 * np.outer(frequencies, np.array(widths) / FWHM_PER_SD) ** 2)
        for widths in (FIELD_WIDTHS, FILTER_WIDTHS)
    )
    density = densities[0] + np.square(fields) @ densities[1:]
    density = np.maximum(density / max(density.max(), 1e-12), 1e-3)
    wanted = (density / density[-1]) ** -power
    wanted *= np.exp(-0.5 * (frequencies * width / FWHM_PER_SD) ** 2)
    # Errors matter where noise is strong.
    weight = np.sqrt(density)
    columns = np.column_stack([np.ones_like(frequencies), means])
    ridge = 1e-3 * np.eye(columns.shape[1])
    return np.linalg.lstsq(
        np.vstack([columns * weight[:, None], ridge]),
        np.concatenate([wanted * weight, np.zeros(len(ridge))]), rcond=None,
    )[0]
