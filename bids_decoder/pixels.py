"""Tables of pixels shown in each volume, as nilearn's copy of Miyawaki et al. 2008 has them.

``data_<kind>_run<number>_label.csv`` has a row per volume and a column per pixel of a 10 × 10
picture: 1 where the pixel was shown, 0 where it was not, and -1 in all columns during rest. Pixels
are in the order of columns of the picture (``numpy.reshape(row, (10, 10), order="F")``).

References
----------
``examples/02_decoding/plot_miyawaki_reconstruction.py`` of nilearn; Miyawaki et al. 2008, Neuron
60:915.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bids_decoder.errors import InputError

PIXELS = "pixels"
"""Name of the only array of such a table, where pictures are named as rows of an array."""

SIDE = 10

_NAME = re.compile(r"data_[a-z]+_run\d+_label\.csv$")
_WHITE = 255


@dataclass(frozen=True, eq=False)
class PixelTrials:
    """The trials of a run: successive volumes in which one picture was shown.

    Parameters
    ----------
    n_rows : int
        Number of volumes, rest included.
    starts : ndarray of int, shape (n_trials,)
        First volume of each trial, from 0.
    n_volumes : ndarray of int, shape (n_trials,)
    pictures : ndarray of uint8, shape (n_trials, 10, 10)
        0 and 255.
    """

    n_rows: int
    starts: np.ndarray
    n_volumes: np.ndarray
    pictures: np.ndarray


def is_pixel_table(path: Path) -> bool:
    """Return whether a file is named as a table of pixels."""
    return _NAME.match(path.name) is not None


def read_pixel_trials(path: Path) -> PixelTrials:
    """Read the trials of a run.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        When the file cannot be read, or does not hold pixels.
    """
    state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, _size: int, _changed: int) -> PixelTrials:
    try:
        rows = np.loadtxt(path, delimiter=",", dtype=int, ndmin=2)
    except ValueError as error:
        raise InputError(
            str(path), f"cannot be read as a table of pixels: {error}", "fetch the file again",
        ) from error
    if rows.shape[1] != SIDE ** 2 or not np.isin(rows, (-1, 0, 1)).all():
        raise InputError(
            str(path), f"{rows.shape[1]} columns with values from {rows.min()} to {rows.max()}; "
            f"{SIDE ** 2} columns of -1, 0 and 1 are expected", "fetch the file again",
        )
    begins = np.flatnonzero((np.diff(rows, axis=0) != 0).any(axis=1)) + 1
    starts = np.concatenate([[0], begins])
    lengths = np.diff([*starts, len(rows)])
    shown = (rows[starts] >= 0).all(axis=1)
    pictures = rows[starts[shown]].reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return PixelTrials(
        len(rows), starts[shown], lengths[shown], (_WHITE * pictures).astype(np.uint8)
    )
