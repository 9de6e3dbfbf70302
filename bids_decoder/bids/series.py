"""BOLD series in files of all formats: volumes, GIFTI of both hemispheres, CIFTI."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import nibabel as nib

from bids_decoder.bids import cifti, surfaces


def is_volume(path: Path) -> bool:
    """Return whether a file holds volumes, neither vertices nor grayordinates."""
    return not surfaces.is_surface(path) and not cifti.is_cifti(path)


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a series: both hemispheres, or one file."""
    return surfaces.hemispheres(path) if surfaces.is_surface(path) else (path,)


def rows_shape(path: Path) -> tuple[int, int, int, int]:
    """Return the shape of a series of vertices or grayordinates, without reading its values.

    Raises
    ------
    MissingInputError, InputError
        See :func:`.surfaces.series_shape` and :func:`.cifti.series_shape`.
    """
    return _reader_of(path).series_shape(path)


def rows_t_r(path: Path) -> float | None:
    """Return the seconds between volumes that the file itself says; None where it does not."""
    return cifti.series_t_r(path) if cifti.is_cifti(path) else None


def load_series(path: Path) -> nib.spatialimages.SpatialImage:
    """Load a BOLD series.

    Parameters
    ----------
    path : Path
        Image, GIFTI file of the left hemisphere, or CIFTI file.

    Returns
    -------
    SpatialImage
        Of vertices or grayordinates, shape (n, 1, 1, n_volumes), float32.

    Raises
    ------
    MissingInputError, InputError
        See :func:`rows_shape`.
    """
    if is_volume(path):
        return nib.load(path)
    return _reader_of(path).load_series(path)


def find_meshes(root: Path, path: Path) -> tuple[Path, ...]:
    """Find the surfaces of a series: left files, then as many right ones; none for volumes.

    Parameters
    ----------
    root : Path
        Top of the derivatives.
    path : Path
        Series.
    """
    if is_volume(path):
        return ()
    return _reader_of(path).find_meshes(root, path)


def _reader_of(path: Path) -> ModuleType:
    """Return the module that reads the format of vertices or grayordinates."""
    return cifti if cifti.is_cifti(path) else surfaces
