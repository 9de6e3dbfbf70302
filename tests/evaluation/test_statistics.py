import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.statistics import (
    bootstrap_median,
    bootstrap_ratio,
    bootstrap_weights,
    dice,
    fdr_bh,
    jaccard,
    mask_auc,
    paired_difference,
    percentile_interval,
    permutation_p,
    permutations_within,
    stability,
)


def test_bca_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=60)
    weights = bootstrap_weights(60, 20000, np.random.default_rng(1))
    ours = bootstrap_ratio(values, np.ones(60), weights)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="BCa", random_state=2
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, rtol=0.02)


def test_interval_covers_the_truth():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        hits = rng.binomial(4, rng.beta(4, 6, size=80)).astype(float)
        low, high = bootstrap_ratio(hits, np.full(80, 4.0), bootstrap_weights(80, 500, rng))
        covered += low <= 0.4 <= high
    assert 0.91 <= covered / 300 <= 0.985


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_interval_of_all_or_nothing_is_not_a_point(value):
    hits, size = np.full(20, 3 * value), np.full(20, 3.0)
    low, high = bootstrap_ratio(hits, size, bootstrap_weights(20, 200, np.random.default_rng(0)))
    exact = scipy.stats.binomtest(int(20 * value), 20).proportion_ci()
    assert (low, high) == pytest.approx((exact.low, exact.high))


def test_units_that_were_never_tried_do_not_count():
    hits, size = np.array([1.0, 1, 0, 0]), np.array([1.0, 1, 0, 0])
    weights = bootstrap_weights(4, 200, np.random.default_rng(0))
    low, high = bootstrap_ratio(hits, size, weights)
    assert high == 1.0
    assert low == pytest.approx(scipy.stats.binomtest(2, 2).proportion_ci().low)


def test_percentile_interval_without_numbers():
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


def test_median_interval_holds_the_median():
    values = np.random.default_rng(0).normal(size=101)
    low, high = bootstrap_median(values, 1000, np.random.default_rng(1))
    assert low < np.median(values) < high
    assert high - low < 1


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
    options = {"n_bootstrap": 500, "n_permutations": 499}
    gap = paired_difference(first, second, np.ones(200), rng=rng, **options)
    assert gap.ci_low > 0.03
    assert gap.p == 1 / 500
    same = paired_difference(first, first, np.ones(200), rng=rng, **options)
    assert (same.value, same.p) == (0.0, 1.0)


def test_mask_agreement():
    a, b = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)
    assert dice(a, b) == 0.5
    assert jaccard(a, b) == pytest.approx(1 / 3)
    assert dice(a & ~a, a & ~a) == jaccard(a & ~a, a & ~a) == 1.0
    assert mask_auc(np.array([4.0, 3, 2, 1]), a) == 1.0
    assert np.isnan(mask_auc(np.arange(4), a | True))


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
    assert np.isnan(stability(np.zeros((3, 4))))
