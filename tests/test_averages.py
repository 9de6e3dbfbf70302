"""Means of rows that belong together."""

import numpy as np
import pytest

from bids_decoder.averages import average_rows, averages

MEMBER = np.array([2, 0, 1, 0, 2, 2])


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_rows_with_the_same_number_are_averaged(shape, precision):
    values = np.random.default_rng(1).standard_normal((6, *shape)).astype(precision)
    expected = [values[k == MEMBER].mean(axis=0) for k in range(3)]
    found = average_rows(values, MEMBER)
    assert found.dtype == precision
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_number_that_does_not_occur_has_no_rows():
    np.testing.assert_array_equal(averages(np.array([0, 2, 2])).toarray(), [
        [1, 0, 0], [0, 0, 0], [0, 0.5, 0.5],
    ])
    assert averages(np.zeros(0, dtype=int)).shape == (0, 0)
