"""Choice of the test trials: made once, from the trial tables, before anything is fitted.

Four kinds of split:

``stimuli``
    Test stimuli are excluded from all fits of all participants, in whatever run they were shown.
``runs``
    Cross-validation over runs: each run is test once. For category labels and values.
``heldout-runs``
    Whole runs are test. For image targets, stimuli of these runs are test stimuli, and their
    other presentations are excluded from training, for all participants.
``stimulus-folds``
    Cross-validation over stimuli: each is test once, in the same fold for all participants. For
    images and features with too few stimuli for one test set (:mod:`.stimulus_folds`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.evaluation.held_out import Split, Tables, distinct, with_role
from bids_decoder.evaluation.split_checks import (
    MAX_LOST_TRIALS,
    MIN_TEST_STIMULI,
    check_split,
    check_split_column,
)
from bids_decoder.evaluation.statistics import ALPHA, smallest_p
from bids_decoder.evaluation.stimulus_folds import MIN_TESTED, cross_stimuli
from bids_decoder.seeds import derive_seed
from bids_decoder.trials import KINDS, Decision

MAX_FOLDS = 12
"""Number of folds to which the runs are assigned when there are more runs."""

_MANY = 10**6

MAX_TEST_TRIALS = 0.5
"""A design in which more of the trials than this would be test has no separate test set."""


def choose_split(
    tables: Tables, target_kind: str, rules: TrialRules, seed: int, n_processes: int = 1, *,
    similar: Sequence[tuple[str, str]] = (), pretrains: bool = False,
) -> tuple[Split, list[Decision], list[Finding]]:
    """Choose the split of a dataset.

    Options come first (``--split-column``; ``--test-runs`` within ``--test-sessions``).
    Labels and values are cross-validated over runs. For images and features the first rule that
    fits is taken: stimuli seen by all participants and repeated, when they are the smaller part
    of all participants' trials; whole runs, when their stimuli hardly occur elsewhere; a share
    of the stimuli. The last two become folds of stimuli where they would test fewer than 20.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Trial tables by participant label, rows in order of time within each run. A column
        ``split_source`` holds the values of ``--split-column``.
    target_kind : {"image", "features", "category", "value"}
    rules : TrialRules
        The split options.
    seed : int
        For the random choice of runs or stimuli.
    n_processes : int
        That check the split of many participants.
    similar : sequence of (str, str)
        Stimuli that are nearly the same: folds of stimuli do not separate them.
    pretrains : bool
        Whether models are pretrained on other participants, who saw the same stimuli: then one
        test set is kept, because a model that all folds share would have seen their stimuli.

    Returns
    -------
    split : Split
        Complete even when findings forbid its use, so that all findings appear at once.
    decisions : list of Decision
    findings : list of Finding
        Errors and warnings about the options and about the trials of each side.
    """
    usable = {label: _usable(tables[label]) for label in sorted(tables)}
    split, findings = _pick(usable, target_kind, rules, seed)
    if _is_small(split):
        split = _tested_more(usable, split, similar, seed, pretrains)
    findings += check_split(usable, split, n_processes)
    return split, [Decision("split", split.kind, split.reason)], findings


def _usable(table: pd.DataFrame) -> pd.DataFrame:
    excluded = table["excluded"].to_numpy(dtype=bool)
    return table[~excluded].reset_index(drop=True) if excluded.any() else table


def _pick(
    tables: Tables, target: str, rules: TrialRules, seed: int
) -> tuple[Split, list[Finding]]:
    if rules.split_column is not None:
        return _by_column(tables, target, rules)
    if rules.test_runs or rules.test_sessions:
        return _by_runs(tables, target, rules)
    if KINDS[target].over_runs:
        return _cross_validation(tables, target), []
    split = (
        _shared_and_repeated(tables, target)
        or _whole_runs(tables, target, rules, seed)
        or _share_of_stimuli(tables, target, rules, seed)
    )
    return split, []


def _is_small(split: Split) -> bool:
    """Return whether neither options nor design ask for a test set with few stimuli."""
    by_share = "test_share" in split.options
    return by_share and len(split.test_stimuli) < MIN_TESTED


def _tested_more(
    tables: Tables, split: Split, similar: Sequence[tuple[str, str]], seed: int, pretrains: bool
) -> Split:
    """Replace a small test set by folds of stimuli, where that is possible."""
    if pretrains:
        why = (
            "; one test set although it is small, because pretraining on other participants must "
            "not see any test stimulus (--from-scratch tests all stimuli, in folds)"
        )
        return replace(split, reason=split.reason + why)
    crossed = cross_stimuli(tables, split.target, similar, seed, len(split.test_stimuli))
    return split if crossed is None else crossed


def _by_column(
    tables: Tables, target: str, rules: TrialRules
) -> tuple[Split, list[Finding]]:
    options = {"split_column": rules.split_column}
    findings = check_split_column(tables, rules)
    everything = pd.concat(
        [with_role(table).assign(participant=label) for label, table in tables.items()]
    )
    test, train = (everything[everything["role"] == role] for role in ("test", "train"))
    stimuli = distinct(test["stimulus"])
    reason = (
        f"column {rules.split_column!r} marks {len(test)} test and {len(train)} training trials"
    )
    if not KINDS[target].over_runs or not stimuli & distinct(train["stimulus"]):
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


def _pairs(trials: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(trials["participant"], trials["run_group"], strict=True))


def _by_runs(tables: Tables, target: str, rules: TrialRules) -> tuple[Split, list[Finding]]:
    runs, groups, sessions = (
        set().union(*(distinct(table[name]) for table in tables.values()))
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
    stimuli = () if KINDS[target].over_runs else _stimuli_of_runs(tables, folds)
    return Split("heldout-runs", target, stimuli, folds, options, reason), findings


def _unknown_labels(
    option: str, given: tuple[str, ...], known: set[str], accepted: set[str]
) -> list[Finding]:
    there = {*map(_without_zeros, known), *accepted}
    unknown = [label for label in given if _without_zeros(label) not in there
               and label not in accepted]
    if not unknown:
        return []
    exist = name_some(sorted(known), 20) or "none"
    return [Finding(
        f"{option} {' '.join(unknown)}", f"no such label; there are: {exist}",
        "use labels as they are in the file names", ExitCode.USAGE,
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
    """Return a label without leading zeros, which may differ between participants."""
    return label.lstrip("0") or "0" if label.isdecimal() else label


def _stimuli_of_runs(
    tables: Tables, folds: dict[str, tuple[tuple[str, ...], ...]]
) -> tuple[str, ...]:
    found: set[str] = set()
    for label, table in tables.items():
        found |= distinct(table.loc[table["run_group"].isin(folds[label][0]), "stimulus"])
    return tuple(sorted(found))


def _cross_validation(tables: Tables, target: str) -> Split:
    # Runs of one value each are refused: nothing can be decoded within them.
    find = _label_of_runs if target == "category" else lambda _: {}
    labels_of = {label: find(table) for label, table in tables.items()}
    folds = {label: _deal(table, labels_of[label]) for label, table in tables.items()}
    names = set().union(*(distinct(table[KINDS[target].column]) for table in tables.values()))
    n_runs = sorted({table["run_group"].nunique() for table in tables.values()})
    counted = " to ".join(map(str, dict.fromkeys((n_runs[0], n_runs[-1]))))
    reason = (
        f"{len(names)} {KINDS[target].column}s over {counted} run{'s' * (counted != '1')} per "
        "participant: each run is "
        f"test once (at most {MAX_FOLDS} folds)"
    )
    if any(labels_of.values()):
        reason += (
            "; where each run has one label, each fold holds out runs of every label, because a "
            "decoder trained on fewer runs of the label that it is tested on errs against it"
        )
    return Split("runs", target, (), folds, {"max_folds": MAX_FOLDS}, reason)


def deal_runs(table: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Assign the runs of one participant to the folds of cross-validation.

    Parameters
    ----------
    table : DataFrame
        Trial table.

    Returns
    -------
    tuple of tuple of str
        Run groups of each fold; at most :data:`MAX_FOLDS`.
    """
    return _deal(table, _label_of_runs(table))


def _deal(table: pd.DataFrame, label_of: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    """Assign the runs of one participant to folds.

    In turn, not in blocks: neighbouring runs often share a task or a session, and a fold must not
    hold out all runs of one label. Where each run has one label, the runs of each label are
    assigned in turn: training runs of unequal numbers bias the decoder against the label of the
    run that was held out.
    """
    runs = list(dict.fromkeys(table["run_group"]))
    if not label_of:
        n_folds = min(len(runs), MAX_FOLDS)
        return tuple(tuple(runs[k::n_folds]) for k in range(n_folds))
    fold_of = _balanced_folds(label_of)
    others = [run for run in runs if run not in fold_of]
    n_folds = max(fold_of.values()) + 1
    fold_of |= {run: number % n_folds for number, run in enumerate(others)}
    return tuple(tuple(run for run in runs if fold_of[run] == k) for k in range(n_folds))


def _label_of_runs(table: pd.DataFrame) -> dict[str, str]:
    """Return the label of each run where all have one, and two or more have several runs."""
    runs, labels = (table[name].to_numpy(dtype=object) for name in ("run_group", "label"))
    known = ~pd.isna(labels) & ~table["excluded"].to_numpy(dtype=bool)
    pairs = list(dict.fromkeys(zip(runs[known].tolist(), labels[known].tolist(), strict=True)))
    label_of = dict(pairs)
    n_repeated = sum(count > 1 for count in Counter(label_of.values()).values())
    return label_of if len(label_of) == len(pairs) and n_repeated >= 2 else {}


def _balanced_folds(label_of: dict[str, str]) -> dict[str, int]:
    """Assign runs of one label each to folds, from 0.

    As many folds as the rarest label has runs (of those that can be learnt), or fewer where
    exchanging labels within so many could not reach :data:`.statistics.ALPHA`.
    """
    labels = np.array(list(label_of.values()))
    place = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    counts = np.unique(labels, return_counts=True)[1]
    most = min(int(counts[counts > 1].min()), MAX_FOLDS)
    testable = (
        n for n in range(most, 1, -1) if smallest_p(labels, place % n, _MANY) <= ALPHA
    )
    n_folds = next(testable, most)
    return dict(zip(label_of, (place % n_folds).tolist(), strict=True))


def _presentations(table: pd.DataFrame) -> pd.Series:
    """Count presentations per stimulus; immediate repetitions (1-back task) do not count."""
    previous = table[["stimulus", "run_group"]].shift()
    again = (table["stimulus"] == previous["stimulus"]) & (
        table["run_group"] == previous["run_group"]
    )
    return table.loc[~again, "stimulus"].value_counts()


def _shared_and_repeated(tables: Tables, target: str) -> Split | None:
    counts = [_presentations(table) for table in tables.values()]
    shared = set.intersection(*(set(count.index) for count in counts))
    # A new participant with one hour of data may not have seen all repeats: half of them suffice.
    chosen = {
        name for name in shared
        if 2 * sum(count[name] >= 2 for count in counts) >= len(counts)
    }
    shares = [table["stimulus"].isin(chosen).mean() for table in tables.values()]
    said = " to ".join(dict.fromkeys(f"{share:.1%}" for share in (min(shares), max(shares))))
    if len(chosen) < MIN_TEST_STIMULI or max(shares) > MAX_TEST_TRIALS:
        return None
    n_all = len(set().union(*(count.index for count in counts)))
    reason = (
        f"{len(chosen)} of {n_all} stimuli were seen by all {len(tables)} participant(s) and "
        f"repeated, the others not; they are {said} of the trials"
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
        f"are at most {lost:.1%} of a participant's trials in other runs"
    )
    options = {"test_share": rules.test_share, "seed": seed}
    return Split("heldout-runs", target, stimuli, folds, options, reason)


def _share_of_stimuli(tables: Tables, target: str, rules: TrialRules, seed: int) -> Split:
    seen_by: dict[str, list[str]] = {}
    for label, table in tables.items():
        for name in distinct(table["stimulus"]):
            seen_by.setdefault(name, []).append(label)
    rng = np.random.default_rng(derive_seed(seed, "split", "stimuli"))
    names = sorted(seen_by)
    shuffled = [names[i] for i in rng.permutation(len(names))]
    # Every k-th of the list ordered by who saw it, so that each participant has the same share.
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
