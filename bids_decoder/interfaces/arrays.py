"""Memory-mapped arrays that nodes fill in parts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def new_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Make an ``.npy`` file of zeros of full size, mapped into memory for writing.

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
        When the disk has too little space. A sparse file would accept data until the disk is
        full, and the system would then kill the process.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    try:
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, os.fstat(handle.fileno()).st_size)
    except OSError as error:
        path.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
    return array
