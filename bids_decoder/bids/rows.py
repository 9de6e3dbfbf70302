"""Rows of events files: reading them as they are written, and dropping unwanted ones."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.images import is_pointer
from bids_decoder.bids.rules import Rule
from bids_decoder.bids.writer import read_columns
from bids_decoder.errors import InputError, MissingInputError

CONDITION_COLUMNS = ("trial_type", "event_type")
"""Columns in which datasets mark rows that show no stimulus."""

NO_STIMULUS = frozenset({
    "rest", "resting", "interrest", "restperiod", "fix", "fixation", "fixationcross", "baseline",
    "blank", "blanks", "null", "nullevent", "iti", "isi", "catch", "catchtrial", "cue",
    "response", "buttonpress", "evaluation", "instruction", "instructions",
})
"""Values, in lower case and without separators, of rows that never become trials."""


def read_events(path: Path) -> pd.DataFrame:
    """Read an events file.

    Parameters
    ----------
    path : Path
        Any line ends, with or without byte order mark, spaces around names and cells.

    Returns
    -------
    DataFrame
        ``onset`` and ``duration`` as float seconds (NaN where n/a or no number), all other
        columns as text or None. Rows are in the order of the file.

    Raises
    ------
    MissingInputError
        When the content of the file is absent.
    InputError
        When the file is not a table, has no ``onset``, or has no number in it.
    """
    columns = _read_text(path)
    if "onset" not in columns:
        separated = " " if len(columns) > 1 else ", separated by tabs, "
        raise InputError(
            str(path), f"has no column onset; columns: {', '.join(columns)}",
            f"correct the file: onset and duration{separated}are required by BIDS",
        )
    given = [cell for cell in columns["onset"].tolist() if cell is not None]
    timed = _with_times(columns)
    if given and np.isnan(timed["onset"].to_numpy()).all():
        raise InputError(
            str(path), f"no onset is a number, for instance '{given[0]}'",
            "write onsets in seconds, with a point before decimals",
        )
    return timed


def read_trials(path: Path) -> pd.DataFrame:
    """Read the trial table of a beta series; timing may be absent and becomes NaN."""
    return _with_times(_read_text(path))


def with_times(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of text with ``onset`` and ``duration`` as numbers; NaN where absent."""
    return _with_times({name: table[name].to_numpy(dtype=object) for name in table})


def _with_times(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    n_rows = len(next(iter(columns.values())))
    times = {
        name: np.array([finite_number(cell) for cell in columns.get(name, [None] * n_rows)], float)
        for name in ("onset", "duration")
    }
    text = {
        name: pd.Series(cells, dtype=object)
        for name, cells in columns.items() if name not in times
    }
    order = dict.fromkeys((*columns, *times))
    return pd.DataFrame({name: times[name] if name in times else text[name] for name in order})


def finite_number(cell: str | float | None) -> float:
    """Return a finite number, or NaN; ``float`` would also read 1_0 and non-Latin digits."""
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else math.nan
    if cell is None or "_" in cell or not cell.isascii():
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _read_text(path: Path) -> dict[str, np.ndarray]:
    if is_pointer(path):
        raise MissingInputError(
            str(path), "its content is not here (git-annex pointer)", f"datalad get {path}",
        )
    try:
        return read_columns(path)
    except (OSError, ValueError) as error:
        raise InputError(
            str(path), f"is not readable as a table: {str(error).strip()}",
            "correct the file: tab-separated UTF-8 text with a header",
        ) from error


def shows_nothing(value: object) -> bool:
    """Return whether a condition means rest, fixation, catch, cue, response or the like.

    Examples
    --------
    >>> shows_nothing("inter_rest"), shows_nothing("Catch"), shows_nothing("restaurant")
    (True, True, False)
    """
    return isinstance(value, str) and re.sub(r"[\s_\-]", "", value).lower() in NO_STIMULUS


def drop_rows(
    table: pd.DataFrame, filters: Sequence[Rule], columns: Sequence[str],
    wanted: Collection[str] = (),
) -> tuple[pd.DataFrame, Counter[str]]:
    """Leave out rows that the filters reject or that show no stimulus; count them by reason.

    Parameters
    ----------
    table : DataFrame
    filters : sequence of Rule
    columns : sequence of str
        Condition columns in which values such as ``rest`` or ``catch`` mark rows without a
        stimulus. A value that a filter asks for is never dropped for its name.
    wanted : collection of str
        Further values that are never dropped for their name.

    Returns
    -------
    kept : DataFrame
    dropped : Counter
        Number of rows by reason.
    """
    reasons = np.full(len(table), None, dtype=object)
    for rule in filters:
        reasons[~rule.mask(table) & pd.isna(reasons)] = str(rule)
    for name in columns:
        if name not in table:
            continue
        asked_for = {v for rule in filters if rule.column == name for v in rule.asked_for}
        asked_for |= set(wanted)
        for row, value in enumerate(table[name]):
            if reasons[row] is None and value not in asked_for and shows_nothing(value):
                reasons[row] = f"{name}={value}"
    kept = np.array([reason is None for reason in reasons], dtype=bool)
    if kept.all():
        return table, Counter()
    return table[kept].reset_index(drop=True), Counter(r for r in reasons if r is not None)
