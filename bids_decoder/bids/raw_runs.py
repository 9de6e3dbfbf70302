"""Agreement of derivatives with the raw runs they were made from: volumes, duration, start."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from bids_decoder.bids.images import ImageHeader, read_header
from bids_decoder.bids.layouts import bare_label
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.rows import read_events, read_trials
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding
from bids_decoder.trials import Decision

if TYPE_CHECKING:
    from bids_decoder.bids.dataset import BoldRun

T_R_TOLERANCE = 1e-3
"""Seconds by which the repetition times of a derivative and its raw run may differ."""

_OPTION = "--discarded-volumes"
_STATED = "NumberOfVolumesDiscardedByUser"
_NAMES = ("ses", "task", "run", "acq", "ce", "rec", "dir")


class RawRuns:
    """The runs of the raw dataset, found by the entities of what was derived from them.

    Labels that are numbers may differ in leading zeros, and echoes may be combined: the first one
    stands for all.

    Parameters
    ----------
    runs : sequence of BoldRun
        Phase images among them do not count as runs.
    """

    def __init__(self, runs: Sequence[BoldRun]) -> None:
        self.runs = [run for run in runs if run.entities.get("part", "mag") == "mag"]
        self._subjects = {run.subject for run in runs}
        self._by_bare = {bare_label(label): label for label in sorted(self._subjects)}
        self._by_key: dict[tuple[tuple[str, str], ...], BoldRun] = {}
        for run in self.runs:
            self._by_key.setdefault(self.key_of(parse_entities(run.image_file)), run)

    def subject_of(self, label: str) -> str:
        """Return the label of a participant as the raw dataset writes it."""
        if label in self._subjects:
            return label
        return self._by_bare.get(bare_label(label), label)

    def key_of(self, entities: dict[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the entities that identify a run, before and after echoes are combined."""
        own = tuple((name, bare_label(entities[name])) for name in _NAMES if name in entities)
        return (("sub", self.subject_of(entities["sub"])), *own)

    def source_of(self, entities: dict[str, str]) -> BoldRun | None:
        """Return the raw run of a derived image; None without one."""
        return self._by_key.get(self.key_of(entities))


def with_raw_runs(runs: Sequence[BoldRun], raw: RawRuns) -> list[BoldRun]:
    """Add to each derivative the raw run it was made from, where the dataset has it.

    Parameters
    ----------
    runs : sequence of BoldRun
        Derivatives.
    raw : RawRuns

    Returns
    -------
    list of BoldRun
        Repetition times that sidecars of derivatives lack are those of the raw sidecars.
    """
    return [_with_raw(run, raw.source_of(parse_entities(run.image_file))) for run in runs]


def _with_raw(run: BoldRun, raw: BoldRun | None) -> BoldRun:
    metadata = dict(run.metadata)
    if "RepetitionTime" not in metadata and raw is not None and raw.sidecar_t_r:
        metadata["RepetitionTime"] = raw.sidecar_t_r
    return replace(run, metadata=metadata, raw=raw)


def cut_runs(
    runs: Sequence[BoldRun], discarded: int | None
) -> tuple[list[BoldRun], list[Decision], list[Finding]]:
    """Find out how many volumes each derivative lacks at its start.

    Onsets count from the first volume of the raw file, so they are shifted by the same time.
    ``NumberOfVolumesDiscardedByUser`` in a raw sidecar refers to volumes that were never in the
    raw file: onsets account for them already. In the sidecar of a derivative it counts them too,
    so that what exceeds the raw sidecar's number was cut between the two files. A ``StartTime``
    of one repetition time and more says the same in seconds.

    Parameters
    ----------
    runs : sequence of BoldRun
        Derivatives, with their raw runs.
    discarded : int or None
        ``--discarded-volumes``, which holds for all runs; None to go by the sidecars.

    Returns
    -------
    runs : list of BoldRun
        With ``cut_seconds``.
    decisions : list of Decision
    findings : list of Finding
        An error for each run whose length differs from that of its raw run by more or less than
        sidecars or the option explain.
    """
    found: list[BoldRun] = []
    findings: list[Finding] = []
    reasons: Counter[tuple[float, str]] = Counter()
    blind: list[BoldRun] = []
    for run in runs:
        try:
            cut = _cut(run, discarded)
        except BidsDecoderError as error:
            findings.append(replace(
                error.finding, participant=run.subject, place=str(run.image_file)
            ))
            cut = _Cut()
        if cut is None:
            blind.append(run)
            cut = _Cut()
        if cut.seconds:
            reasons[cut.seconds, cut.reason] += 1
        found.append(replace(run, cut_seconds=cut.seconds))
    decisions = [
        Decision("onsets", f"{seconds:g} s earlier in {count} run(s)", reason)
        for (seconds, reason), count in sorted(reasons.items())
    ]
    return found, decisions, [*findings, *_not_compared(blind)]


@dataclass(frozen=True)
class _Cut:
    """Seconds cut off at the start of one run, and the source of this information."""

    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class _Length:
    """Number of volumes, seconds between them, and their product, the duration."""

    n_volumes: int
    t_r: float

    @property
    def seconds(self) -> float:
        return self.n_volumes * self.t_r

    def __str__(self) -> str:
        return f"{self.n_volumes} volumes ({self.seconds:g} s)"


def _cut(run: BoldRun, discarded: int | None) -> _Cut | None:
    """Compare one derivative with its raw run; None where there is nothing to compare."""
    own = _length(run)
    if own is None:
        # Reported by the check of the image itself.
        return _Cut()
    raw = None if run.raw is None else _length(run.raw)
    stated, said_by = _stated_cut(run, own.t_r)
    if raw is None:
        return _cut_without_raw(run, own.t_r, discarded, stated, said_by)
    lacking = _lacking(raw, own)
    if lacking < 0:
        raise _problem(
            run, f"{own}, but the raw run has {raw}",
            "preprocess this run again, or leave it out with --bids-filter-file",
        )
    if discarded is not None:
        if discarded > lacking or (stated and stated != discarded):
            stating = f"; its sidecar says that {stated} are discarded" if stated else ""
            raise _problem(
                run, f"{_OPTION} {discarded}, but it lacks {lacking} of the {raw.n_volumes} "
                f"volumes of the raw run{stating}",
                "set it to the number of volumes cut off at the start",
                ExitCode.USAGE,
            )
        return _Cut(discarded * raw.t_r, f"{_OPTION} {discarded}")
    if lacking != stated:
        saying = f"{said_by}: {stated}" if stated else "no sidecar explains it"
        raise _problem(
            run, f"{own}, but the raw run has {raw}; {saying}",
            f"state with {_OPTION} N how many volumes were cut off at the start (0 if all were cut "
            f"off at the end), write {_STATED} into the sidecars of the derivatives, or "
            "preprocess these runs again",
        )
    return _Cut(stated * raw.t_r, f"{stated} volumes were cut off at the start ({said_by})")


def _cut_without_raw(
    run: BoldRun, t_r: float, discarded: int | None, stated: int, said_by: str
) -> _Cut | None:
    """Return the cut that the option states.

    A sidecar is not enough without the raw run, since it may be a copy of the raw one.
    """
    if discarded is not None:
        return _Cut(discarded * t_r, f"{_OPTION} {discarded}") if discarded else None
    if stated:
        raise _problem(
            run, f"its sidecar says that volumes are discarded ({said_by}: {stated}); the raw "
            "image to compare with is absent",
            f"state with {_OPTION} N how many volumes of the raw run were cut off at the start, "
            "0 for none",
        )
    return None


def _problem(
    run: BoldRun, why: str, fix: str, code: ExitCode = ExitCode.BAD_DATA
) -> BidsDecoderError:
    return BidsDecoderError(f"volumes of {run.image_file}", why, fix, code)


def _length(run: BoldRun) -> _Length | None:
    try:
        header: ImageHeader = read_header(run.image_file)
    except BidsDecoderError:
        return None
    t_r = run.t_r(header)
    return None if t_r is None else _Length(header.n_volumes, t_r)


def _lacking(raw: _Length, own: _Length) -> int:
    """Return how many volumes of the raw run a derivative lacks, negative for too many."""
    if abs(raw.t_r - own.t_r) <= T_R_TOLERANCE:
        return raw.n_volumes - own.n_volumes
    # Resampled in time: the last volume may begin anywhere within the last of the raw run.
    difference = raw.seconds - own.seconds
    return 0 if abs(difference) < max(raw.t_r, own.t_r) else round(difference / raw.t_r)


def _stated_cut(run: BoldRun, t_r: float) -> tuple[int, str]:
    """Return how many volumes the sidecars say were cut off, and the field that says so."""
    by_user = _count(run.metadata) - (0 if run.raw is None else _count(run.raw.metadata))
    by_start = whole_volumes(run.metadata.get("StartTime"), t_r)
    if by_user > 0 and by_start and by_start != by_user:
        raise _problem(
            run, f"its sidecar contradicts itself: {_STATED} means {by_user} volumes, StartTime "
            f"{by_start}", "correct the sidecar",
        )
    return (by_user, _STATED) if by_user > 0 else (by_start, "StartTime")


def _count(metadata: dict[str, Any]) -> int:
    value = metadata.get(_STATED)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def whole_volumes(start_time: Any, t_r: float) -> int:
    """Return how many whole volumes a ``StartTime`` is after the start of the run.

    Examples
    --------
    >>> whole_volumes(11.25, 2.5), whole_volumes(1.25, 2.5), whole_volumes(2.5, 2.5)
    (4, 0, 0)
    """
    usable = isinstance(start_time, int | float) and not isinstance(start_time, bool)
    if not usable or not start_time > t_r + T_R_TOLERANCE:
        return 0
    return math.floor(start_time / t_r + T_R_TOLERANCE)


def _not_compared(runs: Sequence[BoldRun]) -> list[Finding]:
    if not runs:
        return []
    shown = ", ".join(f"sub-{run.subject} {run.run_group}" for run in runs[:3])
    return [Finding(
        f"length of {len(runs)} preprocessed run(s)",
        f"there are no raw images to compare with: {shown}{', …' * (len(runs) > 3)}",
        f"if volumes were cut off at the start, state how many with {_OPTION}", severity="warning",
    )]


def check_events(run: BoldRun) -> Iterator[Finding]:
    """Compare the trials of a beta series with the events of its raw run, where there are any.

    A trial comes from one event or, where ``n_events`` in the table says so, from several. Events
    without a trial, such as rest and button presses, are allowed.

    Parameters
    ----------
    run : BoldRun

    Yields
    ------
    Finding
        When there are more trials than events.
    """
    if run.trials_file is None or run.events_file is None:
        return
    try:
        trials, events = read_trials(run.trials_file), read_events(run.events_file)
    except BidsDecoderError:
        # A table of trials that cannot be read is reported where trials are made of it; events
        # are not used.
        return
    used = len(trials)
    if "n_events" in trials:
        used = int(pd.to_numeric(trials["n_events"], errors="coerce").fillna(1).sum())
    n_events = int(events["onset"].notna().sum())
    if used > n_events:
        yield Finding(
            f"trials in {run.trials_file}",
            f"{len(trials)} rows made of {used} event(s), but {run.events_file} has {n_events}",
            "use the trial table and the events of the same run", participant=run.subject,
            place=str(run.trials_file),
        )
