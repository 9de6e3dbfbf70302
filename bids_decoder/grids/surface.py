"""Vertices of the surfaces of both hemispheres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from bids_decoder.grids.base import SLACK_MM, Density, Geometry
from bids_decoder.grids.diffusion import Diffusion
from bids_decoder.grids.paths import mesh_edges, path_lengths, triangle_areas

_FIRST = 1.5
"""Radius in which vertices are looked for at first, as a multiple of that of a flat disc."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """The surfaces of both hemispheres, on whose vertices responses are.

    Parameters
    ----------
    points : ndarray, shape (n_vertices, 3)
        Millimetres; the left hemisphere comes first.
    triangles : ndarray of int, shape (n_triangles, 3)
        Numbers of vertices.
    n_left : int
        Vertices of the left hemisphere.
    """

    points: np.ndarray
    triangles: np.ndarray
    n_left: int

    @cached_property
    def edges(self) -> np.ndarray:
        """Pairs of neighbouring vertices, each once, shape (n_edges, 2)."""
        return mesh_edges(self.triangles)

    @property
    def mesh(self) -> Mesh:
        """Itself."""
        return self

    @property
    def rows_key(self) -> str:
        """Empty: the name of the space says which vertices they are."""
        return ""

    @property
    def halves(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Points and triangles of the left and the right hemisphere."""
        is_left = self.triangles[:, 0] < self.n_left
        return (
            (self.points[:self.n_left], self.triangles[is_left]),
            (self.points[self.n_left:], self.triangles[~is_left] - self.n_left),
        )

    def to_vertices(self, values: np.ndarray) -> np.ndarray:
        """Return values of vertices, (n_vertices,), as they are."""
        return values

    def geometry(self, used: np.ndarray) -> Surface:
        """Return the geometry of the used vertices, *used* (n_vertices,) of bool."""
        return Surface(self, used)


class Surface(Geometry):
    """Used vertices of a mesh; distances are those along the surface.

    Paths may cross vertices that are not used, so that a gap in the data is as wide as it is.

    Parameters
    ----------
    mesh : Mesh
    used : ndarray of bool, shape (n_vertices,)
    """

    kind = "surface"

    def __init__(self, mesh: Mesh, used: np.ndarray) -> None:
        self.mesh, self.used = mesh, used

    @property
    def positions(self) -> np.ndarray:
        """See :class:`Geometry`."""
        return self.mesh.points[self.used]

    @cached_property
    def edges(self) -> np.ndarray:
        """Pairs of neighbouring used vertices by their numbers among them, (n_edges, 2)."""
        number, edges = np.cumsum(self.used) - 1, self.mesh.edges
        return number[edges[self.used[edges].all(axis=1)]]

    @property
    def spacing_mm(self) -> float:
        """Mean length of edges."""
        lengths = np.diff(self.positions[self.edges], axis=1)[:, 0]
        return float(np.linalg.norm(lengths, axis=1).mean() if len(lengths) else 1.0)

    @cached_property
    def steps(self) -> np.ndarray:
        """See :class:`Geometry`."""
        steps = self.positions / np.sqrt(self.area_per_vertex)
        return steps - steps.min(axis=0)

    @property
    def densities(self) -> tuple[Density, ...]:
        """See :class:`Geometry`."""
        ends = self.mesh.points[self.mesh.edges]
        apart = float(np.median(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)))
        return (Density(
            int(self.used.sum()), apart, self.area_per_vertex,
            f"vertices that are {apart:.3g} mm apart", is_flat=True,
        ),)

    def kernel(self, fwhm_mm: float) -> _DiffusionKernel:
        """See :class:`Geometry`."""
        return _DiffusionKernel(self, fwhm_mm)

    def random_field(self, fwhm_mm: float) -> _DiffusedNoise:
        """See :class:`Geometry`."""
        return _DiffusedNoise(self.diffusion(fwhm_mm), int(self.used.sum()))

    def diffusion(self, fwhm_mm: float) -> Diffusion:
        """Return the diffusion that smooths by a kernel of this width."""
        return Diffusion(self.edges, self.positions, fwhm_mm)

    def clusters(self, above: np.ndarray) -> np.ndarray:
        """See :class:`Geometry`."""
        kept = self.edges[above[self.edges].all(axis=1)]
        links = csr_array((np.ones(len(kept), bool), kept.T), shape=(len(above),) * 2)
        return np.where(above, connected_components(links, directed=False)[1] + 1, 0)

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.flatnonzero(self.used)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.mesh.points)

    @cached_property
    def _paths(self) -> csr_array:
        return path_lengths(self.mesh.points, self.mesh.triangles)

    @cached_property
    def area_per_vertex(self) -> float:
        """Mean area of the surface that belongs to a vertex, in square millimetres."""
        mesh = self.mesh
        return float(triangle_areas(mesh.points, mesh.triangles).sum()) / len(mesh.points)

    @cached_property
    def _reachable(self) -> np.ndarray:
        """Number of used vertices in the same part of the surface as each of them."""
        parts = connected_components(self._paths, directed=False)[1][self._rows]
        return np.bincount(parts)[parts]

    def within(self, centres: np.ndarray, radius_mm: float) -> list[np.ndarray]:
        """See :class:`Geometry`."""
        around, lengths = self._lengths(centres, radius_mm)
        return [around[row <= radius_mm + SLACK_MM] for row in lengths]

    def nearest(self, centres: np.ndarray, n_voxels: int) -> list[np.ndarray]:
        """See :class:`Geometry`."""
        radius = _FIRST * float(np.sqrt(n_voxels * self.area_per_vertex / np.pi))
        wanted = np.minimum(n_voxels, self._reachable[centres])
        around, lengths = self._lengths(centres, radius)
        while (np.isfinite(lengths).sum(axis=1) < wanted).any():
            radius *= 2
            around, lengths = self._lengths(centres, radius)
        order = np.argsort(lengths, axis=1, kind="stable")
        return [
            np.sort(around[row[:n_nearest]]) for row, n_nearest in zip(order, wanted, strict=True)
        ]

    def _lengths(self, centres: np.ndarray, radius_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Return used vertices, and the lengths of the paths to them, infinite beyond a radius."""
        limit, starts = radius_mm + SLACK_MM, self._rows[centres]
        # No path is shorter than the straight line.
        near = self._tree.query_ball_point(self.mesh.points[starts], limit)
        inside = np.unique(np.concatenate(near).astype(np.intp))
        paths = self._paths[inside][:, inside]
        lengths = dijkstra(paths, indices=np.searchsorted(inside, starts), limit=limit)
        is_used = self.used[inside]
        return np.searchsorted(self._rows, inside[is_used]), lengths[:, is_used]


class _DiffusionKernel:
    def __init__(self, surface: Surface, fwhm_mm: float) -> None:
        self._surface, self._fwhm_mm = surface, fwhm_mm
        self._diffusion = surface.diffusion(fwhm_mm)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        return self._diffusion.smooth(values)

    def total(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        # What the kernel, which sums to one, gives to the vertex itself: a kernel of half the
        # variance, applied twice.
        own = self._surface.diffusion(self._fwhm_mm / np.sqrt(2)).spread() ** 2
        return self.mean(values) / own

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.Kernel`."""
        return self._diffusion.adjoint(values)


class _DiffusedNoise:
    """A Gaussian random field on a mesh: white noise that diffused along it."""

    def __init__(self, diffusion: Diffusion, n_vertices: int) -> None:
        self.n_waves, self._diffusion = n_vertices, diffusion
        self._gain = 1 / diffusion.spread()

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.RandomField`."""
        return self._gain * self._diffusion.smooth(amplitudes)

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """See :class:`~bids_decoder.grids.base.RandomField`."""
        return self._diffusion.adjoint(self._gain * values)
