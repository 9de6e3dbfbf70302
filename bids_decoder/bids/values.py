"""Numbers that are decoded: their columns in events files, their checks and their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.rows import finite_number
from bids_decoder.bids.run_rows import RunRows
from bids_decoder.bids.sidecars import Sidecars
from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.bids.timing import exclude
from bids_decoder.config import TrialRules
from bids_decoder.drift import neighbour_correlation
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.trials import VALUE

MAX_ALIKE = 0.3
"""Correlation of neighbouring trials above which slow noise is likely to predict values."""


def decodes_values(rules: TrialRules) -> bool:
    """Return whether the options ask for numbers: by ``--target``, or by naming columns only."""
    return rules.target == "value" or (
        rules.target == "auto" and bool(rules.value_column) and rules.features is None
    )


def value_columns(
    runs: Sequence[RunRows], rules: TrialRules, notes: DatasetNotes
) -> tuple[str, ...]:
    """Return the columns of the numbers that are decoded; note those that cannot be.

    Parameters
    ----------
    runs : sequence of RunRows
    rules : TrialRules
    notes : DatasetNotes

    Returns
    -------
    tuple of str
        In the order of ``--value-column``; empty where other things are decoded, and where any
        column is wrong.
    """
    names = tuple(dict.fromkeys(rules.value_column))
    if not decodes_values(rules):
        notes.findings += _unused(rules)
        return ()
    if not names:
        known = _names_of(runs)
        notes.findings.append(Finding(
            "--target value", "no column with numbers is named",
            f"name one with --value-column; columns: {', '.join(known)}", ExitCode.USAGE,
        ))
    found = [finding for name in names for finding in _check_column(name, runs)]
    notes.findings += found
    return () if found else names


def _unused(rules: TrialRules) -> list[Finding]:
    if not rules.value_column:
        return []
    other = f"--target {rules.target}" if rules.target != "auto" else "--features"
    return [Finding(
        f"--value-column {' '.join(rules.value_column)}", f"{other} asks for something else",
        "leave one of the two out", ExitCode.USAGE,
    )]


def _names_of(runs: Sequence[RunRows]) -> list[str]:
    return list(dict.fromkeys(str(name) for item in runs for name in item.rows.columns))


def _check_column(name: str, runs: Sequence[RunRows]) -> list[Finding]:
    """Find a column that runs lack, or whose cells are no numbers."""
    what = f"--value-column {name}"
    lacking = [item.run for item in runs if name not in item.rows]
    if len(lacking) == len(runs):
        known = _names_of(runs)
        return [Finding(
            what, f"no run has this column; columns: {', '.join(known)}",
            did_you_mean(name, known, "name a column of the events files"), ExitCode.USAGE,
        )]
    if lacking:
        which = name_some([f"sub-{run.subject} {run.run_group}" for run in lacking])
        return [Finding(
            what, f"{len(lacking)} of {len(runs)} runs lack this column: {which}",
            "add it (with n/a where there is no number), or choose runs that have it with -t, "
            "--session-id or --run-id",
        )]
    cells = [cell for item in runs for cell in item.rows[name].tolist() if not pd.isna(cell)]
    words = [str(cell) for cell in cells if np.isnan(finite_number(cell))]
    if words:
        return [Finding(
            what, f"{len(words)} of {len(cells)} cells are no numbers, for instance "
            f"{name_some(list(dict.fromkeys(words)))}",
            "write n/a where there is no number, leave such rows of events files out with "
            "--trial-filter, or decode labels: --target category --label-column", ExitCode.BAD_DATA,
        )]
    return []


def join_values(columns: Sequence[np.ndarray], block_of: np.ndarray) -> np.ndarray:
    """Write the numbers of each trial as one text.

    Parameters
    ----------
    columns : sequence of ndarray of object, shape (n_events,)
        Cells of each column.
    block_of : ndarray of int, shape (n_events,)
        Number of the trial of each event, from 0; events of one trial are averaged.

    Returns
    -------
    ndarray of object, shape (n_trials,)
        Numbers separated by spaces; None where one of them is missing.
    """
    numbers = pd.DataFrame([[finite_number(c) for c in cells] for cells in columns]).T
    means = numbers.groupby(np.asarray(block_of)).mean().to_numpy(dtype=float)
    texts = [
        " ".join(map(repr, row)) if np.isfinite(row).all() else None for row in means.tolist()
    ]
    return np.array(texts, dtype=object)


def read_values(texts: Sequence[str]) -> np.ndarray:
    """Read what :func:`join_values` wrote, float (n_trials, n_columns)."""
    return np.array([[float(number) for number in text.split(" ")] for text in texts], dtype=float)


def exclude_without_value(
    tables: Mapping[str, pd.DataFrame], names: Sequence[str], notes: DatasetNotes
) -> None:
    """Exclude trials without a number in any of the columns, and count them."""
    count = 0
    for table in tables.values():
        lacking = table[VALUE].isna().to_numpy() & ~table["excluded"].to_numpy()
        exclude(table, lacking, f"no value in {' or '.join(names)}")
        count += int(lacking.sum())
    if count:
        n_trials = sum(len(table) for table in tables.values())
        alone = ", or decode each column in a call of its own" if len(names) > 1 else ""
        notes.warn(
            f"{count} of {n_trials} trial(s) excluded", f"no number in {' or '.join(names)}",
            f"fill them in if these trials are wanted{alone}",
        )


def check_values(
    tables: Mapping[str, pd.DataFrame], names: Sequence[str], notes: DatasetNotes
) -> None:
    """Note numbers that do not vary, take two values only, or drift.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Trial tables by participant, without values for excluded trials only.
    names : sequence of str
        Columns of the numbers.
    notes : DatasetNotes
    """
    for label, table in tables.items():
        kept = table[~table["excluded"].to_numpy(dtype=bool)]
        if kept.empty:
            continue
        values = read_values(kept[VALUE].tolist())
        for name, column in zip(names, values.T, strict=True):
            found = _check_values(column, kept["run_group"].to_numpy(dtype=str))
            notes.findings += [
                Finding(f"sub-{label}: --value-column {name}", **one, participant=label)
                for one in found
            ]


def _check_values(values: np.ndarray, runs: np.ndarray) -> list[dict[str, Any]]:
    n_trials, (names, run_of) = len(values), np.unique(runs, return_inverse=True)
    if np.ptp(values) == 0:
        return [{"why": f"is {values[0]:g} in all {n_trials} trials",
                 "fix": "name a column that varies"}]
    constant = [run for k, run in enumerate(names) if np.ptp(values[run_of == k]) == 0]
    if len(constant) == len(names):
        return [{
            "why": f"is the same in all trials of a run, in each of {len(names)} runs; runs also "
            "differ in the signal of the scanner, so that nothing can be decoded from these "
            "differences", "fix": "name a column that varies within runs",
        }]
    found = []
    if constant:
        found.append({
            "why": f"does not vary in {len(constant)} of {len(names)} runs: {name_some(constant)}",
            "fix": "they teach nothing, and do not count in the correlation; leave them out with "
            "--run-id if that is wrong", "severity": "warning",
        })
    if len(np.unique(values)) == 2:
        low, high = np.unique(values)
        found.append({
            "why": f"has two values only, {low:g} and {high:g}",
            "fix": "decode them as labels: --target category --label-column", "severity": "warning",
        })
    alike = neighbour_correlation(values, run_of)
    if alike > MAX_ALIKE:
        found.append({
            "why": f"neighbouring trials have similar values (correlation {alike:.2f} within "
            "runs); they also share slow noise, so that values keep their order in the null "
            "distribution and are moved as a series",
            "fix": "compare the score with that of trial_order among the confounds, and see "
            "values.md", "severity": "warning",
        })
    return found


def units_of(runs: Sequence[BoldRun], names: Sequence[str]) -> dict[str, str]:
    """Return the units that the sidecars of the events files name.

    Parameters
    ----------
    runs : sequence of BoldRun
        The first one is asked: a column has one unit.
    names : sequence of str
        Columns.

    Returns
    -------
    dict of str to str
        Columns without unit are left out.
    """
    file = next((run.trials_file or run.events_file for run in runs), None)
    if file is None or not names:
        return {}
    root = next((p for p in file.parents if (p / "dataset_description.json").is_file()), None)
    if root is None:
        return {}
    places = [place for place in file.parents if place.is_relative_to(root)]
    content = Sidecars(root, _sidecars_in(places)).metadata_of(file)
    described = {name: content.get(name) for name in names}
    return {
        name: str(entry["Units"]) for name, entry in described.items()
        if isinstance(entry, dict) and entry.get("Units")
    }


def _sidecars_in(places: Sequence[Path]) -> list[Path]:
    return [path for place in places for path in place.glob("*.json") if "_" in path.name
            or path.stem == "events"]
