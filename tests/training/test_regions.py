"""Decoding in regions: against scikit-learn, the baselines, and planted signal."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import RidgeClassifier

from bids_decoder.evaluation.baselines import run_baselines
from bids_decoder.evaluation.nulls import find_exchange
from bids_decoder.evaluation.regions import LabelFold, score_label_folds
from bids_decoder.evaluation.search_maps import Accuracy, class_weights
from bids_decoder.training.regions import decode_labels, ledoit_wolf, predict_vectors
from bids_decoder.training.searchlight import Fold, search_spheres
from bids_decoder.training.spheres import Block
from bids_decoder.trials import Targets

N_RUNS, N_TRIALS, N_CLASSES = 4, 15, 3


def draw(n_voxels, strength, seed=0):
    """Correlated voxels with class patterns, all runs after each other."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([
        rng.permutation(np.arange(N_TRIALS) % N_CLASSES) for _ in range(N_RUNS)
    ])
    runs = np.repeat(np.arange(N_RUNS), N_TRIALS)
    noise = rng.normal(size=(len(labels), n_voxels)) @ rng.normal(size=(n_voxels, n_voxels))
    noise /= np.sqrt(n_voxels)
    patterns = rng.normal(size=(N_CLASSES, n_voxels)) * strength
    return (noise + patterns[labels]).astype(np.float32), labels, runs


def folds_of(betas, labellings, runs, regions, estimator="lda"):
    weights = class_weights(labellings, N_CLASSES)
    for run in np.unique(runs):
        test = runs == run
        fold = Fold(betas[~test], betas[test], labellings[:, ~test], N_CLASSES)
        measure = Accuracy(labellings[:, test], weights)
        found = decode_labels(fold, regions, estimator, measure)
        yield found, LabelFold(
            found.values, found.predicted, labellings[0, test], runs[test].astype(str)
        )


def scores_of(betas, labels, runs, regions, n_permutations=39):
    drawn = find_exchange(labels, runs.astype(str), runs).draw(
        n_permutations, np.random.default_rng(1)
    )
    labellings = np.vstack([labels, drawn])
    folds = [fold for _, fold in folds_of(betas, labellings, runs, regions)]
    return score_label_folds(folds, N_CLASSES, 1 / (1 + n_permutations))


@pytest.mark.parametrize("shape", [(40, 12), (20, 90)])
def test_shrinkage_is_that_of_scikit_learn(shape):
    values = np.random.default_rng(0).normal(size=shape) * np.linspace(0.5, 2, shape[1])
    values -= values.mean(axis=0)
    expected = ledoit_wolf_shrinkage(values, assume_centered=True)
    assert ledoit_wolf(values @ values.T, shape[1]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_voxels", [20, 150])
def test_ridge_of_a_region_is_that_of_scikit_learn(n_voxels):
    betas, labels, runs = draw(n_voxels + 5, 0.4)
    region = np.arange(5, n_voxels + 5)
    (found, _), *_ = folds_of(betas, labels[None], runs, [region], "ridge")
    train = betas[runs > 0][:, region].astype(np.float64)
    (shrinkage,) = found.shrinkage
    centred = train - train.mean(axis=0)
    assert shrinkage == pytest.approx(ledoit_wolf_shrinkage(centred, assume_centered=True))
    penalty = len(train) * shrinkage * train.var(axis=0).mean() / (1 - shrinkage)
    model = RidgeClassifier(alpha=penalty).fit(train, labels[runs > 0])
    expected = model.predict(betas[runs == 0][:, region])
    assert len(np.unique(expected)) == N_CLASSES
    np.testing.assert_array_equal(found.predicted[0], expected)


def test_discriminant_analysis_of_a_large_region_is_that_of_all_its_voxels():
    """More voxels than trials: the rotation changes nothing."""
    betas, labels, runs = draw(150, 0.3)
    labellings = np.vstack([labels, np.random.default_rng(2).permutation(labels)])
    (found, _), *_ = folds_of(betas, labellings, runs, [np.arange(150)])
    test = runs == 0
    fold = Fold(betas[~test], betas[test], labellings[:, ~test], N_CLASSES)

    class Whole:
        grid = type("Grid", (), {"n_voxels": 1})

        def blocks(self):
            yield Block(np.zeros(1, int), np.arange(150), np.ones((1, 150), bool),
                        np.zeros((1, 3), int))

    measure = Accuracy(labellings[:, test], class_weights(labellings, N_CLASSES))
    ((_, expected),) = search_spheres(fold, Whole(), "lda", float(found.shrinkage[0]), measure)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert len(np.unique(found.values)) > 1


def test_the_planted_region_wins():
    quiet, labels, runs = draw(120, 0.0)
    loud = quiet.copy()
    loud[:, 30:60] += draw(120, 1.0)[0][:, 30:60] - quiet[:, 30:60]
    regions = np.split(np.arange(120), 4)
    table = scores_of(loud, labels, runs, regions).table()
    assert table["value"].idxmax() == 1
    assert table["value"][1] > 0.8
    assert table["p_max"][1] == pytest.approx(1 / 40)
    others = table.drop(index=1)
    assert others["value"].mean() == pytest.approx(1 / 3, abs=0.15)
    assert (others["p_max"] > 0.05).all()
    assert (table["p_max"] >= table["p"]).all()
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).all()
    assert (table["ci_low"][1] > 1 / 3) and (others["ci_low"] < 1 / 3).all()


def test_vectors_are_those_of_the_baseline(known):
    person, vectors = known
    targets = Targets(tuple(person.trials["stimulus"]), vectors, "features")
    held_out = person.run_groups == "run-7"
    train, test = person.subset(~held_out), person.subset(held_out)
    test.trials["split"] = "test"
    mask = np.zeros(train.grid.n_voxels, dtype=bool)
    mask[5:40] = True
    found = predict_vectors(train, test, targets, [np.arange(3), np.flatnonzero(mask)])
    expected = run_baselines(train, test, targets, mask, seed=0, names=("ridge-mask",))
    np.testing.assert_allclose(found[1], expected["ridge-mask"], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
