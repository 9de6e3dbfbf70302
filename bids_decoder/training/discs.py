"""Discs of vertices: the nearest ones along a surface.

Distances are those of shortest paths over the edges of the mesh and over straight lines across
pairs of triangles that share an edge [1]_: paths over edges alone are up to 15 % too long, in
directions that no edge has.

References
----------
.. [1] Oosterhof et al. (2011), A comparison of volume-based and surface-based multi-voxel pattern
   analysis, NeuroImage 56:593.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from bids_decoder.trials import Mesh, VoxelGrid

_SLACK_MM = 1e-4
"""Lengths of paths are sums with rounding; a vertex exactly at the radius belongs to the disc."""

_FIRST = 1.5
"""Radius in which vertices are looked for at first, as a multiple of that of a flat disc."""


@dataclass(frozen=True, eq=False)
class Discs:
    """Discs around the used vertices of a grid.

    Paths may cross vertices that are not used, so that a gap in the data is as wide as it is.

    Parameters
    ----------
    grid : VoxelGrid
        With a mesh.
    """

    grid: VoxelGrid

    @cached_property
    def _used(self) -> np.ndarray:
        return np.flatnonzero(self.grid.mask.ravel())

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.grid.mesh.points)

    @cached_property
    def _paths(self) -> csr_array:
        return path_lengths(self.grid.mesh)

    @cached_property
    def area_per_vertex(self) -> float:
        """Mean area of the surface that belongs to a vertex, in square millimetres."""
        return float(triangle_areas(self.grid.mesh).sum()) / len(self.grid.mesh.points)

    @cached_property
    def _reachable(self) -> np.ndarray:
        """Number of used vertices in the same part of the surface as each of them."""
        parts = connected_components(self._paths, directed=False)[1][self._used]
        return np.bincount(parts)[parts]

    def within(self, centres: np.ndarray, radius_mm: float) -> list[np.ndarray]:
        """Return the used vertices that are at most this far from some vertices.

        Parameters
        ----------
        centres : ndarray of int, shape (n_centres,)
            Numbers among the used vertices, of neighbours: all distances are computed at once.
        radius_mm : float

        Returns
        -------
        list of ndarray of int
            Numbers among the used vertices, in order.
        """
        around, lengths = self._lengths(centres, radius_mm)
        return [around[row <= radius_mm + _SLACK_MM] for row in lengths]

    def nearest(self, centres: np.ndarray, n_vertices: int) -> list[np.ndarray]:
        """Return the used vertices that are nearest to some vertices, these included.

        Parameters
        ----------
        centres : ndarray of int, shape (n_centres,)
            As for :meth:`within`.
        n_vertices : int

        Returns
        -------
        list of ndarray of int
            Fewer where the part of the surface, as a hemisphere, has no more.
        """
        radius = _FIRST * float(np.sqrt(n_vertices * self.area_per_vertex / np.pi))
        wanted = np.minimum(n_vertices, self._reachable[centres])
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
        limit, starts = radius_mm + _SLACK_MM, self._used[centres]
        # No path is shorter than the straight line.
        near = self._tree.query_ball_point(self.grid.mesh.points[starts], limit)
        inside = np.unique(np.concatenate(near).astype(np.intp))
        paths = self._paths[inside][:, inside]
        lengths = dijkstra(paths, indices=np.searchsorted(inside, starts), limit=limit)
        is_used = self.grid.mask.ravel()[inside]
        return np.searchsorted(self._used, inside[is_used]), lengths[:, is_used]


def path_lengths(mesh: Mesh) -> csr_array:
    """Return the lengths of the edges, and of lines across two triangles.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    csr_array of float64, shape (n_vertices, n_vertices)
        Symmetric, millimetres.
    """
    pairs, lengths = _crossings(mesh)
    edges = mesh.edges
    pairs = np.concatenate([edges, pairs])
    spans = np.linalg.norm(mesh.points[edges[:, 0]] - mesh.points[edges[:, 1]], axis=1)
    lengths = np.concatenate([spans, lengths])
    # Two triangles may be shared by several edges; the sparse matrix would add their lengths up.
    order = np.lexsort((lengths, pairs[:, 1], pairs[:, 0]))
    pairs, lengths = pairs[order], lengths[order]
    is_first = np.r_[True, (np.diff(pairs, axis=0) != 0).any(axis=1)]
    (start, end), lengths = pairs[is_first].T, lengths[is_first]
    # Vertices at the same place: an entry of zero would be no connection.
    lengths = np.maximum(lengths, np.finfo(float).tiny)
    return csr_array(
        (np.tile(lengths, 2), (np.r_[start, end], np.r_[end, start])), shape=(len(mesh.points),) * 2
    )


def _crossings(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Return the opposite vertices of triangles that share an edge, and their distance unfolded.

    Only where the straight line crosses the edge.
    """
    faces = mesh.triangles
    corners = np.concatenate([np.roll(faces, -k, axis=1) for k in range(3)])
    edges = np.sort(corners[:, :2], axis=1)
    order = np.lexsort(edges.T)
    edges, opposite = edges[order], corners[order, 2]
    is_shared = (edges[:-1] == edges[1:]).all(axis=1)
    (a, b), one, other = edges[:-1][is_shared].T, opposite[:-1][is_shared], opposite[1:][is_shared]
    origin, axis = mesh.points[a], mesh.points[b] - mesh.points[a]
    span = np.linalg.norm(axis, axis=1)
    axis = axis / np.maximum(span, np.finfo(float).tiny)[:, None]
    along, height = [], []
    for vertex in (one, other):
        arm = mesh.points[vertex] - origin
        along.append((arm * axis).sum(axis=1))
        height.append(np.linalg.norm(arm - along[-1][:, None] * axis, axis=1))
    rise = np.maximum(sum(height), np.finfo(float).tiny)
    crossed = along[0] + (along[1] - along[0]) * height[0] / rise
    is_straight = (crossed >= 0) & (crossed <= span)
    pairs = np.sort(np.stack([one, other], axis=1)[is_straight], axis=1)
    return pairs, np.hypot(along[1] - along[0], rise)[is_straight]


def triangle_areas(mesh: Mesh) -> np.ndarray:
    """Compute the areas of the triangles in square millimetres, shape (n_triangles,)."""
    a, b, c = (mesh.points[mesh.triangles[:, k]] for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
