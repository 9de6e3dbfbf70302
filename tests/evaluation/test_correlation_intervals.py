"""Intervals of correlations of deviations from the means of runs."""

import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.intervals import correlation_interval, fold_inflation, real_interval


def covered(intervals, truth):
    low, high = np.array(intervals).T
    return np.mean((low <= truth) & (truth <= high))


def selected_correlation(values, betas, n_kept=4):
    """Leave each run out of regression on the voxels that correlate most, shape (n_sets,).

    Values are (n_sets, n_runs, n_trials), responses (n_runs, n_trials, n_voxels). Returns the
    correlations, and centred true and predicted values.
    """
    own = values - values.mean(axis=2, keepdims=True)
    centred = betas - betas.mean(axis=1, keepdims=True)
    sums = np.einsum("srt,rtv->srv", own, centred)
    weights = sums.sum(axis=1, keepdims=True) - sums
    least = np.sort(np.abs(weights), axis=2)[..., [-n_kept]]
    predicted = np.einsum("srv,rtv->srt", weights * (np.abs(weights) >= least), centred)
    size = np.sqrt(np.square(own).sum(axis=(1, 2)) * np.square(predicted).sum(axis=(1, 2)))
    return (own * predicted).sum(axis=(1, 2)) / size, own, predicted


def test_intervals_cover_the_expected_correlation_of_cross_validation():
    rng, runs = np.random.default_rng(0), np.repeat(np.arange(10), 8)
    values, found, without, trials = [], [], [], []
    for _ in range(500):
        true, betas = rng.standard_normal((10, 8)), rng.standard_normal((10, 8, 30))
        drawn = np.stack([true, *(rng.permuted(true, axis=1) for _ in range(99))])
        r, own, predicted = selected_correlation(drawn, betas)
        u, v = (one[0].ravel() / one[0].std() for one in (own, predicted))
        influence = (u * v - r[0] / 2 * (u**2 + v**2)) / len(u)
        values.append(r[0])
        found.append(correlation_interval(r[0], influence, runs, runs, r[1:]))
        without.append(correlation_interval(r[0], influence, runs, runs))
        trials.append(real_interval(r[0], influence, runs, inflation=fold_inflation(runs)))
    truth = np.mean(values)
    assert 0.93 <= covered(found, truth) <= 0.98
    assert covered(trials, truth) < covered(without, truth) < covered(found, truth)


def test_correlations_vary_at_least_as_those_of_independent_trials_and_of_exchanged_values():
    runs = np.repeat(np.arange(4), 10)
    folds = {1.0: np.ones(40), 1 + 4 / 3: runs}
    for inflation, fold_of in folds.items():
        half = scipy.stats.norm.ppf(0.975) * np.sqrt(inflation / (40 - 4 - 2))
        found = correlation_interval(0.3, np.zeros(40), runs, fold_of)
        assert np.arctanh(found) == pytest.approx(np.arctanh(0.3) + np.array([-half, half]))
    null = np.tanh([-0.6, -0.2, 0.1, 0.7])
    half = scipy.stats.norm.ppf(0.975) * np.std([-0.6, -0.2, 0.1, 0.7], ddof=1)
    found = correlation_interval(0.3, np.zeros(40), runs, runs, null)
    assert np.arctanh(found) == pytest.approx(np.arctanh(0.3) + np.array([-half, half]))
    assert np.isnan(correlation_interval(np.nan, np.full(40, np.nan), runs, runs)).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("n_trials", [6, 40, 400])
def test_perfect_correlations_have_intervals_that_contain_them_and_are_no_points(sign, n_trials):
    runs = np.repeat([0, 1], n_trials // 2)
    for value in (sign, sign * (1 - 1e-12)):
        low, high = sorted(sign * np.array(
            correlation_interval(value, np.zeros(n_trials), runs, runs)
        ))
        assert low < np.sqrt(1 - 1 / n_trials**2) and high == abs(value)
    assert low > 0.99 or n_trials < 40


def test_fewer_than_four_effective_trials_have_no_interval():
    """Each mean of a run that is subtracted beyond the first costs a trial."""
    pairs, three = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    assert np.isnan(correlation_interval(1.0, np.zeros(4), pairs, pairs)).all()
    assert np.isfinite(correlation_interval(1.0, np.zeros(5), three[1:], three[1:])).all()
