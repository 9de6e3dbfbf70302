"""Pictures inside HDF5 files, as large datasets distribute them: rows of one array of pixels.

A picture in a stack has a path like a file: ``stimuli/nsd_stimuli.hdf5/imgBrick/42`` is row 42,
counted from 0, of the array ``imgBrick``. Tables ``data_<kind>_run<number>_label.csv`` of Miyawaki
et al. 2008 are stacks, too: :mod:`bids_decoder.pixels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.pixels import PIXELS, is_pixel_table, read_pixel_trials

if TYPE_CHECKING:
    import h5py

_EXTENSIONS = frozenset({".hdf5", ".h5"})

MAX_VALUES = 200_000_000
"""Number of values above which a picture in a stack is taken to be a mistake, and not read."""

_CHANNELS = (1, 3, 4)
_BYTE, _WORD = 255, 65535

# h5py raises several kinds of exceptions for errors of the HDF5 library.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)


@dataclass(frozen=True)
class StackRow:
    """Location of a picture in a stack.

    Parameters
    ----------
    file : Path
    array : str
        Name of the array within the file.
    row : int
        From 0.
    """

    file: Path
    array: str
    row: int


def is_stack(path: Path) -> bool:
    """Return whether a path is that of a file that holds pictures as rows, by its name."""
    is_named = path.suffix.lower() in _EXTENSIONS or is_pixel_table(path)
    return is_named and path.is_file()


def stack_row(path: Path) -> StackRow | None:
    """Return the location that *path* names in a stack; None for ordinary files."""
    for parent in path.parents:
        if is_stack(parent):
            inner = path.relative_to(parent)
            if inner.name.isdecimal() and len(inner.parts) > 1:
                return StackRow(parent, inner.parent.as_posix(), int(inner.name))
    return None


def picture_arrays(file: Path) -> dict[str, int]:
    """List the arrays of a stack that hold pictures, with their number of pictures.

    Parameters
    ----------
    file : Path

    Returns
    -------
    dict of str to int
        Arrays of shape (n, height, width), (n, height, width, 1, 3 or 4) or (n, 1, 3 or 4,
        height, width), of whole numbers, floats or truth values (white where true).

    Raises
    ------
    InputError
        When the file cannot be read.
    MissingInputError
        When h5py is not installed.
    """
    if is_pixel_table(file):
        return {PIXELS: len(read_pixel_trials(file).pictures)}
    h5py = _h5py(file)
    found: dict[str, int] = {}

    def look(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and _holds_pictures(node):
            found[name] = int(node.shape[0])

    with _opened(file) as stack:
        try:
            stack.visititems(look)
        except _DAMAGE as error:
            raise _damaged(file, error) from error
    return found


def read_stack(place: StackRow) -> np.ndarray:
    """Read the pixels of one picture.

    Parameters
    ----------
    place : StackRow

    Returns
    -------
    ndarray, shape (height, width) or (height, width, n_channels)
        As stored, with channels last.

    Raises
    ------
    InputError
        When the file or the array is damaged, or too short.
    MissingInputError
        When the array is not there, or h5py is not installed.
    """
    if is_pixel_table(place.file):
        return read_pixel_trials(place.file).pictures[place.row]
    with _opened(place.file) as stack:
        array = _array_of(stack, place)
        if place.row >= len(array):
            raise InputError(
                f"stimulus {place.row} of {place.file}/{place.array}",
                f"the array has {len(array)} pictures, counted from 0",
                "correct the events files, or use the complete stack",
            )
        if math.prod(array.shape[1:]) > MAX_VALUES:
            raise InputError(
                f"stimulus stack {place.file}/{place.array}",
                f"a picture has shape {array.shape[1:]}; {MAX_VALUES} values are the most",
                "store smaller pictures",
            )
        try:
            pixels = np.asarray(array[place.row])
            return np.moveaxis(pixels, 0, -1) if _has_channels_first(array) else pixels
        except _DAMAGE as error:
            raise _damaged(place.file, error) from error


def largest_value(place: StackRow) -> int:
    """Return the largest value that whole numbers of an array can mean: white.

    Numbers of more than 8 bits often hold pictures of 8 bits. Which it is follows from the whole
    array, since a dark picture of 16 bits has small values only, too.

    Parameters
    ----------
    place : StackRow
        Of whole numbers.

    Returns
    -------
    int
        255 or 65535.

    Raises
    ------
    InputError
        When the file or the array is damaged.
    MissingInputError
        When the array is not there, or h5py is not installed.
    """
    state = place.file.stat()
    return _largest_value(replace(place, row=0), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _largest_value(place: StackRow, _size: int, _changed: int) -> int:
    if is_pixel_table(place.file):
        return _BYTE
    with _opened(place.file) as stack:
        array = _array_of(stack, place)
        if array.dtype.itemsize == 1:
            return _BYTE
        try:
            # Of pictures of 16 bits the first ones decide.
            return _WORD if any(np.max(array[row]) > _BYTE for row in range(len(array))) else _BYTE
        except _DAMAGE as error:
            raise _damaged(place.file, error) from error


def _array_of(stack: h5py.File, place: StackRow) -> h5py.Dataset:
    try:
        if place.array not in stack:
            raise MissingInputError(
                f"stimulus stack {place.file}", f"holds no array {place.array!r}",
                f"name one of: {', '.join(stack)}",
            )
        return stack[place.array]
    except _DAMAGE as error:
        raise _damaged(place.file, error) from error


def _has_channels_first(array: h5py.Dataset) -> bool:
    """Return whether pictures are (channels, height, width), as PyTorch has them."""
    return (
        array.ndim == 4 and array.shape[1] in _CHANNELS and array.shape[-1] not in _CHANNELS
    )


def _holds_pictures(array: h5py.Dataset) -> bool:
    is_shaped = array.ndim == 3 or _has_channels_first(array) or (
        array.ndim == 4 and array.shape[-1] in _CHANNELS
    )
    return is_shaped and array.dtype.kind in "buif"


def _opened(file: Path) -> h5py.File:
    try:
        return _h5py(file).File(file, "r")
    except OSError as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> InputError:
    return InputError(
        f"stimulus stack {file}", f"cannot be read as HDF5: {error}", "copy the file again"
    )


def _h5py(file: Path) -> object:
    try:
        import h5py
    except ImportError as error:
        raise MissingInputError(
            f"stimulus stack {file}", "reading it needs the package h5py, which is not installed",
            "pip install 'bids_decoder[hdf5]'",
        ) from error
    return h5py
