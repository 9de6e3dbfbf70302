import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity as reference

from bids_decoder.evaluation.similarity import (
    SMOOTHING,
    among_best,
    centre,
    cosine_similarity,
    csls,
    normalise,
    sinkhorn,
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


def test_the_plan_has_equal_masses_and_follows_the_similarities():
    similarity = np.random.default_rng(2).normal(size=(30, 30)) + 2 * np.eye(30)
    logarithm = sinkhorn(similarity)
    plan = np.exp(logarithm - logarithm.max())
    plan /= plan.sum()
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 30, rtol=1e-4)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 30, rtol=1e-4)
    # The optimum has this form: similarities over the penalty, plus a term of row and of column.
    rest = logarithm - similarity / (SMOOTHING * similarity.std())
    rest = rest - rest.mean(axis=0) - rest.mean(axis=1, keepdims=True) + rest.mean()
    np.testing.assert_allclose(rest, 0, atol=1e-8)


def test_the_plan_undoes_a_hub_and_does_not_depend_on_the_scale():
    similarity = 0.1 * np.random.default_rng(3).normal(size=(40, 40)) + 0.3 * np.eye(40)
    similarity[:, 5] += 0.5
    assert (similarity.argmax(axis=1) == np.arange(40)).sum() < 5
    assert (sinkhorn(similarity).argmax(axis=1) == np.arange(40)).sum() >= 36
    np.testing.assert_allclose(sinkhorn(10 * similarity), sinkhorn(similarity), atol=1e-6)


def test_equal_similarities_are_not_matched_and_large_sets_are_not_rounded_to_ties():
    assert not sinkhorn(np.zeros((4, 4))).any()
    clear = sinkhorn(np.eye(2000) + 1e-3 * np.random.default_rng(4).normal(size=(2000, 2000)))
    assert np.isfinite(clear).all() and len(np.unique(clear[0])) == 2000


def test_centre_subtracts_the_given_mean():
    np.testing.assert_allclose(centre(np.ones((2, 3)), np.array([1, 2, 3])), [[0, -1, -2]] * 2)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_among_best_of_constant_rows_is_chance(k):
    np.testing.assert_allclose(among_best(np.zeros((3, 10)), k), k / 10)


def test_among_best_marks_the_largest_and_shares_the_last_place():
    marks = among_best(np.array([[5.0, 1.0, 4.0, 4.0]]), 2)
    np.testing.assert_allclose(marks, [[1, 0, 0.5, 0.5]])
