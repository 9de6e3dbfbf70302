"""Which trials are test trials: decided once, from the trial tables, before anything is fitted.

Three kinds of split:

``stimuli``
    Test stimuli are out of every fit of every participant, in whichever run they were shown.
``runs``
    Cross-validation over runs: each run is test once. For category labels.
``heldout-runs``
    Whole runs are test. For image targets, stimuli of these runs are test stimuli, and their
    other presentations are excluded from training, for all participants.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding, InputError, LeakageError
from bids_decoder.seeds import derive_seed
from bids_decoder.trials import Decision

MAX_FOLDS = 12
"""More runs than this are dealt out to this number of folds."""

MIN_TEST_STIMULI = 10
"""Fewer shared and repeated stimuli than this are no test set by design."""

MAX_TEST_TRIALS = 0.5
"""A design in which more of the trials than this would be test has no separate test set."""

MAX_LOST_TRIALS = 0.05
"""Whole runs are held out only when they cost at most this share of the training trials."""

_SOURCE_ROLES = {"train": "train", "training": "train", "test": "test", "testing": "test"}

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Split:
    """What is held out; goes to ``plan.json`` and back.

    Parameters
    ----------
    kind : {"stimuli", "runs", "heldout-runs"}
        See the module.
    target : str
        ``"image"``, ``"features"`` or ``"category"``.
    test_stimuli : tuple of str
        Stimuli that may enter no fit of anybody; empty where runs alone are held out.
    folds : dict of str to tuple of tuple of str
        Participant label -> folds -> run groups that are test in this fold.
    options : dict
        The options and numbers that led to the split, JSON-able.
    reason : str
        Why this kind was chosen, with numbers.
    """

    kind: Literal["stimuli", "runs", "heldout-runs"]
    target: str
    test_stimuli: tuple[str, ...] = ()
    folds: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give plain lists and texts, ready for JSON."""
        return {
            **dataclasses.asdict(self),
            "test_stimuli": list(self.test_stimuli),
            "folds": {k: [list(runs) for runs in folds] for k, folds in self.folds.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Split:
        """Read back what :meth:`to_dict` gave."""
        folds = {k: tuple(map(tuple, v)) for k, v in content["folds"].items()}
        stimuli = tuple(content["test_stimuli"])
        return cls(**{**content, "test_stimuli": stimuli, "folds": folds})


def choose_split(
    tables: Tables, target_kind: str, rules: TrialRules, seed: int
) -> tuple[Split, list[Decision], list[Finding]]:
    """Choose the split of a dataset.

    Options come first (``--split-column``; ``--test-runs`` within ``--test-sessions``).
    Labels are cross-validated over runs. For images and features the first rule that fits
    is taken: stimuli seen by all participants and repeated, when they are the smaller part
    of everybody's trials; whole runs, when their stimuli hardly occur elsewhere; a share of
    the stimuli.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Participant label -> trial table, rows in order of time within each run. A column
        ``split_source`` holds the values of ``--split-column``.
    target_kind : {"image", "features", "category"}
    rules : TrialRules
        The split options.
    seed : int
        For the random choice of runs or stimuli.

    Returns
    -------
    split : Split
        Complete even when findings forbid its use, so that all findings appear at once.
    decisions : list of Decision
    findings : list of Finding
        Errors and warnings about the options and about what the split leaves.
    """
    usable = {label: _usable(tables[label]) for label in sorted(tables)}
    split, findings = _pick(usable, target_kind, rules, seed)
    findings += _consequences(usable, split)
    return split, [Decision("split", split.kind, split.reason)], findings


def _usable(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["excluded"].astype(bool)].reset_index(drop=True)


def _pick(
    tables: Tables, target: str, rules: TrialRules, seed: int
) -> tuple[Split, list[Finding]]:
    if rules.split_column is not None:
        return _by_column(tables, target, rules)
    if rules.test_runs or rules.test_sessions:
        return _by_runs(tables, target, rules)
    if target == "category":
        return _cross_validation(tables), []
    split = (
        _shared_and_repeated(tables, target)
        or _whole_runs(tables, target, rules, seed)
        or _share_of_stimuli(tables, target, rules, seed)
    )
    return split, []


def _by_column(
    tables: Tables, target: str, rules: TrialRules
) -> tuple[Split, list[Finding]]:
    options = {"split_column": rules.split_column}
    findings = _column_findings(tables, rules)
    everything = pd.concat(
        [_with_role(table).assign(participant=label) for label, table in tables.items()]
    )
    test, train = (everything[everything["role"] == role] for role in ("test", "train"))
    stimuli = _text_set(test["stimulus"])
    reason = (
        f"column {rules.split_column!r} marks {len(test)} test and {len(train)} training trials"
    )
    if target != "category" or not stimuli & _text_set(train["stimulus"]):
        chosen = tuple(sorted(stimuli))
        return Split("stimuli", target, chosen, {}, options, reason), findings
    mixed = _pairs(test) & _pairs(train)
    if mixed:
        findings.append(Finding(
            f"--split-column {rules.split_column}",
            f"{len(mixed)} run(s) hold training and test trials of the same stimuli, for instance "
            f"run {min(mixed)[1]!r} of participant {min(mixed)[0]}",
            "mark whole runs, or leave the option out for cross-validation over runs",
        ))
    folds = {
        label: (tuple(dict.fromkeys(test.loc[test["participant"] == label, "run_group"])),)
        for label in tables
    }
    return Split("heldout-runs", target, (), folds, options, reason), findings


def _column_findings(tables: Tables, rules: TrialRules) -> list[Finding]:
    option = f"--split-column {rules.split_column}"
    if rules.test_runs or rules.test_sessions:
        return [Finding(
            option, "given together with --test-runs or --test-sessions",
            "give only one way to hold out trials", ExitCode.USAGE,
        )]
    absent = [label for label, table in tables.items() if "split_source" not in table]
    if absent:
        return [Finding(
            option, f"no such column in the events of participant(s) {', '.join(absent)}",
            "name a column that all events files have", ExitCode.USAGE,
        )]
    values = set().union(*(_text_set(table["split_source"]) for table in tables.values()))
    if {_SOURCE_ROLES.get(value.lower()) for value in values} >= {"train", "test"}:
        return []
    return [Finding(
        option, f"expected the values train and test, found {_listing(values)}",
        "name a column with these values", ExitCode.USAGE,
    )]


def _with_role(table: pd.DataFrame) -> pd.DataFrame:
    if "split_source" not in table:
        return table.assign(role=None)
    roles = [_SOURCE_ROLES.get(str(value).lower()) for value in table["split_source"]]
    return table.assign(role=np.array(roles, dtype=object))


def _pairs(trials: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(trials["participant"], trials["run_group"], strict=True))


def _text_set(column: pd.Series) -> set[str]:
    return set(column.dropna())


def _listing(names: Iterable[str], limit: int = 20) -> str:
    ordered = sorted(names)
    more = f", and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return (", ".join(ordered[:limit]) + more) or "none"


def _by_runs(tables: Tables, target: str, rules: TrialRules) -> tuple[Split, list[Finding]]:
    runs, groups, sessions = (
        set().union(*(_text_set(table[name]) for table in tables.values()))
        for name in ("run", "run_group", "session")
    )
    findings = [
        *_unknown_labels("--test-runs", rules.test_runs, runs or groups, groups),
        *_unknown_labels("--test-sessions", rules.test_sessions, sessions, set()),
    ]
    folds = {label: (_matching_runs(table, rules),) for label, table in tables.items()}
    options = {"test_runs": list(rules.test_runs), "test_sessions": list(rules.test_sessions)}
    n_runs = sum(len(runs) for (runs,) in folds.values())
    reason = f"the options name {n_runs} run(s) of {len(tables)} participant(s)"
    stimuli = _stimuli_of_runs(tables, folds) if target != "category" else ()
    return Split("heldout-runs", target, stimuli, folds, options, reason), findings


def _unknown_labels(
    option: str, given: tuple[str, ...], known: set[str], accepted: set[str]
) -> list[Finding]:
    there = {*map(_without_zeros, known), *accepted}
    unknown = [label for label in given if _without_zeros(label) not in there
               and label not in accepted]
    if not unknown:
        return []
    return [Finding(
        f"{option} {' '.join(unknown)}", f"no such label; there are: {_listing(known)}",
        "give labels as they are in the file names", ExitCode.USAGE,
    )]


def _matching_runs(table: pd.DataFrame, rules: TrialRules) -> tuple[str, ...]:
    wanted = pd.Series(True, index=table.index)
    if rules.test_runs:
        named = table["run_group"].isin(rules.test_runs)
        wanted &= named | _is_one_of(table["run"], rules.test_runs)
    if rules.test_sessions:
        wanted &= _is_one_of(table["session"], rules.test_sessions)
    return tuple(dict.fromkeys(table.loc[wanted, "run_group"]))


def _is_one_of(labels: pd.Series, wanted: tuple[str, ...]) -> pd.Series:
    return labels.map(_without_zeros, na_action="ignore").isin({*map(_without_zeros, wanted)})


def _without_zeros(label: str) -> str:
    """Give a label that is a number without leading zeros, which differ between people."""
    return label.lstrip("0") or "0" if label.isdecimal() else label


def _stimuli_of_runs(
    tables: Tables, folds: dict[str, tuple[tuple[str, ...], ...]]
) -> tuple[str, ...]:
    found: set[str] = set()
    for label, table in tables.items():
        found |= _text_set(table.loc[table["run_group"].isin(folds[label][0]), "stimulus"])
    return tuple(sorted(found))


def _cross_validation(tables: Tables) -> Split:
    folds = {}
    for label, table in tables.items():
        runs = list(dict.fromkeys(table["run_group"]))
        n_folds = min(len(runs), MAX_FOLDS)
        # Dealt out, not cut in blocks: neighbouring runs often share a task or a session,
        # and a fold must not take away all runs of one label.
        folds[label] = tuple(tuple(runs[k::n_folds]) for k in range(n_folds))
    n_labels = len(set().union(*(_text_set(table["label"]) for table in tables.values())))
    n_runs = [table["run_group"].nunique() for table in tables.values()]
    reason = (
        f"{n_labels} labels over {min(n_runs)} to {max(n_runs)} runs per participant: each run is "
        f"test once (at most {MAX_FOLDS} folds)"
    )
    return Split("runs", "category", (), folds, {"max_folds": MAX_FOLDS}, reason)


def _presentations(table: pd.DataFrame) -> pd.Series:
    """Count presentations per stimulus; an immediate repetition (1-back task) is none."""
    previous = table[["stimulus", "run_group"]].shift()
    again = (table["stimulus"] == previous["stimulus"]) & (
        table["run_group"] == previous["run_group"]
    )
    return table.loc[~again, "stimulus"].value_counts()


def _shared_and_repeated(tables: Tables, target: str) -> Split | None:
    counts = [_presentations(table) for table in tables.values()]
    shared = set.intersection(*(set(count.index) for count in counts))
    # A new person with one hour of data has not met all repeats yet: half of the people do.
    chosen = {
        name for name in shared
        if 2 * sum(count[name] >= 2 for count in counts) >= len(counts)
    }
    shares = [table["stimulus"].isin(chosen).mean() for table in tables.values()]
    if len(chosen) < MIN_TEST_STIMULI or max(shares) > MAX_TEST_TRIALS:
        return None
    n_all = len(set().union(*(count.index for count in counts)))
    reason = (
        f"{len(chosen)} of {n_all} stimuli were seen by all {len(tables)} participant(s) and "
        f"repeated, the others not; they are {min(shares):.1%} to {max(shares):.1%} of the trials"
    )
    return Split("stimuli", target, tuple(sorted(chosen)), {}, {}, reason)


def _whole_runs(tables: Tables, target: str, rules: TrialRules, seed: int) -> Split | None:
    orders = [list(dict.fromkeys(table["run_group"])) for table in tables.values()]
    common = [run for run in orders[0] if all(run in order for order in orders[1:])]
    n_test = max(1, round(rules.test_share * len(common)))
    if len(common) - n_test < 2:
        return None
    rng = np.random.default_rng(derive_seed(seed, "split", "runs"))
    chosen = tuple(common[i] for i in sorted(rng.choice(len(common), n_test, replace=False)))
    folds = {label: (chosen,) for label in tables}
    stimuli = _stimuli_of_runs(tables, folds)
    training = [table[~table["run_group"].isin(chosen)] for table in tables.values()]
    lost = max(part["stimulus"].isin(stimuli).mean() for part in training)
    if lost > MAX_LOST_TRIALS:
        return None
    reason = (
        f"no shared and repeated stimuli; {n_test} of {len(common)} runs held out, whose stimuli "
        f"are at most {lost:.1%} of anybody's trials in other runs"
    )
    options = {"test_share": rules.test_share, "seed": seed}
    return Split("heldout-runs", target, stimuli, folds, options, reason)


def _share_of_stimuli(tables: Tables, target: str, rules: TrialRules, seed: int) -> Split:
    seen_by: dict[str, list[str]] = {}
    for label, table in tables.items():
        for name in _text_set(table["stimulus"]):
            seen_by.setdefault(name, []).append(label)
    rng = np.random.default_rng(derive_seed(seed, "split", "stimuli"))
    names = sorted(seen_by)
    shuffled = [names[i] for i in rng.permutation(len(names))]
    # Every k-th of the list ordered by who saw it: each participant gets the same share.
    ordered = sorted(shuffled, key=lambda name: seen_by[name])
    n_test = min(len(ordered), max(1, round(rules.test_share * len(ordered))))
    rows = ((np.arange(n_test) + 0.5) * len(ordered) / n_test).astype(int)
    chosen = tuple(sorted(ordered[row] for row in rows))
    reason = (
        f"stimuli are neither shared and repeated in a smaller part nor confined to runs; "
        f"{n_test} of {len(ordered)} stimuli ({rules.test_share:.0%}) held out"
    )
    options = {"test_share": rules.test_share, "seed": seed}
    return Split("stimuli", target, chosen, {}, options, reason)


def apply_split(tables: Tables, split: Split) -> Tables:
    """Write a split into trial tables.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Participant label -> trial table.
    split : Split

    Returns
    -------
    dict of str to DataFrame
        Copies in which ``split`` is train, test, cv or None (excluded trials), ``fold`` is
        the number of the fold in which a trial is test (``Int64``), and trials that would
        let a test stimulus into training, or whose label cannot be learnt, are ``excluded``
        with their ``reason``.

    Raises
    ------
    InputError
        When a participant has no folds in a split over runs.
    """
    return {label: _assign(table, label, split) for label, table in tables.items()}


def _assign(table: pd.DataFrame, label: str, split: Split) -> pd.DataFrame:
    if split.kind != "stimuli" and label not in split.folds:
        raise InputError(
            f"participant {label}", "has no place in the split of this plan",
            "make a new plan: choose a new output directory, or remove plan.json",
        )
    fold = _fold_numbers(table, label, split)
    role = np.where(np.isnan(fold), "train", "cv" if split.kind == "runs" else "test")
    excluded = table["excluded"].to_numpy(dtype=bool).copy()
    reason = table["reason"].astype(object).to_numpy().copy()
    for rows, why in _exclusions(table, role, fold, excluded, split):
        new = rows & ~excluded
        reason[new] = why
        excluded |= new
    return table.assign(
        split=pd.Series(np.where(excluded, None, role), index=table.index, dtype=object),
        fold=pd.array(np.where(excluded, np.nan, fold), dtype="Int64"), excluded=excluded,
        reason=pd.Series(reason, index=table.index, dtype=object),
    )


def _fold_numbers(table: pd.DataFrame, label: str, split: Split) -> np.ndarray:
    """Give the fold in which each trial is test, not-a-number for training trials."""
    if split.kind == "stimuli":
        test = table["stimulus"].isin(split.test_stimuli)
        if "split_column" in split.options:
            test &= _with_role(table)["role"] == "test"
        return np.where(test, 1.0, np.nan)
    number = {run: k for k, runs in enumerate(split.folds[label], 1) for run in runs}
    return np.array([number.get(run, np.nan) for run in table["run_group"]], dtype=float)


def _exclusions(
    table: pd.DataFrame, role: np.ndarray, fold: np.ndarray, gone: np.ndarray, split: Split
) -> list[tuple[np.ndarray, str]]:
    found = []
    if "split_column" in split.options:
        column = split.options["split_column"]
        unmarked = _with_role(table)["role"].isna().to_numpy()
        found.append((unmarked, f"column {column} says neither train nor test"))
    straddling = (role == "train") & table["stimulus"].isin(split.test_stimuli).to_numpy()
    found.append((straddling, "its stimulus is a test stimulus"))
    if split.target != "category":
        return found
    labels = table["label"]
    found.append((labels.isna().to_numpy(), "it has no label"))
    kept = ~gone & ~np.logical_or.reduce([rows for rows, _ in found])
    if split.kind == "runs":
        if len(np.unique(fold[kept])) < 2:
            # Nothing can be cross-validated, and a finding says so; the GLM needs the trials.
            return found
        pairs = set(zip(labels[kept].tolist(), fold[kept].tolist(), strict=True))
        n_folds = Counter(name for name, _ in pairs)
        known = {name for name, count in n_folds.items() if count >= 2}
        found.append((~labels.isin(known).to_numpy(), "its label occurs in no other fold"))
    else:
        known = _text_set(labels[kept & (role == "train")])
        found.append((
            (role == "test") & ~labels.isin(known).to_numpy(), "its label has no training trials",
        ))
    return found


def _consequences(tables: Tables, split: Split) -> list[Finding]:
    applied = apply_split(tables, split)
    findings = [f for label, t in applied.items() for f in _participant_findings(label, t, split)]
    if not any({"test", "cv"} & set(table["split"]) for table in applied.values()):
        findings.append(Finding(
            "split", f"no participant has test trials ({split.reason})",
            "give --test-runs, --test-sessions or --split-column, or another --target",
        ))
    if split.kind == "stimuli" and 0 < len(split.test_stimuli) < MIN_TEST_STIMULI:
        findings.append(Finding(
            "split", f"only {len(split.test_stimuli)} test stimuli",
            "hold out whole runs with --test-runs, or raise test_share in a --config-file",
            severity="warning",
        ))
    return findings


def _participant_findings(label: str, table: pd.DataFrame, split: Split) -> list[Finding]:
    who = f"participant {label}"
    findings = []
    if not {"test", "cv"} & set(table["split"]):
        findings.append(Finding(
            who, "has no test trials under this split and can only serve as a source",
            "check the split options", severity="warning", participant=label,
            place=who,
        ))
    n_runs = _training_runs(table, split)
    if n_runs < 2:
        findings.append(Finding(
            who, f"{n_runs} training run(s) under split {split.kind!r} ({split.reason})",
            "give more runs, or hold out less with --test-runs or --split-column",
            severity="error" if n_runs == 0 else "warning", participant=label, place=who,
        ))
    lost = table["excluded"].to_numpy(dtype=bool)
    if lost.mean() > MAX_LOST_TRIALS:
        why = table.loc[lost, "reason"].value_counts()
        findings.append(Finding(
            who, f"{lost.sum()} of {len(table)} trials are lost: {why.index[0]} ({why.iloc[0]})",
            "hold out other runs or stimuli, or accept it", severity="warning", participant=label,
            place=who,
        ))
    if split.target == "category" and table.loc[~lost, "label"].nunique() < 2:
        findings.append(Finding(
            who, "fewer than two labels can be learnt and tested",
            "name another --label-column, or more runs", participant=label, place=who,
        ))
    return findings


def _training_runs(table: pd.DataFrame, split: Split) -> int:
    """Count the runs that the poorest fold trains on."""
    if split.kind != "runs":
        return table.loc[table["split"] == "train", "run_group"].nunique()
    kept = table[table["split"] == "cv"]
    pairs = set(zip(kept["fold"].tolist(), kept["run_group"].tolist(), strict=True))
    per_fold = Counter(fold for fold, _ in pairs)
    return sum(per_fold.values()) - max(per_fold.values()) if per_fold else 0


def fold_list(trials: pd.DataFrame) -> list[int]:
    """List the folds of a trial table that hold test trials, in order."""
    return sorted(int(number) for number in trials["fold"].dropna().unique())


def resolve_fold(trials: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    """Turn cross-validated trials into training and test trials of one fold.

    Parameters
    ----------
    trials : DataFrame
        As :func:`apply_split` gives it.
    fold : int or None
        Number of the fold. None makes all cross-validated trials training trials: for
        people who are a source of pretraining and on whom nothing is tested.

    Returns
    -------
    DataFrame
        A copy whose ``split`` has no cv left; tables without cross-validation stay as they are.
    """
    out = trials.copy()
    crossed = out["split"] == "cv"
    test = crossed & (out["fold"] == fold).fillna(False) if fold is not None else crossed & False
    out["split"] = out["split"].mask(crossed & ~test, "train").mask(test, "test")
    return out


def assert_no_test(trials: pd.DataFrame, rows: np.ndarray) -> None:
    """Guard a fit: every row that enters it must be a training trial.

    Parameters
    ----------
    trials : DataFrame
        Trial table; cross-validation resolved with :func:`resolve_fold`.
    rows : ndarray of int or bool
        Rows about to be used in a fit.

    Raises
    ------
    LeakageError
        When a row is anything but ``train`` (test, unresolved cv, or excluded).
    """
    roles = trials["split"].to_numpy(dtype=object)[rows]
    wrong = np.array([role != "train" for role in roles], dtype=bool)
    if wrong.any():
        names = {str(role) for role in roles[wrong]}
        raise LeakageError(
            f"{wrong.sum()} of {len(roles)} trials of a fit are not training trials",
            f"their split is {_listing(names)}",
            "this is a fault of the program, please report it",
        )


def assert_disjoint(train_ids: Iterable[str], test_ids: Iterable[str]) -> None:
    """Guard a fit: no id may be on both sides.

    Raises
    ------
    LeakageError
        Naming the ids found on both sides.
    """
    both = set(train_ids) & set(test_ids)
    if both:
        raise LeakageError(
            f"{len(both)} id(s) are in training and in test", _listing(map(str, both)),
            "this is a fault of the program, please report it",
        )


def inner_folds(run_groups: np.ndarray, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split training trials for inner cross-validation, run-wise.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)
    n_folds : int
        At least 2; fewer are made when there are fewer runs.

    Returns
    -------
    list of (train, validation)
        Arrays of row numbers. With a single run the folds are contiguous blocks of trials,
        the next best thing against autocorrelation.

    Raises
    ------
    InputError
        With fewer than two trials.
    """
    run_groups = np.asarray(run_groups)
    if len(run_groups) < 2:
        raise InputError(
            "inner cross-validation", f"{len(run_groups)} training trial(s)", "give more runs"
        )
    runs = list(dict.fromkeys(run_groups.tolist()))
    if len(runs) > 1:
        number = {run: i % min(n_folds, len(runs)) for i, run in enumerate(runs)}
        fold_of = np.array([number[run] for run in run_groups.tolist()])
    else:
        n_blocks = min(n_folds, len(run_groups))
        fold_of = np.arange(len(run_groups)) * n_blocks // len(run_groups)
    return [
        (np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k))
        for k in range(fold_of.max() + 1)
    ]
