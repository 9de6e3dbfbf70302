import numpy as np
import pandas as pd

from bids_decoder.evaluation.kinds import (
    Row,
    find_trials,
    lacking_labels,
    number_folds,
    number_trials,
    separate_runs,
)


def make_table(runs, labels, kinds):
    return pd.DataFrame({
        "run_group": runs, "label": labels, "kind": kinds, "excluded": False,
        "trial": pd.Series(runs).groupby(np.array(runs)).cumcount() + 1,
    })


def mixed_table(n_runs=4):
    """Runs that hold two trials of each label of both kinds."""
    runs = np.repeat([f"run-{k}" for k in range(n_runs)], 8)
    return make_table(runs, ["a", "b"] * (4 * n_runs), (["x"] * 4 + ["y"] * 4) * n_runs)


def row_of(table, train, tests, classes=("a", "b")):
    kinds = {train, *tests}
    return Row(train, tests, classes, {
        kind: number_trials(table, (table["kind"] == kind).to_numpy()) for kind in kinds
    })


def test_no_run_is_on_both_sides_of_a_fit():
    table = mixed_table()
    for tests in (["y"], ["x", "y"]):
        fits = row_of(table, "x", tests).fits(table)
        assert len(fits) == 4
        assert (np.sum([fit.test for fit in fits], axis=0) == table["kind"].isin(tests)).all()
        for fit in fits:
            runs = [set(table["run_group"][rows]) for rows in fit]
            assert not runs[0] & runs[1]
            assert (table["kind"][fit.train] == "x").all()


def test_other_runs_are_tested_by_one_fit_on_everything():
    table = mixed_table()
    table = table[(table["kind"] == "x") == table["run_group"].isin(["run-0", "run-1"])]
    (fit,) = row_of(table, "x", ["y"]).fits(table)
    assert (fit.train == (table["kind"] == "x")).all() and (fit.test == ~fit.train).all()


def test_runs_of_both_kinds_of_fit_together():
    table = mixed_table(3)
    table = table[~((table["run_group"] == "run-2") & (table["kind"] == "x"))]
    train, test = ((table["kind"] == kind).to_numpy() for kind in "xy")
    whole, *others = separate_runs(table, train, test)
    assert (whole.train == train).all() and set(table["run_group"][whole.test]) == {"run-2"}
    assert [len(set(table["run_group"][fit.train])) for fit in others] == [1, 1]


def test_runs_of_one_label_are_held_out_label_by_label():
    """Holding out one of them would leave fewer training trials of the tested label."""
    runs = np.repeat([f"run-{k}" for k in range(6)], 4)
    table = make_table(runs, np.repeat(["a", "b"] * 3, 4), ["x", "x", "y", "y"] * 6)
    for fit in row_of(table, "x", ["y"]).fits(table):
        assert table["label"][fit.train].value_counts().nunique() == 1
        assert set(table["label"][fit.test]) == {"a", "b"}


def test_labels_that_a_fit_cannot_learn():
    table = mixed_table(2)
    assert lacking_labels(row_of(table, "x", ["y"]), table) == []
    table.loc[(table["kind"] == "x") & (table["run_group"] == "run-1"), "label"] = "a"
    # Without run 0 there are trials of label a only.
    assert lacking_labels(row_of(table, "x", ["y"]), table) == ["b"]
    alone = mixed_table(1)
    assert lacking_labels(row_of(alone, "x", ["y"]), alone) == ["a", "b"]


def test_numbers_find_the_same_trials_in_other_orders():
    table = mixed_table(2)
    rows = (table["kind"] == "y").to_numpy()
    other = table.sample(frac=1, random_state=0)
    assert (other["kind"][find_trials(other, number_trials(table, rows))] == "y").all()
    assert find_trials(other, number_trials(table, rows)).sum() == rows.sum()


def test_stimuli_that_are_tested_are_not_trained_on():
    """Of either kind: both hold trials of all stimuli, in all runs."""
    table = mixed_table(2).assign(stimulus=["s0", "s1", "s2", "s3"] * 4)
    numbers = row_of(table, "x", ["x", "y"]).trials
    row = Row("x", ["x", "y"], (), numbers, held_out=["s1", "s3"])
    (fit,) = row.fits(table)
    assert set(table["stimulus"][fit.train]) == {"s0", "s2"}
    assert set(table["kind"][fit.train]) == {"x"}
    assert set(table["stimulus"][fit.test]) == {"s1", "s3"}
    assert set(table["kind"][fit.test]) == {"x", "y"}
    assert not row.crosses_own and row_of(table, "x", ["x", "y"]).crosses_own
    kinds = row.kind_of(table)
    assert (kinds[fit.test] == table["kind"][fit.test]).all()
    assert set(kinds[~fit.test]) == {None}


def test_fits_are_numbered_from_one():
    table = mixed_table(2)
    fits = row_of(table, "x", ["y"]).fits(table)
    folds = number_folds(fits, len(table))
    assert [set(folds[fit.test]) for fit in fits] == [{1}, {2}]
    assert folds.isna().sum() == (table["kind"] == "x").sum()
