"""Clusters of times: found, tested, and not found by chance; the interval of the peak."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from bids_decoder.evaluation.time_clusters import (
    FORMING_P,
    LEAST_MAPS,
    find_clusters,
    peak_interval,
)

N_NULL = 99


def smooth_maps(n_maps, shape, seed):
    values = np.random.default_rng(seed).normal(size=(n_maps, *shape))
    for axis in range(1, values.ndim):
        values = gaussian_filter1d(values, 1.0, axis=axis)
    return 0.5 + 0.05 * values


def test_a_long_weak_effect_is_a_cluster():
    values = smooth_maps(1 + N_NULL, (20,), 0)
    assert (values[0] < 0.6).all()
    values[0, 8:15] += 0.12
    found = find_clusters(values)
    assert set(found.number[9:14]) == {1}
    assert found.p_cluster[0] == pytest.approx(1 / (1 + N_NULL))
    assert (np.diff(found.mass) <= 0).all()
    assert np.isnan(found.p_of_cells[found.number == 0]).all()
    assert found.p_of_cells[10] == found.p_cluster[0]
    assert (found.p[9:14] <= FORMING_P).all()
    assert (found.p_max >= found.p).all()


def test_cells_that_touch_at_corners_are_apart_and_effects_below_chance_do_not_count():
    values = smooth_maps(1 + N_NULL, (6, 6), 1)
    values[0] = values[1:].mean(axis=0)
    values[0, 1, 1] = values[0, 2, 2] = 2.0
    values[0, 4, :] = -2.0
    found = find_clusters(values)
    assert found.number.max() == 2 and found.number[1, 1] != found.number[2, 2]
    assert (found.number[4] == 0).all()


def test_ties_count_and_cells_without_variance_are_in_no_cluster():
    values = np.full((1 + N_NULL, 5), 0.5)
    values[0, 2] = values[1:10, 2] = 0.6
    found = find_clusters(values)
    assert (found.number == 0).all()
    assert found.p.tolist() == [1, 1, 0.1, 1, 1]


def test_too_few_permutations_find_nothing():
    values = smooth_maps(LEAST_MAPS - 1, (10,), 2)
    values[0, 3:6] += 1
    assert len(find_clusters(values).mass) == 0
    assert len(find_clusters(values[:1]).mass) == 0
    enough = np.concatenate([values, values[-1:]])
    assert set(find_clusters(enough).number[3:6]) == {1}


def test_the_largest_cluster_is_the_first():
    values = smooth_maps(1 + N_NULL, (20,), 3)
    values[0] = values[1:].mean(axis=0)
    values[0, 2:4] += 0.3
    values[0, 8:15] += 0.3
    found = find_clusters(values)
    assert set(found.number[2:4]) == {2} and set(found.number[8:15]) == {1}
    assert found.mass[0] > found.mass[1] and found.p_cluster[0] <= found.p_cluster[1]


@pytest.mark.parametrize("shape", [(15,), (8, 8)])
def test_the_family_wise_error_is_held(shape):
    """Any cluster at p <= .05 in at most 5 % of 300 null data sets, within binomial error."""
    n_maps, n_sets, hits, highest = 60, 300, 0, 0
    for seed in range(n_sets):
        found = find_clusters(smooth_maps(n_maps, shape, 1000 + seed))
        hits += bool((found.p_cluster <= 0.05).any())
        highest += bool((found.p_max <= 0.05).any())
    # The 99.9 % limit of a binomial with .05; not so low that the test does nothing.
    assert 3 <= hits <= 28
    assert 3 <= highest <= 28


def peaks(n_runs, seed=0, best=4):
    rng = np.random.default_rng(seed)
    runs = np.repeat(np.arange(n_runs), 10).astype(str)
    true = np.tile([0, 1], 5 * n_runs)
    chances = np.full(9, 0.5)
    chances[best] = 0.95
    return rng.random((9, 10 * n_runs)) < chances[:, None], true, runs


def test_the_interval_of_the_peak_holds_it():
    hits, true, runs = peaks(8)
    assert peak_interval(hits, true, runs, np.random.default_rng(0)) == (4, 4)
    rng = np.random.default_rng(1)
    wide = peak_interval(rng.random((9, 80)) < 0.5, true, runs, rng)
    assert wide[1] - wide[0] >= 3


def test_few_runs_have_no_interval():
    assert peak_interval(*peaks(3), np.random.default_rng(0)) is None
    assert peak_interval(*peaks(4), np.random.default_rng(0)) is not None
