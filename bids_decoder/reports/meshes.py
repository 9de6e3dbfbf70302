"""Maps on hemispheres in a page, which the surface viewer turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nilearn.surface import load_surf_data, load_surf_mesh

from bids_decoder.reports.packed import Look, Packed, pack, quantise, span_of

_FINEST = 4095
"""Steps of coordinates over the longest side of a hemisphere."""


@dataclass(frozen=True, eq=False)
class Hemisphere:
    """A hemisphere with a map.

    Parameters
    ----------
    mesh : path, or (points, triangles)
        As nilearn takes it.
    values : ndarray, shape (n_vertices,)
    ground : path or None
        Values of the vertices that are drawn in grey, as the depth of sulci.
    """

    mesh: Any
    values: np.ndarray
    ground: Any = None


@dataclass(frozen=True)
class PackedMesh:
    """A hemisphere's surface.

    Parameters
    ----------
    points, triangles : Packed
        Whole numbers, see :func:`pack_integers`.
    ground : Packed or None
        0 for gyri, 1 for sulci.
    """

    points: Packed
    triangles: Packed
    ground: Packed | None

    @property
    def parts(self) -> tuple[Packed, ...]:
        """Return all parts."""
        found = (self.points, self.triangles, self.ground)
        return tuple(part for part in found if part is not None)

    @property
    def card(self) -> dict[str, Any]:
        """Return the names of the parts."""
        return {
            "points": self.points.key, "triangles": self.triangles.key,
            "ground": None if self.ground is None else self.ground.key,
        }


@dataclass(frozen=True)
class MeshMap:
    """A map on the left and the right hemisphere.

    Parameters
    ----------
    look : Look
    values : Packed
        0 where there is no value; 1 to 255 are values from *span*'s first to its last. Left
        vertices first.
    span : tuple of float
    meshes : tuple of PackedMesh
        Left and right.
    n_left : int
        Vertices of the left hemisphere.
    peak : int
        The vertex with the largest size.
    clipped : bool
        Whether values are beyond *span*.
    """

    look: Look
    values: Packed
    span: tuple[float, float]
    meshes: tuple[PackedMesh, ...]
    n_left: int
    peak: int
    clipped: bool
    viewer = "meshes"

    @property
    def shared(self) -> tuple[Packed, ...]:
        """Return the surfaces."""
        return tuple(part for mesh in self.meshes for part in mesh.parts)

    @property
    def card(self) -> dict[str, Any]:
        """Return all that the viewer has to know beside the values."""
        return {
            **self.look.card, "span": self.span, "nLeft": self.n_left, "peak": self.peak,
            "clipped": self.clipped, "meshes": [mesh.card for mesh in self.meshes],
        }


def mesh_map(halves: Sequence[Hemisphere], look: Look) -> MeshMap:
    """Pack a map and its surfaces.

    Parameters
    ----------
    halves : sequence of Hemisphere
        Left and right. Vertices that are 0 or not finite have no value.
    look : Look

    Returns
    -------
    MeshMap
    """
    values = np.concatenate([half.values for half in halves])
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    span = span_of(values, look)
    return MeshMap(
        look, pack(quantise(values, span)), span, tuple(_pack_mesh(half) for half in halves),
        len(halves[0].values), int(np.abs(values).argmax()),
        bool(np.abs(values).max() > span[1]),
    )


def pack_integers(columns: np.ndarray) -> Packed:
    """Pack small whole numbers: neighbouring rows are alike, so that differences are small.

    Parameters
    ----------
    columns : ndarray of int, shape (n, n_columns)
        From 0 on.

    Returns
    -------
    Packed
        Four planes of bytes, of shape (n, n_columns, 4): the first holds the lowest byte of each
        number's difference *d* from the number above it, written as 2 *d*, or as -2 *d* - 1 where
        *d* is negative.
    """
    steps = np.diff(columns.astype(np.int64), axis=0, prepend=0)
    codes = np.where(steps < 0, -2 * steps - 1, 2 * steps).astype("<u4")
    return pack(np.stack([(codes >> 8 * place).astype(np.uint8) for place in range(4)], axis=-1))


def _pack_mesh(half: Hemisphere) -> PackedMesh:
    mesh = load_surf_mesh(half.mesh)
    points, triangles = np.asarray(mesh.coordinates, float), np.asarray(mesh.faces)
    low = points.min(axis=0)
    size = float(np.ptp(points, axis=0).max()) or 1.0
    ground = None
    if half.ground is not None:
        ground = pack((np.asarray(load_surf_data(half.ground)) > 0).astype(np.uint8))
    return PackedMesh(
        pack_integers(np.rint(_FINEST * (points - low) / size)), pack_integers(triangles), ground
    )
