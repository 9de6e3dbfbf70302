import numpy as np
import pytest

from bids_decoder.evaluation.pooling import bootstrap_interval, new_participant, random_effects


def test_random_effects_agree_with_statsmodels():
    meta = pytest.importorskip("statsmodels.stats.meta_analysis")
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.02, 0.08, 9)
    values = 0.6 + rng.normal(0, 0.1, 9) + rng.normal(0, errors)
    found = random_effects(values, errors)
    theirs = meta.combine_effects(values, errors**2, method_re="iterated", use_t=True)
    assert found.sd_between**2 == pytest.approx(theirs.tau2, rel=1e-3)
    assert found.mean == pytest.approx(theirs.mean_effect_re, rel=1e-5)
    low, high = theirs.conf_int(use_t=True)[1]
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), rel=1e-4)


def test_interval_of_the_mean_covers():
    rng = np.random.default_rng(1)
    inside, more = [], []
    for _ in range(400):
        errors = rng.uniform(0.05, 0.15, 6)
        values = rng.normal(0, 0.1, 6) + rng.normal(0, errors)
        found = random_effects(values, errors)
        inside.append(found.ci_low <= 0 <= found.ci_high)
        low, high = new_participant(found, (-np.inf, np.inf))
        more.append(low <= rng.normal(0, 0.1) <= high)
    assert 0.91 < np.mean(inside) < 0.995
    assert np.mean(more) > 0.88


def test_participants_who_do_not_differ_beyond_their_errors():
    found = random_effects(np.array([0.5, 0.51, 0.49]), np.full(3, 0.1))
    assert found.sd_between == 0 and found.mean == pytest.approx(0.5)
    # Not narrower than the errors allow.
    assert found.ci_high - found.ci_low > 2 * 0.1 / np.sqrt(3)


def test_without_errors_students_interval():
    found = random_effects(np.array([0.2, 0.4, 0.9]), np.array([0.1, np.nan, 0.1]), (0.0, 1.0))
    assert found.method == "Student's t" and found.mean == pytest.approx(0.5)
    assert found.ci_low == 0.0 and found.ci_high == 1.0


def test_limits_that_cannot_be_known():
    one = random_effects(np.array([0.2]), np.array([0.1]))
    assert np.isnan([one.ci_low, one.ci_high]).all()
    assert np.isnan(new_participant(random_effects(np.ones(2), np.ones(2)), (0, 1))).all()
    assert np.isnan(bootstrap_interval(np.ones(6), np.random.default_rng(0))).all()


def test_bootstrap_interval_is_near_the_normal_one():
    values = np.random.default_rng(2).normal(size=40)
    low, high = bootstrap_interval(values, np.random.default_rng(3))
    half = 1.96 * values.std(ddof=1) / np.sqrt(40)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06)
