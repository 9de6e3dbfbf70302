import itertools

import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.statistics import (
    dice,
    fdr_bh,
    paired_difference,
    permutation_p,
    permutations_within,
    smallest_p,
    stability,
)


def test_permutations_stay_in_their_block():
    blocks = np.array([2, 0, 2, 1, 0, 2, 1, 0])
    drawn = permutations_within(blocks, 500, np.random.default_rng(0))
    assert (blocks[drawn] == blocks).all()
    assert (np.sort(drawn, axis=1) == np.arange(8)).all()
    # Each of the three members of block 2 comes to each of its places equally often.
    share = [(drawn[:, 0] == i).mean() for i in (0, 2, 5)]
    np.testing.assert_allclose(share, 1 / 3, atol=0.08)


def test_permutation_p_counts_the_observed_value():
    assert permutation_p(5.0, np.arange(4)) == 1 / 5
    assert permutation_p(3.0, np.arange(4)) == 2 / 5
    assert permutation_p(0.0, np.arange(4), tail="less") == 2 / 5
    assert permutation_p(1.0, np.array([])) == 1.0


def test_p_is_uniform_under_the_null():
    rng = np.random.default_rng(5)
    blocks = np.repeat(np.arange(5), 8)
    p = []
    for _ in range(400):
        x, y = rng.normal(size=(2, 40))
        null = x[permutations_within(blocks, 99, rng)] @ y
        p.append(permutation_p(x @ y, null))
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) < 0.09


def test_fdr_keeps_untested_voxels_out():
    p = np.array([0.01, np.nan, 0.02, 0.9])
    adjusted = fdr_bh(p)
    assert np.isnan(adjusted[1])
    np.testing.assert_allclose(adjusted[[0, 2, 3]], [0.03, 0.03, 0.9])
    assert np.isnan(fdr_bh(np.full(3, np.nan))).all()


def test_paired_difference_finds_what_separate_intervals_hide():
    rng = np.random.default_rng(6)
    easy = rng.random(200)
    first, second = easy + 0.05 + rng.normal(0, 0.05, 200), easy + rng.normal(0, 0.05, 200)
    options = {"n_permutations": 499}
    gap = paired_difference(first, second, np.ones(200), rng=rng, **options)
    assert gap.ci_low > 0.03
    assert gap.p == 1 / 500
    same = paired_difference(first, first, np.ones(200), rng=rng, **options)
    assert (same.value, same.p) == (0.0, 1.0)


def test_paired_difference_of_units_of_unequal_size():
    rng = np.random.default_rng(8)
    size = np.array([1, 2, 3, 4, 5, 6, 8, 3.0])
    first, second = rng.binomial(size.astype(int), 0.7), rng.binomial(size.astype(int), 0.4)
    found = paired_difference(first, second, size, n_permutations=20_000, rng=rng)
    value = (first.sum() - second.sum()) / size.sum()
    assert found.value == pytest.approx(value)
    # Standard error of a ratio of sums (Cochran 1977, eq. 2.46), without correction for size.
    rest = first - second - value * size
    error = np.sqrt((rest**2).sum() / (len(size) - 1) / len(size)) / size.mean()
    half = scipy.stats.t.ppf(0.975, len(size) - 1) * error
    assert (found.ci_low, found.ci_high) == pytest.approx((value - half, value + half))
    # All ways to exchange the two models.
    signs = np.array(list(itertools.product((-1, 1), repeat=len(size))))
    exact = (np.abs(signs @ (first - second)) >= abs(first.sum() - second.sum())).mean()
    assert 0.01 < exact < 0.5
    assert found.p == pytest.approx(exact, abs=0.015)


def test_mask_agreement():
    a, b = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)
    assert dice(a, b) == 0.5
    assert dice(np.ones(4, bool), np.array([1, 1, 1, 0], bool)) == pytest.approx(6 / 7)
    assert dice(a & ~a, a & ~a) == 1.0


def test_stability_of_equal_and_of_random_masks():
    rng = np.random.default_rng(7)
    mask = rng.random(2000) < 0.2
    assert stability(np.stack([mask] * 5)) == pytest.approx(1)
    random = np.stack([rng.permutation(mask) for _ in range(5)])
    assert abs(stability(random)) < 0.03
    # For equal sizes the index is the mean pairwise kappa-like agreement.
    size, d = mask.sum(), len(mask)
    pairs = [(random[i] & random[j]).sum() for i in range(5) for j in range(i)]
    expected = (np.mean(pairs) - size**2 / d) / (size - size**2 / d)
    assert stability(random) == pytest.approx(expected)
    with np.errstate(all="raise"):
        assert np.isnan([stability(np.zeros((3, 4))), stability(np.ones((3, 4))),
                         stability(random[:1])]).all()


def test_smallest_p_counts_distinct_arrangements():
    two_in_five_runs = np.repeat(np.arange(5), 2)
    assert smallest_p(np.arange(10), two_in_five_runs, 1000) == pytest.approx(1 / 2**5)
    assert smallest_p(np.arange(10), np.zeros(10), 1000) == pytest.approx(1 / 1001)
    labels = np.array(["a", "a", "b", "b"])
    assert smallest_p(labels, np.zeros(4), 1000) == pytest.approx(1 / 6)
    assert smallest_p(labels, np.array(["r", "s", "r", "s"]), 1000) == pytest.approx(1 / 4)
    assert smallest_p(np.full(8, "a"), np.zeros(8), 1000) == 1.0
    assert smallest_p(np.arange(500), np.zeros(500), 99) == pytest.approx(1 / 100)


def test_a_perfect_score_has_about_the_smallest_p():
    blocks = np.repeat(np.arange(3), 2)
    orders = permutations_within(blocks, 20_000, np.random.default_rng(0))
    right = (orders == np.arange(6)).mean(axis=1)
    least = smallest_p(np.arange(6), blocks, 20_000)
    assert permutation_p(1.0, right) == pytest.approx(least, rel=0.05)
