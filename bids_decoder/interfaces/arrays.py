"""Arrays on disk that nodes fill part by part."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def new_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Make an ``.npy`` file of zeros as large as it will be, mapped into memory for writing.

    Parameters
    ----------
    path : Path
    shape : tuple of int

    Returns
    -------
    memmap of float32

    Raises
    ------
    OSError
        When the disk has no room for it. A file that only promises its size would take the data
        until the disk is full, and then the system ends the process.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    try:
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, os.fstat(handle.fileno()).st_size)
    except OSError as error:
        path.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
    return array
