"""Responses read in blocks, so that memory does not grow with the number of trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.signal import detrend

from bids_decoder.released.base import ReleasedRun, Responses, Stored
from bids_decoder.released.files import IMAGE_EXTENSIONS, measure, opened

BLOCK_BYTES = 128 << 20
"""Bytes of stored values that are read at a time."""

BATCH_BYTES = 512 << 20
"""Bytes of responses, as float32, that are held at a time."""


def read_responses(responses: Responses) -> np.ndarray:
    """Read the responses to some trials.

    Parameters
    ----------
    responses : Responses

    Returns
    -------
    ndarray of float32, shape (n_trials, n_voxels)
        In units of the release: stored values divided by their scale.

    Raises
    ------
    MissingInputError, InputError
        When a file is absent or damaged.
    """
    if responses.n_volumes is not None:
        return _averaged(responses)
    out = np.empty((len(responses.rows), len(responses.columns)), dtype=np.float32)
    if len(responses.parts) == 1:
        places = np.arange(len(responses.columns))
        _read_part(responses.parts[0], responses.rows, responses.columns, out, places)
        return out
    start = 0
    for part in responses.parts:
        n_voxels = measure(part).n_voxels
        here = (responses.columns >= start) & (responses.columns < start + n_voxels)
        places = np.flatnonzero(here)
        _read_part(part, responses.rows, responses.columns[places] - start, out, places)
        start += n_voxels
    return out


def _averaged(responses: Responses) -> np.ndarray:
    """Average the volumes of each trial in a time series without its linear trend."""
    n_all = measure(responses.parts[0]).n_trials
    series = read_responses(replace(responses, rows=np.arange(n_all), n_volumes=None))
    series = detrend(series, axis=0, overwrite_data=True)
    starts = responses.rows.tolist()
    return np.stack([
        series[start:start + count].mean(axis=0)
        for start, count in zip(starts, responses.n_volumes.tolist(), strict=True)
    ]).astype(np.float32)


def _read_part(
    stored: Stored, rows: np.ndarray, columns: np.ndarray, out: np.ndarray, places: np.ndarray
) -> None:
    """Fill the columns *places* of *out*."""
    order = np.argsort(rows, kind="stable")
    with opened(stored) as array:
        is_image = stored.file.name.endswith(IMAGE_EXTENSIONS)
        if stored.trials_last and not is_image:
            _read_slabs(array, rows, columns, out, places)
        elif stored.is_reversed and _holds_all_trials(array):
            _read_planes(array, rows, columns, out, places)
        else:
            _read_trials(array, stored, rows, order, (columns, out, places))
    if stored.scale != 1.0:
        out[:, places] /= np.float32(stored.scale)


def _read_trials(
    array: Any, stored: Stored, rows: np.ndarray, order: np.ndarray,
    target: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Read blocks of successive trials."""
    columns, out, places = target
    shape = array.shape
    n_voxels = int(np.prod(shape[:-1] if stored.trials_last else shape[1:]))
    step = max(1, BLOCK_BYTES // (n_voxels * np.dtype(array.dtype).itemsize))
    whole = _is_whole(places, columns, out.shape[1], n_voxels)
    first = 0
    while first < len(order):
        low = rows[order[first]]
        last = int(np.searchsorted(rows[order], low + step))
        taken = order[first:last]
        span = slice(int(low), int(rows[taken[-1]]) + 1)
        block = np.asarray(array[..., span] if stored.trials_last else array[span])
        flat = _flat(np.moveaxis(block, -1, 0) if stored.trials_last else block, stored)
        picked = flat[rows[taken] - low]
        if whole:
            out[taken] = picked
        else:
            out[np.ix_(taken, places)] = picked[:, columns]
        first = last


def _is_whole(places: np.ndarray, columns: np.ndarray, n_out: int, n_voxels: int) -> bool:
    """Return whether all voxels are taken in their order, so that no copy is needed."""
    return len(places) == n_out == n_voxels and bool((columns == np.arange(n_voxels)).all())


def _flat(block: np.ndarray, stored: Stored) -> np.ndarray:
    if stored.is_reversed:
        block = block.transpose(0, *range(block.ndim - 1, 0, -1))
    return block.reshape(len(block), -1)


def _read_slabs(
    array: Any, rows: np.ndarray, columns: np.ndarray, out: np.ndarray, places: np.ndarray
) -> None:
    """Read slabs of the first axis of space with all trials between the first and the last one."""
    low, high = int(rows.min()), int(rows.max()) + 1
    per_slice = int(np.prod(array.shape[1:-1]))
    n_bytes = per_slice * (high - low) * np.dtype(array.dtype).itemsize
    step = max(1, BLOCK_BYTES // n_bytes)
    for start in range(0, array.shape[0], step):
        stop = min(start + step, array.shape[0])
        here = np.flatnonzero((columns >= start * per_slice) & (columns < stop * per_slice))
        if len(here):
            slab = np.asarray(array[start:stop, ..., low:high]).reshape(-1, high - low)
            chosen = slab[columns[here] - start * per_slice][:, rows - low]
            out[:, places[here]] = chosen.T


def _holds_all_trials(array: Any) -> bool:
    """Return whether chunks of an HDF5 array of volumes hold more trials than a block would."""
    chunks = getattr(array, "chunks", None)
    if chunks is None or array.ndim != 4:
        return False
    n_bytes = int(np.prod(array.shape[1:])) * array.dtype.itemsize
    return chunks[0] * n_bytes > BLOCK_BYTES


def _read_planes(
    array: Any, rows: np.ndarray, columns: np.ndarray, out: np.ndarray, places: np.ndarray
) -> None:
    """Read planes of an array (trials, z, y, x) with all trials, so that chunks are read once."""
    low, high = int(rows.min()), int(rows.max()) + 1
    n_z, n_y, n_x = array.shape[1:]
    z, y, x = columns % n_z, columns // n_z % n_y, columns // (n_z * n_y)
    step = max(1, BLOCK_BYTES // (n_y * n_x * (high - low) * array.dtype.itemsize))
    for start in range(0, n_z, step):
        here = np.flatnonzero((z >= start) & (z < start + step))
        if len(here):
            block = np.asarray(array[low:high, start:min(start + step, n_z)])
            picked = block[:, z[here] - start, y[here], x[here]]
            out[:, places[here]] = picked[rows - low]


def read_runs(runs: Sequence[ReleasedRun]) -> Iterator[tuple[ReleasedRun, np.ndarray]]:
    """Yield runs with their responses; successive runs of the same file are read together.

    Parameters
    ----------
    runs : sequence of ReleasedRun

    Yields
    ------
    run : ReleasedRun
    values : ndarray of float32, shape (n_trials, n_voxels)
    """
    for batch in _batches(runs):
        first = batch[0].responses
        rows = np.concatenate([run.responses.rows for run in batch])
        values = read_responses(replace(first, rows=rows))
        start = 0
        for run in batch:
            n_rows = len(run.responses.rows)
            # A copy, so that the batch can be freed before the next one is read.
            yield run, values[start:start + n_rows].copy()
            start += n_rows
        del values


def _batches(runs: Sequence[ReleasedRun]) -> Iterator[list[ReleasedRun]]:
    """Group successive runs of the same arrays and voxels, up to :data:`BATCH_BYTES`."""
    batch: list[ReleasedRun] = []
    size = 0
    for run in runs:
        own = run.responses
        n_bytes = 4 * len(own.rows) * len(own.columns)
        is_same = bool(batch) and own.n_volumes is None and (
            batch[0].responses.parts == own.parts and batch[0].responses.columns is own.columns
        )
        if batch and (not is_same or size + n_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(run)
        size += n_bytes
    if batch:
        yield batch
