import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.nulls import find_exchange, tail_p


def exchange(text):
    """Exchange of runs written as words, one letter per trial."""
    words = text.split()
    runs = np.repeat([f"run-{k}" for k in range(len(words))], [len(word) for word in words])
    return find_exchange(np.array(list("".join(words))), runs, runs), runs


def test_mixed_trials_are_exchanged_within_runs():
    found, runs = exchange("abcabc cabbca")
    assert found.kind == "trials within runs"
    for drawn in found.draw(50, np.random.default_rng(0)):
        for run in np.unique(runs):
            assert sorted(drawn[runs == run]) == list("aabbcc")
    assert found.smallest_p(10**9) == pytest.approx(1 / 90**2)


def test_blocks_move_as_wholes():
    found, _ = exchange("aaaabbbbcccc bbbbccccaaaa")
    assert found.kind == "blocks within runs"
    assert {"".join(drawn) for drawn in found.draw(300, np.random.default_rng(0))} == {
        "".join(letter * 4 for letter in first + second)
        for first in ("abc", "acb", "bac", "bca", "cab", "cba")
        for second in ("abc", "acb", "bac", "bca", "cab", "cba")
    }


def test_runs_of_one_label_change_places():
    found, _ = exchange("aaa bbb aaa bbb")
    assert found.kind == "whole runs"
    for drawn in found.draw(20, np.random.default_rng(0)):
        assert sorted(drawn[::3]) == list("aabb")
    assert found.smallest_p(1000) == pytest.approx(1 / 6)


def test_runs_of_one_label_change_places_within_folds_that_hold_several():
    labels, runs = np.array(list("aabbaabb")), np.repeat(list("wxyz"), 2)
    found = find_exchange(labels, runs, np.repeat([1, 1, 2, 2], 2))
    assert found.kind == "whole runs within folds"
    drawn = {"".join(row) for row in found.draw(200, np.random.default_rng(0))}
    assert drawn == {"aabbaabb", "aabbbbaa", "bbaaaabb", "bbaabbaa"}
    assert found.smallest_p(1000) == 0.25


def test_smallest_p_is_that_of_the_permutations_where_arrangements_abound():
    found, _ = exchange("abcabc cabbca")
    assert found.smallest_p(99) == 0.01


def test_rows_of_a_run_need_not_be_neighbours():
    labels, runs = np.array(list("abab")), np.array(["x", "y", "x", "y"])
    found = find_exchange(labels, runs, runs)
    assert found.kind == "whole runs"
    assert (found.labels[found.unit_of] == labels).all()


def test_tail_of_a_normal_null():
    rng = np.random.default_rng(0)
    found = [tail_p(4.0, rng.normal(size=1000)) for _ in range(30)]
    found = np.array([p for p in found if np.isfinite(p)])
    assert len(found) > 5
    assert abs(np.median(np.log10(found)) - np.log10(scipy.stats.norm.sf(4))) < 1.0


def test_tail_is_left_alone_where_counts_will_do():
    null = np.random.default_rng(1).normal(size=1000)
    assert np.isnan(tail_p(1.0, null))
    assert np.isnan(tail_p(9.0, null[:50]))
    assert np.isnan(tail_p(9.0, np.round(null)))
