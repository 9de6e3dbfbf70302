"""Exchange of the names of labels across kinds of trials."""

import numpy as np
import pytest

from bids_decoder.evaluation.label_names import exchange_names
from bids_decoder.evaluation.nulls import Exchange


def p_of_names(true, guess, runs=None, n_permutations=199):
    true, trials = np.array(true), np.arange(len(true))
    runs = np.zeros(len(true), int) if runs is None else np.array(runs)
    exchange = Exchange("trials within runs", trials, true, runs)
    return exchange_names(true, np.array(guess), exchange, n_permutations, np.random.default_rng(0))


@pytest.mark.parametrize(("n_labels", "p"), [(2, 1 / 2), (3, 1 / 6), (4, 1 / 24), (8, 1 / 200)])
def test_a_perfect_decoder_has_the_smallest_p_of_its_number_of_labels(n_labels, p):
    true = np.repeat(np.arange(n_labels), 5)
    assert p_of_names(true, true) == pytest.approx(p)


def test_p_is_the_share_of_arrangements_with_at_least_this_balanced_accuracy():
    """Recalls of the six arrangements sum to 1.25, 1.5, 1, .75, 1 and .5."""
    shares = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.0, 0.75, 0.25]])
    counts = (np.array([[4], [8], [20]]) * shares).astype(int)
    cells = np.repeat(np.arange(9), counts.ravel())
    assert p_of_names(cells // 3, cells % 3) == pytest.approx(2 / 6)


def test_labels_that_were_not_tested_have_no_name_to_exchange():
    assert p_of_names([0, 0, 0, 2, 2, 2], [0, 0, 1, 1, 2, 2]) == 0.5


def test_decoders_that_name_the_frequent_label_of_each_run_tell_nothing():
    """Their guesses follow the labels of runs, but not those of trials within runs."""
    true = [0, 0, 0, 1, 2, 1, 1, 1, 0, 2, 2, 2, 2, 0, 1]
    runs, guess = np.repeat([0, 1, 2], 5), np.repeat([0, 1, 2], 5)
    assert p_of_names(true, guess) == pytest.approx(1 / 6)
    assert p_of_names(true, guess, runs) == 1


def test_unrelated_codes_are_not_significant_more_often_than_they_should_be():
    """All trials of a label are taken for one of five labels, which is arbitrary."""
    rng, true = np.random.default_rng(0), np.repeat(np.arange(5), 4)
    p = np.array([p_of_names(true, rng.integers(0, 5, 5)[true]) for _ in range(1000)])
    assert 0.005 < np.mean(p <= 0.05) <= 0.07
