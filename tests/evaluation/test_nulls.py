import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.nulls import (
    _expected_in_random_order,
    exchange_stimuli,
    find_exchange,
    p_values,
    permutation_blocks,
    tail_p,
)


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


def test_labels_that_change_exactly_half_as_often_as_in_random_order_are_no_blocks():
    assert exchange("aabb")[0].kind == "trials within runs"
    assert exchange("aaabbb")[0].kind == "blocks within runs"


def test_blocks_of_two_trials_are_blocks_however_often_labels_change():
    """With three labels in random order they change as often as in half of all random orders."""
    rng, kinds = np.random.default_rng(0), set()
    for _ in range(100):
        runs = ["".join(x * 2 for x in rng.permutation(list("aabbc"))) for _ in range(8)]
        kinds.add(exchange(" ".join(runs))[0].kind)
    assert kinds == {"blocks within runs"}
    assert exchange("aabbaabbaabb bbaabbaabbaa")[0].kind == "blocks within runs"
    one_missing = "aabbaabbaabb " * 3 + "abbaabbaabb"
    assert exchange(one_missing)[0].kind == "blocks within runs"


@pytest.mark.parametrize("shares", [(10, 10), (18, 2), (4, 4, 2), (2, 2, 2, 2)])
def test_random_order_is_hardly_ever_taken_for_blocks(shares):
    rng, labels = np.random.default_rng(0), np.repeat(list("abcd")[:len(shares)], shares)
    kinds = [
        exchange(" ".join("".join(rng.permutation(labels)) for _ in range(2)))[0].kind
        for _ in range(500)
    ]
    assert kinds.count("trials within runs") >= 495


def test_blocks_move_as_wholes():
    found, _ = exchange("aaaabbbbcccc bbbbccccaaaa")
    assert found.kind == "blocks within runs"
    assert {"".join(drawn) for drawn in found.draw(300, np.random.default_rng(0))} == {
        "".join(letter * 4 for letter in first + second)
        for first in ("abc", "acb", "bac", "bca", "cab", "cba")
        for second in ("abc", "acb", "bac", "bca", "cab", "cba")
    }


@pytest.mark.parametrize(("text", "expected"), [
    ("aaaaaabbbccc bbbaaacccaaa", "aaa aaa bbb ccc bbb aaa ccc aaa"),  # two blocks of a in a row
    ("aaaabbcc aaaaccbb", "aaaa bb cc aaaa cc bb"),  # blocks of a last longer
    ("aaaaaaabbbb aaaabbb bbbbaaaa", "aaa aaaa bbbb aaaa bbb bbbb aaaa"),  # a trial is missing
    ("xaaaaaaxbbbbbbx xbbbbbbxaaaaaaxa", "x aaaaaa x bbbbbb x x bbbbbb x aaaaaa x a"),  # cues
    ("aaaaaabbbb aaaabbbb bbbbaaaa", "aaaaaa bbbb aaaa bbbb bbbb aaaa"),  # not twice as long
    ("aaaabbcc aabbcc bbaacc", "aa aa bb cc aa bb cc bb aa cc"),  # blocks of two trials
    # A quarter of the blocks of a are of the common length; most are of twice that.
    ("aaabbbccc aaaaaabbbccc cccaaaaaabbb bbbaaaaaaccc",
     "aaa bbb ccc aaa aaa bbb ccc ccc aaa aaa bbb bbb aaa aaa ccc"),
    # That one is longer by a quarter, as much as is tolerated, and so is the pair of blocks.
    ("aaaaabbbb aaaaaaaabbbb bbbbaaaaaaaa aaaaaaaaabbbb bbbb",
     "aaaaa bbbb aaaa aaaa bbbb bbbb aaaa aaaa aaaa aaaaa bbbb bbbb"),
])
def test_consecutive_blocks_of_a_label_count_one_by_one(text, expected):
    found, _ = exchange(text)
    assert found.kind == "blocks within runs"
    letters = "".join(text.split())
    starts = np.flatnonzero(np.diff(found.unit_of, prepend=-1))
    assert [letters[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)] == (
        expected.split()
    )
    assert "".join(found.labels) == "".join(unit[0] for unit in expected.split())


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


def test_the_tail_is_a_pareto_distribution_of_the_excess():
    """Of the 30 largest of 120 values the last is tied with the next: the 20 largest are used."""
    null = scipy.stats.expon.ppf((np.arange(120) + 0.5) / 120)
    null[90] = null[89]
    excess = null[100:] - (null[100] + null[99]) / 2
    fitted = scipy.stats.genpareto(*scipy.stats.genpareto.fit(excess, floc=0))
    observed = null[-1] + 1.0
    expected = 20 / 120 * fitted.sf(observed - (null[100] + null[99]) / 2)
    assert 0 < expected < 1 / 121
    assert tail_p(observed, np.random.default_rng(0).permutation(null)) == pytest.approx(expected)


def test_the_tail_is_fitted_from_a_hundred_values_and_below_ten_that_reach_the_observed_one():
    null = scipy.stats.expon.ppf((np.arange(100) + 0.5) / 100)
    assert 0 < tail_p(null[-1] + 1.0, null) < 1 / 101
    assert np.isnan(tail_p(null[-1] + 1.0, null[1:]))
    assert np.isfinite(tail_p(null[-9], null)) and np.isnan(tail_p(null[-10], null))


def test_a_tail_that_ends_before_the_observed_value_gives_no_p():
    null = np.random.default_rng(0).uniform(size=400)
    assert tail_p(np.sort(null)[-5], null) > 0 and np.isnan(tail_p(2.0, null))


def test_expected_changes_and_single_trials_are_those_of_random_order_within_runs():
    labels = np.array(list("aaabbc" "aabbb" "c"))
    run_of = np.repeat([0, 1, 2], [6, 5, 1])
    rng, counted = np.random.default_rng(0), []
    for _ in range(4000):
        mixed = np.concatenate([rng.permutation(labels[run_of == run]) for run in range(3)])
        within = np.diff(run_of) == 0
        starts = np.concatenate([[True], (mixed[1:] != mixed[:-1]) | ~within, [True]])
        counted.append((starts[1:-1][within].sum(), (starts[:-1] & starts[1:]).sum()))
    assert _expected_in_random_order(labels, run_of) == pytest.approx(
        np.mean(counted, axis=0), abs=0.1
    )


@pytest.mark.parametrize(("runs", "expected"), [
    ("xxyyyy", [0, 0, 1]),  # each image in one run, which has others
    ("xyxyyy", [0, 0, 0]),  # one image in two runs
    ("xxyyzz", [0, 0, 0]),  # runs of one image: within them nothing could be exchanged
])
def test_images_are_exchanged_within_runs_where_each_was_shown_in_one(runs, expected):
    image_of = np.array([0, 1, 2, 2, 2, 2]) if runs == "xxyyyy" else np.array([0, 0, 1, 1, 2, 2])
    assert permutation_blocks(image_of, np.array(list(runs))).tolist() == expected


def test_stimuli_that_belong_together_change_places_with_groups_of_their_size():
    stimuli, runs = np.array(list("abcdef")), np.repeat("x", 6)
    found, members = exchange_stimuli(stimuli, runs, [["a", "d"], ["c", "b"], ["z"]])
    assert found.kind == "stimuli"
    assert members.tolist() == [[0, 3], [1, 2], [4, -1], [5, -1]]
    drawn = found.draw(200, np.random.default_rng(0))
    assert (drawn[:, 0] == drawn[:, 3]).all()
    assert {tuple(row) for row in drawn[:, [0, 1]].tolist()} == {(0, 1), (1, 0)}
    assert {tuple(row) for row in drawn[:, [4, 5]].tolist()} == {(2, 3), (3, 2)}


def test_smaller_errors_are_better_in_the_lower_tail():
    null = np.arange(1.0, 100.0)
    assert p_values(0.5, null, "less")["p"] == pytest.approx(0.01)
    assert p_values(0.5, null)["p"] == 1.0
    assert np.isnan(p_values(0.5, null[:0])["p"])
    assert p_values(0.5, null)["n_null"] == 99


def test_the_fitted_tail_is_that_of_better_values():
    null = np.random.default_rng(2).normal(size=1000)
    above, below = p_values(4.0, null), p_values(-4.0, -null, "less")
    assert 0 < above["p_tail"] < above["p"]
    assert below == above
