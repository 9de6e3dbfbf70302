"""Images and tables written completely or not at all; equal data have equal bytes."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.bids.names import resolution_entry, sidecar_path
from bids_decoder.files import atomic_path, read_at_most, write_json

MAX_TABLE_BYTES = 32 << 20
"""Bytes above which no table is read."""

MAX_COLUMNS = 10_000
"""Columns above which no table is read."""

_MOST_NIFTI1 = np.iinfo(np.int16).max  # along one axis

_MISSING = frozenset({"n/a", "", "nan", "NaN", "N/A"})


def save_nifti(
    path: Path, data: np.ndarray, affine: np.ndarray, *, t_r: float | None = None,
    metadata: dict[str, Any] | None = None,
) -> Path:
    """Write an image and, with *metadata*, its sidecar.

    Parameters
    ----------
    path : Path
        Ends in ``.nii.gz`` or ``.nii``. Images with an axis above 32,767 are NIfTI-2.
    data : ndarray
        Boolean data are stored as uint8, float64 as float32.
    affine : ndarray, shape (4, 4)
        Written as both q-form and s-form with code 1 (scanner).
    t_r : float or None
        Seconds between volumes, for 4-D images.
    metadata : dict or None
        Content of the JSON sidecar, to which the resolution is added where the name has one.
    """
    dtype = {np.dtype(bool): np.uint8, np.dtype(float): np.float32}.get(data.dtype, data.dtype)
    kind = nib.Nifti2Image if max(data.shape) > _MOST_NIFTI1 else nib.Nifti1Image
    image = kind(np.asarray(data, dtype=dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    if t_r is not None:
        image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
    with atomic_path(path) as temporary:
        temporary.write_bytes(_compressed(image, path))
    if metadata is not None:
        write_json(sidecar_path(path), metadata | resolution_entry(path))
    return path


def _compressed(image: nib.Nifti1Image, path: Path) -> bytes:
    content = image.to_bytes()
    # No time stamp and no file name, so that equal data give equal bytes.
    return gzip.compress(content, compresslevel=4, mtime=0) if path.suffix == ".gz" else content


def save_table(path: Path, table: pd.DataFrame, metadata: dict[str, Any] | None = None) -> Path:
    """Write a TSV with ``n/a`` for missing values and, with *metadata*, its sidecar."""
    with atomic_path(path) as temporary:
        table.to_csv(
            temporary, sep="\t", index=False, na_rep="n/a", float_format="%.9g",
            lineterminator="\n", encoding="utf-8",
        )
    if metadata is not None:
        write_json(sidecar_path(path), metadata)
    return path


def read_table(path: Path) -> pd.DataFrame:
    """Read a TSV as text: any line ends, with or without BOM, spaces trimmed, ids never cast.

    Returns
    -------
    DataFrame
        All columns of text dtype (object); ``n/a``, empty and missing cells are None. A name that
        occurs again gets a number: ``value``, ``value.1``.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it is not a table, a row has more cells than the header, or the table is larger
        than :data:`MAX_TABLE_BYTES` or wider than :data:`MAX_COLUMNS`.
    """
    return pd.DataFrame(read_columns(path), dtype=object)


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """Read a TSV as :func:`read_table` does, into arrays of text and None by column.

    Raises
    ------
    ValueError
        When the file is too large, or no table of text.
    """
    with Path(path).open("rb") as handle:
        content = read_at_most(handle, MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise ValueError(f"larger than {MAX_TABLE_BYTES >> 20} MiB, which is no table of this kind")
    names, rows = _split_rows(content.decode("utf-8-sig"))
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return {
        name: np.array([_cell(cell) for cell in cells], dtype=object)
        for name, cells in zip(names, columns, strict=True)
    }


def _split_rows(text: str) -> tuple[list[str], list[list[str]]]:
    """Return the names in the header and the rows, each with as many cells."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter="\t", skipinitialspace=True, strict=True
    )
    try:
        names = _unique([name.strip() for name in next(reader, [])])
        n_columns = len(names)
        if not n_columns:
            raise ValueError("it is empty")
        if n_columns > MAX_COLUMNS:
            raise ValueError(f"{n_columns} columns; {MAX_COLUMNS} are the most that is read")
        rows = []
        for row in reader:
            if len(row) > n_columns and any(cell.strip() for cell in row[n_columns:]):
                raise ValueError(
                    f"line {reader.line_num} has {len(row)} cells, the header {n_columns}"
                )
            if row and (n_columns == 1 or len(row) > 1 or row[0].strip()):
                rows.append([*row[:n_columns], *[""] * (n_columns - len(row))])
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    return names, rows


def _unique(names: list[str]) -> list[str]:
    counts: Counter[str] = Counter()
    unique = []
    for name in names:
        unique.append(f"{name}.{counts[name]}" if counts[name] else name)
        counts[name] += 1
    return unique


def _cell(text: str) -> str | None:
    text = text.strip()
    return None if text in _MISSING else text
