"""Models of distances: fit, tests of one and of many sets of voxels, noise ceiling."""

import numpy as np
import pytest
from rdm_data import CONDITIONS, N_CONDITIONS, N_VOXELS, RUNS, draw, random_models

from bids_decoder.evaluation.dissimilarity import measure_geometry
from bids_decoder.evaluation.rdm_models import compare_models, compare_regions


def test_models_without_a_value_are_not_tested():
    kept = ~((CONDITIONS == 0) & (RUNS > 0))
    geometry = measure_geometry(draw(3)[kept], CONDITIONS[kept], RUNS[kept])
    found = compare_models(geometry, random_models(2), 19, np.random.default_rng(0))
    assert np.isnan(found.p).all() and np.isnan(found.p_max).all()
    constant = np.concatenate([random_models(1), np.ones((1, N_CONDITIONS, N_CONDITIONS))])
    geometry = measure_geometry(draw(3), CONDITIONS, RUNS)
    found = compare_models(geometry, constant, 19, np.random.default_rng(0))
    assert np.isfinite(found.p_max[0]) and np.isnan(found.p_max[1])


def test_the_true_model_fits_best_and_is_significant():
    patterns = np.random.default_rng(5).normal(size=(N_CONDITIONS, N_VOXELS))
    true = np.square(patterns[:, None] - patterns[None]).sum(axis=-1)
    models = np.concatenate([true[None], random_models(2)])
    found = compare_models(
        measure_geometry(draw(5, patterns=patterns), CONDITIONS, RUNS), models, 300,
        np.random.default_rng(0),
    )
    assert found.values[0] > 0.9 and found.values.argmax() == 0
    assert found.p_max[0] < 0.02 and found.p_max[1:].min() > 0.05
    assert found.low[0] < found.values[0] < found.high[0] <= 1
    assert (found.p_max >= found.p).all() and found.null.shape == (300, 3)


def test_symmetric_models_have_few_arrangements():
    model = (np.arange(N_CONDITIONS)[:, None] // 3 != np.arange(N_CONDITIONS)[None] // 3)
    found = compare_models(
        measure_geometry(draw(6), CONDITIONS, RUNS), model[None].astype(float), 500,
        np.random.default_rng(0),
    )
    # 20 ways to halve six conditions, and the halves are interchangeable.
    assert found.p_min[0] == pytest.approx(0.1, abs=0.04)
    assert found.p[0] >= found.p_min[0]


def test_p_values_without_relation_are_not_small():
    found = np.concatenate([
        compare_models(
            measure_geometry(draw(seed, 0.3), CONDITIONS, RUNS), random_models(2, seed), 39,
            np.random.default_rng(seed),
        ).p_max[:1]
        for seed in range(80)
    ])
    assert (found <= 0.1).mean() < 0.25


def test_regions_share_permutations_and_are_corrected_together():
    patterns = np.random.default_rng(5).normal(size=(N_CONDITIONS, N_VOXELS))
    true = np.square(patterns[:, None] - patterns[None]).sum(axis=-1)
    models = np.concatenate([true[None], random_models(1)])
    geometries = [
        measure_geometry(betas, CONDITIONS, RUNS)
        for betas in (draw(5, patterns=patterns), draw(6, 0), draw(7, 0))
    ]
    found = compare_regions(iter(geometries), models, 200, np.random.default_rng(1))
    assert found.values.shape == (3, 2) and found.null.shape == (200, 3, 2)
    largest = found.null.max(axis=(1, 2))
    for place in np.ndindex(3, 2):
        count = (largest >= found.values[place] - 1e-9).sum()
        assert found.p_max[place] == pytest.approx((1 + count) / 201)
    alone = compare_models(geometries[1], models, 200, np.random.default_rng(1))
    np.testing.assert_array_equal(alone.null, found.null[:, 1])
    np.testing.assert_array_equal(alone.p, found.p[1])
    assert (found.p_max[1] >= alone.p_max).all()
    assert found.p_max[0, 0] < 0.02 and found.p_max[1:].min() > 0.05
