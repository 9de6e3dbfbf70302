"""Arrays in files of several formats, opened without reading them where the format allows it.

``.npy`` and HDF5 files (``.h5``, ``.hdf5``, and ``.mat`` of MATLAB since version 7.3), Zarr stores
(folders ``.zarr`` of version 2 or 3) and NIfTI and CIFTI images are read in parts. ``.npz``, older
``.mat`` files and dictionaries saved by ``numpy.save`` are read whole. Dictionaries are pickles,
which may run any code: only arrays, numbers and text are rebuilt from them, and anything else is
refused.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from scipy.io import loadmat, whosmat

from bids_decoder.errors import (
    BidsDecoderError,
    InputError,
    MissingInputError,
    explain_damage,
)
from bids_decoder.released.base import Stored

ARRAY_EXTENSIONS = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".zarr")
IMAGE_EXTENSIONS = (".nii", ".nii.gz")

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SAFE = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
    *((f"{core}.multiarray", name) for core in ("numpy.core", "numpy._core")
      for name in ("_reconstruct", "scalar")),
    *((f"{core}.numeric", "_frombuffer") for core in ("numpy.core", "numpy._core")),
}


@dataclass(frozen=True)
class Shape:
    """Shape and type of a stored array.

    Parameters
    ----------
    n_trials : int
    space : tuple of int
        Sizes of the other axes in the order x, y, z; one size where voxels are in a row.
    dtype : dtype
    """

    n_trials: int
    space: tuple[int, ...]
    dtype: np.dtype

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.space)


def is_hdf5(path: Path) -> bool:
    """Return whether a file begins as HDF5 files do; the same holds for ``.mat`` version 7.3."""
    with path.open("rb") as handle:
        start = handle.read(1024)
    return start[:8] == _HDF5 or start[512:520] == _HDF5


def is_there(path: Path) -> bool:
    """Return whether a file, or the folder of a Zarr store, is there."""
    return path.is_file() or _is_zarr(path)


def _is_zarr(path: Path) -> bool:
    return path.suffix == ".zarr" and path.is_dir()


def reads_single_trials(stored: Stored) -> bool:
    """Return whether one trial can be read without most of the others."""
    if stored.file.name.endswith(".nii.gz") or stored.trials_last:
        return False
    if _is_zarr(stored.file):
        return True
    return (stored.file.suffix == ".npy" and not stored.name) or is_hdf5(stored.file)


@contextmanager
def opened(stored: Stored) -> Iterator[Any]:
    """Open an array; yield something with ``shape``, ``dtype`` and slicing.

    Raises
    ------
    MissingInputError
        When the file or the array is not there, or h5py is not installed.
    InputError
        When the file is damaged, is no file of its kind, or does not fit into memory.
    """
    path = stored.file
    with reading(path):
        if path.name.endswith(IMAGE_EXTENSIONS):
            yield nib.load(path, keep_file_open=True).dataobj
        elif path.suffix == ".npy" and not stored.name:
            yield _checked_npy(path)
        elif path.suffix == ".npy":
            yield read_dictionary(path)[stored.name]
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                yield archive[stored.name]
        elif path.suffix == ".zarr":
            yield _complete(path, _zarr_arrays(path)[stored.name])
        elif is_hdf5(path):
            with h5(path).File(path, "r") as content:
                yield content[stored.name]
        else:
            yield _matlab(path, stored.name)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what libraries raise while they read a file into errors that say what to do.

    Raises
    ------
    MissingInputError
        When the file is not there.
    InputError
        When the file is damaged, is no file of its kind, or does not fit into memory.
    """
    if not is_there(path):
        raise MissingInputError(
            str(path), "there is no such file, or its content is absent",
            "fetch the file (with DataLad: datalad get), or leave the participant out",
        )
    try:
        with explain_damage(
            str(path), "cannot be read, it is damaged or truncated",
            "copy or download the file again",
        ):
            yield
    except MemoryError as error:
        raise InputError(
            str(path), f"there is not enough memory to read it: {str(error) or 'MemoryError'}",
            "use a machine with more memory, or save the array as .npy or .h5, which are read in "
            "parts",
        ) from error


def names_in(path: Path) -> set[str]:
    """Return the names of what is at the top of an HDF5 or MATLAB file.

    Raises
    ------
    MissingInputError, InputError
        As :func:`reading`.
    """
    with reading(path):
        if is_hdf5(path):
            with h5(path).File(path, "r") as content:
                return set(content)
        return {name for name, *_ in whosmat(path)}


def _checked_npy(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _matlab(path: Path, name: str) -> np.ndarray:
    return loadmat(path, variable_names=[name])[name]


def _zarr_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of a Zarr store by name; a nameless one where the store is an array."""
    try:
        import zarr
    except ImportError as error:
        raise MissingInputError(
            str(path), "reading it needs the package zarr, which is not installed",
            "pip install 'bids_decoder[zarr]', or save the array as .npy or .h5",
        ) from error
    store = zarr.open(path, mode="r")
    if isinstance(store, zarr.Array):
        return {"": store}
    members = store.members(max_depth=None)
    return {name: node for name, node in members if isinstance(node, zarr.Array)}


def _complete(path: Path, array: Any) -> Any:
    """Return an array of a Zarr store; refuse one with chunks that would be read as zeros."""
    there, expected = array.nchunks_initialized, array.nchunks
    if there < expected:
        raise InputError(
            str(path), f"{expected - there} of {expected} chunks are not there, and would be read "
            f"as {array.fill_value}",
            "copy the folder again; if the chunks were left out because they hold nothing else, "
            "save the array again with write_empty_chunks, or without these voxels",
        )
    return array


def h5(path: Path) -> Any:
    """Return the module h5py.

    Raises
    ------
    MissingInputError
        When it is not installed; *path* is the file that needs it.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingInputError(
            str(path), "reading it needs the package h5py, which is not installed",
            "pip install 'bids_decoder[hdf5]'",
        ) from error
    return h5py


class _Unpickler(pickle.Unpickler):
    """Rebuild arrays, numbers and text; refuse everything else, since a pickle can run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE:
            raise pickle.UnpicklingError(
                f"it holds {module}.{name}, and only arrays, numbers and text are read from it"
            )
        return super().find_class(module, name)


def read_dictionary(path: Path) -> dict[str, Any]:
    """Read a dictionary of arrays that ``numpy.save`` wrote.

    Raises
    ------
    InputError
        When the file holds something else, or objects that are not arrays, numbers or text.
    """
    with reading(path), path.open("rb") as handle:
        shape, dtype = _header(handle)
        if dtype.kind != "O" or shape != ():
            raise ValueError(f"a dictionary was expected, this is an array of {dtype} {shape}")
        content = _Unpickler(handle).load()
    found = content.item() if isinstance(content, np.ndarray) and content.shape == () else content
    if not isinstance(found, dict):
        raise InputError(
            str(path), f"a dictionary was expected, this is {type(found).__name__}",
            "give the file as the toolbox wrote it",
        )
    return found


def _header(handle: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read shape and type of an array that NumPy wrote; its values follow in *handle*."""
    major, minor = np.lib.format.read_magic(handle)
    shape, _, dtype = getattr(np.lib.format, f"read_array_header_{major}_{minor}")(handle)
    return shape, dtype


def array_names(path: Path) -> dict[str, tuple[int, ...]]:
    """List the arrays of numbers in a file with their stored shapes; one nameless of ``.npy``.

    Raises
    ------
    InputError, MissingInputError
        See :func:`opened`.
    """
    if path.suffix == ".npy":
        with opened(Stored(path)) as array:
            return {"": tuple(array.shape)}
    with reading(path):
        if path.suffix == ".npz":
            return _npz_names(path)
        if path.suffix == ".zarr":
            return {
                name: tuple(array.shape) for name, array in _zarr_arrays(path).items()
                if array.dtype.kind in "uif" and array.shape
            }
        return _hdf5_names(path) if is_hdf5(path) else _matlab_names(path)


def _npz_names(path: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                shape, dtype = _header(member)
            if dtype.kind in "uif":
                found[name.removesuffix(".npy")] = shape
    return found


def _hdf5_names(path: Path) -> dict[str, tuple[int, ...]]:
    module, found = h5(path), {}

    def look(name: str, node: Any) -> None:
        if isinstance(node, module.Dataset) and node.shape and node.dtype.kind in "uif":
            found[name] = tuple(node.shape)

    with module.File(path, "r") as content:
        content.visititems(look)
    return found


def _matlab_names(path: Path) -> dict[str, tuple[int, ...]]:
    numbers = ("double", "single", "int8", "int16", "int32", "uint8", "uint16", "uint32", "int64")
    return {name: tuple(shape) for name, shape, kind in whosmat(path) if kind in numbers}


def measure(stored: Stored) -> Shape:
    """Return shape and type of an array, and check that it holds numbers.

    Parameters
    ----------
    stored : Stored

    Raises
    ------
    MissingInputError
        When the file or the array is not there.
    InputError
        When the file is damaged, or its values are no real numbers.
    """
    with opened(stored) as array:
        shape, dtype = tuple(int(size) for size in array.shape), np.dtype(array.dtype)
    if dtype.kind not in "uif" or dtype.fields:
        raise InputError(
            str(stored), f"holds values of type {dtype}; responses are whole or real numbers",
            "save the responses as float32",
        )
    if len(shape) < 2 or not math.prod(shape):
        raise InputError(
            str(stored), f"has shape {shape}; trials and voxels are two axes or more",
            "save one row per trial and one column per voxel",
        )
    space = shape[:-1] if stored.trials_last else shape[1:]
    return Shape(
        shape[-1] if stored.trials_last else shape[0],
        space[::-1] if stored.is_reversed else space, dtype,
    )


def collect(read: Callable[[], Any], findings: list[Any], label: str) -> Any | None:
    """Return what *read* returns; None where it refuses, with the finding added to *findings*."""
    from dataclasses import replace

    try:
        return read()
    except BidsDecoderError as error:
        findings.append(replace(error.finding, participant=label, place=error.finding.what))
        return None
