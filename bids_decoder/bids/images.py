"""Headers of images: grid, repetition time, and whether the content is missing."""

from __future__ import annotations

import math
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np

from bids_decoder.agreement import same_grid
from bids_decoder.bids.series import is_volume, load_series, rows_shape, rows_t_r
from bids_decoder.errors import InputError, MissingInputError, explain_damage

MAX_T_R = 60.0
"""Seconds; a longer repetition time is taken to be a wrong unit or a wrong number."""

_POINTER_SIZE = 32 * 1024
_NIFTI2 = [(540).to_bytes(4, order) for order in ("little", "big")]  # sizes of the header
_TIME_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """The part of a NIfTI header that decides how an image is used.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray, shape (4, 4)
        Voxel indices to millimetres: the s-form if its code is above zero.
    t_r : float or None
        Seconds between volumes; None where the header does not say.
    raw_t_r : float
        ``pixdim[4]`` as stored.
    qform, sform : ndarray or None
        None where the code is zero.
    stored : dtype
        Type of the stored values.
    offset : int
        Bytes before the first of them in the uncompressed file.
    scaling : tuple of float
        Slope and intercept that stored values are scaled with.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    t_r: float | None
    raw_t_r: float
    qform: np.ndarray | None
    sform: np.ndarray | None
    stored: np.dtype
    offset: int
    scaling: tuple[float, float]

    @property
    def n_bytes(self) -> int:
        """Size of the uncompressed file that the header implies."""
        return math.prod(self.shape) * self.stored.itemsize + self.offset

    @property
    def n_volumes(self) -> int:
        """Number of volumes; 1 for a 3-D image."""
        return self.shape[3] if len(self.shape) > 3 else 1

    @property
    def voxel_sizes(self) -> tuple[float, ...]:
        """Edge lengths in millimetres."""
        sizes = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return tuple(round(float(size), 4) for size in sizes)


def is_pointer(path: Path) -> bool:
    """Return whether git-annex or DataLad left a placeholder: a dead link or a small text file."""
    try:
        state = path.stat()
    except OSError:
        return path.is_symlink() and not path.exists()
    if not stat.S_ISREG(state.st_mode) or state.st_size > _POINTER_SIZE:
        return False
    with path.open("rb") as handle:
        start = handle.read(4096)
    return start.startswith(b"/annex/") or b".git/annex/objects/" in start.split(b"\n")[0]


def read_header(path: Path) -> ImageHeader:
    """Read the header of a NIfTI image, or of a GIFTI or CIFTI series.

    Raises
    ------
    MissingInputError
        When the content is absent.
    InputError
        When the file is not a NIfTI image.
    """
    if is_pointer(path):
        raise MissingInputError(
            str(path), "its content is not here (git-annex pointer)", f"datalad get {path}",
        )
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(
            str(path), f"cannot be opened: {error.strerror}", "fetch the file again",
        ) from error
    if not stat.S_ISREG(state.st_mode):
        raise InputError(str(path), "is no regular file", "put the image itself in its place")
    if not is_volume(path):
        affine = np.eye(4)
        return ImageHeader(
            rows_shape(path), affine, rows_t_r(path), 0.0, affine, affine, np.dtype(np.float32), 0,
            (1.0, 0.0),
        )
    return _read_header(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _read_header(path: Path, _size: int, _changed: int) -> ImageHeader:
    """Read a header once, as long as the file stays what it is: many checks ask for it."""
    with explain_damage(
        str(path), "is not readable as NIfTI", "fetch or convert the file again"
    ):
        header = _parsed(path)
        shape = tuple(int(size) for size in header.get_data_shape())
        time_unit = header.get_xyzt_units()[1]
        raw_t_r = float(header["pixdim"][4])
        stored, offset = header.get_data_dtype(), int(header.get_data_offset())
        slope, inter = header.get_slope_inter()
        affine = np.asarray(header.get_best_affine(), dtype=float)
        qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    if not math.prod(shape):
        raise InputError(
            str(path), f"shape {shape} holds no voxel", "fetch or convert the file again"
        )
    return ImageHeader(
        shape, affine, header_t_r(raw_t_r, time_unit), raw_t_r, qform, sform, stored, offset,
        (1.0 if slope is None else slope, 0.0 if inter is None else inter),
    )


def _parsed(path: Path) -> nib.Nifti1Header:
    with nib.openers.ImageOpener(path) as handle:
        return _parse(handle)


def _parse(handle: IO[bytes]) -> nib.Nifti1Header:
    """Read and check the header of a NIfTI file of either version.

    ``nibabel.load`` makes three copies of the header on its way, which counts over many files.
    """
    size = handle.read(4)
    handle.seek(0)
    kind = nib.Nifti2Header if size in _NIFTI2 else nib.Nifti1Header
    return kind.from_fileobj(handle)


def read_first_volumes(path: Path, n_volumes: int) -> np.ndarray:
    """Read the first volumes of a NIfTI file and nothing behind them, or of surfaces.

    Parameters
    ----------
    path : Path
    n_volumes : int

    Returns
    -------
    ndarray of float32, shape (n_voxels, n_volumes)
        Scaled values of fewer volumes where the file has fewer; voxels in the order of the file,
        in which the first axis of the grid changes fastest.

    Raises
    ------
    MissingInputError, InputError
        When the content is absent, or no NIfTI file; see :func:`read_header`.
    OSError, EOFError, zlib.error, ValueError
        When the file ends before the volumes do.
    """
    if not is_volume(path):
        return np.asarray(load_series(path).dataobj)[:, 0, 0, :n_volumes]
    header = read_header(path)
    n_voxels, n_read = math.prod(header.shape[:3]), min(n_volumes, header.n_volumes)
    with nib.openers.ImageOpener(path) as handle:
        handle.seek(header.offset)
        content = handle.read(n_read * n_voxels * header.stored.itemsize)
    values = np.frombuffer(content, header.stored).reshape((n_voxels, n_read), order="F")
    slope, inter = header.scaling
    if header.scaling != (1.0, 0.0):
        values = values * slope + inter
    return values.astype(np.float32)


def header_t_r(value: float, unit: str) -> float | None:
    """Convert ``pixdim[4]`` to seconds.

    Parameters
    ----------
    value : float
    unit : str
        ``sec``, ``msec``, ``usec``; other units are taken as seconds, or as milliseconds when
        the value makes no sense as seconds.

    Returns
    -------
    float or None
        None for zero, negative or absurd values.

    Examples
    --------
    >>> header_t_r(2000.0, "msec"), header_t_r(1500.0, "unknown"), header_t_r(0.0, "sec")
    (2.0, 1.5, None)
    """
    if not math.isfinite(value) or value <= 0:
        return None
    seconds = value * _TIME_UNITS.get(unit, 1.0)
    if unit not in _TIME_UNITS and seconds > MAX_T_R:
        seconds = value * 1e-3
    # float32 in the file: 0.8 is stored as 0.800000012.
    return round(seconds, 6) if seconds <= MAX_T_R else None


def grids_agree(headers: list[ImageHeader]) -> bool:
    """Return whether all images have one shape and one affine (to 1 µm)."""
    (first, *others) = [(header.shape, header.affine) for header in headers]
    return all(same_grid(first, other) for other in others)
