"""Spheres of voxels around every voxel of a grid, in blocks of neighbouring centres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from bids_decoder.trials import VoxelGrid

BLOCK_EDGE = 4
"""Centres along each edge of a block; with it, 8 mm spheres of 2 mm voxels take few operations."""

_COUNTED_AT_ONCE = 4096
_SLACK_MM = 1e-4
"""Distances are computed with rounding; a voxel exactly at the radius belongs to the sphere."""


@dataclass(frozen=True, eq=False)
class Block:
    """Neighbouring spheres, which share most of their voxels.

    Parameters
    ----------
    centres : ndarray of int, shape (n_spheres,)
        Voxel numbers of the centres.
    voxels : ndarray of int, shape (n_used,)
        Voxel numbers of all voxels in one of the spheres, in order.
    members : ndarray of bool, shape (n_spheres, n_used)
        Which of these voxels are in which sphere.
    places : ndarray of int, shape (n_spheres, 3)
        Grid indices of the centres.
    """

    centres: np.ndarray
    voxels: np.ndarray
    members: np.ndarray
    places: np.ndarray


@dataclass(frozen=True, eq=False)
class Spheres:
    """One sphere around every voxel of a grid.

    Parameters
    ----------
    grid : VoxelGrid
        With positions in space.
    radius_mm : float or None
        Voxels whose centres are at most this far away.
    n_voxels : int or None
        Instead of a radius: so many nearest voxels, the centre included.
    """

    grid: VoxelGrid
    radius_mm: float | None = None
    n_voxels: int | None = None

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.grid.coordinates)

    @cached_property
    def _lattice(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of voxels with a margin around them, its width, and steps within the radius."""
        axes, radius = self.grid.affine[:3, :3], self.radius_mm + _SLACK_MM
        margin = np.floor(np.linalg.norm(np.linalg.inv(axes), axis=1) * radius).astype(int)
        margin = np.minimum(margin, self.grid.mask.shape)
        steps = np.indices(2 * margin + 1).reshape(3, -1).T - margin
        steps = steps[np.linalg.norm(steps @ axes.T, axis=1) <= radius]
        numbers = np.full(self.grid.mask.shape, -1, dtype=np.intp)
        numbers[self.grid.mask] = np.arange(self.grid.n_voxels)
        return np.pad(numbers, margin[:, None], constant_values=-1), margin, steps

    def _around(self, centres: np.ndarray) -> np.ndarray:
        """Return the voxel numbers within the radius, (n_centres, n_steps); -1 for no voxel."""
        numbers, margin, steps = self._lattice
        strides = np.array(numbers.strides) // numbers.itemsize
        places = (self.grid.indices[centres] + margin) @ strides
        return numbers.ravel()[places[:, None] + steps @ strides]

    def of(self, centres: np.ndarray) -> list[np.ndarray]:
        """Return the voxel numbers of the spheres around some voxels."""
        if self.radius_mm is not None:
            return [found[found >= 0] for found in self._around(centres)]
        around = self.grid.coordinates[centres]
        nearest = self._tree.query(around, min(self.n_voxels, self.grid.n_voxels))[1]
        return list(nearest.reshape(len(centres), -1).astype(np.intp))

    def sizes(self) -> np.ndarray:
        """Count the voxels of every sphere, shape (n_voxels,)."""
        n_voxels = self.grid.n_voxels
        if self.radius_mm is None:
            return np.full(n_voxels, min(self.n_voxels, n_voxels))
        parts = np.array_split(np.arange(n_voxels), n_voxels // _COUNTED_AT_ONCE + 1)
        return np.concatenate([(self._around(part) >= 0).sum(axis=1) for part in parts])

    def blocks(self) -> Iterator[Block]:
        """Iterate over blocks that together hold every sphere once."""
        cells = self.grid.indices // BLOCK_EDGE
        number = np.ravel_multi_index(cells.T, cells.max(axis=0) + 1)
        order = np.argsort(number, kind="stable")
        ends = np.flatnonzero(np.diff(number[order])) + 1
        for centres in np.split(order, ends):
            yield self._block(centres)

    def _block(self, centres: np.ndarray) -> Block:
        spheres = self.of(centres)
        voxels, column = np.unique(np.concatenate(spheres), return_inverse=True)
        members = np.zeros((len(centres), len(voxels)), dtype=bool)
        members[np.repeat(np.arange(len(centres)), [len(s) for s in spheres]), column] = True
        return Block(centres, voxels, members, self.grid.indices[centres])
