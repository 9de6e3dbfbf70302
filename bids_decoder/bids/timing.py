"""Onsets of trials compared with the recording, and the unit that onsets seem to have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.images import read_header
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.errors import BidsDecoderError, Finding, name_some

MIN_RECORDED = 4.0
"""Seconds of recording after an onset below which almost none of the response is recorded."""

GOOD_RECORDED = 8.0
"""Seconds of recording after the last event that cover its response."""

MAX_EXCLUDED_SHARE = 0.2
"""Share of a run's trials outside of the recording above which the events cannot be right."""

EARLY_END = 0.7
"""Share of a recording; a last event that ends before it suggests a mistake."""

LATE_START = 0.3
"""Share of a recording; a first event that starts after it suggests a mistake."""

MIN_IDLE = 30.0
"""Seconds without events, at the end or the start of a recording, that are usual."""

OUTSIDE = "events outside of the recording"
"""What is said of a run with such events."""


@dataclass(frozen=True)
class Recording:
    """Length of a run: number of volumes and seconds between them."""

    n_volumes: int
    t_r: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.n_volumes * self.t_r


@dataclass(frozen=True)
class RunTimes:
    """Onsets of the trials of one run.

    Parameters
    ----------
    run : BoldRun
    recording : Recording or None
    first, last, end : float
        First and last onset and end of the last trial, as written in the events file.
    n_trials, n_excluded : int
    reasons : tuple of str
        Why trials are excluded.
    is_cut_off : bool
        True when the response to the last trial that is used was not recorded to its end.
    """

    run: BoldRun
    recording: Recording | None
    first: float
    last: float
    end: float
    n_trials: int
    n_excluded: int
    reasons: tuple[str, ...]
    is_cut_off: bool

    @property
    def place(self) -> str:
        """The run, for messages."""
        return f"sub-{self.run.subject} {self.run.run_group}"

    @property
    def is_outside(self) -> bool:
        """True when so many trials were not recorded that the events must be wrong."""
        return self.n_excluded > MAX_EXCLUDED_SHARE * self.n_trials


def read_recording(run: BoldRun) -> Recording | None:
    """Return the length of a run.

    None without image, repetition time or more than one volume, all of which the preflight check
    reports.
    """
    try:
        header = read_header(run.image_file)
    except BidsDecoderError:
        return None
    t_r = run.t_r(header)
    return None if t_r is None or header.n_volumes < 2 else Recording(header.n_volumes, t_r)


def exclude(table: pd.DataFrame, rows: np.ndarray, reason: str) -> None:
    """Exclude *rows* (boolean, shape (n_trials,)) that are not excluded yet, in place."""
    rows = rows & ~table["excluded"].to_numpy()
    if not rows.any():
        return
    table.loc[rows, "excluded"] = True
    table.loc[rows, "reason"] = reason


def exclude_rows(trials: Mapping[str, np.ndarray], rows: np.ndarray, reason: str) -> None:
    """Exclude *rows* of a trial table whose columns are arrays, as :func:`exclude` does."""
    rows = rows & ~trials["excluded"]
    trials["excluded"][rows] = True
    trials["reason"][rows] = reason


def exclude_unrecorded(
    trials: Mapping[str, np.ndarray], run: BoldRun, recording: Recording | None
) -> RunTimes:
    """Exclude trials whose response was not recorded, in place.

    Parameters
    ----------
    trials : mapping of str to ndarray, each of shape (n_trials,)
        Columns of the trial table of one run, with one trial or more.
    run : BoldRun
    recording : Recording or None
        Without it only trials before the first volume are excluded.

    Returns
    -------
    RunTimes
    """
    onsets = trials["onset"]
    ends = onsets + trials["duration"]
    exclude_rows(trials, onsets < 0, "starts before the first stored volume")
    is_cut_off = False
    if recording is not None:
        seconds = recording.seconds
        left = seconds - onsets
        exclude_rows(trials, left <= 0, f"starts after the end of the run ({seconds:g} s)")
        exclude_rows(
            trials, (left > 0) & (left < MIN_RECORDED),
            f"starts less than {MIN_RECORDED:g} s before the end of the run ({seconds:g} s)",
        )
        kept = ends[~trials["excluded"]]
        is_cut_off = bool(len(kept) and seconds - kept.max() < GOOD_RECORDED)
    return RunTimes(
        run, recording, float(onsets.min()), float(onsets.max()), float(ends.max()), len(onsets),
        int(trials["excluded"].sum()), tuple(sorted(set(trials["reason"]) - {None})), is_cut_off,
    )


def judge_timing(times: Sequence[RunTimes], notes: DatasetNotes) -> None:
    """Find events that do not fit their recordings, and suggest why.

    Parameters
    ----------
    times : sequence of RunTimes
        Of all runs with trials.
    notes : DatasetNotes
        Receives an error for each run with many trials outside of its recording; warnings for
        single ones, and for participants whose events end early or start late in all runs.
    """
    by_person: dict[str, list[RunTimes]] = defaultdict(list)
    for item in times:
        by_person[item.run.subject].append(item)
    for label, own in sorted(by_person.items()):
        outside = [item for item in own if item.is_outside]
        if outside:
            _report_outside(outside, _guess_stop(outside, own) or _guess(outside), notes)
        else:
            _warn_of_idle_time(label, own, notes)
        _warn_of_excluded([item for item in own if not item.is_outside], notes)
        short = [item.run.run_group for item in own if item.is_cut_off]
        if short:
            notes.warn(
                f"sub-{label}: short recording after the last event",
                f"less than {GOOD_RECORDED:g} s in {len(short)} run(s): {name_some(short)}",
                "the last responses are partly cut off; nothing needs to be done", label,
            )


def _warn_of_excluded(times: Sequence[RunTimes], notes: DatasetNotes) -> None:
    """Warn about single trials that were not recorded; suggest why where all runs have them."""
    ends = [None if item.recording is None else item.recording.seconds for item in times]
    every = all(
        end is not None and item.last > end for item, end in zip(times, ends, strict=True)
    )
    fix = (_guess(times) if every else None) or "nothing needs to be done"
    for item in times:
        if item.n_excluded:
            notes.findings.append(Finding(
                f"{item.place}: trials excluded",
                f"{item.n_excluded} of {item.n_trials}: {name_some(item.reasons)}", fix,
                severity="warning", participant=item.run.subject, place=item.place,
            ))


def _report_outside(outside: Sequence[RunTimes], guess: str | None, notes: DatasetNotes) -> None:
    advice = f"{guess}; or" if guess else (
        "check that onsets are in seconds from the first stored volume and that the events belong "
        "to this run; or"
    )
    for item in outside:
        length = "unknown" if item.recording is None else f"{item.recording.seconds:g} s"
        notes.findings.append(Finding(
            f"{item.place}: {OUTSIDE}",
            f"{item.n_excluded} of {item.n_trials} trials; onsets {item.first:g} to "
            f"{item.last:g}, length of the run {length}",
            f"{advice} leave the run out with --bids-filter-file", participant=item.run.subject,
            place=item.place,
        ))


def _warn_of_idle_time(label: str, times: Sequence[RunTimes], notes: DatasetNotes) -> None:
    """Warn where no run of a participant has events in its last or in its first part."""
    known = [(item, item.recording.seconds) for item in times if item.recording is not None]
    if not known:
        return
    item, seconds = known[0]
    if all(item.end < min(EARLY_END * length, length - MIN_IDLE) for item, length in known):
        shares = [item.end / length for item, length in known]
        guess = _guess(times) or "check that onsets are in seconds and that the repetition time, "\
            f"{known[0][0].recording.t_r:g} s, is right"
        notes.warn(
            f"sub-{label}: events end early in all runs",
            f"at {_percent(shares)} of the recordings, for instance at {item.end:g} of "
            f"{seconds:g} s in {item.run.run_group}",
            f"{guess}; if the scanner just went on, nothing needs to be done", label,
        )
    if all(item.first > max(LATE_START * length, MIN_IDLE) for item, length in known):
        shares = [item.first / length for item, length in known]
        notes.warn(
            f"sub-{label}: events start late in all runs",
            f"at {_percent(shares)} of the recordings, for instance at {item.first:g} of "
            f"{seconds:g} s in {item.run.run_group}",
            "check that onsets count from the first stored volume, not from an earlier start of "
            "the scanner, the session or the program; if it is so, nothing needs to be done",
            label,
        )


def _percent(shares: Sequence[float]) -> str:
    low, high = round(100 * min(shares)), round(100 * max(shares))
    return f"{low} %" if low == high else f"{low} to {high} %"


_UNITS: tuple[tuple[str, Callable[[Recording], float]], ...] = (
    ("volumes", lambda recording: recording.t_r),
    ("milliseconds", lambda _: 1e-3),
    ("tenths of milliseconds", lambda _: 1e-4),
    ("minutes", lambda _: 60.0),
)
"""Units that onsets are written in by mistake, with their seconds."""


def _guess_stop(outside: Sequence[RunTimes], own: Sequence[RunTimes]) -> str | None:
    """Return that runs were stopped early, where all others of their task are longer and fit."""
    lengths = []
    for item in outside:
        others = [
            other.recording.seconds for other in own if other.recording is not None
            and not other.is_outside and other.run.task == item.run.task
        ]
        if item.recording is None or not others or item.recording.seconds >= min(others):
            return None
        lengths += others
    return (
        f"other runs of the task have {min(lengths):g} s or more: if the scanner was stopped "
        "early, remove the rows of what was not recorded from the events file"
    )


def _guess(times: Sequence[RunTimes]) -> str | None:
    """Return the mistake that would explain the onsets of all runs; None without a known one."""
    known = [(item, item.recording) for item in times if item.recording is not None]
    if not known:
        return None
    return _guess_unit(known) or _guess_start(known) or _guess_t_r(known)


def _guess_unit(known: Sequence[tuple[RunTimes, Recording]]) -> str | None:
    for unit, seconds_of in _UNITS:
        factors = sorted({seconds_of(recording) for _, recording in known})
        shares = [seconds_of(r) * item.last / r.seconds for item, r in known]
        if all(0 <= share <= 1 for share in shares) and np.median(shares) > EARLY_END:
            factor = f"{factors[0]:g}" if len(factors) == 1 else "the repetition time"
            return (
                f"the onsets would fit if they were in {unit}: if they are, multiply onset by "
                f"{factor} in the events files, and duration too where it is in {unit}"
            )
    return None


def _guess_start(known: Sequence[tuple[RunTimes, Recording]]) -> str | None:
    late = all(item.first > LATE_START * recording.seconds for item, recording in known)
    fits = all(item.last - item.first < recording.seconds for item, recording in known)
    if not (late and fits):
        return None
    return (
        "the onsets would fit if they counted from an earlier start, such as that of the session "
        "or of a clock: if they do, subtract the time of the first stored volume"
    )


def _guess_t_r(known: Sequence[tuple[RunTimes, Recording]]) -> str | None:
    needed = max(item.last / recording.n_volumes for item, recording in known)
    t_r = min(recording.t_r for _, recording in known)
    if not t_r < needed < 2 * t_r:
        return None
    return (
        f"check the repetition time ({t_r:g} s): one of {needed:.3g} s or more would hold all "
        "events; and that the events belong to these runs"
    )
