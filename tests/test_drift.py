import numpy as np
import pytest

from bids_decoder.drift import are_slow, neighbour_correlation
from bids_decoder.evaluation.nulls import WHOLE_SERIES, find_exchange


def test_correlation_of_neighbours_does_not_cross_runs():
    run_of = np.repeat([0, 1], 50)
    values = np.random.default_rng(0).normal(size=100) + 5 * run_of
    assert abs(neighbour_correlation(values, run_of)) < 0.25
    walk = np.cumsum(np.random.default_rng(0).normal(size=100))
    assert neighbour_correlation(walk, run_of) > 0.6
    assert neighbour_correlation(np.ones(100), run_of) == 0


def walks(n_runs, n_each, seed=0):
    """Values that drift, and the names of their runs."""
    values = np.cumsum(np.random.default_rng(seed).normal(size=(n_runs, n_each)), axis=1)
    return values.ravel()[:, None], np.repeat([f"run-{run}" for run in range(n_runs)], n_each)


def test_values_in_random_order_are_rarely_slow():
    rng, run_of = np.random.default_rng(0), np.repeat(np.arange(6), 12)
    found = [are_slow(rng.normal(size=(72, 1)), run_of) for _ in range(1000)]
    assert 0.02 < np.mean(found) < 0.08
    assert not are_slow(np.ones((72, 1)), run_of)
    assert not are_slow(rng.normal(size=(6, 1)), np.arange(6))


def test_one_slow_column_is_enough():
    values, runs = walks(4, 10)
    run_of = np.unique(runs, return_inverse=True)[1]
    random = np.random.default_rng(3).permutation(values)
    assert not are_slow(random, run_of)
    assert are_slow(np.hstack([random, values]), run_of)


def test_series_of_equal_runs_are_exchanged_whole():
    values, runs = walks(6, 8)
    found = find_exchange(np.arange(48), runs, runs, values)
    assert (found.kind, found.describe()["NumberOfBlocks"]) == (WHOLE_SERIES, 6)
    for drawn in found.draw(20, np.random.default_rng(0)).reshape(20, 6, 8):
        assert sorted(drawn[:, 0].tolist()) == list(range(0, 48, 8))
        assert (np.diff(drawn, axis=1) == 1).all()
    assert found.smallest_p(10**6) == pytest.approx(1 / 720)
    assert found.smallest_p(99) == pytest.approx(0.01)


@pytest.mark.parametrize("keep", [slice(0, 32), slice(0, 47)])
def test_few_or_unequal_series_are_shifted_within_runs(keep):
    values, runs = walks(6, 8)
    values, runs = values[keep], runs[keep]
    rows = np.arange(len(values))
    found = find_exchange(rows, runs, runs, values)
    assert found.kind == "series shifted within runs"
    drawn = found.draw(50, np.random.default_rng(0))
    sizes = np.unique(runs, return_counts=True)[1]
    for run, size in zip(np.unique(runs), sizes, strict=True):
        own = drawn[:, runs == run]
        assert (np.sort(own, axis=1) == rows[runs == run]).all()
        assert set(np.diff(own, axis=1).ravel().tolist()) == {1, 1 - size}
        assert len(np.unique(own[:, 0])) == size
    assert found.smallest_p(10**9) == pytest.approx(1 / np.prod(sizes))


def test_values_in_random_order_and_labels_are_exchanged_trial_by_trial():
    values, runs = walks(6, 8)
    random = np.random.default_rng(1).permutation(values)
    assert find_exchange(np.arange(48), runs, runs, random).kind == "trials within runs"
    assert find_exchange(np.arange(48), runs, runs).kind == "trials within runs"
