"""Sides of the split: what is trained on where it, or a copy of it, is tested."""

import pandas as pd

from bids_decoder.evaluation.overlap import are_apart, count_seen, stimulus_sides, trial_sides


def table(split, folds, stimuli="abca"):
    return pd.DataFrame({
        "stimulus": list(stimuli), "run_group": ["r1", "r1", "r2", "r2"], "trial": [1, 2, 1, 2],
        "split": split, "fold": pd.array(folds, dtype="Int64"), "excluded": False,
    })


def test_trials_of_different_folds_are_apart():
    """Each is trained on where the other one is tested."""
    sides = trial_sides({"01": table("cv", [1, 1, 2, 2])})
    one, same, other, _ = (sides["01", run, trial] for run in ("r1", "r2") for trial in (1, 2))
    assert not are_apart({one}, {same}) and are_apart({one}, {other})


def test_folds_of_participants_are_their_own_unless_they_are_common():
    tables = {name: table("cv", [1, 1, 2, 2], "abcd") for name in ("01", "02")}
    assert {len(sides) for sides in stimulus_sides(tables).values()} == {2}
    assert {len(sides) for sides in stimulus_sides(tables, common_folds=True).values()} == {1}


def test_tested_stimuli_that_are_trained_on_are_counted():
    crossed = stimulus_sides({"01": table("cv", [1, 1, 2, 2])})
    assert count_seen(crossed) == (3, 1)  # a is in both folds
    fixed = table(["train", "test", "train", "test"], [None, 1, None, 1])
    assert count_seen(stimulus_sides({"01": fixed})) == (2, 1)
    left_out = fixed.assign(excluded=[True, False, False, False])
    assert count_seen(stimulus_sides({"01": left_out})) == (2, 0)
    assert ("01", "r1", 1) not in trial_sides({"01": left_out})
