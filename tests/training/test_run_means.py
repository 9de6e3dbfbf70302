"""Means of runs: what is left of trials without them."""

import numpy as np
import pytest

from bids_decoder.training.run_means import centre_runs, degrees_of_freedom, run_contrasts


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
