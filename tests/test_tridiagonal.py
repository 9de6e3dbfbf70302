"""Many penalties by one reduction, against a solution of each."""

import numpy as np
import pytest

from bids_decoder.tridiagonal import Tridiagonal


@pytest.mark.parametrize("n_rows", [1, 2, 3, 60])
@pytest.mark.parametrize("penalty", [0.01, 30.0])
def test_solves_the_penalised_matrix(n_rows, penalty):
    rng = np.random.default_rng(n_rows)
    factor = rng.standard_normal((n_rows, n_rows + 2)) / np.sqrt(n_rows)
    matrix = factor @ factor.T
    values, others = rng.standard_normal((n_rows, 5)), rng.standard_normal((n_rows, 3))
    expected = others.T @ np.linalg.solve(matrix + penalty * np.eye(n_rows), values)
    given = np.asfortranarray(np.tril(matrix).astype(np.float32))
    form = Tridiagonal(given)
    found = form.turn(others).T @ form.solve(form.turn(values), penalty)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


def test_values_of_the_caller_stay():
    matrix = np.eye(4, dtype=np.float32, order="F") + 1
    values = np.asfortranarray(np.random.default_rng(0).standard_normal((4, 2), np.float32))
    before = values.copy()
    form = Tridiagonal(matrix)
    form.solve(form.turn(values), 1.0)
    np.testing.assert_array_equal(values, before)


def test_nothing_to_turn():
    assert Tridiagonal(np.eye(3, dtype=np.float32)).turn(np.empty((3, 0))).shape == (3, 0)


def test_one_direction_that_is_nearly_all_of_the_matrix():
    # Rounding makes eigenvalues of zero more negative than the penalty is positive.
    n_rows, penalty = 1500, 10**-2.5
    signs = np.where(np.arange(n_rows) % 2, 1.0, -1.0)
    form = Tridiagonal(np.outer(signs, signs).astype(np.float32, order="F"))
    turned = form.turn(signs[:, None])
    found = float((turned.T @ form.solve(turned, penalty))[0, 0])
    assert found == pytest.approx(1.0, abs=1e-3)
