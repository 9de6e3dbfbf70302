"""Nested subsets of training runs."""

import pandas as pd
import pytest

from bids_decoder.evaluation.held_out import Split, apply_split
from bids_decoder.evaluation.subsets import MAX_FOLDS, N_DRAWS, _sizes, choose_folds, draw_subsets


def table(n_runs, labels, split=None, folds=None):
    """Trials of runs with these labels (a list for all runs, or one list per run)."""
    per_run = labels if isinstance(labels[0], list) else [labels] * n_runs
    rows = [
        {"run_group": f"run-{run}", "trial": trial, "label": label, "stimulus": f"{label}{run}",
         "excluded": False, "reason": None}
        for run, names in enumerate(per_run, 1) for trial, label in enumerate(names, 1)
    ]
    folds = folds or tuple((f"run-{run}",) for run in range(1, n_runs + 1))
    split = split or Split("runs", "category", (), {"01": folds}, {}, "")
    return apply_split({"01": pd.DataFrame(rows)}, split)["01"]


def test_subsets_are_nested_and_hold_no_test_run():
    trials = table(8, ["a", "b"] * 3)
    subsets = draw_subsets(trials, by_label=True, seed=0)
    assert subsets.sizes[0] == 2 and subsets.sizes[-1] == 7
    assert subsets.n_draws == N_DRAWS and len(subsets.orders) == MAX_FOLDS
    for fold, orders in subsets.orders.items():
        held_out = set(trials.loc[trials["fold"] == fold, "run_group"])
        for order in orders:
            assert not held_out & set(order)
            assert len(set(order)) == len(order) == 7
        assert len({order[:2] for order in orders}) > 1


def test_few_runs_have_as_many_orders_as_runs():
    subsets = draw_subsets(table(4, ["a", "b"] * 4), by_label=True, seed=0)
    assert subsets.n_draws == 3
    for orders in subsets.orders.values():
        assert len({order[0] for order in orders}) == len(orders) == 3


def test_sizes_are_at_most_all_runs():
    for most in range(3, 14):
        for step in (1, 2, 3):
            sizes = _sizes(step, most, step)
            assert sizes == tuple(sorted(set(sizes))) and sizes[-1] == most


def test_seed_decides_the_orders():
    trials = table(6, ["a", "b"] * 4)
    first, again, other = (draw_subsets(trials, by_label=True, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_smallest_subset_has_two_trials_of_each_label():
    trials = table(9, ["a", "b", "c"] * 1 + ["a"] * 5)
    subsets = draw_subsets(trials, by_label=True, seed=0)
    assert subsets.sizes[0] == 2
    for orders in subsets.orders.values():
        for order in orders:
            part = trials[trials["run_group"].isin(order[: subsets.sizes[0]])]
            assert part["label"].value_counts().min() >= 2


def test_runs_of_one_label_are_added_together():
    labels = [["a"] * 6, ["b"] * 6] * 5
    folds = tuple((f"run-{2 * k + 1}", f"run-{2 * k + 2}") for k in range(5))
    trials = table(10, labels, folds=folds)
    subsets = draw_subsets(trials, by_label=True, seed=3)
    assert subsets.sizes == (2, 4, 6, 8)
    label_of = trials.groupby("run_group")["label"].first()
    for orders in subsets.orders.values():
        for order in orders:
            for size in subsets.sizes:
                assert label_of[list(order[:size])].value_counts().nunique() == 1


@pytest.mark.parametrize("n_runs", [2, 3])
def test_too_few_runs_give_no_curve(n_runs):
    assert draw_subsets(table(n_runs, ["a", "b"] * 4), by_label=True, seed=0) is None


def test_fixed_split_has_one_fold_without_the_test_trials():
    split = Split("heldout-runs", "image", ("a1",), {"01": (("run-1",),)}, {}, "")
    trials = table(5, ["a", "b"] * 5, split)
    assert choose_folds(trials) == (0,)
    subsets = draw_subsets(trials, by_label=False, seed=0)
    assert subsets.sizes == (1, 2, 3, 4)
    assert not any("run-1" in order for order in subsets.orders[0])


def test_folds_are_spread_over_all():
    assert choose_folds(table(12, ["a", "b"])) == (1, 4, 7, 9, 12)
