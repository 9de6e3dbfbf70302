"""Spheres of voxels around every voxel of a grid, in blocks of neighbouring centres.

On surfaces a sphere is a disc: distances are those along the surface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from bids_decoder.training.discs import Discs
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
    places : ndarray, shape (n_spheres, 3)
        Positions of the centres in units of about the distance from a voxel to the next one: grid
        indices, except on surfaces.
    """

    centres: np.ndarray
    voxels: np.ndarray
    members: np.ndarray
    places: np.ndarray


@dataclass(frozen=True, eq=False)
class Spheres:
    """One sphere around every voxel of a grid, or one disc around every vertex.

    Parameters
    ----------
    grid : VoxelGrid
        With positions in space, or a mesh.
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
    def discs(self) -> Discs | None:
        """Distances along the surface; None for volumes."""
        return None if self.grid.mesh is None else Discs(self.grid)

    @cached_property
    def _places(self) -> np.ndarray:
        if self.discs is None:
            return self.grid.indices
        steps = self.grid.coordinates / np.sqrt(self.discs.area_per_vertex)
        return steps - steps.min(axis=0)

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
        if self.discs is not None and self.radius_mm is not None:
            return self.discs.within(centres, self.radius_mm)
        if self.discs is not None:
            return self.discs.nearest(centres, self.n_voxels)
        if self.radius_mm is not None:
            return [found[found >= 0] for found in self._around(centres)]
        around = self.grid.coordinates[centres]
        nearest = self._tree.query(around, min(self.n_voxels, self.grid.n_voxels))[1]
        return list(nearest.reshape(len(centres), -1).astype(np.intp))

    def sizes(self) -> np.ndarray:
        """Count the voxels of every sphere, shape (n_voxels,)."""
        n_voxels = self.grid.n_voxels
        if self.discs is not None:
            sizes = np.empty(n_voxels, dtype=np.intp)
            for centres in self._groups():
                sizes[centres] = [len(disc) for disc in self.of(centres)]
            return sizes
        if self.radius_mm is None:
            return np.full(n_voxels, min(self.n_voxels, n_voxels))
        parts = np.array_split(np.arange(n_voxels), n_voxels // _COUNTED_AT_ONCE + 1)
        return np.concatenate([(self._around(part) >= 0).sum(axis=1) for part in parts])

    def blocks(self) -> Iterator[Block]:
        """Iterate over blocks that together hold every sphere once."""
        for centres in self._groups():
            yield self._block(centres)

    def _groups(self) -> list[np.ndarray]:
        """Return the centres of each block."""
        cells = (self._places // BLOCK_EDGE).astype(np.intp)
        number = np.ravel_multi_index(cells.T, cells.max(axis=0) + 1)
        order = np.argsort(number, kind="stable")
        ends = np.flatnonzero(np.diff(number[order])) + 1
        return np.split(order, ends)

    def _block(self, centres: np.ndarray) -> Block:
        spheres = self.of(centres)
        voxels, column = np.unique(np.concatenate(spheres), return_inverse=True)
        members = np.zeros((len(centres), len(voxels)), dtype=bool)
        members[np.repeat(np.arange(len(centres)), [len(s) for s in spheres]), column] = True
        return Block(centres, voxels, members, self._places[centres])
