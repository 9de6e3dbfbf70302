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
from bids_decoder.bids.notes import Notes
from bids_decoder.bids.rules import Rule
from bids_decoder.bids.run_rows import RunRows
from bids_decoder.bids.timing import exclude, exclude_unrecorded, judge_timing
from bids_decoder.config import TrialRules
from bids_decoder.errors import name_some
from bids_decoder.trials import TRIAL_COLUMNS

SPLIT_SOURCE = "split_source"
"""Extra column that carries ``--split-column`` to the splitter."""

TrialUnit = Literal["event", "block"]


def choose_unit(
    runs: list[RunRows], columns: Columns, dataset: Dataset, rules: TrialRules, notes: Notes
) -> tuple[TrialUnit, BlockDesign | None]:
    """Decide whether a trial is one event or one block.

    Parameters
    ----------
    runs : list of RunRows
    columns : Columns
    dataset : Dataset
    rules : TrialRules
    notes : Notes

    Returns
    -------
    unit : {"event", "block"}
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
    dataset: Dataset, filters: Sequence[Rule], notes: Notes,
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
    notes : Notes

    Returns
    -------
    dict of str to DataFrame
        By participant; see :class:`bids_decoder.bids.events.TrialBuild`.
    """
    by_person: dict[str, list[pd.DataFrame]] = defaultdict(list)
    times = []
    empty: dict[str, list[str]] = defaultdict(list)
    together: Counter[str] = Counter()
    for item in runs:
        if dataset.source == "betas":
            table = _trials_of_betas(item, columns, filters)
        else:
            trials = _merge_blocks(item, columns, unit, design)
            table = _trial_table(item.run, trials)
            if len(table):
                times.append(exclude_unrecorded(table, item.run, item.recording))
            together[item.run.subject] += _count_equal(table["onset"].to_numpy())
        if table.empty:
            empty[item.run.subject].append(item.run.run_group)
        by_person[item.run.subject].append(table)
    _warn_of_runs(empty, +together, notes)
    judge_timing(times, notes)
    return {label: _whole_table(parts) for label, parts in by_person.items()}


def _count_equal(values: np.ndarray) -> int:
    """Count the values that occur more than once."""
    counts = np.unique(values, return_counts=True)[1]
    return int(counts[counts > 1].sum())


def _warn_of_runs(empty: dict[str, list[str]], together: Counter[str], notes: Notes) -> None:
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


def _whole_table(parts: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True)
    table["repeat"] = count_repeats(table)
    extra = [SPLIT_SOURCE] if SPLIT_SOURCE in table else []
    return table[[*TRIAL_COLUMNS, *extra]]


def count_repeats(table: pd.DataFrame) -> np.ndarray:
    """Count for each trial how often its stimulus was shown before; 0 without a stimulus."""
    met: Counter[str] = Counter()
    repeats = np.zeros(len(table), dtype=int)
    for row, stimulus in enumerate(table["stimulus"].tolist()):
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
    if unit == "block":
        # A block shows many pictures of one kind: the kind is what was shown.
        stimuli = np.where(pd.isna(labels), stimuli, labels)
    trials = {
        "onset": rows["onset"].to_numpy(), "duration": rows["duration"].to_numpy(),
        "stimulus": stimuli, "label": labels, "n_events": np.ones(len(rows), dtype=int),
    }
    if columns.split is not None:
        trials[SPLIT_SOURCE] = rows[columns.split].to_numpy(dtype=object)
    if unit == "event" or design is None or rows.empty:
        return trials
    numbers = block_numbers(trials["onset"], labels.astype(str), design.limit)
    ends = pd.Series(trials["onset"] + trials["duration"]).groupby(numbers).max().to_numpy()
    first = {name: cells[np.unique(numbers, return_index=True)[1]]
             for name, cells in trials.items()}
    return {**first, "duration": ends - first["onset"], "n_events": np.bincount(numbers)}


def _trial_table(run: BoldRun, trials: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Build the trial table of one run."""
    n_rows = len(trials["onset"])
    same = {
        "session": run.session, "task": run.task, "run": run.run, "run_group": run.run_group,
        "split": "", "reason": None,
    }
    text = {
        **{name: cells for name, cells in trials.items() if cells.dtype == object},
        **{name: np.full(n_rows, value, dtype=object) for name, value in same.items()},
    }
    # By default pandas would choose another type for columns that hold only text.
    return pd.DataFrame(text, dtype=object).assign(
        **{name: cells for name, cells in trials.items() if cells.dtype != object},
        trial=np.arange(1, n_rows + 1), fold=pd.array([pd.NA] * n_rows, dtype="Int64"), repeat=0,
        excluded=np.zeros(n_rows, dtype=bool),
    )


def _trials_of_betas(
    item: RunRows, columns: Columns, filters: Sequence[Rule]
) -> pd.DataFrame:
    """Build a table with every row, since row *i* is volume *i*; exclude unwanted trials."""
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
    table = _trial_table(item.run, {str(name): trials[name].to_numpy() for name in trials})
    if "excluded" in rows:
        marked = rows["excluded"].astype(object).map(lambda cell: str(cell).lower() == "true")
        reasons = rows["reason"] if "reason" in rows else pd.Series(None, rows.index, dtype=object)
        table["excluded"] = marked.to_numpy(dtype=bool)
        table["reason"] = reasons.astype(object).where(marked, None)
    exclude(table, table["stimulus"].isna().to_numpy(), f"no value in {columns.stimulus}")
    for rule in filters:
        exclude(table, ~rule.mask(rows), str(rule))
    if item.reasons is not None:
        for reason in item.reasons.dropna().unique():
            exclude(table, (item.reasons == reason).to_numpy(), reason)
    return table
