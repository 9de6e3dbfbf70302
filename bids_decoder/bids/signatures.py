"""Signatures by which volumes and runs are recognised, whatever their names, headers and types.

A volume is recognised by projections of its scaled values on random signs [1]_. They do not depend
on the header, the compression or the data type, and hardly on rounding to whole numbers.

References
----------
.. [1] Achlioptas 2003, J Comput Syst Sci 66:671.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.image_checks import can_hold
from bids_decoder.bids.images import read_first_volumes, read_header
from bids_decoder.bids.released_checks import first_responses
from bids_decoder.bids.series import is_volume, load_series
from bids_decoder.errors import BidsDecoderError

N_PROJECTIONS = 16

CELL = 1e-3
"""Edge of a cell, relative to the root mean square of a volume. The rounding of 16 bit integers is
fifty times smaller; successive volumes of a run differ by ten times as much."""

MIN_LEVELS = 8
"""Distinct values that a volume must have to be compared; empty and constant ones have fewer."""

SAMPLED = 2
"""First volumes compared where images are more; runs that agree in them are then read whole."""

MAX_VOXELS = 1 << 16
"""Voxels of a volume that are compared, evenly over the grid."""

_BLOCK = 1 << 24  # values read at a time
_UNREADABLE = (
    OSError, EOFError, zlib.error, ValueError, TypeError, nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError, BidsDecoderError,
)


def run_signatures(runs: Iterable[BoldRun]) -> dict[str, list[list[float]]]:
    """Return that by which runs are recognised in other datasets, under any name.

    Parameters
    ----------
    runs : iterable of BoldRun

    Returns
    -------
    dict of str to list
        By run group: the signatures (:func:`volume_signatures`) of the first :data:`SAMPLED`
        volumes that have enough distinct values. Images that cannot be read are left out.
    """
    found = {run.run_group: read_run(run, SAMPLED) for run in runs}
    return {
        name: np.round(rows[np.isfinite(rows[:, 0])], 6).tolist()
        for name, rows in found.items() if rows is not None
    }


def are_copies(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> bool:
    """Return whether two runs have the same :func:`run_signatures`; not where there are none."""
    one, other = np.asarray(first), np.asarray(second)
    return one.size > 0 and one.shape == other.shape and bool(np.abs(one - other).max() < CELL)


def match_copies(
    new: Mapping[str, Sequence[Sequence[float]]], known: Mapping[str, Sequence[Sequence[float]]]
) -> dict[str, str]:
    """Find runs that are copies of known ones, whatever their names.

    Parameters
    ----------
    new, known : mapping of str to list
        :func:`run_signatures` by name.

    Returns
    -------
    dict of str to str
        Name of a new run -> name of the first known run of which it is a copy.
    """
    names = [name for name, rows in known.items() if len(rows)]
    starts = np.array([known[name][0] for name in names])
    found = {}
    for own, rows in new.items():
        if not len(rows) or not names:
            continue
        # Only runs whose first volumes agree are compared in full.
        near = np.flatnonzero(np.abs(starts - np.asarray(rows[0])).max(axis=1) < CELL)
        same = next((names[k] for k in near if are_copies(rows, known[names[k]])), None)
        if same is not None:
            found[own] = same
    return found


def source_signatures(
    people: Mapping[str, Iterable[BoldRun]]
) -> dict[str, list[list[float]]]:
    """Return the signatures of all runs of several participants, by participant and run.

    Parameters
    ----------
    people : mapping of str to iterable of BoldRun
        By label.
    """
    return {
        f"sub-{label} {run}": rows
        for label, runs in people.items() for run, rows in run_signatures(runs).items()
    }


def read_run(run: BoldRun, n_volumes: int | None) -> np.ndarray | None:
    """Return the signatures of the first volumes of a run, or of all; None if unreadable.

    See :func:`read_volumes`; released responses count as volumes.
    """
    if run.released is None:
        return read_volumes(run.image_file, n_volumes)
    values = first_responses(run, n_volumes)
    if values is None:
        return None
    return volume_signatures(values.T[:: max(1, values.shape[1] // MAX_VOXELS)])


def read_volumes(path: Path, n_volumes: int | None) -> np.ndarray | None:
    """Return the signatures of the volumes of an image.

    Parameters
    ----------
    path : Path
    n_volumes : int or None
        So many first volumes; None for all, which are read a few at a time.

    Returns
    -------
    ndarray, shape (n_volumes, N_PROJECTIONS + 1), or None
        As :func:`volume_signatures`. None where the image cannot be read; other checks report it.
    """
    try:
        in_rows = not is_volume(path)
        if not (in_rows or can_hold(path, read_header(path))):
            return None  # what is wrong is told by the checks of images
        if n_volumes is not None:
            values = read_first_volumes(path, n_volumes)
            return volume_signatures(values[:: max(1, len(values) // MAX_VOXELS)])
        # Blocks are read one after the other from the open file.
        image = load_series(path) if in_rows else nib.load(path, keep_file_open=True)
        shape = (*image.shape, 1)[:4]
        n_voxels = int(np.prod(shape[:3]))
        every, step = max(1, n_voxels // MAX_VOXELS), max(1, _BLOCK // max(1, n_voxels))
        parts = []
        for start in range(0, shape[3], step):
            where = (..., slice(start, min(start + step, shape[3])))
            data = image.dataobj[where] if len(image.shape) == 4 else image.dataobj
            values = np.asarray(data).reshape((n_voxels, -1), order="F")[::every]
            parts.append(volume_signatures(values.astype(np.float32)))
        return np.concatenate(parts) if parts else None
    except _UNREADABLE:
        return None


def volume_signatures(values: np.ndarray) -> np.ndarray:
    """Compute the projections by which volumes are recognised.

    Parameters
    ----------
    values : ndarray of float32, shape (n_voxels, n_volumes)
        Scaled values. Those that are not finite count as zero.

    Returns
    -------
    ndarray, shape (n_volumes, N_PROJECTIONS + 1)
        Projections relative to the root mean square, and its logarithm; rows of NaN where a
        volume has fewer than ``MIN_LEVELS`` distinct values.
    """
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    bits = np.random.default_rng(len(values)).integers(0, 2, (N_PROJECTIONS, len(values)))
    signs = (2 * bits - 1).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = np.sqrt(np.einsum("ij,ij->j", values, values) / len(values))
        rows = np.vstack([(signs @ values) / np.sqrt(len(values)) / rms, np.log(rms)]).T
    rows[[not _has_levels(column) for column in values.T]] = np.nan
    return rows


def _has_levels(values: np.ndarray) -> bool:
    """Return whether a volume has enough distinct values to be compared."""
    some = values[:: max(1, len(values) // 2048)]
    return len(np.unique(some)) >= MIN_LEVELS or len(np.unique(values)) >= MIN_LEVELS
