"""What all kinds of grids know of their voxels, in one interface.

A *voxel* is one of the places whose responses are decoded: a voxel of a volume, a vertex of a
surface, or a grayordinate, which is either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Any, ClassVar, Protocol

import numpy as np

BLOCK_EDGE = 4
"""Centres along each edge of a block; with it, 8 mm spheres of 2 mm voxels take few operations."""

SLACK_MM = 1e-4
"""Distances are computed with rounding; a voxel exactly at the radius belongs to the sphere."""

FWHM_PER_SD = 2.3548200450309493


class Kernel(Protocol):
    """A Gaussian smoothing kernel, of one map, (n_voxels,), or of several, (n_maps, n_voxels)."""

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Average values over neighbourhoods within the grid."""

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum values with a weight of 1 for the voxel itself.

        Near the edge of the grid, weights are normalised as for a full neighbourhood.
        """

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """Apply the transpose of :meth:`mean`."""


class RandomField(Protocol):
    """A smooth Gaussian random field of about unit variance, as a sum of waves.

    Attributes
    ----------
    n_waves : int
    """

    n_waves: int

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """Compute fields from amplitudes that are N(0, 1), (n, n_waves) to (n, n_voxels)."""

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """Apply the transpose of :meth:`field`."""


@dataclass(frozen=True)
class Density:
    """How densely voxels fill the brain, or vertices its surface.

    Parameters
    ----------
    n_voxels : int
    least_mm : float
        From a voxel to the nearest one; on surfaces the median length of an edge.
    unit : float
        Volume of a voxel in cubic millimetres; on surfaces the area of a vertex.
    words : str
        What the voxels are.
    is_flat : bool
        Whether this is a surface.
    """

    n_voxels: int
    least_mm: float
    unit: float
    words: str
    is_flat: bool = False

    def radius_of(self, n_voxels: float) -> float:
        """Return the radius within which so many voxels are, in millimetres."""
        share = n_voxels * self.unit / pi
        return float(share ** (1 / 2) if self.is_flat else (0.75 * share) ** (1 / 3))

    def count_within(self, radius_mm: float) -> float:
        """Return how many voxels are within a radius."""
        filled = pi * radius_mm**2 if self.is_flat else 4 / 3 * pi * radius_mm**3
        return filled / self.unit


class Geometry(ABC):
    """Positions and neighbours of the used voxels of a grid."""

    kind: ClassVar[str]
    """``volume``, ``surface``, ``grayordinates`` or ``none``."""

    has_neighbours: bool = True
    """Whether it is known which voxels are next to each other."""

    fills_volume: ClassVar[bool] = False
    """Whether all voxels are on one regular lattice, from which images can be interpolated."""

    @property
    @abstractmethod
    def positions(self) -> np.ndarray:
        """Millimetres, shape (n_voxels, 3)."""

    @property
    @abstractmethod
    def spacing_mm(self) -> float:
        """Distance from a voxel to the next one."""

    @abstractmethod
    def kernel(self, fwhm_mm: float) -> Kernel:
        """Return a smoothing kernel of a full width at half maximum above 0."""

    @abstractmethod
    def random_field(self, fwhm_mm: float) -> RandomField:
        """Return the field that a kernel of this width makes of white noise."""

    @abstractmethod
    def clusters(self, above: np.ndarray) -> np.ndarray:
        """Number the clusters of a thresholded map.

        Parameters
        ----------
        above : ndarray of bool, shape (n_voxels,)

        Returns
        -------
        ndarray of int, shape (n_voxels,)
            From 1 on; 0 for voxels below the threshold.
        """

    @abstractmethod
    def within(self, centres: np.ndarray, radius_mm: float) -> list[np.ndarray]:
        """Return the voxels that are at most this far from some voxels.

        Parameters
        ----------
        centres : ndarray of int, shape (n_centres,)
            Best of neighbours: distances of all are computed at once.
        radius_mm : float

        Returns
        -------
        list of ndarray of int
        """

    @abstractmethod
    def nearest(self, centres: np.ndarray, n_voxels: int) -> list[np.ndarray]:
        """Return the voxels that are nearest to some voxels, these included.

        Parameters
        ----------
        centres : ndarray of int, shape (n_centres,)
            As for :meth:`within`.
        n_voxels : int

        Returns
        -------
        list of ndarray of int
            Fewer where fewer can be reached.
        """

    @property
    @abstractmethod
    def steps(self) -> np.ndarray:
        """Positions in units of about the distance to the next voxel, from 0 on, (n_voxels, 3)."""

    @property
    @abstractmethod
    def densities(self) -> tuple[Density, ...]:
        """How densely each part of the grid is filled; empty where no neighbours are known."""

    def card(self) -> dict[str, Any]:
        """Return what is said of the grid beside maps on it."""
        return {"grid": self.kind, "spacing_mm": round(self.spacing_mm, 4)}

    def count_within(self, radius_mm: float) -> np.ndarray:
        """Count the voxels that are at most this far from each voxel, shape (n_voxels,)."""
        return self._count(lambda centres: self.within(centres, radius_mm))

    def count_nearest(self, n_voxels: int) -> np.ndarray:
        """Count the voxels of :meth:`nearest` for each voxel, shape (n_voxels,)."""
        return self._count(lambda centres: self.nearest(centres, n_voxels))

    def _count(self, find: Callable[[np.ndarray], list[np.ndarray]]) -> np.ndarray:
        sizes = np.empty(len(self.positions), dtype=np.intp)
        for centres in self.blocks():
            sizes[centres] = [len(found) for found in find(centres)]
        return sizes

    def blocks(self) -> list[np.ndarray]:
        """Return groups of neighbouring voxels that together hold every voxel once."""
        return blocks_of(self.steps)


def blocks_of(steps: np.ndarray) -> list[np.ndarray]:
    """Group voxels by cubes of :data:`BLOCK_EDGE` steps.

    Parameters
    ----------
    steps : ndarray, shape (n_voxels, 3)
        Not negative.
    """
    cells = (steps // BLOCK_EDGE).astype(np.intp)
    number = np.ravel_multi_index(cells.T, cells.max(axis=0) + 1)
    order = np.argsort(number, kind="stable")
    ends = np.flatnonzero(np.diff(number[order])) + 1
    return np.split(order, ends)
