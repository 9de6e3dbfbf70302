import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.population_maps import flip_signs, share_selected


def test_a_voxel_with_an_effect_stands_out():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(10, 50))
    values[:, 7] += 4
    values[3, 9] = np.nan  # no value: not tested
    found = flip_signs(values, seed=1)
    theirs = scipy.stats.ttest_1samp(values, 0).statistic
    tested = np.arange(50) != 9
    assert found.t[tested] == pytest.approx(theirs[tested], rel=1e-4)
    assert found.t[9] == found.log_p[9] == 0
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
