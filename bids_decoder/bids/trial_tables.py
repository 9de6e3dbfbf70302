"""Trial tables from rows of events files: blocks, columns and repeats."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from bids_decoder.bids.blocks import BlockDesign, block_numbers, measure_design
from bids_decoder.bids.dataset import BoldRun, Dataset
from bids_decoder.bids.event_columns import Columns
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.rules import Rule
from bids_decoder.bids.run_rows import RunRows
from bids_decoder.bids.timing import exclude_rows, exclude_unrecorded, judge_timing
from bids_decoder.bids.values import join_values
from bids_decoder.bids.volume_rows import expand_to_volumes
from bids_decoder.config import TrialRules
from bids_decoder.errors import name_some
from bids_decoder.trials import FROM_EVENTS, KEPT, TRIAL_COLUMNS, VALUE

SPLIT_SOURCE = "split_source"
"""Extra column that carries ``--split-column`` to the splitter."""

TrialUnit = Literal["event", "block", "volume"]


def choose_unit(
    runs: list[RunRows], columns: Columns, dataset: Dataset, rules: TrialRules, notes: DatasetNotes
) -> tuple[TrialUnit, BlockDesign | None]:
    """Decide whether a trial is one event or one block.

    Parameters
    ----------
    runs : list of RunRows
    columns : Columns
    dataset : Dataset
    rules : TrialRules
    notes : DatasetNotes

    Returns
    -------
    unit : {"event", "block", "volume"}
    design : BlockDesign or None
        What the timing says; None for beta series.
    """
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


def make_tables(
    runs: list[RunRows], columns: Columns, unit: TrialUnit, design: BlockDesign | None,
    dataset: Dataset, filters: Sequence[Rule], notes: DatasetNotes,
) -> dict[str, pd.DataFrame]:
    """Make the trial tables of all participants.

    Parameters
    ----------
    runs : list of RunRows
    columns : Columns
    unit, design
        From :func:`choose_unit`.
    dataset : Dataset
    filters : sequence of Rule
        Applied here to rows of beta series only, which are excluded instead of left out.
    notes : DatasetNotes

    Returns
    -------
    dict of str to DataFrame
        By participant; see :class:`bids_decoder.bids.events.TrialBuild`.
    """
    by_person: dict[str, list[dict[str, np.ndarray]]] = defaultdict(list)
    times = []
    empty: dict[str, list[str]] = defaultdict(list)
    together: Counter[str] = Counter()
    for item in runs:
        if dataset.source == "betas":
            trials = _trials_of_betas(item, columns, filters)
        else:
            rows = _merge_blocks(item, columns, unit, design)
            if unit == "volume" and item.recording is not None:
                rows = expand_to_volumes(rows, item.recording)
            trials = _with_run(item.run, rows)
            if len(trials["onset"]):
                times.append(exclude_unrecorded(trials, item.run, item.recording))
            together[item.run.subject] += _count_equal(trials["onset"])
        if not len(trials["onset"]):
            empty[item.run.subject].append(item.run.run_group)
        by_person[item.run.subject].append(trials)
    _warn_of_runs(empty, +together, notes)
    judge_timing(times, notes)
    return _whole_tables(by_person)


def _count_equal(values: np.ndarray) -> int:
    """Count the values that occur more than once."""
    counts = np.unique(values, return_counts=True)[1]
    return int(counts[counts > 1].sum())


def _warn_of_runs(empty: dict[str, list[str]], together: Counter[str], notes: DatasetNotes) -> None:
    for label, groups in sorted(empty.items()):
        notes.warn(
            f"sub-{label}: runs without trials",
            f"no row of the events of {len(groups)} run(s) is a trial: {name_some(groups)}",
            "they are left out; correct the events files or --trial-filter if that is wrong", label,
        )
    for label, count in sorted(together.items()):
        notes.warn(
            f"sub-{label}: trials at the same time",
            f"{count} trials start together with another one of their run; their responses "
            "cannot be told apart",
            "choose the rows that are trials with --trial-filter", label,
        )


def _whole_tables(
    by_person: Mapping[str, list[dict[str, np.ndarray]]]
) -> dict[str, pd.DataFrame]:
    """Put the trials of all runs of each participant into one table."""
    for parts in by_person.values():
        repeats = count_repeats(np.concatenate([part["stimulus"] for part in parts]))
        lengths = [len(part["onset"]) for part in parts]
        for part, own in zip(parts, np.split(repeats, np.cumsum(lengths)[:-1]), strict=True):
            part["repeat"] = own
    # Pandas takes as long to make a table of one participant as one of thousands.
    everybody = _one_table([part for parts in by_person.values() for part in parts])
    tables, start = {}, 0
    for label, parts in by_person.items():
        n_trials = sum(len(part["onset"]) for part in parts)
        tables[label] = everybody.iloc[start:start + n_trials]
        tables[label].index = pd.RangeIndex(n_trials)
        start += n_trials
    return tables


def _one_table(parts: list[dict[str, np.ndarray]]) -> pd.DataFrame:
    """Join the columns of runs, in the order of :data:`bids_decoder.trials.TRIAL_COLUMNS`."""
    cells = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns = {
        # By default pandas would choose another type for columns that hold only text.
        name: pd.Series(values, dtype=object) if values.dtype == object else values
        for name, values in cells.items()
    }
    columns["fold"] = pd.array([pd.NA] * len(cells["onset"]), dtype="Int64")
    extra = [
        name for name in columns
        if name == SPLIT_SOURCE or name.startswith((FROM_EVENTS, KEPT))
    ]
    there = [*TRIAL_COLUMNS, *([VALUE] if VALUE in columns else [])]
    return pd.DataFrame({name: columns[name] for name in (*there, *extra)})


def count_repeats(stimuli: Sequence[str | None] | np.ndarray) -> np.ndarray:
    """Count for each trial how often its stimulus was shown before; 0 without a stimulus."""
    met: Counter[str] = Counter()
    repeats = np.zeros(len(stimuli), dtype=int)
    for row, stimulus in enumerate(stimuli):
        if isinstance(stimulus, str):
            repeats[row] = met[stimulus]
            met[stimulus] += 1
    return repeats


def _merge_blocks(
    item: RunRows, columns: Columns, unit: TrialUnit, design: BlockDesign | None
) -> dict[str, np.ndarray]:
    """Return columns of one row per trial: onset, duration, stimulus, label, number of events."""
    rows = item.rows
    stimuli, labels = (
        rows[name].to_numpy(dtype=object) for name in (columns.stimulus, columns.label)
    )
    is_block = unit == "block" or (
        unit == "volume" and design is not None and design.is_block_design
    )
    if is_block:
        # A block shows many pictures of one kind: the kind is what was shown.
        stimuli = np.where(pd.isna(labels), stimuli, labels)
    trials = {
        "onset": rows["onset"].to_numpy(), "duration": rows["duration"].to_numpy(),
        "stimulus": stimuli, "label": labels, "n_events": np.ones(len(rows), dtype=int),
    }
    if columns.split is not None:
        trials[SPLIT_SOURCE] = rows[columns.split].to_numpy(dtype=object)
    confounds = _further(rows, columns)
    if not is_block or design is None or rows.empty:
        return {**trials, **_values(rows, columns), **confounds}
    numbers = block_numbers(trials["onset"], labels.astype(str), design.limit)
    ends = pd.Series(trials["onset"] + trials["duration"]).groupby(numbers).max().to_numpy()
    first = {name: cells[np.unique(numbers, return_index=True)[1]]
             for name, cells in trials.items()}
    return {
        **first, "duration": ends - first["onset"], "n_events": np.bincount(numbers),
        **_values(rows, columns, numbers),
        **{name: _of_blocks(cells, numbers) for name, cells in confounds.items()},
    }


def _further(rows: pd.DataFrame, columns: Columns) -> dict[str, np.ndarray]:
    """Return the cells of confounds, missing where a run lacks the column, and of kept columns."""
    kept = {name: rows[name].to_numpy() for name in rows.columns if str(name).startswith(KEPT)}
    return kept | {
        FROM_EVENTS + name: rows[name].to_numpy(dtype=object) if name in rows
        else np.full(len(rows), None, dtype=object)
        for name in columns.confounds
    }


def _values(
    rows: pd.DataFrame, columns: Columns, block_of: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the column of numbers that are decoded, means over the events of a block; or none."""
    if not columns.values:
        return {}
    cells = [rows[name].to_numpy(dtype=object) for name in columns.values]
    return {VALUE: join_values(cells, np.arange(len(rows)) if block_of is None else block_of)}


def _of_blocks(cells: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the mean of each block over its events, or the first of words or of equal cells."""
    given = pd.Series(cells, dtype=object)
    values, blocks = pd.to_numeric(given, errors="coerce"), given.groupby(numbers)
    is_text = (values.isna() & given.notna()).any() or blocks.nunique().max() <= 1
    found = blocks.first() if is_text else values.groupby(numbers).mean()
    return found.to_numpy(dtype=object)


def _with_run(run: BoldRun, trials: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add the columns that are the same for all trials of a run; none is excluded yet."""
    n_rows = len(trials["onset"])
    same = {
        "session": run.session, "task": run.task, "run": run.run, "run_group": run.run_group,
        "split": "", "reason": None,
    }
    return {
        **trials, **{name: np.full(n_rows, value, dtype=object) for name, value in same.items()},
        "trial": np.arange(1, n_rows + 1), "excluded": np.zeros(n_rows, dtype=bool),
    }


def _trials_of_betas(
    item: RunRows, columns: Columns, filters: Sequence[Rule]
) -> dict[str, np.ndarray]:
    """Build a table with every row, since row *i* is volume *i*; exclude unwanted trials."""
    rows = item.rows
    given = rows["n_events"] if "n_events" in rows else pd.Series(1, rows.index)
    n_events = pd.to_numeric(given, errors="coerce").fillna(1).astype(int)
    text = {"stimulus": columns.stimulus, "label": columns.label}
    if columns.split is not None:
        text[SPLIT_SOURCE] = columns.split
    trials = _with_run(item.run, {
        "onset": rows["onset"].to_numpy(), "duration": rows["duration"].to_numpy(),
        **{name: rows[column].to_numpy(dtype=object) for name, column in text.items()},
        "n_events": n_events.to_numpy(), **_values(rows, columns), **_further(rows, columns),
    })
    if "excluded" in rows:
        marked = np.array([str(cell).lower() == "true" for cell in rows["excluded"]], dtype=bool)
        trials["excluded"][marked] = True
        if "reason" in rows:
            trials["reason"][marked] = rows["reason"].to_numpy(dtype=object)[marked]
    exclude_rows(trials, pd.isna(trials["stimulus"]), f"no value in {columns.stimulus}")
    for rule in filters:
        exclude_rows(trials, ~rule.mask(rows), str(rule))
    if item.reasons is not None:
        for reason in item.reasons.dropna().unique():
            exclude_rows(trials, (item.reasons == reason).to_numpy(), reason)
    return trials
