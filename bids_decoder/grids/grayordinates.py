"""Grayordinates of CIFTI: vertices of the cortex and voxels below it, side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from nibabel.cifti2 import BrainModelAxis

from bids_decoder.agreement import same_grid
from bids_decoder.grids.base import Density, Geometry, Kernel, RandomField
from bids_decoder.grids.surface import Mesh, Surface
from bids_decoder.grids.volume import Container, Volume

CORTEX = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")
"""Structures whose vertices are those of a mesh."""


@dataclass(frozen=True, eq=False)
class Grayordinates:
    """What the rows of a CIFTI file are.

    Parameters
    ----------
    models : BrainModelAxis
        Structure, and vertex or voxel, of each row.
    mesh : Mesh or None
        Whole surfaces of both hemispheres, the medial wall included.
    """

    models: BrainModelAxis
    mesh: Mesh | None = None

    @cached_property
    def vertices(self) -> np.ndarray:
        """Vertex of each row on the joined hemispheres, shape (n_rows,); -1 for other rows."""
        found = np.full(len(self.models), -1, dtype=np.intp)
        n_left = self.models.nvertices.get(CORTEX[0], 0)
        for start, name in zip((0, n_left), CORTEX, strict=True):
            rows = self.models.name == name
            found[rows] = start + self.models.vertex[rows]
        return found

    @cached_property
    def rows_key(self) -> str:
        """See :func:`models_key`."""
        return models_key(self.models)

    @property
    def is_voxel(self) -> np.ndarray:
        """Whether each row is a voxel, shape (n_rows,)."""
        return self.models.volume_mask

    def to_vertices(self, values: np.ndarray) -> np.ndarray:
        """Put the values of rows on the joined hemispheres, (n_vertices,); 0 where none are."""
        n_vertices = sum(self.models.nvertices.get(name, 0) for name in CORTEX)
        whole = np.zeros(n_vertices, dtype=values.dtype)
        on_mesh = self.vertices >= 0
        whole[self.vertices[on_mesh]] = values[on_mesh]
        return whole

    def to_volume(self, values: np.ndarray) -> np.ndarray:
        """Put the values of rows on the grid of the voxels, shape (i, j, k); 0 where none are."""
        volume = np.zeros(self.models.volume_shape, dtype=values.dtype)
        volume[tuple(self.models.voxel[self.is_voxel].T)] = values[self.is_voxel]
        return volume

    def geometry(self, used: np.ndarray) -> Joined:
        """Return the geometry of the used rows, *used* (n_rows,) of bool."""
        number = np.cumsum(used) - 1
        parts: list[tuple[np.ndarray, Geometry]] = []
        rest = used & ~self.is_voxel
        if self.mesh is not None:
            rows = np.flatnonzero(used & (self.vertices >= 0))
            rows = rows[np.argsort(self.vertices[rows])]
            chosen = np.zeros(len(self.mesh.points), dtype=bool)
            chosen[self.vertices[rows]] = True
            parts.append((number[rows], Surface(self.mesh, chosen)))
            rest &= self.vertices < 0
        rows = np.flatnonzero(used & self.is_voxel)
        if len(rows):
            places = self.models.voxel[rows]
            order = np.argsort(np.ravel_multi_index(places.T, self.models.volume_shape))
            mask = np.zeros(self.models.volume_shape, dtype=bool)
            mask[tuple(places.T)] = True
            parts.append((number[rows[order]], Volume(mask, np.asarray(self.models.affine))))
        parts.append((number[rest], Container(np.zeros((int(rest.sum()), 3)))))
        return Joined([(rows, part) for rows, part in parts if len(rows)])


def models_key(models: BrainModelAxis) -> str:
    """Return a text that is the same for the same grayordinates in the same order."""
    structures = [(str(name), rows.start, rows.stop) for name, rows, _ in models.iter_structures()]
    place = None
    if models.affine is not None:
        # Adding zero makes negative zeros positive.
        place = (np.round(models.affine, 3) + 0.0).tolist(), tuple(models.volume_shape)
    said = (structures, sorted(models.nvertices.items()), place)
    digest = hashlib.sha256(repr(said).encode())
    for numbers in (models.vertex, models.voxel):
        digest.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
    return digest.hexdigest()


def find_rows(models: BrainModelAxis, others: BrainModelAxis) -> np.ndarray:
    """Find the same vertices and voxels in another file, whatever the structures and their order.

    Parameters
    ----------
    models, others : BrainModelAxis

    Returns
    -------
    ndarray of int, shape (len(models),)
        Row in *others* of each row; -1 where there is none.

    Raises
    ------
    ValueError
        When surfaces have another number of vertices, or voxels are on another grid.
    """
    found = np.full(len(models), -1, dtype=np.intp)
    for name in sorted(set(models.nvertices) & set(others.nvertices)):
        sizes = models.nvertices[name], others.nvertices[name]
        if sizes[0] != sizes[1]:
            raise ValueError(f"{sizes[1]} vertices of {name} against {sizes[0]} of the responses")
        number = np.full(sizes[0], -1, dtype=np.intp)
        there = np.flatnonzero(others.name == name)
        number[others.vertex[there]] = there
        here = models.name == name
        found[here] = number[models.vertex[here]]
    here, there = models.volume_mask, np.flatnonzero(others.volume_mask)
    if here.any() and len(there):
        shape = tuple(models.volume_shape)
        if not same_grid((shape, models.affine), (others.volume_shape, others.affine)):
            raise ValueError("their voxels are on another grid than those of the responses")
        number = np.full(shape, -1, dtype=np.intp)
        number[tuple(others.voxel[there].T)] = there
        found[here] = number[tuple(models.voxel[here].T)]
    return found


class Joined(Geometry):
    """Several grids side by side, without neighbours across them.

    Parameters
    ----------
    parts : sequence of (rows, Geometry)
        Numbers of the voxels of each part, in its order.
    """

    kind = "grayordinates"

    def __init__(self, parts: Sequence[tuple[np.ndarray, Geometry]]) -> None:
        self.parts = tuple(parts)
        self.n_voxels = sum(len(rows) for rows, _ in parts)
        self.has_neighbours = any(part.has_neighbours for _, part in parts)

    def join(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Put values of the voxels of all parts, (..., n_part), in their order."""
        whole = np.empty((*values[0].shape[:-1], self.n_voxels), np.result_type(*values))
        for (rows, _), own in zip(self.parts, values, strict=True):
            whole[..., rows] = own
        return whole

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the values, (..., n_voxels), of each part."""
        return [values[..., rows] for rows, _ in self.parts]

    @property
    def positions(self) -> np.ndarray:
        """See :class:`Geometry`; zero where nothing is known."""
        return self.join([part.positions.T for _, part in self.parts]).T

    @property
    def spacing_mm(self) -> float:
        """Mean over all voxels."""
        known = [(len(rows), part.spacing_mm) for rows, part in self.parts if part.has_neighbours]
        counts, spacings = zip(*known, strict=True) if known else ((1,), (1.0,))
        return float(np.average(spacings, weights=counts))

    @property
    def steps(self) -> np.ndarray:
        """See :class:`Geometry`; those of different parts are not on one scale."""
        return self.join([part.steps.T for _, part in self.parts]).T

    @property
    def densities(self) -> tuple[Density, ...]:
        """Those of all parts; empty unless all voxels have neighbours."""
        if not all(part.has_neighbours for _, part in self.parts):
            return ()
        return tuple(density for _, part in self.parts for density in part.densities)

    def kernel(self, fwhm_mm: float) -> _JoinedKernel:
        """See :class:`Geometry`."""
        return _JoinedKernel(self, fwhm_mm)

    def random_field(self, fwhm_mm: float) -> _JoinedField:
        """See :class:`Geometry`."""
        return _JoinedField(self, fwhm_mm)

    def clusters(self, above: np.ndarray) -> np.ndarray:
        """See :class:`Geometry`."""
        found, last = [], 0
        for (_, part), own in zip(self.parts, self.split(above), strict=True):
            number = part.clusters(own)
            found.append(np.where(own, number + last, 0))
            last = max(last, int(found[-1].max(initial=0)))
        return self.join(found)

    @cached_property
    def _owner(self) -> tuple[np.ndarray, np.ndarray]:
        """Part of each voxel, and its number there."""
        part, number = np.empty((2, self.n_voxels), dtype=np.intp)
        for at, (rows, _) in enumerate(self.parts):
            part[rows], number[rows] = at, np.arange(len(rows))
        return part, number

    def within(self, centres: np.ndarray, radius_mm: float) -> list[np.ndarray]:
        """See :class:`Geometry`."""
        return self._around(centres, lambda part, own: part.within(own, radius_mm))

    def nearest(self, centres: np.ndarray, n_voxels: int) -> list[np.ndarray]:
        """See :class:`Geometry`."""
        return self._around(centres, lambda part, own: part.nearest(own, n_voxels))

    def _around(
        self, centres: np.ndarray, find: Callable[[Geometry, np.ndarray], list[np.ndarray]]
    ) -> list[np.ndarray]:
        found: list[np.ndarray] = [np.empty(0, np.intp)] * len(centres)
        owner, number = self._owner
        for at, (rows, part) in enumerate(self.parts):
            mine = np.flatnonzero(owner[centres] == at)
            if len(mine):
                around = find(part, number[centres[mine]])
                for place, own in zip(mine, around, strict=True):
                    found[place] = rows[own]
        return found

    def blocks(self) -> list[np.ndarray]:
        """See :class:`Geometry`; each holds voxels of one part."""
        return [rows[own] for rows, part in self.parts for own in part.blocks()]


class _JoinedKernel:
    def __init__(self, grid: Joined, fwhm_mm: float) -> None:
        self._grid = grid
        self._kernels: list[Kernel] = [part.kernel(fwhm_mm) for _, part in grid.parts]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        parts = zip(self._kernels, self._grid.split(np.asarray(values)), strict=True)
        return self._grid.join([kernel.mean(own) for kernel, own in parts])

    def total(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        parts = zip(self._kernels, self._grid.split(np.asarray(values)), strict=True)
        return self._grid.join([kernel.total(own) for kernel, own in parts])

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        parts = zip(self._kernels, self._grid.split(np.asarray(values)), strict=True)
        return self._grid.join([kernel.adjoint(own) for kernel, own in parts])


class _JoinedField:
    def __init__(self, grid: Joined, fwhm_mm: float) -> None:
        self._grid = grid
        self._fields: list[RandomField] = [part.random_field(fwhm_mm) for _, part in grid.parts]
        self._ends = np.cumsum([field.n_waves for field in self._fields])
        self.n_waves = int(self._ends[-1])

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.RandomField`."""
        parts = np.split(amplitudes, self._ends[:-1], axis=1)
        return self._grid.join([
            field.field(own) for field, own in zip(self._fields, parts, strict=True)
        ])

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.RandomField`."""
        parts = zip(self._fields, self._grid.split(values), strict=True)
        return np.concatenate([field.adjoint(own) for field, own in parts], axis=1)
