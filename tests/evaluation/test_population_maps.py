import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.population_maps import (
    LARGEST_Z,
    flip_enhanced,
    flip_signs,
    share_selected,
)
from bids_decoder.evaluation.tfce import enhance_clusters
from bids_decoder.trials import VoxelGrid

GRID = VoxelGrid(np.ones((6, 6, 6), bool), np.eye(4))


def test_a_voxel_with_an_effect_stands_out():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(10, 50))
    values[:, 7] += 4
    values[3, 9] = np.nan  # no value: not tested
    found = flip_signs(values, seed=1)
    theirs = scipy.stats.ttest_1samp(values, 0).statistic
    tested = np.arange(50) != 9
    assert found.statistic[tested] == pytest.approx(theirs[tested], rel=1e-4)
    assert found.statistic[9] == found.log_p[9] == 0
    assert found.log_p.argmax() == 7 and 10 ** -found.log_p[7] < 0.05
    assert found.resolution == pytest.approx(1 / 1001)


def test_no_more_false_voxels_than_allowed():
    rng = np.random.default_rng(2)
    hits = [
        (flip_signs(rng.normal(size=(7, 20)), seed=k).log_p > -np.log10(0.05)).any()
        for k in range(30)
    ]
    assert np.mean(hits) < 0.2


def test_few_participants_cannot_reach_small_p():
    found = flip_signs(np.random.default_rng(3).normal(3, 0.1, size=(4, 30)), seed=1)
    assert found.resolution == 1 / 16
    assert (10.0 ** -found.log_p).min() == pytest.approx(1 / 16, abs=0.03)


def test_share_selected():
    assert share_selected(np.array([[1, np.nan, 1], [1, 0, 0]])).tolist() == [1, 0, 0.5]
    assert share_selected(np.array([[1.2, 2.0], [1.4, np.nan]]), level=1.3).tolist() == [0.5, 0.5]


def test_a_weak_wide_effect_is_found_by_its_extent():
    rng = np.random.default_rng(4)
    block = np.zeros((6, 6, 6), bool)
    block[:3, :3, :3] = True
    values = rng.normal(size=(10, 216)) + 0.9 * block.ravel()
    values[2, 215] = np.nan
    found = flip_enhanced(values, GRID, seed=1)
    z = scipy.stats.norm.isf(scipy.stats.ttest_1samp(
        values[:, :215], 0, alternative="greater").pvalue).clip(min=0)
    assert found.statistic == pytest.approx(
        enhance_clusters(np.append(z, 0), GRID), rel=1e-4, abs=1e-5
    )
    significant = 10.0 ** -found.log_p <= 0.05
    assert significant[block.ravel()].mean() > 0.5 and significant[~block.ravel()].mean() < 0.05
    alone = 10.0 ** -flip_signs(values, seed=1).log_p <= 0.05
    assert significant[block.ravel()].sum() > alone[block.ravel()].sum()
    assert found.statistic[215] == found.log_p[215] == 0
    assert found.resolution == pytest.approx(1 / 129)


@pytest.mark.parametrize("n_people", [5, 12])
def test_enhanced_maps_have_no_more_false_voxels_than_allowed(n_people):
    rng = np.random.default_rng(5)
    grid = VoxelGrid(np.ones((4, 4, 3), bool), np.eye(4))
    hits = [
        (10.0 ** -flip_enhanced(rng.normal(size=(n_people, 48)), grid, k).log_p <= 0.05).any()
        for k in range(40)
    ]
    assert np.mean(hits) < 0.15


def test_all_arrangements_of_few_signs_are_used_once():
    """The true signs are the largest of 2 ** 4."""
    found = flip_enhanced(np.random.default_rng(3).normal(3, 0.1, size=(4, 216)), GRID, seed=1)
    assert found.resolution == 1 / 16
    assert 10.0 ** -found.log_p.max() == pytest.approx(1 / 16)


def test_voxels_without_variance_are_not_tested_and_sure_ones_end_at_a_largest_z():
    values = np.random.default_rng(6).normal(100, 1e-3, size=(12, 216))
    values[:, 7] = 0.5
    found = flip_enhanced(values, GRID, seed=1)
    assert found.statistic[7] == found.log_p[7] == 0
    expected = enhance_clusters(np.where(np.arange(216) == 7, 0, LARGEST_Z), GRID)
    np.testing.assert_allclose(found.statistic, expected, rtol=1e-5)
    assert flip_signs(values, seed=1).statistic[7] == 0
