"""Accuracy maps of searchlights and their corrected p-values."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from bids_decoder.evaluation.search_maps import (
    N_PEAKS,
    PEAK_COLUMNS,
    Accuracy,
    class_weights,
    compute_maps,
    correct_together,
    corrected_p,
    find_peaks,
    weighted_hits,
)
from bids_decoder.trials import VoxelGrid


@pytest.fixture
def grid():
    return VoxelGrid(np.ones((6, 5, 4), dtype=bool), np.diag([2.0, 2.0, 2.0, 1.0]))


def hits_of(rng, grid, n_permutations, n_trials=20):
    return (rng.binomial(n_trials, 0.5, (1 + n_permutations, grid.n_voxels)) / n_trials).astype(
        np.float32
    )


def test_hits_of_folds_add_up_to_balanced_accuracy():
    rng = np.random.default_rng(0)
    true = rng.choice(3, (4, 30), p=(0.6, 0.3, 0.1))
    predicted = rng.integers(0, 3, (5, 4, 30))
    weights = class_weights(true, 4)
    first, second = slice(0, 12), slice(12, 30)
    hits = sum(weighted_hits(predicted[..., part], true[:, part], weights)
               for part in (first, second))
    for labelling in range(4):
        for sphere in range(5):
            expected = balanced_accuracy_score(true[labelling], predicted[sphere, labelling])
            assert hits[labelling, sphere] == pytest.approx(expected, abs=1e-6)
    fixed = weighted_hits(predicted[:, :1], true, weights)
    np.testing.assert_allclose(
        fixed[2, 3], balanced_accuracy_score(true[2], predicted[3, 0]), atol=1e-6
    )


def test_one_prediction_serves_all_labellings_of_a_fixed_test_set():
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, (70, 12))
    measure = Accuracy(true, class_weights(true, 3))
    scores = rng.normal(size=(5, 1, 12, 3))
    found = measure(scores, slice(0, 64))
    assert found.shape == (70, 5)
    expected = balanced_accuracy_score(true[69], scores[4, 0].argmax(axis=-1))
    assert found[69, 4] == pytest.approx(expected, abs=1e-6)
    refitted = measure(np.repeat(scores, 6, axis=1), slice(64, 128))
    np.testing.assert_allclose(refitted, found[64:], atol=1e-6)


def test_distances_are_scaled_by_the_spread_of_permuted_maps(grid):
    parts = [np.random.default_rng(5).normal(size=(11, grid.n_voxels)) * 1e-3 for _ in range(2)]
    small = compute_maps(parts, grid, chance=0.0)
    large = compute_maps([1000 * part for part in parts], grid, chance=0.0)
    np.testing.assert_allclose(small.tfce, large.tfce)
    assert (small.p_tfce == large.p_tfce).all()
    assert (small.p_max == large.p_max).all()


def test_p_values_count_permuted_maps(grid):
    hits = hits_of(np.random.default_rng(1), grid, 39)
    maps = compute_maps([hits / 2, hits / 2], grid, chance=0.5, error=0.1)
    np.testing.assert_allclose(maps.values, hits[0], atol=1e-6)
    expected = (1 + (hits[1:] >= hits[0] - 1e-5).sum(axis=0)) / 40
    np.testing.assert_allclose(maps.p, expected)
    largest = hits[1:].max(axis=1)
    expected = [(1 + (largest >= value - 1e-5).sum()) / 40 for value in hits[0]]
    np.testing.assert_allclose(maps.p_max, expected)
    assert (maps.p_max >= maps.p - 1e-9).all()
    assert maps.null_max == pytest.approx(largest, abs=1e-6)


def test_a_blob_is_found_and_enhanced(grid):
    hits = hits_of(np.random.default_rng(2), grid, 39)
    blob = grid.to_volume(np.arange(grid.n_voxels))[1:3, 1:3, 1:3].ravel()
    hits[0] = 0.5
    hits[0, blob] = 0.8
    maps = compute_maps([hits], grid, chance=0.5, error=0.1)
    assert (maps.p_tfce[blob] == 1 / 40).all()
    others = np.setdiff1d(np.arange(grid.n_voxels), blob)
    assert (maps.p_tfce[others] == 1).all()
    assert (maps.tfce[others] == 0).all()


def test_without_permutations_there_are_no_p_values(grid):
    maps = compute_maps([hits_of(np.random.default_rng(0), grid, 0)], grid, chance=0.5)
    assert maps.p is None
    assert maps.tfce is None
    assert maps.p_max is None
    peaks = find_peaks(maps, grid, np.full(grid.n_voxels, 7), 3.0)
    assert peaks["p_tfce"].isna().all()


def test_ties_with_the_largest_null_value_count():
    null = np.array([0.1, 0.3, 0.7])
    assert corrected_p(np.array([0.3, 0.8]), null, 1e-6).tolist() == [0.75, 0.25]
    assert corrected_p(np.array([0.1 + 0.2]), np.array([0.3]), 1e-6).tolist() == [1.0]


def test_peaks_are_apart_and_above_chance(grid):
    hits = np.full((1, grid.n_voxels), 0.5, dtype=np.float32)
    places = [tuple(p) for p in grid.indices]
    hits[0, places.index((0, 0, 0))] = 0.9
    hits[0, places.index((1, 0, 0))] = 0.85
    hits[0, places.index((4, 4, 3))] = 0.7
    maps = compute_maps([hits], grid, chance=0.5, error=0.1)
    sizes = np.arange(grid.n_voxels)
    peaks = find_peaks(maps, grid, sizes, 4.0)
    assert list(peaks) == list(PEAK_COLUMNS)
    assert peaks[["x", "y", "z"]].to_numpy().tolist() == [[0, 0, 0], [8, 8, 6]]
    assert peaks["value"].tolist() == pytest.approx([0.9, 0.7])
    assert peaks["n_voxels"].tolist() == [0, places.index((4, 4, 3))]
    hits[:] = 0.5
    nothing = compute_maps([hits], grid, chance=0.5, error=0.1)
    assert find_peaks(nothing, grid, sizes, 4.0).empty


def test_of_equal_peaks_the_one_in_the_larger_cluster_comes_first(grid):
    hits = np.full((2, grid.n_voxels), 0.5, dtype=np.float32)
    places = [tuple(p) for p in grid.indices]
    for place in ((0, 0, 0), (5, 4, 3), (5, 3, 3), (5, 4, 2)):
        hits[0, places.index(place)] = 0.9
    maps = compute_maps([hits], grid, chance=0.5, error=0.1)
    peaks = find_peaks(maps, grid, np.ones(grid.n_voxels, int), 4.0)
    assert peaks[["x", "y", "z"]].to_numpy().tolist() == [[10, 6, 6], [0, 0, 0]]


def test_so_many_peaks_are_listed(grid):
    hits = np.random.default_rng(6).uniform(0.6, 0.9, (1, grid.n_voxels))
    maps = compute_maps([hits], grid, chance=0.5, error=0.1)
    peaks = find_peaks(maps, grid, np.ones(grid.n_voxels, int), 0.1)
    assert peaks["value"].tolist() == pytest.approx(np.sort(hits[0])[::-1][:N_PEAKS], abs=1e-6)


def test_maps_are_corrected_together_by_the_largest_value_of_any(grid):
    rng = np.random.default_rng(4)
    parts = [rng.normal(size=(40, grid.n_voxels)) for _ in range(2)]
    parts[0][0, 7] = 4.2
    alone = [compute_maps([part], grid, chance=0.0) for part in parts]
    both = correct_together(alone)
    largest = np.max([part[1:].max(axis=1) for part in parts], axis=0)
    for one, each in zip(alone, both, strict=True):
        expected = [(1 + (largest >= value - 1e-3).sum()) / 40 for value in each.values]
        np.testing.assert_allclose(each.p_max, expected)
        assert (each.p_tfce >= one.p_tfce).all() and (each.p_tfce > one.p_tfce).any()
        np.testing.assert_array_equal(each.p, one.p)
    untested = [compute_maps([part[:1]], grid, chance=0.0) for part in parts]
    assert correct_together(untested)[0].p_max is None
