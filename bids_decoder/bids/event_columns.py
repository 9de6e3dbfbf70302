"""Columns of events files that name the stimulus, the label and the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.run_rows import RunRows, column_levels
from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.bids.values import value_columns
from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding, InputError, name_some
from bids_decoder.trials import KEPT, MEAN_SIGNAL, MOTION, OWN_COLUMNS, TRIAL_COLUMNS, TRIAL_ORDER

STIMULUS_COLUMNS = (
    "stim_id", "stim_file", "stimulus_name", "file_path", "ImgName", "trial_type",
)
"""Columns in which the stimulus identity is looked for, in this order."""

REACTION_TIMES = (
    "response_time", "reaction_time", "rt", "RT", "ResponseTime", "ReactionTime", "resp_time",
)
"""Columns in which reaction times are looked for, in this order."""

UNLABELLED = "unlabelled"
"""Stimulus and label of a trial of new data that names none."""

_GENERIC_CONDITIONS = frozenset({
    "exp", "test", "train", "training", "experimental", "trial", "stim", "stimulus", "image",
    "picture", "event", "target", "nontarget", "go", "nogo", "old", "new", "repeat", "task",
})

_PROTECTED = frozenset({
    "onset", "duration", "response_time", "response", "rt", "trial", "trial_no", "run", "sess",
    "session", "subj", "sample", "value",
})


@dataclass(frozen=True)
class Columns:
    """Columns of the events files: stimulus, label, split (if any), confounds, and values."""

    stimulus: str
    label: str
    split: str | None
    confounds: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


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
            did_you_mean(
                wanted or "", found,
                "name the column that tells stimuli apart with --stimulus-column",
            ),
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


def choose_columns(
    runs: list[RunRows], rules: TrialRules, from_betas: bool, notes: DatasetNotes
) -> Columns:
    """Choose the columns, and leave out rows of events files without a stimulus.

    Parameters
    ----------
    runs : list of RunRows
    rules : TrialRules
    from_betas : bool
        True where the rows are those of beta series, all of which are kept.
    notes : DatasetNotes

    Returns
    -------
    Columns

    Raises
    ------
    InputError
        When a column that is asked for, or any that names stimuli, is absent.
    """
    order = ("stimulus", *STIMULUS_COLUMNS) if from_betas else STIMULUS_COLUMNS
    stimulus = choose_stimulus_column([item.rows for item in runs], rules.stimulus_column, order)
    how = "--stimulus-column" if rules.stimulus_column else f"first present of {', '.join(order)}"
    if rules.stimulus_column is None and rules.features and rules.features.is_dir():
        stimulus = _label_column(runs, stimulus, rules, from_betas)[0]
        how = "the label column, because --features is a text encoder"
    if not from_betas:
        _drop_without_stimulus(runs, stimulus, notes)
    label, reason = _label_column(runs, stimulus, rules, from_betas)
    values = pd.concat([item.rows[stimulus] for item in runs]).dropna()
    notes.decide(
        "stimulus column", stimulus,
        f"{how}; {values.nunique()} distinct values in {len(values)} rows",
    )
    notes.decide("label column", label, reason)
    if rules.split_column is not None:
        _require_column(runs, rules.split_column, "--split-column")
    values = value_columns(runs, rules, notes)
    confounds = _confound_columns(runs, rules.controls, notes)
    return Columns(
        stimulus, label, rules.split_column,
        tuple(name for name in confounds if name in rules.controls or name not in values), values,
    )


def _confound_columns(
    runs: list[RunRows], wanted: Sequence[str], notes: DatasetNotes
) -> tuple[str, ...]:
    """Return the confounds in events files: those asked for, and the reaction time if any."""
    known = list(dict.fromkeys(str(name) for item in runs for name in item.rows.columns))
    elsewhere = {*TRIAL_COLUMNS, TRIAL_ORDER, MOTION, MEAN_SIGNAL}
    found = []
    for name in dict.fromkeys(wanted):
        lacking = sum(name not in item.rows for item in runs)
        if not lacking:
            found.append(name)
        elif name not in elsewhere:
            notes.findings.append(Finding(
                f"--control {name}", f"{lacking} of {len(runs)} runs lack this column; columns: "
                f"{', '.join(known)}",
                did_you_mean(name, [*known, *elsewhere], "name one of these columns, or one of "
                             f"{TRIAL_ORDER}, {MOTION}, {MEAN_SIGNAL}"), ExitCode.USAGE,
            ))
    times = next((name for name in REACTION_TIMES if name in known), None)
    return tuple(dict.fromkeys([*found, *([times] if times else [])]))


def fill_unlabelled(runs: list[RunRows], rules: TrialRules, from_betas: bool) -> None:
    """Name rows without stimulus or label, so that they stay trials: for new data.

    Parameters
    ----------
    runs : list of RunRows
        Changed in place: cells of the columns that name stimulus and label get
        :data:`UNLABELLED` where they are missing. Where there are no such columns,
        ``trial_type`` is added.
    rules : TrialRules
    from_betas : bool
    """
    order = ("stimulus", *STIMULUS_COLUMNS) if from_betas else STIMULUS_COLUMNS
    given = [rules.stimulus_column] if rules.stimulus_column else order
    tables = [item.rows for item in runs]
    stimulus = next((c for c in given if any(_has_values(t, c) for t in tables)), "trial_type")
    labels = [rules.label_column] if rules.label_column else ["label", "trial_type"]
    used = [name for name in labels if any(_has_values(table, name) for table in tables)]
    for item in runs:
        for name in dict.fromkeys([stimulus, *used]):
            cells = item.rows.get(name, pd.Series(None, item.rows.index, dtype=object))
            item.rows = item.rows.assign(**{name: cells.astype(object).where(
                cells.notna(), UNLABELLED
            )})


def keep_columns(runs: list[RunRows], names: Sequence[str], notes: DatasetNotes) -> None:
    """Keep columns as they are now, before names are replaced, for rules of analyses.

    Parameters
    ----------
    runs : list of RunRows
        Their rows get a copy of each column, missing where a run lacks it.
    names : sequence of str
        Columns that no run has and that are not of the trial table (``OWN_COLUMNS``) are errors.
    notes : DatasetNotes
    """
    known = list(dict.fromkeys(str(name) for item in runs for name in item.rows.columns))
    for name in dict.fromkeys(names):
        if name in known:
            for item in runs:
                cells = item.rows.get(name, pd.Series(None, item.rows.index, dtype=object))
                item.rows = item.rows.assign(**{KEPT + name: cells.astype(object)})
        elif name not in OWN_COLUMNS:
            choice = list(dict.fromkeys([*known, *OWN_COLUMNS]))
            notes.findings.append(Finding(
                f"a rule names the column {name}", "no run has such a column; columns: "
                f"{', '.join(choice)}", did_you_mean(name, choice, "name one of these columns"),
                ExitCode.USAGE,
            ))


def _drop_without_stimulus(runs: list[RunRows], stimulus: str, notes: DatasetNotes) -> None:
    count = 0
    for item in runs:
        shown = item.rows[stimulus].notna().to_numpy()
        if not shown.all():
            count += int((~shown).sum())
            item.rows = item.rows[shown].reset_index(drop=True)
    if count:
        notes.decide("rows left out", str(count), f"no value in {stimulus}")


def _label_column(
    runs: list[RunRows], stimulus: str, rules: TrialRules, from_betas: bool
) -> tuple[str, str]:
    if rules.label_column is not None:
        _require_column(runs, rules.label_column, "--label-column")
        return rules.label_column, "--label-column"
    for name in ("label", "trial_type") if from_betas else ("trial_type",):
        levels = column_levels(runs, name)
        if len(levels) >= 2:
            return name, f"{len(levels)} levels: {name_some(levels, 8)}"
    return stimulus, "no trial_type with two or more levels: each stimulus is its own label"


def _require_column(runs: list[RunRows], column: str, option: str) -> None:
    lacking = [item for item in runs if column not in item.rows]
    if lacking:
        known = [str(name) for name in lacking[0].rows.columns]
        raise InputError(
            f"{option} {column}", f"{len(lacking)} of {len(runs)} runs lack this column; "
            f"columns: {', '.join(known)}",
            did_you_mean(column, known, "name one of these columns"), ExitCode.USAGE,
        )


def question_label(
    runs: list[RunRows], columns: Columns, tables: dict[str, pd.DataFrame], rules: TrialRules,
    notes: DatasetNotes,
) -> None:
    """Warn when trial_type seems to name the part of an experiment, not what was shown."""
    if rules.label_column is not None or columns.label != "trial_type":
        return
    labels = column_levels(runs, "trial_type")
    n_stimuli = len({name for table in tables.values() for name in table["stimulus"].dropna()})
    generic = [name for name in labels if name.lower() in _GENERIC_CONDITIONS]
    if not generic and (columns.stimulus == "trial_type" or n_stimuli < 20 * len(labels)):
        return
    n_rows = sum(len(item.rows) for item in runs)
    names = {str(name) for item in runs for name in item.rows.columns}
    names = {name for name in names if not name.startswith(KEPT)}
    counts = {name: len(column_levels(runs, name)) for name in sorted(names - {"trial_type"})}
    candidates = [
        f"{name} ({count} levels)" for name, count in counts.items()
        if name.lower() not in _PROTECTED and 2 <= count <= n_rows / 2
    ]
    notes.warn(
        f"labels are taken from trial_type ({name_some(labels, 8)})",
        f"{len(labels)} levels for {n_stimuli} stimuli: they may not name what was shown",
        "choose with --label-column: "
        f"{name_some(candidates, 8) or '(no other has repeated values)'}; or decode "
        "images with --stimuli-dir or --features",
    )
