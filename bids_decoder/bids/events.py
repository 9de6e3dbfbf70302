"""Events of all runs to trial tables: what was shown when, and what is decoded from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from bids_decoder.bids.blocks import BlockDesign, block_numbers, measure_design
from bids_decoder.bids.collect import BoldRun, Dataset
from bids_decoder.bids.images import read_header
from bids_decoder.bids.rows import (
    CONDITION_COLUMNS,
    RowFilter,
    drop_rows,
    parse_filters,
    read_events,
    read_trials,
)
from bids_decoder.bids.stimulus_files import StimulusFiles, find_stimulus_files
from bids_decoder.config import Settings, TrialRules
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, InputError
from bids_decoder.trials import TRIAL_COLUMNS, Decision

STIMULUS_COLUMNS = (
    "stim_id", "stim_file", "stimulus_name", "file_path", "ImgName", "trial_type",
)
"""Where stimulus identity is looked for, in this order."""

MIN_RECORDED = 4.0
"""Seconds of recording after an onset without which there is no response to speak of."""

GOOD_RECORDED = 8.0
"""Seconds after the last event that leave its response whole."""

MAX_EXCLUDED_SHARE = 0.2
"""Share of a run's trials outside of the recording above which the events cannot be right."""

IMAGE_COVERAGE = 0.95
"""Share of stimuli with an image file from which on images are decoded."""

SPLIT_SOURCE = "split_source"
"""Extra column that carries ``--split-column`` to the splitter."""

_GENERIC_CONDITIONS = frozenset({
    "exp", "test", "train", "training", "experimental", "trial", "stim", "stimulus", "image",
    "picture", "event", "target", "nontarget", "go", "nogo", "old", "new", "repeat", "task",
})
_PROTECTED = frozenset({
    "onset", "duration", "response_time", "response", "rt", "trial", "trial_no", "run", "sess",
    "session", "subj", "sample", "value",
})

TargetKind = Literal["category", "image", "features"]
TrialUnit = Literal["event", "block"]


@dataclass(frozen=True, eq=False)
class TrialBuild:
    """The trials of all participants.

    Parameters
    ----------
    tables : dict of str to DataFrame
        By participant label: the columns of :data:`bids_decoder.trials.TRIAL_COLUMNS` and, with
        ``--split-column``, ``split_source``. Rows are in order of run and time; ``split`` is
        empty and ``fold`` missing until the split is made.
    target_kind : {"category", "image", "features"}
    stimulus_column, label_column : str or None
        Columns of the events files; None where none was found.
    trial_unit : {"event", "block"}
    decisions : tuple of Decision
    findings : tuple of Finding
        Collected, not raised.
    stimulus_files : dict of str to Path
        Image file of each stimulus that has one.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    target_kind: TargetKind = "category"
    stimulus_column: str | None = None
    label_column: str | None = None
    trial_unit: TrialUnit = "event"
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()
    stimulus_files: dict[str, Path] = field(default_factory=dict)


@dataclass
class _RunRows:
    """Rows of one run on their way to trials."""

    run: BoldRun
    rows: pd.DataFrame
    seconds: float | None


@dataclass(frozen=True)
class _Columns:
    stimulus: str
    label: str
    split: str | None


@dataclass
class _Notes:
    decisions: list[Decision] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def decide(self, what: str, value: str, reason: str) -> None:
        self.decisions.append(Decision(what, value, reason))

    def warn(self, what: str, why: str, fix: str, participant: str | None = None) -> None:
        self.findings.append(
            Finding(what, why, fix, severity="warning", participant=participant)
        )


def build_dataset_trials(
    dataset: Dataset,
    settings: Settings,
    find_damaged: Callable[[Mapping[str, Path]], Mapping[str, str]] = lambda _: {},
) -> TrialBuild:
    """Make the trial tables of all participants.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
    find_damaged : callable, optional
        Where images are decoded it gets the file of each stimulus, and gives those that cannot
        be read with the reason; their trials are excluded.

    Returns
    -------
    TrialBuild
        Without tables when no stimulus column is found or an option is wrong; the reason is in
        ``findings``.
    """
    rules, notes = settings.trials, _Notes()
    try:
        filters = parse_filters(rules.trial_filter)
        runs = _read_runs(dataset, notes)
        _check_filter_columns(runs, filters)
        if dataset.source != "betas":
            _clean_rows(runs, filters, rules, notes)
        columns = _choose_columns(runs, rules, dataset.source == "betas", notes)
    except BidsDecoderError as error:
        return _without_tables(rules, [*notes.findings, error.finding])
    unit, design = _choose_unit(runs, columns, dataset, rules, notes)
    tables = _tables(runs, columns, unit, design, dataset, filters, notes)
    files = _images(tables, dataset, rules, notes)
    kind = _target_kind(tables, files, unit, rules, notes)
    if kind == "image":
        files = _without_damaged(files, find_damaged(files.found), notes)
        _exclude_without_image(tables, files, notes)
    if kind == "category":
        _exclude_without_label(tables, columns, notes)
        _question_label(runs, columns, tables, rules, notes)
    return TrialBuild(
        tables=tables, target_kind=kind, stimulus_column=columns.stimulus,
        label_column=columns.label, trial_unit=unit, decisions=tuple(notes.decisions),
        findings=tuple(notes.findings), stimulus_files=files.found,
    )


def with_trials_only(dataset: Dataset, build: TrialBuild) -> Dataset:
    """Leave out the runs without trials of people who have trials in other runs.

    Parameters
    ----------
    dataset : Dataset
    build : TrialBuild
        Of the same dataset; its findings name the runs.

    Returns
    -------
    Dataset
    """
    people = []
    for person in dataset.participants:
        table = build.tables.get(person.label, pd.DataFrame(columns=["run_group"]))
        runs = tuple(run for run in person.runs if run.run_group in set(table["run_group"]))
        people.append(replace(person, runs=runs or person.runs))
    return replace(dataset, participants=tuple(people))


def choose_stimulus_column(
    tables: Sequence[pd.DataFrame], wanted: str | None = None,
    order: Sequence[str] = STIMULUS_COLUMNS,
) -> str:
    """Choose the column that tells stimuli apart.

    Parameters
    ----------
    tables : sequence of DataFrame
        Events of all runs.
    wanted : str or None
        ``--stimulus-column``.
    order : sequence of str
        Where to look without *wanted*; the first column with any value is taken.

    Returns
    -------
    str

    Raises
    ------
    InputError
        When no such column exists, or some runs lack it, naming the columns found.
    """
    candidates = [wanted] if wanted is not None else list(order)
    chosen = next((c for c in candidates if any(_has_values(t, c) for t in tables)), None)
    found = sorted({str(name) for table in tables for name in table.columns})
    if chosen is None:
        raise InputError(
            "stimulus column", f"none of {', '.join(candidates)} has values; columns found: "
            f"{', '.join(found) or '(none)'}",
            "name the column that tells stimuli apart with --stimulus-column",
        )
    lacking = [table for table in tables if chosen not in table]
    if lacking:
        raise InputError(
            f"stimulus column {chosen}",
            f"{len(lacking)} of {len(tables)} runs lack it; such a run has "
            f"{', '.join(map(str, lacking[0].columns))}",
            "choose runs that share a column with --session-id or -t, or use --stimulus-column",
        )
    return chosen


def _has_values(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _without_tables(rules: TrialRules, findings: list[Finding]) -> TrialBuild:
    kind = "category" if rules.target == "auto" else rules.target
    return TrialBuild(target_kind=kind, findings=tuple(findings))


def _read_runs(dataset: Dataset, notes: _Notes) -> list[_RunRows]:
    read = []
    for run in dataset.runs:
        try:
            if run.trials_file is not None:
                read.append(_RunRows(run, read_trials(run.trials_file), None))
            elif run.events_file is not None:
                read.append(_RunRows(run, read_events(run.events_file), run_seconds(run)))
        except BidsDecoderError as error:
            notes.findings.append(_of_person(error.finding, run.subject))
    if not read:
        raise InputError(
            "trials", "no events file or trial table could be read",
            "see the problems listed beside this one", ExitCode.MISSING_INPUT,
        )
    return read


def _of_person(finding: Finding, label: str) -> Finding:
    return Finding(
        finding.what, finding.why, finding.fix, finding.code, finding.severity, label
    )


def run_seconds(run: BoldRun) -> float | None:
    """Give the length of a run in seconds.

    None without image, repetition time or more than one volume, all of which the preflight check
    reports.
    """
    try:
        header = read_header(run.image_file)
    except BidsDecoderError:
        return None
    t_r = run.t_r(header)
    return None if t_r is None or header.n_volumes < 2 else header.n_volumes * t_r


def _check_filter_columns(runs: list[_RunRows], filters: Sequence[RowFilter]) -> None:
    found = sorted({str(name) for item in runs for name in item.rows.columns})
    for rule in filters:
        if rule.column not in found:
            raise InputError(
                f"--trial-filter {rule}", f"no run has this column; columns: {', '.join(found)}",
                "correct the name of the column", ExitCode.USAGE,
            )


def _clean_rows(
    runs: list[_RunRows], filters: Sequence[RowFilter], rules: TrialRules, notes: _Notes
) -> None:
    """Drop rows that are no trials, sort by onset; say how many of which kind."""
    columns = [*CONDITION_COLUMNS, rules.label_column, rules.stimulus_column]
    columns = list(dict.fromkeys(name for name in columns if name))
    dropped: Counter[str] = Counter()
    unsorted = without_onset = without_duration = doubled = 0
    for item in runs:
        item.rows, counts = drop_rows(item.rows, filters, columns)
        dropped += counts
        again = item.rows["onset"].notna() & item.rows.duplicated()
        doubled += int(again.sum())
        item.rows = item.rows[~again].reset_index(drop=True)
        timed = item.rows[item.rows["onset"].notna()]
        without_onset += len(item.rows) - len(timed)
        unsorted += not timed["onset"].is_monotonic_increasing
        without_duration += int((timed["duration"].isna() | (timed["duration"] < 0)).sum())
        item.rows = timed.sort_values("onset", kind="stable").reset_index(drop=True)
        item.rows["duration"] = item.rows["duration"].fillna(0.0).clip(lower=0.0)
    if dropped and not sum(len(item.rows) for item in runs):
        raise InputError(
            "trials", "no row of any events file is left; left out: "
            + ", ".join(f"{reason} ({count})" for reason, count in sorted(dropped.items())),
            "ask for rows by name, for instance --trial-filter trial_type=cue",
        )
    for reason, count in sorted(dropped.items()):
        notes.decide("rows left out", str(count), reason)
    if unsorted:
        notes.decide("order of events", "sorted by onset", f"{unsorted} run(s) were not in order")
    if doubled:
        notes.warn(
            "events written twice", f"{doubled} row(s) repeat another row of their file",
            "they are left out, since one event is no repeat; correct the events files",
        )
    if without_onset:
        notes.warn(
            "events without onset", f"{without_onset} row(s) have n/a or no number as onset",
            "they are left out; correct the events files if these are trials",
        )
    if without_duration:
        notes.warn(
            "events without duration",
            f"{without_duration} row(s) have n/a or a negative number as duration",
            "they are taken as impulses of 0 s; correct the events files if that is wrong",
        )


def _choose_columns(
    runs: list[_RunRows], rules: TrialRules, from_betas: bool, notes: _Notes
) -> _Columns:
    order = ("stimulus", *STIMULUS_COLUMNS) if from_betas else STIMULUS_COLUMNS
    stimulus = choose_stimulus_column([item.rows for item in runs], rules.stimulus_column, order)
    if not from_betas:
        _drop_without_stimulus(runs, stimulus, notes)
    label, reason = _label_column(runs, stimulus, rules, from_betas)
    values = pd.concat([item.rows[stimulus] for item in runs]).dropna()
    how = "--stimulus-column" if rules.stimulus_column else f"first present of {', '.join(order)}"
    notes.decide(
        "stimulus column", stimulus,
        f"{how}; {values.nunique()} distinct values in {len(values)} rows",
    )
    notes.decide("label column", label, reason)
    if rules.split_column is not None:
        _require_column(runs, rules.split_column, "--split-column")
    return _Columns(stimulus, label, rules.split_column)


def _drop_without_stimulus(runs: list[_RunRows], stimulus: str, notes: _Notes) -> None:
    count = 0
    for item in runs:
        shown = item.rows[stimulus].notna()
        count += int((~shown).sum())
        item.rows = item.rows[shown].reset_index(drop=True)
    if count:
        notes.decide("rows left out", str(count), f"no value in {stimulus}")


def _label_column(
    runs: list[_RunRows], stimulus: str, rules: TrialRules, from_betas: bool
) -> tuple[str, str]:
    if rules.label_column is not None:
        _require_column(runs, rules.label_column, "--label-column")
        return rules.label_column, "--label-column"
    for name in ("label", "trial_type") if from_betas else ("trial_type",):
        levels = _levels(runs, name)
        if len(levels) >= 2:
            return name, f"{len(levels)} levels: {_some(levels)}"
    return stimulus, "no trial_type with two or more levels: each stimulus is its own label"


def _require_column(runs: list[_RunRows], column: str, option: str) -> None:
    lacking = [item for item in runs if column not in item.rows]
    if lacking:
        raise InputError(
            f"{option} {column}", f"{len(lacking)} of {len(runs)} runs lack this column; "
            f"columns: {', '.join(map(str, lacking[0].rows.columns))}",
            "correct the name of the column", ExitCode.USAGE,
        )


def _levels(runs: list[_RunRows], column: str) -> list[str]:
    return sorted({
        value for item in runs if column in item.rows for value in item.rows[column].dropna()
    })


def _some(values: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(map(str, values[:most]))
    return f"{shown}, …" if len(values) > most else shown


def _choose_unit(
    runs: list[_RunRows], columns: _Columns, dataset: Dataset, rules: TrialRules, notes: _Notes
) -> tuple[TrialUnit, BlockDesign | None]:
    if dataset.source == "betas":
        notes.decide("trial unit", "event", "each volume of a beta series is one trial")
        return "event", None
    design = measure_design([
        (item.rows["onset"].to_numpy(), item.rows[columns.label].to_numpy(dtype=str))
        for item in runs
    ])
    unit: TrialUnit = "block" if design.is_block_design else "event"
    reason = f"{design}"
    if rules.trial_unit != "auto":
        unit, reason = rules.trial_unit, f"--trial-unit; {design}"
    notes.decide("trial unit", unit, reason)
    return unit, design


def _tables(
    runs: list[_RunRows], columns: _Columns, unit: TrialUnit, design: BlockDesign | None,
    dataset: Dataset, filters: Sequence[RowFilter], notes: _Notes,
) -> dict[str, pd.DataFrame]:
    by_person: dict[str, list[pd.DataFrame]] = defaultdict(list)
    late: dict[str, list[str]] = defaultdict(list)
    empty: dict[str, list[str]] = defaultdict(list)
    together: Counter[str] = Counter()
    for item in runs:
        if dataset.source == "betas":
            table = _trials_of_betas(item, columns, filters)
        else:
            trials = _merge_blocks(item, columns, unit, design)
            table = _trial_table(item.run, trials)
            _exclude_outside(table, item, notes, late)
            together[item.run.subject] += int(table["onset"].duplicated(keep=False).sum())
        if table.empty:
            empty[item.run.subject].append(item.run.run_group)
        by_person[item.run.subject].append(table)
    _warn_of_runs(empty, +together, notes)
    for label, groups in sorted(late.items()):
        notes.warn(
            f"sub-{label}: short recording after the last event",
            f"less than {GOOD_RECORDED:g} s in {len(groups)} run(s): {_some(groups, 4)}",
            "the last responses are partly cut off; nothing needs to be done", label,
        )
    return {label: _whole_table(parts) for label, parts in by_person.items()}


def _warn_of_runs(empty: dict[str, list[str]], together: Counter[str], notes: _Notes) -> None:
    for label, groups in sorted(empty.items()):
        notes.warn(
            f"sub-{label}: {len(groups)} run(s) without trials",
            f"no row of their events is a trial: {_some(groups, 4)}",
            "they are left out; correct the events files or --trial-filter if that is wrong", label,
        )
    for label, count in sorted(together.items()):
        notes.warn(
            f"sub-{label}: trials at the same time",
            f"{count} trials start together with another one of their run; their responses "
            "cannot be told apart",
            "choose the rows that are trials with --trial-filter", label,
        )


def _whole_table(parts: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True)
    known = table["stimulus"].notna()
    table["repeat"] = table.groupby("stimulus", sort=False, dropna=True).cumcount()
    table["repeat"] = table["repeat"].where(known, 0).astype(int)
    extra = [SPLIT_SOURCE] if SPLIT_SOURCE in table else []
    return table[[*TRIAL_COLUMNS, *extra]]


def _merge_blocks(
    item: _RunRows, columns: _Columns, unit: TrialUnit, design: BlockDesign | None
) -> pd.DataFrame:
    """Give one row per trial: onset, duration, stimulus, label, n_events, split source."""
    rows = item.rows
    labels = rows[columns.label].astype(object)
    trials = pd.DataFrame({
        "onset": rows["onset"], "duration": rows["duration"],
        "stimulus": rows[columns.stimulus].astype(object), "label": labels, "n_events": 1,
    })
    if unit == "block":
        # A block shows many pictures of one kind: the kind is what was shown.
        trials["stimulus"] = labels.where(labels.notna(), trials["stimulus"])
    if columns.split is not None:
        trials[SPLIT_SOURCE] = rows[columns.split].astype(object)
    if unit == "event" or design is None or rows.empty:
        return trials
    numbers = block_numbers(
        rows["onset"].to_numpy(), labels.to_numpy(dtype=str), design.limit
    )
    ends = (rows["onset"] + rows["duration"]).groupby(numbers).max().to_numpy()
    first = trials.groupby(numbers).head(1).reset_index(drop=True)
    first["duration"] = ends - first["onset"].to_numpy()
    first["n_events"] = np.bincount(numbers)
    return first


def _trial_table(run: BoldRun, trials: pd.DataFrame) -> pd.DataFrame:
    """Put trials of one run into the columns of a trial table."""
    table = trials.reset_index(drop=True)
    n_rows = len(table)
    table["trial"] = np.arange(1, n_rows + 1)
    for name, value in (
        ("session", run.session), ("task", run.task), ("run", run.run),
        ("run_group", run.run_group), ("split", ""), ("reason", None),
    ):
        table[name] = pd.Series([value] * n_rows, dtype=object)
    table["fold"] = pd.array([pd.NA] * n_rows, dtype="Int64")
    table["repeat"] = 0
    table["excluded"] = np.zeros(n_rows, dtype=bool)
    return table


def _exclude_outside(
    table: pd.DataFrame, item: _RunRows, notes: _Notes, late: dict[str, list[str]]
) -> None:
    """Exclude trials whose response was not recorded, and judge how many there are."""
    run, onsets = item.run, table["onset"].to_numpy()
    _exclude(table, onsets < 0, "starts before the first stored volume")
    if item.seconds is not None:
        left = item.seconds - onsets
        _exclude(table, left <= 0, f"starts after the end of the run ({item.seconds:g} s)")
        _exclude(
            table, (left > 0) & (left < MIN_RECORDED),
            f"starts less than {MIN_RECORDED:g} s before the end of the run ({item.seconds:g} s)",
        )
        kept = (table["onset"] + table["duration"])[~table["excluded"]]
        if len(kept) and item.seconds - kept.max() < GOOD_RECORDED:
            late[run.subject].append(run.run_group)
    share = float(table["excluded"].mean()) if len(table) else 0.0
    what = f"sub-{run.subject} {run.run_group}"
    if share > MAX_EXCLUDED_SHARE:
        seconds = "unknown" if item.seconds is None else f"{item.seconds:g} s"
        notes.findings.append(Finding(
            f"{what}: events outside of the recording",
            f"{int(table['excluded'].sum())} of {len(table)} trials; onsets {onsets.min():g} to "
            f"{onsets.max():g}, length of the run {seconds}",
            "check that onsets are in seconds from the first stored volume and that the events "
            "belong to this run; or leave the run out with --bids-filter-file",
            participant=run.subject,
        ))
    elif share > 0:
        notes.warn(
            f"{what}: {int(table['excluded'].sum())} trial(s) excluded",
            _some(sorted(set(table["reason"].dropna()))), "nothing needs to be done", run.subject,
        )


def _exclude(table: pd.DataFrame, rows: np.ndarray, reason: str) -> None:
    rows = rows & ~table["excluded"].to_numpy()
    table.loc[rows, "excluded"] = True
    table.loc[rows, "reason"] = reason


def _trials_of_betas(
    item: _RunRows, columns: _Columns, filters: Sequence[RowFilter]
) -> pd.DataFrame:
    """Keep every row, since row *i* is volume *i*; what is not wanted is excluded."""
    rows = item.rows
    trials = pd.DataFrame({
        "onset": rows["onset"], "duration": rows["duration"],
        "stimulus": rows[columns.stimulus].astype(object),
        "label": rows[columns.label].astype(object),
    })
    given = rows["n_events"] if "n_events" in rows else pd.Series(1, rows.index)
    trials["n_events"] = pd.to_numeric(given, errors="coerce").fillna(1).astype(int)
    if columns.split is not None:
        trials[SPLIT_SOURCE] = rows[columns.split].astype(object)
    table = _trial_table(item.run, trials)
    if "excluded" in rows:
        marked = rows["excluded"].astype(object).map(lambda cell: str(cell).lower() == "true")
        reasons = rows["reason"] if "reason" in rows else pd.Series(None, rows.index, dtype=object)
        table["excluded"] = marked.to_numpy(dtype=bool)
        table["reason"] = reasons.astype(object).where(marked, None)
    _exclude(table, table["stimulus"].isna().to_numpy(), f"no value in {columns.stimulus}")
    for rule in filters:
        if rule.column in rows:
            _exclude(table, ~rule.mask(rows), f"--trial-filter {rule}")
    return table


def _images(
    tables: dict[str, pd.DataFrame], dataset: Dataset, rules: TrialRules, notes: _Notes
) -> StimulusFiles:
    ids = {name for table in tables.values() for name in table["stimulus"].dropna()}
    files = find_stimulus_files(dataset.stimuli_dir, ids)
    if files.refused:
        severity = "error" if rules.target == "image" else "warning"
        notes.findings.append(Finding(
            f"{len(files.refused)} stimulus path(s), for instance {files.refused[0]}",
            "absolute or outside of the stimulus folder; such files are not opened",
            "name stimuli relative to stimuli/ or --stimuli-dir", severity=severity,
        ))
    for note in files.stacks:
        notes.decide("stimulus stack", note, "found in the stimulus folder")
    return files


def _without_damaged(
    files: StimulusFiles, damaged: Mapping[str, str], notes: _Notes
) -> StimulusFiles:
    if not damaged:
        return files
    first = next(iter(damaged))
    notes.warn(
        f"{len(damaged)} stimulus image(s) cannot be read", f"for instance {first}: "
        f"{damaged[first]}", "replace the files; until then their trials are left out",
    )
    found = {name: path for name, path in files.found.items() if name not in damaged}
    return replace(files, found=found, absent=tuple(sorted({*files.absent, *damaged})))


def _target_kind(
    tables: dict[str, pd.DataFrame], files: StimulusFiles, unit: TrialUnit, rules: TrialRules,
    notes: _Notes,
) -> TargetKind:
    n_ids = len(files.found) + len(files.absent) + len(files.refused)
    coverage = len(files.found) / n_ids if n_ids else 0.0
    there = f"{len(files.found)} of {n_ids} stimuli have an image file"
    kind: TargetKind
    if rules.target != "auto":
        kind, reason = rules.target, "--target"
    elif rules.features is not None:
        kind, reason = "features", f"--features {rules.features}"
    elif unit == "event" and coverage >= IMAGE_COVERAGE:
        kind, reason = "image", there
    else:
        kind, reason = "category", f"trial unit is {unit}; {there}"
    notes.decide("target", kind, reason)
    _check_target(kind, files, coverage, rules, notes)
    return kind


def _check_target(
    kind: TargetKind, files: StimulusFiles, coverage: float, rules: TrialRules, notes: _Notes
) -> None:
    if kind == "features" and rules.features is None:
        notes.findings.append(Finding(
            "--target features", "no feature table is given", "give one with --features",
            ExitCode.USAGE,
        ))
    if kind == "image" and coverage < IMAGE_COVERAGE:
        notes.findings.append(Finding(
            f"{len(files.absent)} stimulus image(s) absent",
            f"for instance {_some(files.absent, 3)}; found {len(files.found)}",
            "put them into stimuli/ (datalad get stimuli), name their folder with --stimuli-dir, "
            "or give --features", ExitCode.MISSING_INPUT,
        ))


def _exclude_without_image(
    tables: dict[str, pd.DataFrame], files: StimulusFiles, notes: _Notes
) -> None:
    count = 0
    for table in tables.values():
        lacking = (~table["stimulus"].isin(files.found)).to_numpy() & ~table["excluded"].to_numpy()
        _exclude(table, lacking, "the stimulus has no readable image file")
        count += int(lacking.sum())
    if count:
        notes.warn(
            f"{count} trial(s) excluded", f"no readable image file for {_some(files.absent, 4)}",
            "add the images to the stimulus folder",
        )


def _exclude_without_label(
    tables: dict[str, pd.DataFrame], columns: _Columns, notes: _Notes
) -> None:
    count = 0
    for table in tables.values():
        lacking = table["label"].isna().to_numpy() & ~table["excluded"].to_numpy()
        _exclude(table, lacking, f"no value in {columns.label}")
        count += int(lacking.sum())
    if count:
        notes.warn(
            f"{count} trial(s) excluded", f"no value in the label column {columns.label}",
            "choose another column with --label-column if these trials are wanted",
        )


def _question_label(
    runs: list[_RunRows], columns: _Columns, tables: dict[str, pd.DataFrame], rules: TrialRules,
    notes: _Notes,
) -> None:
    """Warn when trial_type seems to name the part of an experiment, not what was shown."""
    if rules.label_column is not None or columns.label != "trial_type":
        return
    labels = _levels(runs, "trial_type")
    n_stimuli = len({name for table in tables.values() for name in table["stimulus"].dropna()})
    generic = [name for name in labels if name.lower() in _GENERIC_CONDITIONS]
    if not generic and (columns.stimulus == "trial_type" or n_stimuli < 20 * len(labels)):
        return
    n_rows = sum(len(item.rows) for item in runs)
    names = {str(name) for item in runs for name in item.rows.columns}
    candidates = [
        f"{name} ({count} levels)" for name in sorted(names - {"trial_type"})
        if name.lower() not in _PROTECTED and 2 <= (count := len(_levels(runs, name))) <= n_rows / 2
    ]
    notes.warn(
        f"labels are taken from trial_type ({_some(labels)})",
        f"{len(labels)} levels for {n_stimuli} stimuli: they may not name what was shown",
        f"choose with --label-column: {_some(candidates) or '(no other has repeated values)'}; "
        "or decode images with --stimuli-dir or --features",
    )
