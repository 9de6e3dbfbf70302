import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from bids_decoder.errors import InputError
from bids_decoder.evaluation.prevalence import (
    bayesian_prevalence,
    group_effect,
    leave_one_out_means,
    permutation_prevalence,
)


def posterior(prevalence, k, n, alpha):
    rate = alpha + (1 - alpha) * prevalence
    return scipy.stats.binom.pmf(k, n, rate)


@pytest.mark.parametrize(("k", "n"), [
    (0, 10), (1, 20), (2, 20), (7, 10), (19, 20), (10, 10), (14, 40),
])
def test_bayesian_prevalence_matches_its_posterior(k, n):
    found = bayesian_prevalence(k, n)
    whole = quad(posterior, 0, 1, (k, n, 0.05))[0]
    mean = quad(lambda g: g * posterior(g, k, n, 0.05), 0, 1)[0] / whole
    inside = quad(posterior, found.ci_low, found.ci_high, (k, n, 0.05))[0] / whole
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert inside == pytest.approx(0.95, abs=1e-6)
    # No other interval of this mass is shorter: the density is nowhere outside above that inside.
    grid = np.linspace(0, 1, 10001)
    density = posterior(grid, k, n, 0.05)
    within = (grid >= found.ci_low) & (grid <= found.ci_high)
    assert density[~within].max() <= density[within].min() + 1e-4 * density.max()
    best = grid[np.argmax(density)]
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
    found = permutation_prevalence(np.full(4, 5.0), rng.normal(size=(4, 19)))
    assert found.p_global == found.resolution == pytest.approx(20.0**-4)
    # Equation 14 of Allefeld et al. with N = 4.
    root = 1 / 20
    assert found.largest_rejected == pytest.approx((0.05**0.25 - root) / (1 - root))
    assert found.p_majority == pytest.approx((0.5 * root + 0.5) ** 4)


def test_p_value_is_that_of_drawn_combinations():
    """As published: permutations of participants are combined at random."""
    rng = np.random.default_rng(8)
    observed, nulls = np.array([0.4, 1.1, 0.9]), rng.normal(size=(3, 30))
    together = np.column_stack([observed, nulls])
    drawn = together[np.arange(3), rng.integers(31, size=(200_000, 3))].min(axis=1)
    found = permutation_prevalence(observed, nulls)
    assert found.p_global == pytest.approx((drawn >= observed.min()).mean(), abs=0.003)


def test_global_null_is_rejected_as_often_as_it_should():
    rng = np.random.default_rng(1)
    found = [
        permutation_prevalence(null[:, 0], null[:, 1:]) for null in rng.normal(size=(2000, 4, 60))
    ]
    p = np.array([one.p_global for one in found])
    assert 0.035 < np.mean(p <= 0.05) < 0.065
    assert np.isnan([one.largest_rejected for one, value in zip(found, p, strict=True)
                     if value > 0.05]).all()


def test_participants_without_permutations_are_refused():
    with pytest.raises(InputError, match="2 observed scores"):
        permutation_prevalence(np.ones(2), [np.zeros(5), np.zeros(0)])


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
    wide = group_effect(np.array([-1.0, 1, -1, 1]), n_permutations=0, rng=np.random.default_rng(0))
    assert (wide.ci_low, wide.ci_high) == (-1, 1)


def test_influence_of_each_participant():
    assert leave_one_out_means(np.array([1.0, 2, 6])) == pytest.approx([4, 3.5, 1.5])


def test_smallest_p_of_few_participants():
    found = permutation_prevalence(np.ones(2), np.zeros((2, 20)))
    assert found.resolution == pytest.approx(1 / 21**2)
    assert found.resolution_majority == pytest.approx((0.5 / 21 + 0.5) ** 2)
    # With four participants the majority null cannot be rejected, however strong the effect.
    least = [
        permutation_prevalence(np.ones(n), np.zeros((n, 1000))).resolution_majority for n in (4, 5)
    ]
    assert least[0] > 0.05 > least[1]


def test_prevalence_of_a_simulated_population_is_found():
    """Half of the population has an effect that its own test nearly always finds."""
    rng = np.random.default_rng(4)
    covered, rejected, bound = [], [], []
    for _ in range(120):
        has = rng.random(20) < 0.5
        null = rng.normal(size=(20, 40))
        observed = rng.normal(size=20) + 5 * has
        p = (1 + (null >= observed[:, None]).sum(axis=1)) / 41
        found = bayesian_prevalence(int((p <= 0.05).sum()), 20)
        covered.append(found.ci_low <= 0.5 <= found.ci_high)
        tested = permutation_prevalence(observed, null)
        rejected.append(tested.p_majority <= 0.05)
        bound.append(tested.largest_rejected >= 0.5)
    assert 0.9 < np.mean(covered) < 0.995
    assert np.mean(rejected) <= 0.05 and np.mean(bound) <= 0.05


def test_a_majority_is_found_where_nearly_everybody_has_an_effect():
    rng = np.random.default_rng(9)
    found = [
        permutation_prevalence(rng.normal(4, 1, 8), rng.normal(size=(8, 100))).p_majority
        for _ in range(50)
    ]
    assert np.mean(np.array(found) <= 0.05) > 0.9
