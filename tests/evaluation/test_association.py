import numpy as np
import pytest
import scipy.stats

from bids_decoder.errors import InputError
from bids_decoder.evaluation.association import associate, compare_groups


def test_groups_are_compared_within_sites():
    rng = np.random.default_rng(2)
    site = np.repeat([0, 1], 20)
    group = np.tile([0.0, 1.0], 20)
    # One site scores higher throughout and has more of one group: no effect of the group.
    group[site == 1] = rng.random(20) < 0.8
    scores = site * 5 + rng.normal(size=40)
    naive = associate(scores, group, n_permutations=499, rng=rng)
    blocked = associate(scores, group, n_permutations=499, rng=rng, blocks=site)
    assert naive.p < 0.1 and blocked.p > 0.05
    effect = associate(scores + 2 * group, group, n_permutations=499, rng=rng, blocks=site)
    assert effect.p < 0.01 and effect.value == pytest.approx(2 + blocked.value)
    two = scipy.stats.ttest_ind(scores[group == 1], scores[group == 0])
    assert naive.statistic == pytest.approx(two.statistic)
    limits = two.confidence_interval()
    assert (naive.ci_low, naive.ci_high) == pytest.approx((limits.low, limits.high))


def test_a_group_of_everybody_is_refused():
    with pytest.raises(InputError, match="do not vary"):
        associate(np.arange(5.0), np.ones(5), n_permutations=9, rng=np.random.default_rng(0))


def test_slope_of_a_covariate_agrees_with_linear_regression():
    rng = np.random.default_rng(3)
    age = rng.normal(30, 8, 25)
    scores = 0.02 * age + rng.normal(size=25)
    found = associate(scores, age, n_permutations=1999, rng=rng)
    theirs = scipy.stats.linregress(age, scores)
    assert found.value == pytest.approx(theirs.slope)
    assert found.statistic == pytest.approx(theirs.slope / theirs.stderr)
    assert found.p == pytest.approx(theirs.pvalue, abs=0.04)


def test_several_groups_agree_with_the_analysis_of_variance():
    rng = np.random.default_rng(5)
    groups = np.repeat(["a", "b", "c"], 9)
    scores = rng.normal(size=27) + 0.6 * (groups == "c")
    found = compare_groups(scores, groups, n_permutations=1999, rng=rng)
    theirs = scipy.stats.f_oneway(*(scores[groups == name] for name in "abc"))
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue, abs=0.04)
    between = sum(9 * (scores[groups == name].mean() - scores.mean()) ** 2 for name in "abc")
    assert found.value == pytest.approx(between / np.square(scores - scores.mean()).sum())


def test_smallest_p_of_two_groups_of_three_is_a_tenth():
    rng = np.random.default_rng(6)
    group = np.repeat([0, 1], 3)
    found = associate(group + 0.01 * rng.random(6), group, n_permutations=4999, rng=rng)
    assert found.resolution == pytest.approx(2 / 20)
    assert found.p == pytest.approx(0.1, abs=0.02)


def test_smallest_p_of_groups_that_can_change_their_names():
    rng = np.random.default_rng(8)
    group, site = np.tile([0, 1, 2], 2), np.repeat([0, 1], 3)
    scores = 5.0 * group + 0.01 * rng.random(6)
    found = compare_groups(scores, group, n_permutations=4999, rng=rng, blocks=site)
    # 36 arrangements within sites, six of which name the same groups.
    assert found.resolution == pytest.approx(6 / 36)
    assert found.p == pytest.approx(6 / 36, abs=0.02)


def test_groups_without_a_difference_are_seldom_significant():
    rng = np.random.default_rng(7)
    site, group = np.repeat([0, 1], 8), np.tile([0, 1, 2, 0], 4)
    p = [
        compare_groups(site + rng.normal(size=16), group, n_permutations=99, rng=rng,
                       blocks=site).p
        for _ in range(300)
    ]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09
