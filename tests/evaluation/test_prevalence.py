import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from bids_decoder.errors import InputError
from bids_decoder.evaluation.prevalence import (
    associate,
    bayesian_prevalence,
    group_effect,
    leave_one_out_means,
    permutation_prevalence,
)


def posterior(prevalence, k, n, alpha):
    rate = alpha + (1 - alpha) * prevalence
    return scipy.stats.binom.pmf(k, n, rate)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 20), (7, 10), (10, 10), (14, 40)])
def test_bayesian_prevalence_matches_its_posterior(k, n):
    found = bayesian_prevalence(k, n)
    whole = quad(posterior, 0, 1, (k, n, 0.05))[0]
    mean = quad(lambda g: g * posterior(g, k, n, 0.05), 0, 1)[0] / whole
    inside = quad(posterior, found.ci_low, found.ci_high, (k, n, 0.05))[0] / whole
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert inside == pytest.approx(0.95, abs=1e-6)
    # No other interval of this mass is shorter: densities at inner limits are equal.
    if found.ci_low > 1e-9 and found.ci_high < 1 - 1e-9:
        assert posterior(found.ci_low, k, n, 0.05) == pytest.approx(
            posterior(found.ci_high, k, n, 0.05), rel=1e-5
        )
    grid = np.linspace(0, 1, 10001)
    best = grid[np.argmax(posterior(grid, k, n, 0.05))]
    assert found.most_likely == pytest.approx(best, abs=1e-4)


def test_bayesian_prevalence_agrees_with_its_authors_package():
    theirs = pytest.importorskip("bayesprev")
    found = bayesian_prevalence(9, 20)
    assert found.most_likely == pytest.approx(theirs.map(9, 20, 0.05))
    assert (found.ci_low, found.ci_high) == pytest.approx(theirs.hpdi(0.95, 9, 20, 0.05), abs=1e-4)


def test_impossible_counts_are_refused():
    with pytest.raises(InputError, match="7 of 5"):
        bayesian_prevalence(7, 5)


def test_permutation_prevalence_of_a_clear_effect():
    rng = np.random.default_rng(0)
    found = permutation_prevalence(np.full(10, 5.0), rng.normal(size=(10, 200)), rng=rng)
    assert found.p_global == found.resolution == 1e-4
    # Equation 14 of Allefeld et al. with N = 10 and p = 1e-4.
    expected = (0.05**0.1 - 1e-4**0.1) / (1 - 1e-4**0.1)
    assert found.largest_rejected == pytest.approx(expected)
    assert found.p_majority == pytest.approx((0.5 * 1e-4**0.1 + 0.5) ** 10)


def test_global_null_is_rejected_as_often_as_it_should():
    rng = np.random.default_rng(1)
    found = [
        permutation_prevalence(null[:, 0], null[:, 1:], n_draws=400, rng=rng)
        for null in rng.normal(size=(300, 4, 60))
    ]
    p = np.array([one.p_global for one in found])
    assert 0.02 < np.mean(p <= 0.05) < 0.09
    assert np.isnan([one.largest_rejected for one, value in zip(found, p, strict=True)
                     if value > 0.05]).all()


def test_sign_flips_agree_with_scipy():
    values = np.array([0.1, 0.3, 0.2, -0.05, 0.25, 0.15])
    found = group_effect(values, n_permutations=0, rng=np.random.default_rng(0))
    theirs = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", vectorized=True
    )
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.resolution == 2 / 64
    assert found.ci_low < found.mean < found.ci_high
    many = group_effect(np.tile(values, 5), n_permutations=999, rng=np.random.default_rng(0))
    assert many.p == many.resolution == 1 / 1000


def test_influence_of_each_participant():
    assert leave_one_out_means(np.array([1.0, 2, 6])) == pytest.approx([4, 3.5, 1.5])


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
    assert naive.t == pytest.approx(two.statistic)


def test_a_group_of_everybody_is_refused():
    with pytest.raises(InputError, match="do not vary"):
        associate(np.arange(5.0), np.ones(5), n_permutations=9, rng=np.random.default_rng(0))
