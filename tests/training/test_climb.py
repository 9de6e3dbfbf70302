"""Minima of many functions, found together."""

import numpy as np
import pytest
from scipy.optimize import minimize

from bids_decoder.training.climb import minimise


def make_loss(n_problems, n_dims, seed=0):
    """Quartic bowls, each with its own centre and curvatures of three orders of magnitude."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_problems, n_dims))
    curvatures = 10 ** rng.uniform(-1, 2, (n_problems, n_dims))

    def loss(points, numbers):
        away, bend = points - centres[numbers], curvatures[numbers]
        values = (bend * away**2 + away**4).sum(axis=1)
        return values, 2 * bend * away + 4 * away**3

    return loss, centres


def test_minima_are_found():
    loss, centres = make_loss(20, 30)
    np.testing.assert_allclose(minimise(loss, np.zeros((20, 30)), 200), centres, atol=1e-3)


def test_others_make_no_difference():
    loss, _ = make_loss(8, 12)
    together = minimise(loss, np.zeros((8, 12)), 30)
    for number in range(8):
        alone = minimise(lambda x, k, own=number: loss(x, k + own), np.zeros((1, 12)), 30)
        np.testing.assert_allclose(alone[0], together[number], atol=1e-12)


def test_as_good_as_scipy_on_a_curved_valley():
    def loss(points, _):
        x, y = points.T
        slope = np.stack([-400 * x * (y - x**2) - 2 * (1 - x), 200 * (y - x**2)], axis=1)
        return 100 * (y - x**2) ** 2 + (1 - x) ** 2, slope

    found = minimise(loss, np.array([[-1.2, 1.0]]), 200)
    known = minimize(lambda p: tuple(part[0] for part in loss(p[None], None)), [-1.2, 1.0],
                     jac=True, method="L-BFGS-B")
    np.testing.assert_allclose(found[0], known.x, atol=1e-3)


@pytest.mark.parametrize("n_problems", [0, 3])
def test_no_steps_and_no_problems(n_problems):
    loss, _ = make_loss(max(n_problems, 1), 4)
    start = np.ones((n_problems, 4))
    np.testing.assert_array_equal(minimise(loss, start, 0), start)
    assert minimise(loss, start, 5).shape == start.shape
