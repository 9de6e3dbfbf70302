"""Tables of decoding over time: which times were trained on, and which were tested."""

import numpy as np
import pytest

from bids_decoder.evaluation.time_scores import TimeFold, TimeScores, score_times

TIMES = np.array([-2.0, 0, 2, 4, 6])


@pytest.fixture(scope="module")
def scores():
    """Trained at 0 s, labels are decoded at 4 and 6 s; at one time, best at 2 s."""
    values = 0.5 + 0.02 * np.random.default_rng(0).normal(size=(100, 5, 5))
    values[0] = 0.5
    values[0, 1, 3:] = 0.9
    values[0, 2, 2] = 0.7
    true, runs = np.tile([0, 1], 20), np.repeat(list("abcd"), 10)
    hits = np.zeros((5, 40), dtype=bool)
    hits[2] = np.arange(40) % 10 < 7
    limits = np.tile([0.4, 0.6], (5, 1))
    return TimeScores(TIMES, values, limits, hits, true, runs, 0.01)


def test_rows_of_all_pairs_name_the_time_of_training_first(scores):
    table = scores.generalisation_table()
    best = table[table["value"] == 0.9]
    assert set(best["train_time"]) == {0} and set(best["test_time"]) == {4, 6}
    assert (best["p"] == 0.01).all() and (table["chance"] == 0.5).all()
    nulls = scores.null_table().set_index(["permutation", "train_time", "test_time"])["value"]
    assert nulls.loc[(7, 0.0, 6.0)] == scores.values[7, 1, 4]


def test_clusters_name_their_times(scores):
    table = scores.cluster_table().set_index("map")
    (row,) = table.loc[["matrix"]].query("test_last == 6").to_dict("records")
    assert (row["train_first"], row["train_last"], row["n_cells"]) == (0, 0, 2)
    assert (row["test_first"], row["test_last"]) == (4, 6)
    (own,) = table.loc[["diagonal"]].to_dict("records")
    assert own["train_first"] == own["test_last"] == 2


def test_the_peak_is_that_of_one_time(scores):
    assert scores.peak(np.random.default_rng(0)) == (2, 2, 2)
    table = scores.time_table()
    assert table["value"].tolist() == [0.5, 0.5, 0.7, 0.5, 0.5]
    assert (table["ci_low"] == 0.4).all() and (table["n"] == 40).all()


def test_folds_add_up():
    rng, folds = np.random.default_rng(1), []
    for run in "ab":
        true, predicted = np.tile([0, 1], 5), rng.integers(0, 2, (3, 10))
        shares = rng.random((1, 3, 3))
        folds.append(TimeFold(shares, predicted, true, np.full(10, run), np.zeros(3)))
    found = score_times(folds, np.arange(3), 2, 1.0)
    np.testing.assert_allclose(found.values, folds[0].values + folds[1].values)
    expected = np.hstack([fold.predicted == fold.true for fold in folds])
    np.testing.assert_array_equal(found.hits, expected)
    assert found.runs.tolist() == ["a"] * 10 + ["b"] * 10
    assert found.time_table()[["p", "p_max", "p_min"]].isna().all(axis=None)
