import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity as reference

from bids_decoder.evaluation.similarity import (
    among_best,
    centre,
    cosine_similarity,
    csls,
    normalise,
)


def test_cosine_matches_scikit_learn():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5)), rng.normal(size=(9, 5))
    np.testing.assert_allclose(cosine_similarity(a, b), reference(a, b), atol=1e-12)


def test_a_row_of_zeros_is_not_a_nan():
    assert not normalise(np.zeros((2, 3))).any()


def test_csls_matches_the_definition():
    similarity = np.random.default_rng(1).normal(size=(6, 8))
    expected = np.empty_like(similarity)
    for i in range(6):
        for j in range(8):
            row = np.mean(sorted(similarity[i])[-3:])
            column = np.mean(sorted(similarity[:, j])[-3:])
            expected[i, j] = 2 * similarity[i, j] - row - column
    np.testing.assert_allclose(csls(similarity, 3), expected)


def test_csls_with_more_neighbours_than_items():
    similarity = np.eye(2)
    np.testing.assert_allclose(csls(similarity, 10), 2 * similarity - 1)


def test_centre_subtracts_the_given_mean():
    np.testing.assert_allclose(centre(np.ones((2, 3)), np.array([1, 2, 3])), [[0, -1, -2]] * 2)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_among_best_of_constant_rows_is_chance(k):
    np.testing.assert_allclose(among_best(np.zeros((3, 10)), k), k / 10)


def test_among_best_marks_the_largest_and_shares_the_last_place():
    marks = among_best(np.array([[5.0, 1.0, 4.0, 4.0]]), 2)
    np.testing.assert_allclose(marks, [[1, 0, 0.5, 0.5]])
