"""Checks that images and tables belong together, shared by the plan and the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bids_decoder.errors import InputError, name_some

AFFINE_TOLERANCE = 1e-3
"""Millimetres by which the affines of two images on one grid may differ."""

PlacedGrid = tuple[Sequence[int], np.ndarray]
"""Shape of an image, of which the first three axes count, and its affine."""


def same_grid(one: PlacedGrid, other: PlacedGrid, tolerance: float = AFFINE_TOLERANCE) -> bool:
    """Return whether voxels of two images are at the same places, to *tolerance* millimetres."""
    return tuple(one[0])[:3] == tuple(other[0])[:3] and _same_places(one[1], other[1], tolerance)


def _same_places(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    return bool(np.abs(one - other).max() <= tolerance)


def check_series(path: Path, shape: Sequence[int]) -> int:
    """Return the number of volumes of a BOLD image.

    Raises
    ------
    InputError
        When it is not a series of volumes.
    """
    if len(shape) != 4 or shape[3] < 2:
        raise InputError(
            str(path), f"shape {tuple(shape)}: not a series of volumes",
            "provide a 4-D BOLD series, or remove the file if it is a reference image (sbref)",
        )
    return int(shape[3])


def check_rows(path: Path, n_volumes: int, n_rows: int, table: Path | None = None) -> None:
    """Check that each volume of a beta series has its row in the trial table.

    Raises
    ------
    InputError
    """
    if n_volumes != n_rows:
        raise InputError(
            str(path), f"{n_volumes} volumes but {n_rows} rows in {table or 'its trial table'}",
            "row i must name the trial of volume i",
        )


def check_values(path: Path, empty: Sequence[int]) -> None:
    """Check that the volumes of a beta series whose trials are used have values.

    Parameters
    ----------
    path : Path
    empty : sequence of int
        Numbers, from 1, of volumes without a finite value whose trials are not excluded.

    Raises
    ------
    InputError
    """
    if len(empty):
        raise InputError(
            str(path), f"{len(empty)} volume(s) have no finite value, and their trials are used: "
            f"number {name_some([str(number) for number in empty])}, from 1",
            "write true into the column excluded of these rows of its trial table, or leave them "
            "out with --trial-filter",
        )


def check_same_grid(path: Path, found: PlacedGrid, wanted: PlacedGrid) -> None:
    """Check that an image is on the grid of the data.

    Parameters
    ----------
    path : Path
        Of the image.
    found, wanted : tuple of shape and affine
        Of the image, which must have three axes, and of the data.

    Raises
    ------
    InputError
    """
    fix = "make it again on the grid of the data, or choose a space with --output-spaces in which "
    fix += "both are there"
    shapes = tuple(found[0]), tuple(wanted[0])[:3]
    if shapes[0] != shapes[1]:
        raise InputError(str(path), f"shape {shapes[0]} against {shapes[1]} of the data", fix)
    if not _same_places(found[1], wanted[1], AFFINE_TOLERANCE):
        raise InputError(
            str(path), f"affine {_rounded(found[1])} against {_rounded(wanted[1])} of the data", fix
        )


def _rounded(affine: np.ndarray) -> list[list[float]]:
    return np.round(affine, 4).tolist()


def check_mask(path: Path, mask: np.ndarray) -> None:
    """Check that a mask is a volume and holds a voxel.

    Raises
    ------
    InputError
    """
    if mask.ndim != 3 or not mask.any():
        raise InputError(
            str(path), f"shape {mask.shape}, {int(mask.sum())} voxels",
            "provide a 3-D mask that is not empty",
        )


def check_one_grid(what: str, names: Sequence[str], grids: Sequence[PlacedGrid]) -> None:
    """Check that the runs of a participant are on one grid.

    Parameters
    ----------
    what : str
        For the message: whose runs.
    names : sequence of str
        Of the runs.
    grids : sequence of tuple of shape and affine

    Raises
    ------
    InputError
        Naming runs off the grid that most runs have.
    """
    shapes = [tuple(shape)[:3] for shape, _ in grids]
    most = max(shapes, key=shapes.count)
    odd = [f"{name} {shape}" for name, shape in zip(names, shapes, strict=True) if shape != most]
    if odd:
        raise InputError(
            f"{what}: runs with different grids",
            f"most have the shape {most}, not so {', '.join(odd[:4])}",
            "leave these runs out with --bids-filter-file, or decode derivatives in a space that "
            "all runs share (--output-spaces T1w)",
        )
    first = grids[0][1]
    odd = [name for name, (_, affine) in zip(names, grids, strict=True)
           if not _same_places(affine, first, AFFINE_TOLERANCE)]
    if odd:
        raise InputError(
            f"{what}: runs with different affines",
            f"shapes agree, but voxels are elsewhere than in {names[0]} in {', '.join(odd[:4])}",
            "choose a space that all runs share, for instance --output-spaces T1w",
        )
