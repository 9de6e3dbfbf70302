"""Learning curves: scores of trials, resampled curves, fits, and how much data a score needs."""

import numpy as np
import pytest

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.curve_fit import (
    FARTHEST,
    fit_curves,
    needed_size,
    next_targets,
    rise_interval,
)
from bids_decoder.evaluation.intervals import fold_inflation
from bids_decoder.evaluation.learning_curve import (
    Hits,
    curve_inflation,
    label_hits,
    resample_curve,
    stimulus_hits,
)
from bids_decoder.evaluation.retrieval import Embedded, score_retrieval

SIZES = np.array([1, 2, 3, 5, 8, 11])
N_FOLDS, N_DRAWS = 5, 3


def simulate(rng, truth, n_per=240):
    """Hits of five test runs: difficulty of runs and trials is the same at all sizes."""
    folds = []
    for _ in range(N_FOLDS):
        ease, quality = rng.normal(0, 0.01), rng.normal(0, 0.01, SIZES.max() + 1)
        hard = rng.random(n_per)
        draws = [_one_draw(rng, truth, hard, ease, rng.permutation(quality))
                 for _ in range(N_DRAWS)]
        folds.append(np.stack(draws, axis=1))
    values = np.concatenate(folds, axis=2)
    values[-1] = values[-1, :1]
    clusters, strata = np.repeat(np.arange(N_FOLDS), n_per), np.tile([0, 1], N_FOLDS * n_per // 2)
    inflation = curve_inflation(np.full(N_FOLDS, n_per), np.full(N_FOLDS, 11 * n_per))
    return Hits(values, strata, clusters, inflation)


def _one_draw(rng, truth, hard, ease, quality):
    own = np.where(rng.random(len(hard)) < 0.6, hard, rng.random(len(hard)))
    return np.stack([own < truth(n) + ease + quality[:n].mean() for n in SIZES]).astype(float)


def fits_of(hits, rng, n_bootstrap=200):
    drawn = resample_curve(hits, rng, n_bootstrap)
    variance = drawn.var(axis=0)
    return fit_curves(SIZES, hits.curve()[None], variance), fit_curves(SIZES, drawn, variance)


@pytest.mark.parametrize("truth", [
    lambda n: 0.92 - 0.42 * n**-0.6, lambda n: 0.88 - 0.45 * np.exp(-n / 4.0),
], ids=["power", "exponential"])
def test_interval_of_the_need_covers_the_true_one(truth):
    rng, wanted = np.random.default_rng(5), 6.5
    needs = [
        needed_size(*fits_of(simulate(rng, truth), rng), truth(wanted)) for _ in range(20)
    ]
    covered = [need.low <= wanted <= need.high for need in needs]
    assert np.mean(covered) >= 0.9
    # Not because the intervals say nothing.
    assert np.mean([need.low > 2.5 and need.high < 25 for need in needs]) > 0.5
    assert abs(np.median([need.value for need in needs]) - wanted) < 1.5


def test_curve_without_information_does_not_rise():
    rng = np.random.default_rng(1)
    rises = [
        rise_interval(resample_curve(simulate(rng, lambda n: 0.5, n_per=60), rng, 200))
        for _ in range(20)
    ]
    assert np.mean([low <= 0 <= high for low, high in rises]) >= 0.9


def test_curve_that_rises_is_told_from_noise():
    rng = np.random.default_rng(2)
    hits = simulate(rng, lambda n: 0.9 - 0.4 * n**-0.7)
    assert rise_interval(resample_curve(hits, rng, 200))[0] > 0.2
    assert np.all(np.diff(hits.curve()) > -0.02)


def test_balanced_scores_are_means_over_labels():
    values = np.zeros((1, 1, 6))
    values[0, 0, :4] = 1
    hits = Hits(values, np.array([0, 0, 0, 0, 1, 1]), np.arange(6))
    assert hits.curve() == pytest.approx([0.5])


def test_resampled_curves_spread_as_much_as_scores_of_new_data():
    rng = np.random.default_rng(3)
    hits = [simulate(rng, lambda n: 0.9 - 0.3 * n**-0.7, n_per=60) for _ in range(60)]
    true = np.std([one.curve() for one in hits], axis=0)
    estimated = np.sqrt(np.mean(
        [resample_curve(one, rng, 100).var(axis=0) for one in hits[:15]], axis=0
    ))
    assert np.all(estimated > 0.9 * true)
    # Folds are independent here: the factor for shared training trials is not needed.
    assert np.all(estimated < 2.2 * true)


def test_variance_is_the_larger_one_and_inflated_as_elsewhere():
    """Runs that differ, and trials that differ while all runs are alike."""
    assert curve_inflation(np.full(4, 10), np.full(4, 30)) == fold_inflation(np.arange(4)) == 1.75
    assert curve_inflation(np.array([10]), np.array([40])) == 1.25
    strata, runs = np.zeros(80, dtype=int), np.repeat(np.arange(4), 20)
    differ, alike = np.repeat([0.0, 0.0, 1.0, 1.0], 20), np.tile([0.0, 1.0], 40)
    for values, variance in ((differ, 1 / 12), (alike, 0.25 / 79)):
        hits = Hits(np.tile(values, (3, 2, 1)), strata, runs, 1.75)
        drawn = resample_curve(hits, np.random.default_rng(0), 4000)
        np.testing.assert_allclose(drawn.var(axis=0), 1.75 * variance, rtol=0.1)
        np.testing.assert_allclose(np.corrcoef(drawn.T), 1, atol=1e-6)


def test_fit_finds_the_curve_that_made_the_data():
    curves = np.stack([0.9 - 0.4 * SIZES**-0.5, 0.8 - 0.3 * np.exp(-SIZES / 4.0)])
    fit = fit_curves(SIZES, curves, np.ones(len(SIZES)))
    at = np.array([2.0, 7.0, 30.0])
    truth = np.stack([0.9 - 0.4 * at**-0.5, 0.8 - 0.3 * np.exp(-at / 4.0)])
    np.testing.assert_allclose(fit.at(at), truth, atol=0.01)
    assert fit.names == ["power law", "exponential"]


def test_fits_never_fall_and_never_exceed_one():
    rng = np.random.default_rng(0)
    curves = np.clip(np.sort(rng.uniform(0.2, 1.2, (50, len(SIZES))), axis=1), 0, 1)
    curves[:10] = curves[:10, ::-1]
    fit = fit_curves(SIZES, curves, np.ones(len(SIZES)))
    line = fit.at(np.linspace(1, 33, 50))
    assert line.max() <= 1 + 1e-9
    assert np.diff(line, axis=1).min() >= -1e-9
    np.testing.assert_allclose(fit.drop[:10], 0, atol=1e-9)


def test_nothing_is_said_beyond_three_times_the_data():
    curve = (0.9 - 0.4 * SIZES**-0.5)[None]
    fit = fit_curves(SIZES, curve, np.ones(len(SIZES)))
    inside, outside = needed_size(fit, fit, 0.82), needed_size(fit, fit, 0.84)
    assert inside.value == pytest.approx(25, abs=1.5)
    assert outside.value == outside.high == np.inf
    assert inside.value < FARTHEST * SIZES.max()


def test_labels_and_stimuli_are_scored():
    scores = np.array([[0.9, 0.1], [0.9, 0.1]])
    assert label_hits(scores, np.array([0, 1]))["balanced_accuracy"].tolist() == [1, 0]
    gallery = np.eye(4)
    found = stimulus_hits(np.array([[1.0, 0.5, 0, 0], [1, 0.5, 0, 0]]), gallery,
                          np.array([0, 1]), 300)
    assert found["top1"].tolist() == [1, 0]
    assert found["two_way"].tolist() == [1, 0]


def test_top1_is_that_of_retrieval():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40, 6))
    truth = np.arange(30)
    predicted = gallery[truth] + rng.normal(0, 1.2, (30, 6))
    mine = stimulus_hits(predicted, gallery, truth, 10)["top1"].mean()
    ids = np.array([f"s{k}" for k in range(40)])
    settings = Evaluation(pool_size=10, n_draws=600, n_permutations=1)
    table = score_retrieval(
        Embedded(predicted, ids[truth], np.full(30, "r"), gallery, ids), settings, rng
    ).metrics
    wanted = {"metric": "top1", "direction": "b2i", "unit": "single", "similarity": "cosine",
              "pool_size": 10}
    row = table[np.logical_and.reduce([table[k] == v for k, v in wanted.items()])]
    assert mine == pytest.approx(row["value"].item(), abs=0.02)


def test_next_targets_are_whole_steps():
    assert next_targets(0.6) == (0.65, 0.7)
    assert next_targets(0.97) == ()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError):
        Hits(np.zeros((2, 2, 3)), np.zeros(3, int), np.zeros(2, int))
