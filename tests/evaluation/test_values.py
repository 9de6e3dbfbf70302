from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import mean_absolute_error, r2_score

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.tables import VALUE_COLUMNS
from bids_decoder.evaluation.values import (
    HeldoutValues,
    RefittedValues,
    compare_values,
    score_values,
    value_influence,
    value_metrics,
)

SETTINGS = Evaluation(n_permutations=199)


def heldout(noise, rng, n_runs=8, crossed=True, columns=("rating", "rt")):
    """Predictions that are the truth with noise, and a training mean for each fold."""
    n_trials, size = n_runs * 12, len(columns)
    values = rng.normal(5, 2, size=(n_trials, size))
    run = np.repeat(np.arange(n_runs), 12)
    folds = run + 1 if crossed else np.ones(n_trials, dtype=int)
    rows = rng.permutation(n_trials)
    predicted = values[rows] + noise * rng.normal(size=(n_trials, size))
    reference = np.full((n_trials, size), 5.0)
    return HeldoutValues(
        predicted, reference, rows, values, columns, run.astype(str), folds,
    )


def score(found, **options):
    return score_values(found, settings=SETTINGS, rng=np.random.default_rng(0), **options)


def test_metrics_are_those_of_scipy_and_scikit_learn():
    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=(2, 40))
    folds = np.ones(40)
    found = value_metrics(true[None], predicted[None], np.full((1, 40), true.mean()), folds)
    assert found["r"][0] == pytest.approx(scipy.stats.pearsonr(true, predicted).statistic)
    assert found["r2"][0] == pytest.approx(r2_score(true, predicted))
    assert found["mae"][0] == pytest.approx(mean_absolute_error(true, predicted))
    assert found["slope"][0] == pytest.approx(scipy.stats.linregress(predicted, true).slope)


def test_r2_is_against_the_training_mean_not_the_test_mean():
    true = np.array([[1.0, 2.0, 3.0]])
    found = value_metrics(true, np.full((1, 3), 2.0), np.full((1, 3), 4.0), np.ones(3))
    assert found["r2"][0] == pytest.approx(1 - 2 / 14)
    assert np.isnan(found["r"][0]) and np.isnan(found["slope"][0])


def test_training_means_of_folds_do_not_make_a_correlation():
    """Each fold's training mean is low where its test values are high."""
    rng = np.random.default_rng(1)
    folds = np.repeat(np.arange(4), 10)
    true = rng.normal(size=40) + folds
    means = np.array([true[folds != k].mean() for k in range(4)])[folds]
    predicted = means + 0.01 * rng.normal(size=40)
    assert scipy.stats.pearsonr(true, predicted).statistic < -0.5
    assert abs(value_metrics(true[None], predicted[None], means[None], folds)["r"][0]) < 0.4


def test_differences_between_runs_make_no_correlation():
    rng = np.random.default_rng(2)
    runs = np.repeat([0, 1], 200)
    true, predicted = (rng.normal(size=400) + 2 * runs for _ in range(2))
    assert scipy.stats.pearsonr(true, predicted).statistic > 0.4
    assert abs(value_metrics(true[None], predicted[None], true[None] * 0, runs)["r"][0]) < 0.2


@pytest.mark.parametrize("metric", ["r", "r2", "mae", "slope"])
def test_influence_is_the_derivative_by_the_weight_of_a_trial(metric):
    """A trial that is there one more time in a thousand moves the score by its influence."""
    rng = np.random.default_rng(2)
    true, noise = rng.normal(size=(2, 30))
    parts = [true, true + noise, np.zeros(30)]
    folds = np.ones(30)
    influence = value_influence(*parts, folds)[metric]
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    many = [np.concatenate([np.tile(part, 300), part[:1]])[None] for part in parts]
    moved = value_metrics(*many, np.ones(many[0].size))[metric][0]
    before = value_metrics(*(part[None] for part in parts), folds)[metric][0]
    # Weights are shares of 30 trials: one more row in 300 copies adds 1 / 300 to the first.
    assert moved - before == pytest.approx(influence[0] / 300, rel=0.05, abs=1e-7)


def test_good_predictions_are_found_in_each_column():
    found = score(heldout(0.5, np.random.default_rng(3), crossed=False))
    table = found.metrics
    assert list(table) == list(VALUE_COLUMNS)
    assert set(table["target"]) == {"rating", "rt"}
    rows = table.set_index(["target", "metric"])
    for target in ("rating", "rt"):
        assert rows.loc[(target, "r"), "value"] > 0.9
        assert rows.loc[(target, "r2"), "value"] > 0.8
        assert rows.loc[(target, "mae"), "value"] < rows.loc[(target, "mae"), "chance"] / 2
        for metric in ("r", "r2", "mae"):
            row = rows.loc[(target, metric)]
            assert row["p"] == pytest.approx(1 / 200)
            assert row["ci_low"] < row["value"] < row["ci_high"]
            assert row["null"] == "fixed"
        assert np.isnan(rows.loc[(target, "slope"), "p"])
        assert rows.loc[(target, "slope"), "null"] == "none"
    assert set(found.nulls.table["target"]) == {"rating", "rt"}
    assert found.nulls.table.groupby(["target", "metric"]).size().eq(199).all()


def test_without_refits_cross_validation_has_no_p_value():
    found = score(heldout(0.5, np.random.default_rng(4)))
    assert found.metrics["p"].isna().all() and found.nulls.table.empty


def test_refits_are_scored_against_their_own_values_and_means():
    rng = np.random.default_rng(5)
    own = heldout(3.0, rng, columns=("rating",))
    shape = (50, len(own.rows))
    rows = np.stack([rng.permutation(own.rows) for _ in range(50)])
    means = rng.normal(5, 1, size=(*shape, 1))
    predicted = own.values[rows] * 0.1 + means
    predicted[7] = 5.0  # a decoder that predicts one number has no correlation
    refitted = RefittedValues(rows, predicted, means, {"ExchangedUnits": "x"})
    found = score(own, refitted=refitted)
    null = found.nulls.table.query("metric == 'r2'")["value"].to_numpy(float)
    true = own.values[rows][0, :, 0]
    error = true - refitted.predicted[0, :, 0]
    expected = 1 - np.square(error).sum() / np.square(true - means[0, :, 0]).sum()
    assert null[0] == pytest.approx(expected)
    assert (found.metrics.query("metric == 'r'")["n_null"] == 50).all()
    correlations = found.nulls.table.query("metric == 'r'")["value"].to_numpy(float)
    assert correlations[7] == 0 and (correlations[:7] != 0).all()


def test_the_mean_has_no_correlation_and_no_p_value_for_it():
    own = heldout(1.0, np.random.default_rng(6), crossed=False, columns=("rating",))
    mean = HeldoutValues(
        own.reference, own.reference, own.rows, own.values, own.columns, own.runs, own.folds
    )
    rows = score(mean, model="mean").metrics.set_index("metric")
    assert np.isnan(rows.loc["r", "value"]) and np.isnan(rows.loc["r", "p"])
    assert rows.loc["r2", "value"] == 0 and rows.loc["r2", "p"] == 1
    assert rows.loc["mae", "value"] == rows.loc["mae", "chance"]
    compared = compare_values(own, mean, n_permutations=199, rng=np.random.default_rng(0))
    assert [row["metric"] for row in compared] == ["r2"]
    assert compared[0]["value"] > 0.3 and compared[0]["p"] < 0.05


@pytest.mark.parametrize("crossed", [True, False])
def test_better_predictions_are_ahead(crossed):
    rng = np.random.default_rng(7)
    good = heldout(0.5, rng, crossed=crossed, columns=("rating",))
    noise = 4 * rng.normal(size=good.predicted.shape)
    bad = HeldoutValues(
        good.predicted + noise, good.reference, good.rows, good.values, good.columns, good.runs,
        good.folds,
    )
    for row in compare_values(good, bad, n_permutations=199, rng=rng):
        assert row["value"] > 0.3 and row["p"] < 0.02, row
        assert 0 < row["ci_low"] < row["value"] <= row["ci_high"], row
        assert row["ci_high"] > row["value"] or row["metric"] == "r2", row
        assert row["test"] == ("corrected t" if crossed else "exchange of runs")


def test_intervals_cover_the_true_correlation():
    rng, covered = np.random.default_rng(8), 0
    for _ in range(300):
        found = heldout(2.0, rng, crossed=False, columns=("rating",))
        row = score_values(
            found, settings=Evaluation(n_permutations=0), rng=rng
        ).metrics.set_index("metric").loc["r"]
        covered += row["ci_low"] <= np.sqrt(0.5) <= row["ci_high"]
    assert 0.91 <= covered / 300 <= 0.995


@pytest.mark.parametrize("crossed", [True, False])
def test_slopes_have_an_interval_on_one_test_set_only(crossed):
    found = score(heldout(1.0, np.random.default_rng(10), crossed=crossed)).metrics
    limits = found.query("metric == 'slope'")[["value", "ci_low", "ci_high"]].astype(float)
    assert limits["value"].between(0.5, 1.1).all()
    assert limits["ci_low"].isna().all() == limits["ci_high"].isna().all() == crossed


def test_limits_of_r_are_as_far_apart_as_refitted_values():
    rng = np.random.default_rng(11)
    own = heldout(3.0, rng, columns=("rating",))
    rows = np.stack([rng.permutation(own.rows) for _ in range(40)])
    # Predictions that are right or wrong by chance: correlations of about -.7 and .7.
    signs = rng.choice([-1.0, 1.0], size=(40, 1, 1))
    predicted = signs * own.values[rows] + 2 * rng.normal(size=(*rows.shape, 1))
    refitted = RefittedValues(rows, predicted, np.full_like(predicted, 5.0), {})
    with_null, without = (
        score(own, refitted=one).metrics.set_index("metric").loc["r"] for one in (refitted, None)
    )
    assert with_null["value"] == without["value"]
    assert with_null["ci_low"] < without["ci_low"] - 0.2
    assert with_null["ci_high"] > without["ci_high"] + 0.1


def test_limits_end_at_values_that_are_possible():
    """All errors are in one run, so that runs differ by more than there is left to the limit."""
    own = heldout(0.0, np.random.default_rng(12), crossed=False, columns=("rating",))
    predicted = own.predicted.copy()
    predicted[:4] += 2.0
    found = score(replace(own, predicted=predicted)).metrics.set_index("metric")
    assert found.loc["mae", "ci_low"] == 0 and found.loc["mae", "ci_high"] > 0.1
    assert found.loc["r2", "ci_high"] == 1 and found.loc["r2", "ci_low"] < 1


def test_shapes_that_do_not_fit_are_refused():
    own = heldout(1.0, np.random.default_rng(9))
    wrong = HeldoutValues(
        own.predicted[:, :1], own.reference, own.rows, own.values, own.columns, own.runs, own.folds
    )
    with pytest.raises(InputError, match="cannot be scored"):
        score(wrong)
