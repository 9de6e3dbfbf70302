"""Feature tables: one vector per stimulus, provided by the user."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from bids_decoder.errors import (
    ExitCode,
    Finding,
    FindingsError,
    InputError,
    MissingInputError,
    UsageError,
)
from bids_decoder.files import why_no_safetensors

MAX_COLUMNS = 20_000
"""Columns above which a TSV is rejected, since parsing more takes minutes."""

_MAX_HEADER_BYTES = 4 << 20
_SHOWN = 5


def read_features(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Read a feature table.

    Parameters
    ----------
    path : Path
        ``.tsv`` with a header, the stimulus id in the first column and numbers in the others;
        ``.npz`` with the arrays ``ids`` (n,) and ``vectors`` (n, d); ``.safetensors`` with one
        tensor per stimulus, its name being the id (several axes are flattened).

    Returns
    -------
    ids : tuple of str
        In the order of the file; for safetensors sorted.
    vectors : ndarray of float32, shape (n_ids, n_dims)

    Raises
    ------
    MissingInputError
        When the file does not exist.
    UsageError
        For other extensions.
    InputError
        When the file is damaged or not of the form above. Nothing pickled is ever loaded.
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
    ids, values = readers[path.suffix](path)
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(values, dtype=np.float32)
    findings = _findings(path, ids, vectors)
    if findings:
        raise FindingsError(findings)
    return ids, vectors


def select_features(
    ids: Sequence[str], vectors: np.ndarray, wanted: Sequence[str], source: str = "--features"
) -> np.ndarray:
    """Select the vectors of the wanted stimuli.

    Parameters
    ----------
    ids : sequence of str
    vectors : ndarray, shape (n_ids, n_dims)
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
    position = {name: row for row, name in enumerate(ids)}
    absent = [name for name in wanted if name not in position]
    if absent:
        raise FindingsError([Finding(
            f"{source}: {len(absent)} of {len(wanted)} stimuli have no vector",
            f"missing: {_shown(absent)}; the table has ids such as {_shown(list(ids))}",
            "add them, or exclude their trials with --trial-filter", ExitCode.MISSING_INPUT,
        )])
    return vectors[[position[name] for name in wanted]]


def _read_tsv(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
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
    numbers = table.iloc[:, 1:].apply(pd.to_numeric, errors="coerce")
    return tuple(table.iloc[:, 0]), numbers.to_numpy(dtype=np.float64)


def _read_npz(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            ids, vectors = archive["ids"], archive["vectors"]
    # NumPy does not wrap what zip, zlib and its header parser raise for a damaged file.
    except Exception as error:
        raise _malformed(path, f"{type(error).__name__}: {error}") from error
    if ids.dtype.kind not in "USiu" or vectors.dtype.kind not in "fiu":
        raise _malformed(path, f"ids are of type {ids.dtype}, vectors of type {vectors.dtype}")
    if ids.ndim != 1 or vectors.ndim != 2 or len(ids) != len(vectors):
        raise _malformed(path, f"ids have shape {ids.shape}, vectors {vectors.shape}")
    try:
        names = np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids
        return tuple(str(name) for name in names), vectors
    except ValueError as error:
        raise _malformed(path, f"ids are not text: {error}") from error


def _read_safetensors(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    why = why_no_safetensors(path)
    if why is not None:
        raise _malformed(path, why)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _malformed(path, f"{type(error).__name__}: {error}") from error
    ids = tuple(sorted(tensors))
    sizes = Counter(tensors[name].size for name in ids)
    if len(sizes) != 1 or any(tensors[name].dtype.kind not in "fiu" for name in ids):
        raise _malformed(path, f"tensors have {len(sizes)} different sizes, or are not numbers")
    return ids, np.stack([tensors[name].ravel() for name in ids])


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
