"""Checks of split options, and of the trials that a split leaves."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pandas as pd

from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.evaluation.held_out import (
    SOURCE_ROLES,
    Assigned,
    Split,
    Tables,
    assign_roles,
    distinct,
)
from bids_decoder.processes import map_items

MIN_TEST_STIMULI = 10
"""Least number of shared and repeated stimuli that are a test set by design."""

MAX_LOST_TRIALS = 0.05
"""Largest share of training trials that may be lost when whole runs are held out."""

ONE_RUN = "there is one run, and cross-validation over runs needs two or more"
"""Said of a participant whose trials are of one run."""


def check_split_column(tables: Tables, rules: TrialRules) -> list[Finding]:
    """Find what is wrong with ``--split-column``.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Trial tables by participant label; ``split_source`` holds the values of the column.
    rules : TrialRules

    Returns
    -------
    list of Finding
        One error, or none.
    """
    option = f"--split-column {rules.split_column}"
    if rules.test_runs or rules.test_sessions:
        return [Finding(
            option, "used together with --test-runs or --test-sessions",
            "use only one way to hold out trials", ExitCode.USAGE,
        )]
    absent = [label for label, table in tables.items() if "split_source" not in table]
    if absent:
        return [Finding(
            option, f"no such column in the events of participant(s) {', '.join(absent)}",
            "name a column that all events files have", ExitCode.USAGE,
        )]
    values = set().union(*(distinct(table["split_source"]) for table in tables.values()))
    if {SOURCE_ROLES.get(value.lower()) for value in values} >= {"train", "test"}:
        return []
    found = name_some(sorted(values), 20) or "none"
    return [Finding(
        option, f"expected the values train and test, found {found}",
        "name a column with these values", ExitCode.USAGE,
    )]


def check_split(tables: Tables, split: Split, n_processes: int = 1) -> list[Finding]:
    """Find participants or datasets for which a split leaves too little.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Trial tables by participant label, without excluded trials.
    split : Split
    n_processes : int
        That look at many participants.

    Returns
    -------
    list of Finding
        Errors and warnings about training runs, test trials, labels and lost trials.
    """
    findings, is_tested = [], False
    check = partial(_check_participant, split=split)
    for found, has_test in map_items(check, tables.items(), n_processes):
        findings += found
        is_tested |= has_test
    if not is_tested:
        findings.append(Finding(
            "split", f"no participant has test trials ({split.reason})",
            "use --test-runs, --test-sessions or --split-column, or another --target",
        ))
    if split.kind == "stimuli" and 0 < len(split.test_stimuli) < MIN_TEST_STIMULI:
        findings.append(Finding(
            "split", f"only {len(split.test_stimuli)} test stimuli",
            "hold out whole runs with --test-runs, or raise test_share in a --config-file",
            severity="warning",
        ))
    return findings


def _check_participant(
    labelled: tuple[str, pd.DataFrame], split: Split
) -> tuple[list[Finding], bool]:
    """Return the findings on a participant, and whether any trial is tested."""
    label, table = labelled
    found = assign_roles(table, label, split)
    return _participant_findings(label, table, found, split), _has_test(found)


def _has_test(found: Assigned) -> bool:
    return not {"test", "cv"}.isdisjoint(found.role.tolist())


def _participant_findings(
    label: str, table: pd.DataFrame, found: Assigned, split: Split
) -> list[Finding]:
    who = f"participant {label}"
    findings = []
    if not _has_test(found):
        findings.append(Finding(
            who, "has no test trials under this split and can only serve as a source",
            "check the split options", severity="warning", participant=label, place=who,
        ))
    n_runs = _training_runs(table["run_group"].to_numpy(), found, split)
    if split.kind == "runs" and table["run_group"].nunique() < 2:
        findings.append(Finding(
            who, ONE_RUN,
            "add runs, define the split with --split-column, or only prepare (--stage prepare)",
            participant=label, place=who,
        ))
    elif n_runs < 2:
        findings.append(Finding(
            who, f"{n_runs} training run(s) under split {split.kind!r} ({split.reason})",
            "add runs, or hold out less with --test-runs or --split-column",
            severity="error" if n_runs == 0 else "warning", participant=label, place=who,
        ))
    if split.kind == "stimulus-folds" and not _has_pairs(table, found):
        findings.append(Finding(
            who, "saw no two stimuli that are test in the same fold, so that none can be told "
            "apart", "prescribe a test set with --split-column, or leave the participant out",
            participant=label, place=who,
        ))
    lost = found.excluded
    if lost.sum() > MAX_LOST_TRIALS * len(lost):
        (why, count), *_ = Counter(found.reason[lost].tolist()).most_common(1)
        findings.append(Finding(
            who, f"{lost.sum()} of {len(table)} trials are lost: {why} ({count})",
            "hold out other runs or stimuli, or accept it", severity="warning", participant=label,
            place=who,
        ))
    learnt = {name for name in table["label"].to_numpy()[~lost].tolist() if isinstance(name, str)}
    if split.target == "category" and len(learnt) < 2:
        findings.append(Finding(
            who, "fewer than two labels can be learnt and tested",
            "name another --label-column, or more runs", participant=label, place=who,
        ))
    return findings


def _has_pairs(table: pd.DataFrame, found: Assigned) -> bool:
    stimuli = table["stimulus"].groupby(found.fold).nunique()
    return bool((stimuli >= 2).any())


def _training_runs(run_groups: np.ndarray, found: Assigned, split: Split) -> int:
    """Count the training runs of the fold that has the fewest."""
    if not split.is_crossed:
        return len(set(run_groups[found.role == "train"].tolist()))
    kept = found.role == "cv"
    folds, runs = found.fold[kept], run_groups[kept]
    return min((len(set(runs[folds != fold].tolist())) for fold in np.unique(folds)), default=0)
