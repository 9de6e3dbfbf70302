"""Spheres of voxels around every voxel of a grid, in blocks of neighbouring centres.

On surfaces a sphere is a disc: distances are those along the surface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bids_decoder.trials import VoxelGrid


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

    def of(self, centres: np.ndarray) -> list[np.ndarray]:
        """Return the voxel numbers of the spheres around some voxels."""
        if self.radius_mm is not None:
            return self.grid.geometry.within(centres, self.radius_mm)
        return self.grid.geometry.nearest(centres, self.n_voxels)

    def sizes(self) -> np.ndarray:
        """Count the voxels of every sphere, shape (n_voxels,)."""
        if self.radius_mm is not None:
            return self.grid.geometry.count_within(self.radius_mm)
        return self.grid.geometry.count_nearest(self.n_voxels)

    def blocks(self) -> Iterator[Block]:
        """Iterate over blocks that together hold every sphere once."""
        for centres in self.grid.geometry.blocks():
            yield self._block(centres)

    def _block(self, centres: np.ndarray) -> Block:
        spheres = self.of(centres)
        voxels, column = np.unique(np.concatenate(spheres), return_inverse=True)
        members = np.zeros((len(centres), len(voxels)), dtype=bool)
        members[np.repeat(np.arange(len(centres)), [len(s) for s in spheres]), column] = True
        return Block(centres, voxels, members, self.grid.geometry.steps[centres])
