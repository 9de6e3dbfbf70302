import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.intervals import (
    bounded_interval,
    fold_inflation,
    mean_interval,
    median_interval,
    proportion_interval,
    ratio_interval,
    real_interval,
    spread_inflation,
    wilson_limits,
)
from bids_decoder.evaluation.label_scores import (
    Guesses,
    independent_trials,
    label_influence,
    label_intervals,
    label_metrics,
)


def accuracy_interval(hits):
    """Interval of an accuracy from hits, shape (n_runs, n_trials)."""
    value = hits.mean()
    influence = ((hits - value) / hits.size).ravel()
    return proportion_interval(value, influence, np.repeat(np.arange(len(hits)), hits.shape[1]))


def covered(intervals, truth):
    low, high = np.array(intervals).T
    return float(np.mean((low <= truth) & (truth <= high)))


@pytest.mark.parametrize("truth", [0.5, 0.8])
@pytest.mark.parametrize("n_runs", [3, 4, 8, 12, 30])
def test_intervals_over_runs_cover_the_truth(n_runs, truth):
    rng = np.random.default_rng(n_runs)
    share = covered([accuracy_interval(rng.random((n_runs, 8)) < truth) for _ in range(600)], truth)
    assert 0.92 <= share <= 0.99


@pytest.mark.parametrize("n_runs", [4, 12])
def test_intervals_cover_when_runs_differ(n_runs):
    rng = np.random.default_rng(0)
    draws = [
        rng.random((n_runs, 8)) < rng.beta(4.5, 4.5, size=(n_runs, 1)) for _ in range(600)
    ]
    assert 0.91 <= covered([accuracy_interval(hits) for hits in draws], 0.5) <= 0.98


@pytest.mark.parametrize("n_images", [20, 100])
def test_intervals_over_images_cover_the_truth(n_images):
    rng = np.random.default_rng(n_images)
    size = np.full(n_images, 3.0)
    hits = [rng.binomial(3, rng.beta(1.2, 1.8, size=n_images)) for _ in range(600)]
    share = covered([ratio_interval(one, size, 3 * n_images) for one in hits], 0.4)
    assert 0.93 <= share <= 0.98


def crossed_hits(rng, n_runs, per_class=3, n_voxels=15, signal=0.3):
    """Leave each run out of nearest-mean classification of two classes, (n_runs, n_trials)."""
    classes = np.tile([0, 1], per_class)
    pattern = np.random.default_rng(0).standard_normal(n_voxels) * signal
    betas = rng.standard_normal((n_runs, len(classes), n_voxels)) + classes[:, None] * pattern
    hits = []
    for run in range(n_runs):
        train = np.delete(betas, run, axis=0)
        means = [train[:, classes == k].mean(axis=(0, 1)) for k in (0, 1)]
        distance = [np.square(betas[run] - mean).sum(axis=1) for mean in means]
        hits.append(np.argmin(distance, axis=0) == classes)
    return np.array(hits), classes


@pytest.mark.parametrize("n_runs", [4, 8, 12])
def test_intervals_cover_the_expected_accuracy_of_cross_validation(n_runs):
    rng = np.random.default_rng(n_runs)
    values, naive, crossed = [], [], []
    runs = np.repeat(np.arange(n_runs), 6)
    for _ in range(400):
        hits, classes = crossed_hits(rng, n_runs)
        true = np.tile(classes, n_runs)
        guesses = Guesses(np.where(hits.ravel(), true, 1 - true), None, 2)
        values.append(hits.mean())
        for found, folds in ((naive, np.ones_like(runs)), (crossed, runs)):
            found.append(label_intervals(true, guesses, runs, folds)["balanced_accuracy"])
    truth = np.mean(values)
    assert 0.93 <= covered(crossed, truth) <= 0.99
    assert covered(naive, truth) < covered(crossed, truth)


def test_runs_of_one_class_vary_around_the_mean_of_their_class():
    hits = np.array([[1, 1], [0, 0], [1, 1], [0, 0]])
    true, runs, one = np.repeat([0, 0, 1, 1], 2), np.repeat(np.arange(4), 2), np.ones(8)
    guesses = Guesses(np.where(hits.ravel(), true, 1 - true), None, 2)
    low, high = label_intervals(true, guesses, runs, one)["balanced_accuracy"]
    # Four runs less two means: Student's t with two degrees of freedom, squares count double.
    size, quantile = 0.25 / (2 * 4 * 0.125**2 * 7 / 8), scipy.stats.t.ppf(0.975, 2)
    half = quantile * np.sqrt(0.25 / size + quantile**2 / (4 * size**2)) / (1 + quantile**2 / size)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)
    alone = label_intervals(true[2:6], Guesses(true[2:6], None, 2), runs[2:6] - 1, one[:4])
    assert np.isnan(alone["balanced_accuracy"]).all()


def test_folds_that_share_training_trials_inflate_the_variance():
    assert fold_inflation(np.ones(12)) == spread_inflation(np.ones(12)) == 1
    folds = np.repeat([1, 2, 3, 4], 3)
    assert fold_inflation(folds) == pytest.approx(1 + 3 / 4)
    assert spread_inflation(folds) == pytest.approx(1 + 4 / 3)


def test_a_class_of_one_trial_does_not_hide_the_variance_of_the_others():
    hits, strata = np.r_[np.tile([1.0, 1, 1, 0], 15), 1], np.repeat([0, 1, 2], [30, 30, 1])
    influence, runs = np.r_[(hits[:60] - 0.75) / 60, 0], np.minimum(np.arange(61) // 10, 5)
    narrow, wide = (
        proportion_interval(
            0.75, influence, runs, n_trials=61, inflation=inflation, strata=strata
        ) for inflation in (1.01, 1.75)
    )
    assert wide[0] < narrow[0] - 0.01 and wide[1] > narrow[1] + 0.01


def test_variance_under_folds_is_the_larger_one_of_runs_and_trials():
    for hits, clustered in ((np.tile([1.0, 0], (6, 4)), False),
                            (np.repeat([[1.0], [0]] * 3, 8, axis=1), True)):
        n, runs = hits.size, np.repeat(np.arange(6), 8)
        influence = (hits.ravel() - 0.5) / n
        found = proportion_interval(0.5, influence, runs, inflation=1.75)
        # Runs that are all alike do not vary; where each is all right or wrong, trials vary less.
        variance = 1.75 * 0.25 * (1 / 5 if clustered else 1 / (n - 1))
        size, quantile = 0.25 / variance, scipy.stats.norm.ppf(0.975)
        half = quantile * np.sqrt(variance + quantile**2 / (4 * size**2)) / (1 + quantile**2 / size)
        assert found == pytest.approx((0.5 - half, 0.5 + half))


def test_intervals_are_never_narrower_than_those_of_independent_trials():
    rng = np.random.default_rng(1)
    for _ in range(200):
        hits = rng.random((4, 7)) < 0.5
        low, high = accuracy_interval(hits)
        exact = scipy.stats.binomtest(int(hits.sum()), 28).proportion_ci(method="wilson")
        assert low <= exact.low + 1e-9 and high >= exact.high - 1e-9


def test_half_of_four_even_runs():
    hits = np.zeros((4, 7))
    hits[0, :4] = hits[1, :3] = hits[2, :4] = hits[3, :3] = 1
    assert accuracy_interval(hits) == pytest.approx((0.326, 0.674), abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_or_nothing_is_not_a_point(value):
    low, high = accuracy_interval(np.full((9, 5), value))
    exact = scipy.stats.binomtest(int(45 * value), 45).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((exact.low, exact.high))


def test_two_runs_that_contradict_each_other_count_as_about_one_trial():
    low, high = accuracy_interval(np.repeat([[1.0], [0.0]], 9, axis=1))
    quantile = scipy.stats.t.ppf(0.975, 1)
    # 18 / 17: the variance of the binomial interval is that of n, not of n - 1.
    half = 0.5 * quantile / np.sqrt(18 / 17 + quantile**2)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)


def test_unbounded_scores_have_limits_around_the_value():
    rng = np.random.default_rng(9)
    influence = rng.normal(size=40) / 40
    influence -= influence.mean()
    clusters = np.repeat(np.arange(8), 5)
    low, high = real_interval(2.5, influence, clusters)
    assert low < 2.5 < high and high - 2.5 == pytest.approx(2.5 - low)
    wide = real_interval(2.5, influence, clusters, inflation=4.0)
    assert wide[0] < low
    assert np.isnan(real_interval(2.5, influence, np.zeros(40, int))).all()


def test_one_cluster_has_no_interval():
    assert np.isnan(accuracy_interval(np.eye(1, 9))).all()


def test_units_that_were_never_tried_do_not_count():
    hits, size = np.array([1.0, 1, 0, 0]), np.array([1.0, 1, 0, 0])
    assert ratio_interval(hits, size) == pytest.approx(ratio_interval(hits[:2], size[:2]))


@pytest.mark.parametrize("n_units", [20, 100])
def test_medians_and_means_cover(n_units):
    rng = np.random.default_rng(n_units)
    medians, means = [], []
    for _ in range(600):
        medians.append(median_interval(1 + 10 * rng.exponential(size=n_units), 300))
        means.append(mean_interval(rng.uniform(-0.2, 0.6, n_units)))
    assert 0.93 <= covered(medians, 1 + 10 * np.log(2)) <= 0.98
    assert 0.93 <= covered(means, 0.2) <= 0.98


def test_equal_values_still_have_an_interval():
    low, high = mean_interval(np.full(20, 0.3), (0.0, 1.0))
    assert 0 < low < 0.3 < high < 1
    low, high = median_interval(np.ones(30), 100)
    assert (low, high) == (1.0, 1.5)
    assert median_interval(np.array([1.0, 2, 3]), 50) == (1.0, 50.0)
    low, high = bounded_interval(1.0, np.zeros(12))
    assert 0.7 < low < high == 1.0


def test_equal_values_may_have_missed_what_none_of_n_may_miss():
    missed = 1 - 0.025 ** (1 / 20)
    expected = (0.3 - 0.3 * missed, 0.3 + 0.7 * missed)
    assert mean_interval(np.full(20, 0.3), (0.0, 1.0)) == pytest.approx(expected)


@pytest.mark.parametrize("inflation", [1.0, 1.5])
def test_bounded_scores_have_wilsons_limits_with_their_own_variance(inflation):
    influence = 0.02 * np.array([3.0, -1, -2, 1, 4, -5, 2, -2, 1, -1])
    variance = inflation * np.square(influence).sum() * 10 / 9
    quantile = scipy.stats.t.ppf(0.975, 9)
    size = 0.7 * 0.3 / variance
    weight = 1 + quantile**2 / size
    centre = (0.7 + quantile**2 / (2 * size)) / weight
    half = quantile / weight * np.sqrt(variance + quantile**2 / (4 * size**2))
    found = bounded_interval(0.7, influence, inflation)
    assert found == pytest.approx((centre - half, centre + half))
    # A third of the squares counts twice; what is left is never less than what counts twice.
    third = np.square(influence).sum() / 3
    less = bounded_interval(0.7, influence * np.sqrt(2 / 3), inflation)
    assert bounded_interval(0.7, influence, inflation, third) == pytest.approx(less)
    assert bounded_interval(0.7, influence, inflation, 2 * third) == pytest.approx(less)
    # At the bound the influences say nothing.
    assert bounded_interval(1.0, influence) == bounded_interval(1.0, np.zeros(10))


def test_influences_are_derivatives():
    rng = np.random.default_rng(2)
    true, first = rng.integers(3, size=(2, 40))
    first[:4] = 3  # a class that is predicted and never right
    second = rng.random((40, 4))
    guesses = Guesses(first, second, 4)
    exact = label_influence(true, guesses)
    # One more copy of each of 1000 copies of all trials.
    many = 1000
    for trial in (0, 7, 23):
        rows = np.append(np.tile(np.arange(40), many), trial)
        bigger = label_metrics(true[rows][None], Guesses(first[rows], second[rows], 4))
        start = label_metrics(true[None], guesses)
        for name, influence in exact.items():
            change = (bigger[name][0] - start[name][0]) * many
            assert change == pytest.approx(influence[trial], abs=1e-4)
            assert influence.sum() == pytest.approx(0, abs=1e-12)


def test_few_trials_of_a_class_widen_the_interval_of_the_mean_recall():
    true = np.repeat([0, 1], [38, 2])
    guesses = Guesses(true, None, 2)
    limits = label_intervals(true, guesses, np.arange(40) % 4, np.ones(40))
    assert limits["balanced_accuracy"][0] < limits["accuracy"][0] - 0.1


def test_a_mean_recall_varies_less_where_recalls_differ():
    true = np.repeat([0, 1], [40, 20])
    guess = np.concatenate([np.repeat([0, 1], [38, 2]), np.repeat([1, 0], [5, 15])])
    # Half a hit and half a miss more in each class.
    recall = np.array([38.5 / 41, 5.5 / 21])
    mean, variance = recall.mean(), (recall * (1 - recall) / [40, 20]).sum() / 4
    found = independent_trials(true, guess)
    assert found == pytest.approx(mean * (1 - mean) / variance)
    assert found > 4 / (1 / 40 + 1 / 20)


@pytest.mark.parametrize("n_right", [0, 5, 10])
def test_equal_recalls_vary_as_so_many_equal_trials(n_right):
    true = np.repeat([0, 1, 2], 10)
    guess = np.where(np.arange(30) % 10 < n_right, true, (true + 1) % 3)
    assert independent_trials(true, guess) == pytest.approx(30)


def test_trials_of_one_class_do_not_narrow_intervals_of_cross_validation():
    rng = np.random.default_rng(0)
    true = np.tile(np.repeat([0, 1], [6, 4]), 8)
    guess = np.where(rng.random(80) < 0.95, 0, 1)
    runs, guesses = np.repeat(np.arange(8), 10), Guesses(guess, None, 2)
    fixed, crossed = (
        np.diff(label_intervals(true, guesses, runs, folds)["balanced_accuracy"])[0]
        for folds in (np.ones(80), runs)
    )
    assert fixed < 0.8 * crossed


@pytest.mark.parametrize("n_trials", [7, 12, 31, 50])
def test_independent_trials_have_wilsons_limits_whatever_rounding_says(n_trials):
    for n_right in range(1, n_trials):
        hits = (np.arange(n_trials) < n_right).astype(float)
        expected = wilson_limits(n_right / n_trials, n_trials, scipy.stats.norm.ppf(0.975))
        assert ratio_interval(hits, np.ones(n_trials)) == pytest.approx(expected, rel=1e-9)


def test_two_folds_are_trained_on_different_trials():
    assert spread_inflation(np.array([1, 1, 2, 2])) == 3


def test_two_units_have_an_interval_and_one_has_none():
    influence = np.array([0.05, -0.05])
    size = 0.25 / (2 * 0.05**2 * 2)
    expected = wilson_limits(0.5, size, scipy.stats.t.ppf(0.975, 1))
    assert bounded_interval(0.5, influence) == pytest.approx(expected)
    assert np.isnan(bounded_interval(0.5, influence[:1])).all()
    assert mean_interval(np.array([0.1, 0.3]), (-9, 9)) == pytest.approx(
        scipy.stats.t.interval(0.95, 1, 0.2, 0.1)
    )
    assert np.isnan(mean_interval(np.array([0.1]))).all()


def test_folds_inflate_the_variance_of_a_score_without_bounds():
    influence, clusters = np.array([0.3, -0.1, 0.2, -0.4]), np.array([0, 0, 1, 1])
    half = {n: np.diff(real_interval(1.0, influence, clusters, inflation=n))[0] / 2
            for n in (2.0, 8.0)}
    assert half[8.0] == pytest.approx(2 * half[2.0])
    # Between trials it is larger than between runs.
    variance = 4 / 3 * np.square(influence).sum()
    assert half[2.0] == pytest.approx(scipy.stats.norm.ppf(0.975) * np.sqrt(2 * variance))


def test_limits_of_a_mean_are_students_and_within_bounds():
    values = np.array([0.1, 0.2, 0.4, 0.3])
    expected = scipy.stats.t.interval(0.95, 3, values.mean(), scipy.stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert mean_interval(np.array([-1.0, 1, -1, 1])) == (-1, 1)
    assert mean_interval(np.array([-2.0, 2, -2, 2]), (-2, 3))[1] == pytest.approx(3)


def test_six_ranks_have_an_interval_of_their_own():
    ranks = np.array([2.0, 3, 5, 4, 6, 8])
    assert median_interval(ranks, 10) == pytest.approx(
        tuple(scipy.stats.mstats.median_cihs(ranks, alpha=0.05))
    )
    assert median_interval(ranks[:5], 10) == (1, 10)
