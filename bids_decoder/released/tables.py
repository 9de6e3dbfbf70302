"""Tables of trials beside released responses: reading them and dividing them into runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.released.base import ReleasedRun, Responses
from bids_decoder.released.files import Shape

TABLE_EXTENSIONS = (".tsv", ".csv")

MAX_TABLE_BYTES = 256 << 20
"""Bytes above which a table is not read; 30,000 trials with 20 columns have about 5 MB."""

_MISSING = ("n/a", "", "nan", "NaN", "N/A")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of trials as text, separated by tabs (``.tsv``) or commas (``.csv``).

    Parameters
    ----------
    path : Path

    Returns
    -------
    DataFrame
        Text cells; missing ones are None.

    Raises
    ------
    MissingInputError
        When the file is absent.
    InputError
        When it is no such table.
    """
    if not path.is_file():
        raise MissingInputError(
            str(path), "there is no such table, or its content is absent", "fetch or copy it",
        )
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise ValueError(f"larger than {MAX_TABLE_BYTES >> 20} MiB")
        table = pd.read_csv(
            path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str, keep_default_na=False,
            na_values=[], encoding="utf-8-sig", skipinitialspace=True, index_col=False,
        )
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(
            str(path), f"cannot be read as a table: {str(error).strip()}",
            "write UTF-8 text with a header, tabs in .tsv and commas in .csv",
        ) from error
    return as_text(table.rename(columns=lambda name: str(name).strip()))


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of text cells, in which missing values are None."""
    columns = {
        name: pd.Series([_cell(cell) for cell in cells.tolist()], dtype=object)
        for name, cells in table.items()
    }
    return pd.DataFrame(columns)


def _cell(value: object) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return None if text in _MISSING else text


def bids_label(text: object) -> str:
    """Return a label of letters and digits.

    Examples
    --------
    >>> bids_label("sess_01"), bids_label("S 1")
    ('sess01', 'S1')
    """
    return re.sub(r"[^0-9A-Za-z]", "", str(text)) or "none"


def check_length(table: pd.DataFrame, shape: Shape, source: str, array: str) -> None:
    """Check that each row of a table has its trial, and recognise arrays that are transposed.

    Parameters
    ----------
    table : DataFrame
    shape : Shape
        Of the array.
    source, array : str
        Table and array, for the message.

    Raises
    ------
    InputError
    """
    if len(table) == shape.n_trials:
        return
    if len(table) == shape.n_voxels:
        raise InputError(
            array, f"seems to be transposed: {shape.n_trials} trials of {shape.n_voxels} voxels, "
            f"but {source} has {len(table)} rows",
            "save the array with one row per trial and one column per voxel",
        )
    raise InputError(
        array, f"{shape.n_trials} trials, but {source} has {len(table)} rows",
        "give the table that belongs to the array: row i must name trial i",
    )


def split_runs(
    table: pd.DataFrame, responses: Responses, task: str, layout: str
) -> tuple[ReleasedRun, ...]:
    """Divide the trials of a participant by the columns session, task and run.

    Parameters
    ----------
    table : DataFrame, n_trials rows
        Row i belongs to row i of *responses*.
    responses : Responses
    task : str
        Where the table has no task.
    layout : str
        Title of the layout.

    Returns
    -------
    tuple of ReleasedRun
        In the order in which runs begin. Rows of a run may be anywhere in the table.

    Raises
    ------
    InputError
        When several names of sessions, tasks or runs have the same label.
    """
    names = [name for name in ("session", "task", "run") if name in table]
    _check_labels(table[names], str(responses.parts[0]))
    keys = [
        tuple(None if cell is None else bids_label(_whole(cell)) for cell in cells)
        for cells in zip(*(table[name].tolist() for name in names), strict=True)
    ] if names else [()] * len(table)
    rows_of: dict[tuple[str | None, ...], list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    runs = []
    for key, rows in rows_of.items():
        given = dict(zip(names, key, strict=True))
        own = Responses(
            responses.parts, responses.rows[rows], responses.columns, responses.grid
        )
        runs.append(ReleasedRun(
            given.get("session"), given.get("task") or task, given.get("run"),
            table.iloc[rows].drop(columns=names).reset_index(drop=True), own, layout,
        ))
    return tuple(runs)


def _check_labels(table: pd.DataFrame, source: str) -> None:
    """Refuse sessions, tasks and runs that are told apart by more than letters and digits."""
    same = []
    for column in table:
        by_label: dict[str, dict[str, None]] = {}
        for cell in table[column].dropna():
            by_label.setdefault(bids_label(_whole(cell)), {})[_whole(cell)] = None
        same += [
            f"{column} {' and '.join(cells)} would be {column} {label}"
            for label, cells in by_label.items() if len(cells) > 1
        ]
    if same:
        raise InputError(
            source, "labels hold letters and digits only, and different names in the table of "
            f"trials have the same label: {'; '.join(same)}",
            "rename them so that they differ in letters or digits",
        )


def _whole(cell: str) -> str:
    """Return a whole number without its decimals, other text as it is."""
    return re.sub(r"^(\d+)\.0*$", r"\1", cell)


def find_label(path: Path, patterns: Sequence[str], root: Path) -> str | None:
    """Return what a pattern finds in the name of a file or of a folder above it, below *root*.

    Parameters
    ----------
    path : Path
    patterns : sequence of str
        Regular expressions with one group; the first that fits counts.
    root : Path
        Last folder whose name is looked at.
    """
    places = [path, *path.parents]
    for place in places:
        for pattern in patterns:
            if found := re.search(pattern, place.name, re.IGNORECASE):
                return bids_label(found[1])
        if place == root:
            break
    return None


PEOPLE = (r"sub-([0-9A-Za-z]+)", r"subj(?:ect)?[-_]?([0-9]+)", r"\b(?:s|p)([0-9]+)\b")
SESSIONS = (r"ses-([0-9A-Za-z]+)", r"sess?(?:ion)?[-_]?([0-9]+)")
