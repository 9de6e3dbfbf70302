"""Feature tables: one vector per stimulus, provided by the user."""

from __future__ import annotations

import csv
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from bids_decoder.errors import (
    ExitCode,
    Finding,
    FindingsError,
    InputError,
    MissingInputError,
    UsageError,
)
from bids_decoder.files import why_no_safetensors
from bids_decoder.stimuli.sketch import BLOCK_BYTES, LONGEST, N_BINS, sketch

MAX_COLUMNS = 20_000
"""Columns above which a TSV is rejected, since parsing more takes minutes."""

_MAX_HEADER_BYTES = 4 << 20
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Feature vectors of stimuli.

    Parameters
    ----------
    ids : tuple of str
    vectors : ndarray of float32, shape (n_ids, n_dims)
        Or, of vectors longer than :data:`~bids_decoder.stimuli.sketch.LONGEST`, the
        :func:`~bids_decoder.stimuli.sketch.sketch`.
    sketched : int
        Length of the vectors that these are sketches of; 0 where they are whole.
    """

    ids: tuple[str, ...]
    vectors: np.ndarray
    sketched: int = 0


@dataclass(frozen=True)
class _Table:
    """A table that is open for reading.

    Parameters
    ----------
    ids : tuple of str
    n_dims : int
    parts : iterable of (slice, int, ndarray)
        Rows, the number of the first column, and values: each value once, whole rows or whole
        columns at a time.
    """

    ids: tuple[str, ...]
    n_dims: int
    parts: Iterable[tuple[slice, int, np.ndarray]]

    def read(self) -> FeatureTable:
        """Read the vectors, or the sketches of long ones."""
        is_long = self.n_dims > LONGEST
        vectors = np.zeros((len(self.ids), N_BINS if is_long else self.n_dims), np.float32)
        # Sketches of infinite values are not numbers, and found as such.
        with np.errstate(over="ignore", invalid="ignore"):
            for rows, first, values in self.parts:
                if is_long:
                    vectors[rows] += sketch(values, first)
                else:
                    vectors[rows, first : first + values.shape[1]] = values
        return FeatureTable(self.ids, vectors, self.n_dims if is_long else 0)


def read_features(path: Path) -> FeatureTable:
    """Read a feature table.

    Parameters
    ----------
    path : Path
        ``.tsv`` with a header, the stimulus id in the first column and numbers in the others;
        ``.npz`` with the arrays ``ids`` (n,) and ``vectors`` (n, d); ``.safetensors`` with one
        tensor per stimulus, its name being the id (several axes are flattened).

    Returns
    -------
    FeatureTable
        In the order of the file; for safetensors sorted by id. Files are read in parts.

    Raises
    ------
    MissingInputError
        When the file does not exist.
    UsageError
        For other extensions.
    InputError
        When the file is damaged, not of the form above, or does not fit into memory. Nothing
        pickled is ever loaded.
    FindingsError
        For empty or duplicate ids and for values that are not finite.
    """
    if not path.is_file():
        raise MissingInputError(
            f"--features {path}", "no such file", "pass a TSV, npz or safetensors file"
        )
    readers = {".tsv": _read_tsv, ".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise UsageError(
            f"--features {path}", f"unknown kind of file {path.suffix!r}",
            f"use one of: {', '.join(readers)}",
        )
    table = readers[path.suffix](path)
    findings = _findings(path, table.ids, table.vectors)
    if findings:
        raise FindingsError(findings)
    return table


def select_features(
    table: FeatureTable, wanted: Sequence[str], source: str = "--features"
) -> np.ndarray:
    """Select the vectors of the wanted stimuli.

    Parameters
    ----------
    table : FeatureTable
    wanted : sequence of str
    source : str
        Named in errors.

    Returns
    -------
    ndarray, shape (len(wanted), n_dims)

    Raises
    ------
    FindingsError
        Naming the stimuli without a vector.
    """
    position = {name: row for row, name in enumerate(table.ids)}
    absent = [name for name in wanted if name not in position]
    if absent:
        raise FindingsError([Finding(
            f"{source}: {len(absent)} of {len(wanted)} stimuli have no vector",
            f"missing: {_shown(absent)}; the table has ids such as {_shown(table.ids)}",
            "add them, or exclude their trials with --trial-filter", ExitCode.MISSING_INPUT,
        )])
    return table.vectors[[position[name] for name in wanted]]


def _read_tsv(path: Path) -> FeatureTable:
    with path.open("rb") as handle:
        n_columns = handle.readline(_MAX_HEADER_BYTES).count(b"\t") + 1
    if n_columns > MAX_COLUMNS:
        raise _malformed(path, f"{n_columns} columns or more; {MAX_COLUMNS} are the most that "
                         "a TSV may have: use an npz file for longer vectors")
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would be cut with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # The converter keeps ids as written: 007 stays 007 and NA stays NA.
            table = pd.read_csv(
                path, sep="\t", converters={0: str.strip}, keep_default_na=False,
                quoting=csv.QUOTE_NONE, encoding="utf-8-sig", index_col=False,
            )
    except (ValueError, OverflowError, pd.errors.ParserWarning) as error:
        raise _malformed(path, str(error)) from error
    if table.shape[1] < 2:
        raise _malformed(path, f"it has {table.shape[1]} column(s)")
    numbers = table.iloc[:, 1:].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    return _Table(
        tuple(table.iloc[:, 0]), numbers.shape[1], [(slice(None), 0, numbers)]
    ).read()


def _read_npz(path: Path) -> FeatureTable:
    try:
        with np.load(path, allow_pickle=False) as archive:
            ids = archive["ids"]
        with zipfile.ZipFile(path) as archive, archive.open("vectors.npy") as stream:
            shape, by_columns, kind = _npy_header(stream)
            why = _why_no_table(ids, shape, kind)
            if why is None:
                names = np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids
                return _Table(
                    tuple(str(name) for name in names), shape[1],
                    _npy_parts(stream, shape, by_columns, kind),
                ).read()
    except MemoryError as error:
        raise InputError(
            f"--features {path}",
            f"there is not enough memory to read it: {str(error) or 'MemoryError'}",
            "use a machine with more memory, or check the shapes of its arrays",
        ) from error
    # NumPy does not wrap what zip, zlib and its header parser raise for a damaged file.
    except Exception as error:
        raise _malformed(path, f"{type(error).__name__}: {error}") from error
    raise _malformed(path, why)


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the shape of an array, whether it is stored by columns, and its type."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _why_no_table(ids: np.ndarray, shape: tuple[int, ...], kind: np.dtype) -> str | None:
    if ids.dtype.kind not in "USiu" or kind.kind not in "fiu":
        return f"ids are of type {ids.dtype}, vectors of type {kind}"
    if ids.ndim != 1 or len(shape) != 2 or len(ids) != shape[0]:
        return f"ids have shape {ids.shape}, vectors {shape}"
    return None


def _npy_parts(
    stream: IO[bytes], shape: tuple[int, ...], by_columns: bool, kind: np.dtype
) -> Iterator[tuple[slice, int, np.ndarray]]:
    """Read an array a few rows at a time, or columns where it is stored by columns."""
    n_lines, length = shape[::-1] if by_columns else shape
    size = max(1, length * kind.itemsize)
    # The sketch of a few columns costs as much as that of as many columns as it has bins.
    step = max(N_BINS if by_columns else 1, BLOCK_BYTES // size)
    for start in range(0, n_lines, step):
        count = min(step, n_lines - start)
        content = stream.read(count * size) if length else b""
        values = np.frombuffer(content, dtype=kind).reshape(count, length)
        if by_columns:
            yield slice(None), start, values.T
        else:
            yield slice(start, start + count), 0, values


def _read_safetensors(path: Path) -> FeatureTable:
    why = why_no_safetensors(path)
    if why is not None:
        raise _malformed(path, why)
    try:
        with safe_open(path, framework="np") as file:
            ids = tuple(sorted(file.keys()))
            kinds = {name: file.get_slice(name) for name in ids}
            sizes = {int(np.prod(part.get_shape())) for part in kinds.values()}
            if len(sizes) == 1 and all(
                part.get_dtype()[0] in "FIU" for part in kinds.values()
            ):
                return _Table(ids, sizes.pop(), (
                    (slice(row, row + 1), 0, file.get_tensor(name).reshape(1, -1))
                    for row, name in enumerate(ids)
                )).read()
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _malformed(path, f"{type(error).__name__}: {error}") from error
    raise _malformed(path, f"tensors have {len(sizes)} different sizes, or are not numbers")


def _findings(path: Path, ids: tuple[str, ...], vectors: np.ndarray) -> list[Finding]:
    findings = []
    if not ids or vectors.shape[1] == 0:
        findings.append(Finding(f"--features {path}", "the table is empty", "add vectors"))
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        findings.append(Finding(
            f"--features {path}: {len(repeated)} id(s) occur more than once",
            _shown(repeated), "provide one vector per stimulus",
        ))
    if "" in ids:
        findings.append(Finding(
            f"--features {path}: empty ids", f"{ids.count('')} row(s)", "name every stimulus"
        ))
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        findings.append(Finding(
            f"--features {path}: {bad.size} vector(s) hold missing or infinite values",
            _shown([ids[row] for row in bad]),
            "provide finite numbers in the range of 32 bit floats, or leave these stimuli out",
        ))
    return findings


def _malformed(path: Path, why: str) -> InputError:
    return InputError(
        f"--features {path}", f"not a feature table: {why}",
        "TSV: id column first, then numbers; npz: text array 'ids' and 2-D array 'vectors'; "
        "safetensors: one equally long tensor per stimulus id",
    )


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
