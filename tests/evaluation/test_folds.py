import numpy as np
import pandas as pd
import pytest

from bids_decoder.errors import InputError, LeakageError
from bids_decoder.evaluation import folds as module
from bids_decoder.evaluation.folds import (
    assert_disjoint,
    assert_no_test,
    enough_folds,
    fold_list,
    inner_folds,
    is_crossed,
    resolve_fold,
    spread_runs,
)


def test_guard_fires():
    trials = pd.DataFrame({"split": ["train", "test", "train", None, "cv"]}, dtype=object)
    assert_no_test(trials, np.array([0, 2]))
    with pytest.raises(LeakageError, match=r"1 of 3 trials(.|\n)*their split is test"):
        assert_no_test(trials, np.array([0, 1, 2]))
    with pytest.raises(LeakageError, match=r"3 of 5 trials(.|\n)*their split is None, cv, test"):
        assert_no_test(trials, np.ones(len(trials), dtype=bool))
    assert_disjoint(["a"], ["b"])
    with pytest.raises(LeakageError, match=r"1 id(.|\n)*why: b\n"):
        assert_disjoint(["a", "b"], ["b"])


def test_a_fold_tests_its_own_trials_and_trains_on_the_others():
    trials = pd.DataFrame({
        "split": pd.array(["cv", "cv", "cv", None, "train"], dtype=object),
        "fold": pd.array([2, 1, 2, None, None], dtype="Int64"),
    })
    assert fold_list(trials) == [1, 2] and not is_crossed(trials)
    roles = [resolve_fold(trials, fold)["split"].fillna("left out").tolist() for fold in (2, None)]
    assert roles[0] == ["test", "train", "test", "left out", "train"]
    assert roles[1] == ["train", "train", "train", "left out", "train"]
    assert trials["split"].tolist()[0] == "cv"
    assert is_crossed(trials.assign(split="train"))


def test_inner_folds():
    runs = np.repeat(["c", "a", "b"], [3, 2, 4])
    folds = inner_folds(runs, 5)
    assert len(folds) == 3
    for train, validation in folds:
        assert not set(runs[train]) & set(runs[validation])
        assert len(train) + len(validation) == 9
    # Slow changes over the session are in all folds.
    names = np.array(list("abcdef"))
    assert ["".join(names[v]) for _, v in inner_folds(names, 3)] == ["ad", "be", "cf"]
    blocks = inner_folds(np.repeat("only", 10), 5)
    assert [v.tolist() for _, v in blocks] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    with pytest.raises(InputError):
        inner_folds(np.array(["a"]), 5)


def test_folds_are_left_out_only_with_many_validation_trials(monkeypatch):
    folds = inner_folds(np.repeat(list("abcdef"), 4), 3)
    assert enough_folds(folds) == folds
    for enough, expected in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 3), (24, 3), (25, 3)):
        monkeypatch.setattr(module, "ENOUGH_VALIDATION", enough)
        assert enough_folds(folds) == folds[:expected]


def test_whole_runs_are_spread_over_all():
    runs = np.repeat([f"{number:02d}" for number in range(20)], 10)
    chosen = runs[spread_runs(runs, 100)]
    names, counts = np.unique(chosen, return_counts=True)
    assert len(names) == 10 and set(counts) == {10}
    assert names[0] == "00" and names[-1] == "19" and np.diff(names.astype(int)).max() <= 3
    assert len(np.unique(runs[spread_runs(runs, 10)])) == module.MIN_RUNS_TO_CHOOSE
    few = runs[:10 * module.MIN_RUNS_TO_CHOOSE]
    assert spread_runs(few, 1).tolist() == list(range(len(few)))
