"""Exchange of the names of labels across kinds of trials."""

import numpy as np
import pytest

from bids_decoder.evaluation.label_names import exchange_names


@pytest.mark.parametrize(("n_labels", "p"), [(2, 1 / 2), (3, 1 / 6), (4, 1 / 24), (8, 1 / 200)])
def test_a_perfect_decoder_has_the_smallest_p_of_its_number_of_labels(n_labels, p):
    rng = np.random.default_rng(0)
    assert exchange_names(np.diag([5] * n_labels), 199, rng) == pytest.approx(p)


def test_p_is_the_share_of_arrangements_with_at_least_this_balanced_accuracy():
    """Of six arrangements one has a larger sum of recalls than the true one."""
    shares = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.0, 0.75, 0.25]])
    counts = np.diag([4, 8, 20]) @ shares
    null = {"abc": 1.25, "acb": 1.5, "bac": 1.0, "bca": 0.75, "cab": 1.0, "cba": 0.5}
    n_better = sum(value >= 1.25 for value in null.values())
    assert exchange_names(counts, 0, np.random.default_rng(0)) == pytest.approx(n_better / 6)


def test_labels_that_were_not_tested_have_no_name_to_exchange():
    counts = np.array([[4, 0, 0], [0, 0, 0], [1, 0, 3]])
    assert exchange_names(counts, 0, np.random.default_rng(0)) == 0.5


def test_unrelated_codes_are_not_significant_more_often_than_they_should_be():
    """All trials of a label are taken for one of five labels, which is arbitrary."""
    rng, p = np.random.default_rng(0), []
    for _ in range(1000):
        counts = np.zeros((5, 5))
        counts[np.arange(5), rng.integers(0, 5, 5)] = 20
        p.append(exchange_names(counts, 0, rng))
    assert 0.005 < np.mean(np.array(p) <= 0.05) <= 0.07
