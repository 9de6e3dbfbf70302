import numpy as np
import pytest
import scipy.stats

from bids_decoder.evaluation.classification import Heldout
from bids_decoder.evaluation.comparison import Paired, compare_labels, corrected_t, paired_test
from bids_decoder.evaluation.label_scores import label_influence

CLASSES = tuple("abcd")


def heldout(signal, rng, n_runs=8, folds=None, true=None):
    true = rng.integers(4, size=n_runs * 12) if true is None else true
    run = np.repeat(np.arange(n_runs), 12)
    scores = rng.normal(size=(len(true), 4)) + signal * np.eye(4)[true]
    folds = run + 1 if folds is None else folds
    return Heldout(scores, np.array(CLASSES)[true], CLASSES, run.astype(str), folds), true


def compare(first, second):
    return compare_labels(first, second, n_permutations=499, rng=np.random.default_rng(0))


def test_corrected_t_is_the_t_test_of_folds_with_more_variance():
    rng = np.random.default_rng(0)
    gaps = rng.normal(0.1, 0.1, size=6)
    value = gaps.mean()
    influence = np.repeat((gaps - value) / 6, 10) / 10
    found = corrected_t(value, influence, np.repeat(np.arange(6), 10))
    plain = scipy.stats.ttest_1samp(gaps, 0)
    t = plain.statistic / np.sqrt(1 + 2 * 6 * 0.2)  # one test fold for five of training
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(t), 5))
    assert found.ci_low < value < found.ci_high


def test_equal_differences_of_all_folds_are_tested_by_their_signs():
    found = corrected_t(0.25, np.zeros(24), np.repeat(np.arange(6), 4))
    assert found.p == 2 / 2**6
    assert -1 < found.ci_low < 0.25 < found.ci_high < 1


def test_limits_end_at_the_largest_difference_or_at_a_value_beyond():
    influence, fold_of = np.array([0.2, -0.2]), np.array([0, 1])
    found = corrected_t(0.5, influence, fold_of)
    assert (found.ci_low, found.ci_high) == (-1, 1)
    beyond = corrected_t(3.0, influence, fold_of, bound=2.0)
    assert (beyond.ci_low, beyond.ci_high) == (-2, 3)


@pytest.mark.parametrize(("n_runs", "units"), [(5, "trials"), (6, "runs")])
def test_the_exchange_is_of_runs_where_there_are_six(n_runs, units):
    """All runs agree, so that only two arrangements of their signs are as far from 0."""
    runs = np.repeat(np.arange(n_runs), 4).astype(str)
    shares, influence = np.full(len(runs), 0.01), np.tile([0.001, -0.001], len(runs) // 2)
    pair = Paired(shares.sum(), influence, shares, runs, np.ones(len(runs)))
    found = paired_test(pair, 9999, np.random.default_rng(0))
    n_units = n_runs if units == "runs" else len(runs)
    assert (found["test"], found["n"]) == (f"exchange of {units}", n_units)
    assert found["p"] == pytest.approx(2 / 2**n_units, abs=0.005)


def test_trials_of_a_rare_label_weigh_more_when_they_are_exchanged():
    """The models differ in four trials of one of two labels: p is that of four equal signs."""
    true = np.repeat([0, 1], [16, 4])
    run = np.tile(["1", "2"], 10)
    first, second = (
        Heldout(np.eye(2)[labels], np.array(["a", "b"])[true], ("a", "b"), run, np.ones(20))
        for labels in (true, np.zeros(20, dtype=int))
    )
    found = compare_labels(first, second, n_permutations=9999, rng=np.random.default_rng(0))
    assert found["value"] == 0.5 and found["pool_size"] == 2
    assert found["p"] == pytest.approx(2 / 2**4, abs=0.01)


@pytest.mark.parametrize("crossed", [True, False])
def test_a_better_model_is_found(crossed):
    rng = np.random.default_rng(1)
    folds = None if crossed else np.ones(96)
    good, true = heldout(3.0, rng, folds=folds)
    bad, _ = heldout(0.5, rng, folds=folds, true=true)
    found = compare(good, bad)
    assert found["value"] > 0.2 and found["p"] < 0.02 and found["ci_low"] > 0
    assert found["test"] == ("corrected t" if crossed else "exchange of runs")
    assert compare(bad, good)["value"] == pytest.approx(-found["value"])


def test_equal_models_do_not_differ():
    rng = np.random.default_rng(2)
    p, covered = [], 0
    for _ in range(200):
        first, true = heldout(1.0, rng, folds=np.ones(96))
        found = compare(first, heldout(1.0, rng, folds=np.ones(96), true=true)[0])
        p.append(found["p"])
        covered += found["ci_low"] <= 0 <= found["ci_high"]
    assert np.mean(np.array(p) <= 0.05) <= 0.09
    assert 0.91 <= covered / 200 <= 0.99


def test_the_same_model_twice():
    first, _ = heldout(1.0, np.random.default_rng(3))
    found = compare(first, first)
    assert found["value"] == 0 and found["p"] == 1 and found["ci_low"] < 0 < found["ci_high"]


def test_few_test_runs_exchange_trials():
    rng = np.random.default_rng(4)
    first, true = heldout(2.0, rng, n_runs=2, folds=np.ones(24))
    found = compare(first, heldout(0.0, rng, n_runs=2, folds=np.ones(24), true=true)[0])
    assert (found["test"], found["n"]) == ("exchange of trials", 24)


@pytest.mark.parametrize("crossed", [True, False])
def test_a_label_of_few_trials_is_not_certain(crossed):
    """One model is right in all four trials of the rare label, the other in none."""
    true = np.zeros(96, dtype=int)
    true[[3, 30, 55, 80]] = 1
    rng = np.random.default_rng(0)
    guess = np.where(true == 1, 1, rng.integers(2, size=96))
    run = np.repeat(np.arange(12), 8)
    folds = run + 1 if crossed else np.ones(96)
    first, second = (
        Heldout(np.eye(2)[labels], np.array(["a", "b"])[true], ("a", "b"), run.astype(str), folds)
        for labels in (guess, np.zeros(96, dtype=int))
    )
    found = compare(first, second)
    assert 0.2 < found["value"] < 0.3
    assert found["p"] > 0.05 and found["ci_low"] < 0.01 and found["ci_high"] > 0.4


def test_many_trials_are_not_held_back():
    """The smallest variance is that of independent trials: below that of folds."""
    rng = np.random.default_rng(5)
    first, true = heldout(2.0, rng)
    second, _ = heldout(1.0, rng, true=true)
    found = compare(first, second)
    influence = np.subtract(*(
        label_influence(one.true, one.guesses)["balanced_accuracy"] for one in (first, second)
    ))
    plain = corrected_t(found["value"], influence, np.repeat(np.arange(8), 12))
    assert (found["p"], found["ci_low"]) == (plain.p, plain.ci_low)


def test_two_trials_of_a_label_do_not_tell_equal_models_apart():
    rng = np.random.default_rng(6)
    run = np.repeat(np.arange(12), 8)
    significant = []
    for _ in range(300):
        true = np.zeros(96, dtype=int)
        true[rng.choice(96, 2, replace=False)] = 1
        models = [
            Heldout(np.eye(2)[np.where(rng.random(96) < 0.6, true, 1 - true)],
                    np.array(["a", "b"])[true], ("a", "b"), run.astype(str), run + 1)
            for _ in range(2)
        ]
        significant.append(compare(*models)["p"] <= 0.05)
    # It was .15 with the variance between folds alone.
    assert np.mean(significant) <= 0.05
