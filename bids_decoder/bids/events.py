"""Trial tables from the events of all runs: what was shown when, and what is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bids_decoder.bids.dataset import Dataset
from bids_decoder.bids.event_columns import (
    Columns,
    choose_columns,
    fill_unlabelled,
    keep_columns,
    question_label,
)
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.relabel import parse_relabels, relabel_rows, warn_of_spelling
from bids_decoder.bids.rules import Rule, check_rules, parse_rules
from bids_decoder.bids.run_rows import RunRows, clean_rows, read_runs
from bids_decoder.bids.target_kind import (
    TargetKind,
    choose_target,
    exclude_without_image,
    exclude_without_label,
    find_images,
    without_damaged,
)
from bids_decoder.bids.trial_tables import TrialUnit, choose_unit, count_repeats, make_tables
from bids_decoder.bids.values import (
    check_values,
    decodes_values,
    exclude_without_value,
    units_of,
)
from bids_decoder.config import Settings, TrialRules
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, UsageError, has_errors
from bids_decoder.trials import Decision


@dataclass(frozen=True, eq=False)
class TrialBuild:
    """The trials of all participants.

    Parameters
    ----------
    tables : dict of str to DataFrame
        By participant label: the columns of :data:`bids_decoder.trials.TRIAL_COLUMNS` and, with
        ``--split-column``, ``split_source``. Rows are in order of run and time; ``split`` is
        empty and ``fold`` missing until the split is made.
    target_kind : {"category", "image", "features", "value"}
    stimulus_column, label_column : str or None
        Columns of the events files; None where none was found.
    value_columns : tuple of str
        Columns of the numbers that are decoded, if any.
    units : dict of str to str
        Their units, as far as sidecars of the events files name them.
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
    value_columns: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    trial_unit: TrialUnit = "event"
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()
    stimulus_files: dict[str, Path] = field(default_factory=dict)


def build_dataset_trials(
    dataset: Dataset, settings: Settings,
    find_damaged: Callable[[Mapping[str, Path]], Mapping[str, str]] = lambda _: {},
) -> TrialBuild:
    """Make the trial tables of all participants.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
    find_damaged : callable, optional
        Where images are decoded it takes the file of each stimulus, and returns those that
        cannot be read with the reason; their trials are excluded.

    Returns
    -------
    TrialBuild
        Without tables when no stimulus column is found or an option is wrong; the reason is in
        ``findings``.
    """
    rules, notes = settings.trials, DatasetNotes()
    try:
        filters = parse_rules(rules.trial_filter, "--trial-filter")
        names = parse_relabels(rules.relabel)
        runs = read_runs(
            dataset, notes, settings.resources.nprocs, without_events=_takes_volumes(rules)
        )
        if not runs:
            return _without_tables(rules, _why_no_trials(dataset, notes))
        columns = _choose_rows(runs, filters, names, rules, notes)
    except BidsDecoderError as error:
        return _without_tables(rules, [*notes.findings, error.finding])
    if columns is None:
        return _without_tables(rules, notes.findings)
    unit, design = choose_unit(runs, columns, dataset, rules, notes)
    tables = make_tables(runs, columns, unit, design, dataset, filters, notes)
    warn_of_spelling(tables, columns, notes)
    files = find_images(tables, dataset, rules, notes)
    kind = choose_target(tables, files, unit, rules, notes)
    if kind == "image":
        files = without_damaged(files, find_damaged(files.found), notes)
        exclude_without_image(tables, files, notes)
    if kind == "category":
        exclude_without_label(tables, columns, notes)
        question_label(runs, columns, tables, rules, notes)
    if kind == "value":
        exclude_without_value(tables, columns.values, notes)
        check_values(tables, columns.values, notes)
    if has_errors(notes.findings) and all(table["excluded"].all() for table in tables.values()):
        # That nothing can be split, learnt and tested would follow from these only.
        return _without_tables(rules, notes.findings)
    return TrialBuild(
        tables=tables, target_kind=kind, stimulus_column=columns.stimulus,
        label_column=columns.label, value_columns=columns.values,
        units=units_of([item.run for item in runs], columns.values), trial_unit=unit,
        decisions=tuple(notes.decisions),
        findings=tuple(notes.findings), stimulus_files=files.found,
    )


def _takes_volumes(rules: TrialRules) -> bool:
    """Return whether every volume is a trial.

    Raises
    ------
    UsageError
        If no decoder that was fitted before is applied to them.
    """
    by_volume = rules.trial_unit == "volume"
    if by_volume and not rules.new_data:
        raise UsageError(
            "--trial-unit volume", "volumes are decoded by a decoder that was fitted before",
            "name it with --apply, or decode single volumes of events: --trial-unit event "
            "--betas volume",
        )
    return by_volume


def _choose_rows(
    runs: list[RunRows], filters: Sequence[Rule], names: Mapping[str, str | None],
    rules: TrialRules, notes: DatasetNotes,
) -> Columns | None:
    """Leave out rows, choose columns and relabel; None where an option is wrong."""
    given = [item.rows for item in runs]
    from_betas = runs[0].run.source == "betas"
    notes.findings += (found := check_rules(filters, given, "events of all runs"))
    if has_errors(found):
        return None
    if not from_betas:
        clean_rows(runs, filters, rules, [old for old, new in names.items() if new], notes)
    if rules.new_data:
        fill_unlabelled(runs, rules, from_betas)
    columns = choose_columns(runs, rules, from_betas, notes)
    keep_columns(runs, rules.kept_columns, notes)
    notes.findings += (found := relabel_rows(runs, columns, names, given, notes))
    lacks_values = decodes_values(rules) and not columns.values
    return None if found or lacks_values else columns


def rename_stimuli(
    build: TrialBuild, names: Mapping[str, str], decisions: Sequence[Decision]
) -> TrialBuild:
    """Rename stimuli; those that get the same name become one stimulus.

    Parameters
    ----------
    build : TrialBuild
    names : mapping of str to str
        Old name to new name, which is one of the old ones; other stimuli keep theirs.
    decisions : sequence of Decision
        Why; added to those of *build*.

    Returns
    -------
    TrialBuild
        Labels that are taken from the stimulus column are renamed as well.
    """
    if not names:
        return replace(build, decisions=(*build.decisions, *decisions))
    columns = ["stimulus"]
    if build.label_column == build.stimulus_column:
        columns.append("label")
    tables = {}
    for person, table in build.tables.items():
        renamed = table.copy()
        for column in columns:
            renamed[column] = table[column].map(lambda name: names.get(name, name))
        renamed["repeat"] = count_repeats(renamed["stimulus"].tolist())
        tables[person] = renamed
    files = {
        name: path for name, path in build.stimulus_files.items() if names.get(name, name) == name
    }
    return replace(build, tables=tables, stimulus_files=files,
                   decisions=(*build.decisions, *decisions))


def with_trials_only(dataset: Dataset, build: TrialBuild) -> Dataset:
    """Leave out the runs without trials of participants who have trials in other runs.

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
        table = build.tables.get(person.label)
        groups = set() if table is None else set(table["run_group"].tolist())
        runs = tuple(run for run in person.runs if run.run_group in groups)
        people.append(replace(person, runs=runs or person.runs))
    return replace(dataset, participants=tuple(people))


def _why_no_trials(dataset: Dataset, notes: DatasetNotes) -> list[Finding]:
    """Return the findings on runs and files; one is an error, here or in the dataset."""
    if has_errors((*dataset.findings, *notes.findings)):
        return notes.findings
    return [*notes.findings, Finding(
        f"dataset {dataset.root}", "none of its runs has an events file or a table of trials",
        "add *_events.tsv files: what was shown when decides what can be decoded",
        ExitCode.MISSING_INPUT,
    )]


def _without_tables(rules: TrialRules, findings: list[Finding]) -> TrialBuild:
    kind = "category" if rules.target == "auto" else rules.target
    return TrialBuild(target_kind=kind, findings=tuple(findings))
