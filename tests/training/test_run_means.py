"""Means of runs: what is left of trials without them."""

import numpy as np
import pytest

from bids_decoder.training.run_means import (
    centre_products,
    centre_runs,
    degrees_of_freedom,
    run_contrasts,
)


@pytest.mark.parametrize("counts", [(5, 9, 4), (6, 2, 7), (1, 1, 1, 1), (12,), (4, 4)])
def test_contrasts_span_what_is_left(counts):
    runs = np.repeat([f"run-{n}" for n in range(len(counts))], counts)
    runs = np.random.default_rng(0).permutation(runs)
    basis = run_contrasts(runs)
    assert basis.shape == (len(runs), degrees_of_freedom(runs))
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    np.testing.assert_allclose(basis @ basis.T, centre_runs(np.eye(len(runs)), runs), atol=1e-12)


def test_nothing_is_left_of_a_single_trial():
    np.testing.assert_array_equal(run_contrasts(np.array(["run-1"])), [[0.0]])


def _runs(lengths, rng):
    runs = np.repeat([f"run-{n}" for n in range(len(lengths))], lengths)
    return rng.permutation(runs)


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_means_of_runs_are_subtracted_whatever_the_order_of_trials(shape, precision):
    rng = np.random.default_rng(1)
    runs = _runs((5, 9, 4), rng)
    values = rng.standard_normal((len(runs), *shape)).astype(precision)
    expected = values.copy()
    for name in np.unique(runs):
        expected[runs == name] -= values[runs == name].mean(axis=0)
    found = centre_runs(values, runs)
    assert found.dtype == precision
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("lengths", [(5, 9, 4), (6, 2, 7)])
def test_products_of_centred_trials(lengths):
    rng = np.random.default_rng(2)
    runs = _runs(lengths, rng)
    values = rng.standard_normal((len(runs), 30))
    products = values @ values.T
    centre_products(products, runs)
    centred = centre_runs(values, runs)
    np.testing.assert_allclose(products, centred @ centred.T, atol=1e-12)
