"""Rows of all runs: reading them and leaving out those that are not trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import BoldRun, Dataset
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.rows import (
    CONDITION_COLUMNS,
    drop_rows,
    read_events,
    read_trials,
    with_times,
)
from bids_decoder.bids.rules import Rule
from bids_decoder.bids.timing import Recording, read_recording
from bids_decoder.config import TrialRules
from bids_decoder.errors import BidsDecoderError, Finding, InputError
from bids_decoder.processes import map_items

_NO_EVENT = pd.DataFrame({"onset": [0.0], "duration": [0.0]})


@dataclass
class RunRows:
    """Rows of one run from which trials are made.

    Parameters
    ----------
    run : BoldRun
    rows : DataFrame
    recording : Recording or None
    reasons : Series or None
        Of beta series, whose rows all stay: why a row is left out, None for the others.
    """

    run: BoldRun
    rows: pd.DataFrame
    recording: Recording | None
    reasons: pd.Series | None = None

    def leave_out(self, reasons: np.ndarray) -> None:
        """Leave out the rows that have a reason (text or None, shape (n_rows,))."""
        if self.run.source == "betas":
            self.reasons = pd.Series(reasons, index=self.rows.index, dtype=object)
        else:
            kept = pd.isna(reasons)
            self.rows = self.rows[kept].reset_index(drop=True)


def read_runs(
    dataset: Dataset, notes: DatasetNotes, n_processes: int, *, without_events: bool = False
) -> list[RunRows]:
    """Read the events file or the trial table of each run.

    Parameters
    ----------
    dataset : Dataset
    notes : DatasetNotes
        Receives the findings on files that cannot be read.
    n_processes : int
    without_events : bool
        Whether runs without an events file are kept, with one row that names nothing.

    Returns
    -------
    list of RunRows
        Without the runs whose file cannot be read.
    """
    runs, read = dataset.runs, []
    for run, found in zip(runs, map_items(_read_run, runs, n_processes), strict=True):
        if isinstance(found, Finding):
            notes.findings.append(found)
        elif found is not None or without_events:
            rows = _NO_EVENT.copy() if found is None else found
            # Headers are read in this process, which later ones are forked from, and kept.
            recording = None if run.source == "betas" else read_recording(run)
            read.append(RunRows(run, rows, recording))
    return read


def _read_run(run: BoldRun) -> pd.DataFrame | Finding | None:
    """Read the rows of a run; None where it has neither events nor a trial table."""
    try:
        if run.released is not None:
            return with_times(run.released.table)
        if run.trials_file is not None:
            return read_trials(run.trials_file)
        if run.events_file is None:
            return None
        rows = read_events(run.events_file)
        if run.cut_seconds:
            rows["onset"] -= run.cut_seconds
        return rows
    except BidsDecoderError as error:
        finding = error.finding
        return replace(finding, participant=run.subject, place=finding.what)


def clean_rows(
    runs: list[RunRows], filters: Sequence[Rule], rules: TrialRules, wanted: Collection[str],
    notes: DatasetNotes,
) -> None:
    """Drop rows that are not trials, sort by onset, and report the number of each kind.

    Parameters
    ----------
    runs : list of RunRows
        Changed in place.
    filters : sequence of Rule
    rules : TrialRules
    wanted : collection of str
        Conditions whose rows stay although their name says that they show nothing.
    notes : DatasetNotes

    Raises
    ------
    InputError
        When no row is left.
    """
    columns = [*CONDITION_COLUMNS, rules.label_column, rules.stimulus_column]
    columns = list(dict.fromkeys(name for name in columns if name))
    dropped: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    for item in runs:
        item.rows, counts = drop_rows(item.rows, filters, columns, wanted)
        dropped += counts
        odd += _tidy(item)
    untimed = odd["without onset"]
    if (dropped or untimed) and not sum(len(item.rows) for item in runs):
        counted = [f"{reason} ({count})" for reason, count in sorted(dropped.items())]
        counted += [f"n/a or no number as onset ({untimed})"] if untimed else []
        raise InputError(
            "trials", f"no row of any events file is left; left out: {', '.join(counted)}",
            "write onsets in seconds into the events files" if untimed
            else "ask for rows by name, for instance --trial-filter trial_type=cue",
        )
    for reason, count in sorted(dropped.items()):
        notes.decide("rows left out", str(count), reason)
    _warn_of_doubled_columns(runs, notes)
    _report(odd, notes)


def _warn_of_doubled_columns(runs: list[RunRows], notes: DatasetNotes) -> None:
    """Warn of names that occur twice in a header; the reader numbers all but the first."""
    doubled: Counter[str] = Counter()
    for item in runs:
        names = set(map(str, item.rows.columns))
        doubled.update(name for name in names if f"{name}.1" in names)
    for name, count in sorted(doubled.items()):
        notes.warn(
            f"events: column {name}",
            f"{count} of {len(runs)} run(s) have two columns of this name, or one called {name}.1",
            f"{name} is the first of the two, {name}.1 the other one; correct the events files if "
            "that is wrong",
        )


def _tidy(item: RunRows) -> Counter[str]:
    """Drop rows that are doubled or have no onset, sort the others, and count odd ones."""
    rows, n_doubled = _without_doubles(item.rows)
    onset = rows["onset"].to_numpy()
    timed = np.isfinite(onset)
    if not timed.all():
        rows, onset = rows[timed].reset_index(drop=True), onset[timed]
    is_unsorted = bool((np.diff(onset) < 0).any())
    if is_unsorted:
        rows = rows.sort_values("onset", kind="stable", ignore_index=True)
    duration = rows["duration"].to_numpy()
    odd = ~(duration >= 0)
    item.rows = rows.assign(duration=np.where(odd, 0.0, duration)) if odd.any() else rows
    return Counter({
        "unsorted runs": int(is_unsorted), "doubled": n_doubled,
        "without onset": int((~timed).sum()), "without duration": int(odd.sum()),
    })


def _report(odd: Counter[str], notes: DatasetNotes) -> None:
    """Add a decision or a warning for each kind of odd rows."""
    if odd["unsorted runs"]:
        reason = f"{odd['unsorted runs']} run(s) were not in order"
        notes.decide("order of events", "sorted by onset", reason)
    if odd["doubled"]:
        notes.warn(
            "events written twice", f"{odd['doubled']} row(s) repeat another row of their file",
            "they are left out, since a row written twice is one event; correct the events files",
        )
    if odd["without onset"]:
        notes.warn(
            "events without onset", f"{odd['without onset']} row(s) have n/a or no number as onset",
            "they are left out; correct the events files if these are trials",
        )
    if odd["without duration"]:
        notes.warn(
            "events without duration",
            f"{odd['without duration']} row(s) have n/a or a negative number as duration",
            "they are taken as impulses of 0 s; correct the events files if that is wrong",
        )


def _without_doubles(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Leave out rows that repeat another one with an onset, and count them."""
    onset = rows["onset"].to_numpy()
    # Most runs have no two events at one time, and comparing whole rows takes much longer.
    if len(np.unique(onset)) == len(onset):
        return rows, 0
    again = np.isfinite(onset) & rows.duplicated().to_numpy()
    return rows[~again].reset_index(drop=True), int(again.sum())


def column_levels(runs: list[RunRows], column: str) -> list[str]:
    """Return the sorted values of a column over all runs."""
    values: set[str] = set()
    for item in runs:
        if column in item.rows:
            values.update(item.rows[column].tolist())
    return sorted(value for value in values if not pd.isna(value))
