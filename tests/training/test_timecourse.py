"""Decoding over time: planted signal, agreement with single fits, leakage, and chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.errors import LeakageError
from bids_decoder.evaluation.search_maps import Accuracy
from bids_decoder.evaluation.time_scores import score_times
from bids_decoder.training.regions import decode_labels
from bids_decoder.training.search_labels import label_fold
from bids_decoder.training.searchlight import Fold
from bids_decoder.training.timecourse import decode_times
from bids_decoder.trials import Person, VoxelGrid

N_RUNS, N_TIMES, N_VOXELS, N_CLASSES = 4, 5, 10, 2
GRID = VoxelGrid(np.ones((N_VOXELS, 1, 1), dtype=bool), np.eye(4))


def draw(signal, seed=0, per_run=6, autocorrelation=0.6):
    """Responses (n_times, n_trials, n_voxels) with class patterns as strong as *signal* says."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([
        rng.permutation(np.arange(per_run) % N_CLASSES) for _ in range(N_RUNS)
    ])
    runs = np.repeat(np.arange(N_RUNS), per_run)
    noise = rng.normal(size=(N_TIMES, len(labels), N_VOXELS))
    for time in range(1, N_TIMES):
        noise[time] = autocorrelation * noise[time - 1] + \
            np.sqrt(1 - autocorrelation**2) * noise[time]
    patterns = rng.normal(size=(N_CLASSES, N_VOXELS))
    betas = noise + np.asarray(signal)[:, None, None] * patterns[labels]
    return betas.astype(np.float32), labels, runs


def sides_of(betas, labels, runs, fold):
    """Return the callable that ``decode_times`` takes: training and test trials at a time."""
    test = runs == fold
    trials = pd.DataFrame({
        "trial": np.arange(len(labels)), "run_group": runs.astype(str), "fold": runs + 1,
        "split": np.where(test, "test", "train"),
    })

    def sides(time):
        person = Person("01", GRID, betas[time], trials, labels)
        return person.subset(~test), person.subset(test)

    return sides


def labels_of(sides, n_permutations=0):
    return label_fold(
        *sides(0), N_CLASSES, n_permutations, np.random.default_rng(1), is_crossed=True
    )


def scores_of(betas, labels, runs, n_permutations=0):
    folds, p_min = [], 1.0
    for fold in range(N_RUNS):
        sides = sides_of(betas, labels, runs, fold)
        given = labels_of(sides, n_permutations)
        folds.append(decode_times(sides, N_TIMES, given, N_CLASSES))
        p_min = given.exchange.smallest_p(n_permutations)
    return score_times(folds, 2.0 * np.arange(N_TIMES), N_CLASSES, p_min)


def test_labels_are_decoded_when_there_is_signal_and_patterns_that_last_generalise():
    scores = scores_of(*draw([0, 0, 3, 3, 0], per_run=12), n_permutations=39)
    table = scores.time_table()
    assert (table["value"][2:4] > 0.9).all()
    assert (abs(table["value"].drop([2, 3]) - 0.5) < 0.25).all()
    assert scores.values[0, 2, 3] > 0.9 and scores.values[0, 3, 2] > 0.9
    assert table["p_cluster"][2] == table["p_cluster"][3] == pytest.approx(1 / 40)
    assert table["p_max"][2] == pytest.approx(1 / 40)
    assert scores.peak(np.random.default_rng(0))[0] in (4.0, 6.0)
    first = scores.cluster_table().iloc[0]
    assert first["map"] == "diagonal"
    assert first["test_first"] <= 4 and first["test_last"] >= 6 and first["n_cells"] < N_TIMES
    assert set(scores.cluster_table()["map"]) >= {"diagonal", "matrix"}
    assert len(scores.null_table()) == 39 * N_TIMES**2
    assert (table["ci_low"] <= table["value"]).all() and (table["value"] <= table["ci_high"]).all()


def test_each_pair_of_times_is_one_fit_of_the_regions():
    betas, labels, runs = draw([0, 1, 1, 0, 0.5], seed=3)
    sides = sides_of(betas, labels, runs, 2)
    given = labels_of(sides, 7)
    found = decode_times(sides, N_TIMES, given, N_CLASSES)
    for train, test in ((1, 1), (1, 3), (4, 0)):
        fold = Fold(sides(train)[0].betas, sides(test)[1].betas, given.train, N_CLASSES)
        one = decode_labels(
            fold, [np.arange(N_VOXELS)], "lda", Accuracy(given.test, given.weights)
        )
        assert found.values[:, train, test] == pytest.approx(one.values[:, 0], abs=1e-6)
        if train == test:
            assert found.predicted[train].tolist() == one.predicted[0].tolist()


def test_scores_are_those_of_the_predictions():
    scores = scores_of(*draw([0, 0.5, 1, 0.5, 0], seed=5))
    recalls = [scores.hits[:, scores.true == label].mean(axis=1) for label in range(N_CLASSES)]
    assert scores.diagonal[0] == pytest.approx(np.mean(recalls, axis=0), abs=1e-6)
    assert np.isnan(scores.time_table()["p"]).all() and (scores.time_table()["n_null"] == 0).all()


def test_test_trials_and_their_labels_have_no_part_in_the_fit():
    betas, labels, runs = draw([0, 1, 1, 0, 0])
    sides = sides_of(betas, labels, runs, 0)
    found = decode_times(sides, N_TIMES, labels_of(sides), N_CLASSES)
    changed = betas.copy()
    changed[:, 0] += 50
    other = labels.copy()
    other[:6] = 1 - other[:6]
    sides = sides_of(changed, other, runs, 0)
    again = decode_times(sides, N_TIMES, labels_of(sides), N_CLASSES)
    assert (found.predicted[:, 1:] == again.predicted[:, 1:]).all()
    assert found.shrinkage == pytest.approx(again.shrinkage)
    assert (found.true != again.true).all()


def test_a_test_trial_among_the_training_trials_is_refused():
    sides = sides_of(*draw(np.zeros(N_TIMES)), 0)
    given = labels_of(sides)

    def leaking(time):
        train, test = sides(time)
        return replace(train, trials=train.trials.assign(split="test")), test

    with pytest.raises(LeakageError):
        decode_times(leaking, N_TIMES, given, N_CLASSES)


def test_clusters_by_chance_are_as_rare_as_they_should_be():
    """All folds fitted again for each labelling; any cluster with p <= .05 in few of 40 sets."""
    hits = {"diagonal": 0, "matrix": 0}
    for seed in range(40):
        scores = scores_of(*draw(np.zeros(N_TIMES), seed=100 + seed), n_permutations=19)
        for name, found in scores.clusters.items():
            hits[name] += bool((found.p_cluster <= 0.05).any())
    # The 99.9 % limit of a binomial with 40 trials and .05.
    assert max(hits.values()) <= 8
