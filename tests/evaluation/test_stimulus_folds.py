import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import TrialRules
from bids_decoder.evaluation.folds import assert_no_test, is_crossed, resolve_fold
from bids_decoder.evaluation.held_out import apply_split
from bids_decoder.evaluation.overlap import are_apart, count_seen, stimulus_sides
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.evaluation.stimulus_folds import join_groups
from bids_decoder.trials import TRIAL_COLUMNS


def table(runs):
    """Make a trial table from lists of stimuli, one list per run."""
    return pd.DataFrame([
        {"trial": trial, "run": str(run), "run_group": f"run-{run}", "stimulus": name,
         "excluded": False, "reason": None}
        for run, stimuli in enumerate(runs, 1) for trial, name in enumerate(stimuli, 1)
    ]).reindex(columns=list(TRIAL_COLUMNS)).astype({"reason": object, "label": object})


def names(count, prefix="s"):
    return [f"{prefix}{k:02d}" for k in range(count)]


def choose(tables, similar=(), rules=None, **more):
    return choose_split(tables, "image", rules or TrialRules(), 1, similar=similar, **more)


@pytest.mark.parametrize(("count", "sizes"), [
    (20, [4] * 5), (12, [4] * 3), (13, [4, 4, 5]), (6, [2] * 3), (5, [2, 3]), (90, [9] * 10),
])
def test_all_stimuli_are_test_once_where_one_set_would_be_small(count, sizes):
    tables = {"0": table([names(count)] * 4), "1": table([names(count)] * 3)}
    split, (decision,), findings = choose(tables)
    assert split.kind == decision.value == "stimulus-folds" and split.is_crossed
    assert sorted(map(len, split.stimulus_folds)) == sizes
    assert split.tested_stimuli == tuple(names(count)) and split.test_stimuli == ()
    assert "training and test share runs" in split.reason and not findings
    applied = apply_split(tables, split)
    folds = [part.groupby("stimulus")["fold"].unique() for part in applied.values()]
    assert all(len(found) == 1 for part in folds for found in part)
    assert folds[0].map(tuple).equals(folds[1].map(tuple))
    assert choose(tables)[0] == split


def test_no_stimulus_of_a_fold_is_trained_on():
    tables = {"0": table([names(12)] * 4)}
    applied = apply_split(tables, choose(tables)[0])["0"]
    for fold in (1, 2, 3):
        trials = resolve_fold(applied, fold)
        train, test = (trials[trials["split"] == side] for side in ("train", "test"))
        assert_no_test(trials, (trials["split"] == "train").to_numpy())
        assert not set(train["stimulus"]) & set(test["stimulus"])
        assert len(train) == 32 and len(test) == 16
        assert is_crossed(trials)
    fixed = resolve_fold(applied.assign(split="train", fold=pd.NA), None)
    assert not is_crossed(fixed)


@pytest.mark.parametrize("rules", [
    {"test_runs": ("2",)}, {"split_column": "part"},
])
def test_a_prescribed_test_set_stays(rules):
    one = table([names(12), names(12), names(12, "other")])
    one["split_source"] = np.where(one["stimulus"].isin(names(3)), "test", "train")
    split, *_ = choose({"0": one}, rules=TrialRules(**rules))
    assert split.kind in ("stimuli", "heldout-runs") and not split.stimulus_folds


def test_pretraining_keeps_one_test_set_and_says_so():
    split, _, findings = choose({"0": table([names(20)] * 4)}, pretrains=True)
    assert split.kind == "stimuli" and len(split.test_stimuli) == 4
    assert "pretraining" in split.reason
    assert any("only 4 test stimuli" in finding.why for finding in findings)


def test_a_designed_test_set_stays():
    shared = names(12, "shared")
    tables = {p: table([names(30, p) + shared] * 2 + [names(40, f"x{p}")] * 2) for p in "ab"}
    split, *_ = choose(tables)
    assert split.kind == "stimuli" and split.test_stimuli == tuple(shared)


def test_near_duplicates_are_in_one_fold():
    similar = [("s00", "s05"), ("s05", "s09"), ("s02", "s11"), ("s01", "gone")]
    tables = {"0": table([names(12)] * 4), "1": table([names(12)] * 4)}
    split, *_ = choose(tables, similar)
    fold_of = {name: k for k, fold in enumerate(split.stimulus_folds) for name in fold}
    assert fold_of["s00"] == fold_of["s05"] == fold_of["s09"]
    assert fold_of["s02"] == fold_of["s11"]
    assert sorted(map(len, split.stimulus_folds)) == [4, 4, 4]
    assert split.options["together"] == [["s00", "s05", "s09"], ["s02", "s11"]]
    sides = stimulus_sides(apply_split(tables, split), common_folds=True)
    assert count_seen(sides) == (12, 0)
    assert not are_apart(sides["s00"], sides["s09"])


def test_stimuli_of_a_run_stay_together_where_each_was_in_one_run():
    runs = [[f"r{r}_{k}" for k in range(6)] for r in range(5)]
    split, *_ = choose({"0": table(runs), "1": table(runs[::-1])})
    assert split.options["by_run"] and "whole runs" in split.reason
    assert sorted(split.stimulus_folds) == sorted(tuple(sorted(run)) for run in runs)
    # Three runs are too few to hold out whole ones.
    assert not choose({"0": table(runs[:3])})[0].options["by_run"]


def test_where_all_are_alike_there_are_no_folds():
    chain = [(a, b) for a, b in zip(names(6), names(6)[1:], strict=False)]
    split, *_ = choose({"0": table([names(6)] * 4)}, chain)
    assert split.kind == "stimuli"


def test_each_participant_needs_a_pair():
    tables = {"0": table([names(12)] * 3), "1": table([names(12)[:1]] * 3)}
    _, _, findings = choose(tables)
    (error,) = [f for f in findings if f.severity == "error" and "same fold" in f.why]
    assert error.participant == "1"


def test_folds_are_shares_for_everybody():
    tables = {p: table([names(12, p)] * 3) for p in "abc"}
    split, *_ = choose(tables)
    for p in "abc":
        sizes = [sum(name.startswith(p) for name in fold) for fold in split.stimulus_folds]
        assert max(sizes) - min(sizes) <= 1


def test_groups_are_joined_through_others():
    assert join_groups(list("abcde"), [("a", "e"), ("e", "c")]) == [
        ("a", "c", "e"), ("b",), ("d",)
    ]
