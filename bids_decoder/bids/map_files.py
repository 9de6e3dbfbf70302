"""Files of maps beside their images, for grids that are no volume: GIFTI and CIFTI."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.bids.cifti import is_cifti, map_name, read_models, save_maps
from bids_decoder.bids.surfaces import (
    read_meshes,
    read_surface,
    save_hemispheres,
    save_surfaces,
    surface_names,
)
from bids_decoder.grids.grayordinates import Grayordinates, models_key
from bids_decoder.grids.surface import Mesh
from bids_decoder.trials import Layout


def read_layout(series: Path, meshes: Sequence[Path]) -> Layout | None:
    """Read what the rows of a series are.

    Parameters
    ----------
    series : Path
    meshes : sequence of Path
        See :func:`bids_decoder.bids.series.find_meshes`.

    Returns
    -------
    Layout or None
        None for volumes, and for vertices without a mesh.

    Raises
    ------
    InputError
        When a file cannot be read.
    """
    mesh = Mesh(*read_meshes(tuple(meshes))) if meshes else None
    return Grayordinates(read_models(series), mesh) if is_cifti(series) else mesh


def read_layout_of_map(path: Path) -> Layout | None:
    """Read what the rows of a map in the derivatives are, by the files beside it."""
    surface = read_surface(path)
    mesh = None if surface is None else Mesh(*surface)
    beside = map_name(path)
    return Grayordinates(read_models(beside), mesh) if beside.is_file() else mesh


def read_rows_key(path: Path) -> str:
    """Return which grayordinates a series, or a map with its files beside it, has in its rows.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        See :func:`bids_decoder.grids.grayordinates.models_key`; empty for voxels and vertices.

    Raises
    ------
    InputError
        When a file cannot be read.
    """
    file = path if is_cifti(path) else map_name(path)
    return models_key(read_models(file)) if file.is_file() else ""


@singledispatch
def save_beside(
    layout: Any, path: Path, values: np.ndarray, metadata: dict[str, Any]
) -> list[Path]:
    """Write a map in the format of its layout, beside its image.

    Parameters
    ----------
    layout : Layout or None
        None for volumes: nothing is written.
    path : Path
        Of the image.
    values : ndarray, shape (n, 1, 1) or (n, 1, 1, n_maps)
    metadata : dict
        Content of the sidecars.

    Returns
    -------
    list of Path
        What was written.
    """
    if layout is not None:
        raise TypeError(f"no format for maps of {type(layout).__name__}")
    return []


@save_beside.register
def _(layout: Mesh, path: Path, values: np.ndarray, metadata: dict[str, Any]) -> list[Path]:
    return save_hemispheres(path, values, layout.n_left, metadata)


@save_beside.register
def _(
    layout: Grayordinates, path: Path, values: np.ndarray, metadata: dict[str, Any]
) -> list[Path]:
    return save_maps(path, values, layout.models, metadata)


def save_layout(path: Path, layout: Layout | None) -> list[Path]:
    """Write the surfaces that a map is on, where they are known."""
    mesh = None if layout is None else layout.mesh
    if mesh is None:
        return []
    return save_surfaces(surface_names(path), mesh.points, mesh.triangles, mesh.n_left)
