"""Searchlights agree with scikit-learn, sphere by sphere."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.naive_bayes import GaussianNB

from bids_decoder.evaluation.search_maps import Distance
from bids_decoder.grids.base import BLOCK_EDGE
from bids_decoder.training.elimination import sphere_forms
from bids_decoder.training.searchlight import (
    Fold,
    estimate_shrinkage,
    search_spheres,
)
from bids_decoder.training.searchlight_settings import LEAST_SHRINKAGE
from bids_decoder.training.spheres import Spheres
from bids_decoder.trials import VoxelGrid

N_CLASSES, SHRINKAGE = 4, 0.2


@pytest.fixture(scope="module")
def grid():
    mask = np.ones((7, 6, 5), dtype=bool)
    mask[0, 0, :2] = mask[3, 2, 2] = mask[6] = False
    return VoxelGrid(mask, np.diag([2.0, 2.0, 3.0, 1.0]))


@pytest.fixture(scope="module")
def fold(grid):
    rng = np.random.default_rng(1)
    labels = np.tile(np.arange(N_CLASSES), 25)
    patterns = rng.standard_normal((N_CLASSES, grid.n_voxels))
    betas = 0.4 * patterns[labels] + rng.standard_normal((len(labels), grid.n_voxels))
    betas = (betas @ (np.eye(grid.n_voxels) + 0.05)).astype(np.float32)
    train, test = betas[:80], betas[80:]
    train, test = (train - train.mean(axis=0), test - train.mean(axis=0))
    permuted = rng.permutation(labels[:80])
    return Fold(train, test, np.stack([labels[:80], permuted]), N_CLASSES)


def predict(fold, spheres, estimator, shrinkage=SHRINKAGE):
    found = np.full((spheres.grid.n_voxels, len(fold.classes), len(fold.test)), -1)
    guesses = search_spheres(
        fold, spheres, estimator, shrinkage,
        lambda scores, rows: scores.argmax(axis=-1).transpose(1, 0, 2),
    )
    for centres, predicted in guesses:
        assert (found[centres] == -1).all()
        found[centres] = predicted.transpose(1, 0, 2)
    return found


class TotalShrinkage:
    """Covariance of a class, shrunk towards the mean variance of all voxels and trials."""

    def __init__(self, variance):
        self.variance = variance

    def fit(self, rows):
        self.covariance_ = (1 - SHRINKAGE) * np.cov(rows.T, bias=True).reshape(rows.shape[1], -1)
        self.covariance_ += SHRINKAGE * self.variance * np.eye(rows.shape[1])
        return self


def reference(estimator, fold):
    variance = float(fold.train.var(axis=0).mean())
    if estimator == "gnb":
        return GaussianNB()
    if estimator == "ridge":
        penalty = len(fold.train) * SHRINKAGE * variance / (1 - SHRINKAGE)
        return RidgeClassifier(alpha=penalty)
    return LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=TotalShrinkage(variance)
    )


@pytest.mark.parametrize("estimator", ["lda", "ridge", "gnb"])
def test_predictions_are_those_of_scikit_learn(fold, grid, estimator):
    spheres = Spheres(grid, radius_mm=4.5)
    found = predict(fold, spheres, estimator)
    same, total = 0, 0
    for centre in range(0, grid.n_voxels, 7):
        (voxels,) = spheres.of(np.array([centre]))
        for labelling, labels in enumerate(fold.classes):
            model = reference(estimator, fold).fit(fold.train[:, voxels].astype(float), labels)
            expected = model.predict(fold.test[:, voxels].astype(float))
            same += (found[centre, labelling] == expected).sum()
            total += len(expected)
    # Scores of two classes may be equal up to single precision.
    assert same >= total - 1
    assert total > 500


def test_fixed_shrinkage_is_nearly_that_of_scikit_learn(fold, grid):
    spheres = Spheres(grid, radius_mm=6)
    found = predict(fold, spheres, "lda")[:, 0]
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
    expected = np.array([
        model.fit(fold.train[:, voxels], fold.classes[0]).predict(fold.test[:, voxels])
        for voxels in spheres.of(np.arange(0, grid.n_voxels, 5))
    ])
    assert (found[::5] == expected).mean() > 0.97


@pytest.mark.parametrize("size", [{"radius_mm": 5.0}, {"n_voxels": 12}])
def test_forms_equal_those_of_each_sphere(grid, size):
    rng = np.random.default_rng(2)
    checked = 0
    for block in Spheres(grid, **size).blocks():
        n_used = len(block.voxels)
        root = rng.standard_normal((n_used, n_used + 20)).astype(np.float32)
        covariance = root @ root.T / n_used
        test = rng.standard_normal((n_used, 3)).astype(np.float32)
        means = rng.standard_normal((n_used, 2, 4)).astype(np.float32)
        forms = sphere_forms(block, covariance, test, means)
        for number, members in enumerate(block.members):
            inside = np.linalg.inv(covariance[np.ix_(members, members)].astype(float))
            for labelling in range(2):
                m = means[members, labelling]
                np.testing.assert_allclose(
                    forms.cross[number, labelling], test[members].T @ inside @ m,
                    rtol=1e-2, atol=1e-2,
                )
                np.testing.assert_allclose(
                    forms.own[number, labelling], m.T @ inside @ m, rtol=1e-2, atol=1e-2
                )
            checked += 1
    assert checked == grid.n_voxels


def test_crossnobis_is_the_whitened_product_of_differences(fold, grid):
    spheres, rng = Spheres(grid, radius_mm=4.5), np.random.default_rng(4)
    true = np.stack([np.tile(np.arange(N_CLASSES), 5), rng.permutation(20) % (N_CLASSES - 1)])
    found = np.empty((2, grid.n_voxels))
    for centres, values in search_spheres(
        fold, spheres, "crossnobis", SHRINKAGE, Distance(true, n_folds=2)
    ):
        found[:, centres] = values
    variance = float(fold.train.var(axis=0).mean())
    for centre in (0, 33, 90):
        (voxels,) = spheres.of(np.array([centre]))
        for labelling, labels in enumerate(fold.classes):
            train, test = (rows[:, voxels].astype(float) for rows in (fold.train, fold.test))
            noise = sum(
                np.cov(train[labels == c].T, bias=True) * (labels == c).mean()
                for c in range(N_CLASSES)
            )
            noise = (1 - SHRINKAGE) * noise + SHRINKAGE * variance * np.eye(len(voxels))
            known = np.unique(true[labelling])
            mean = {c: (train[labels == c].mean(axis=0), test[true[labelling] == c].mean(axis=0))
                    for c in known}
            distances = [
                (mean[a][1] - mean[b][1]) @ np.linalg.solve(noise, mean[a][0] - mean[b][0])
                for a, b in combinations(known, 2)
            ]
            expected = np.mean(distances) / len(voxels) / 2
            assert found[labelling, centre] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_singular_covariance_is_an_error_and_the_least_shrinkage_is_enough(grid):
    rng = np.random.default_rng(6)
    # One pattern of noise in all voxels, and fewer trials than voxels.
    noise = 5 * rng.standard_normal((20, 1)) + 0.1 * rng.standard_normal((20, grid.n_voxels))
    few = Fold(noise[:15].astype(np.float32), noise[15:].astype(np.float32),
               np.arange(15)[None] % 2, 2)
    spheres = Spheres(grid, radius_mm=9)
    assert (predict(few, spheres, "lda", LEAST_SHRINKAGE) >= 0).all()
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        predict(few, spheres, "lda", 0.0)


def test_spheres_hold_all_voxels_within_the_radius(grid):
    spheres = Spheres(grid, radius_mm=4.0)
    for centre, voxels in zip((0, 50), spheres.of(np.array([0, 50])), strict=True):
        away = np.linalg.norm(grid.coordinates - grid.coordinates[centre], axis=1)
        assert sorted(voxels) == np.flatnonzero(away <= 4.0).tolist()
    assert (spheres.sizes() == [len(s) for s in spheres.of(np.arange(grid.n_voxels))]).all()


@pytest.mark.parametrize("radius", [3.3, 7.0, 60.0])
def test_spheres_are_round_in_millimetres_on_an_oblique_grid(grid, radius):
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([2.0, 2.5, 4.0])
    oblique = VoxelGrid(grid.mask, affine)
    spheres = Spheres(oblique, radius)
    around = spheres.of(np.arange(grid.n_voxels))
    for centre in range(0, grid.n_voxels, 11):
        away = np.linalg.norm(oblique.coordinates - oblique.coordinates[centre], axis=1)
        np.testing.assert_array_equal(around[centre], np.flatnonzero(away <= radius))
    np.testing.assert_array_equal(spheres.sizes(), [len(voxels) for voxels in around])


def test_number_of_voxels_counts_the_nearest_and_no_more_than_there_are(grid):
    (voxels,) = Spheres(grid, n_voxels=9).of(np.array([40]))
    away = np.linalg.norm(grid.coordinates - grid.coordinates[40], axis=1)
    assert len(voxels) == 9
    assert away[voxels].max() <= np.sort(away)[8] + 1e-9
    assert (Spheres(grid, n_voxels=10_000).sizes() == grid.n_voxels).all()


def test_every_centre_is_in_one_block(grid):
    centres = np.concatenate([b.centres for b in Spheres(grid, n_voxels=2).blocks()])
    assert sorted(centres) == list(range(grid.n_voxels))
    assert len(list(Spheres(grid, n_voxels=2).blocks())) == np.prod(
        [-(-n // BLOCK_EDGE) for n in (6, 6, 5)]
    )


def test_a_class_without_training_trials_is_never_predicted(fold, grid):
    classes = np.where(fold.classes == 3, 0, fold.classes)
    for estimator in ("lda", "ridge", "gnb"):
        found = predict(
            Fold(fold.train, fold.test, classes, 4), Spheres(grid, radius_mm=3), estimator
        )
        assert set(np.unique(found)) == {0, 1, 2}


def test_shrinkage_needs_no_labels_and_is_that_of_ledoit_and_wolf(fold, grid):
    spheres = Spheres(grid, n_voxels=grid.n_voxels)
    found = estimate_shrinkage(fold.train, spheres, np.random.default_rng(0))
    assert found == pytest.approx(ledoit_wolf_shrinkage(fold.train), rel=1e-4)
    one = Spheres(grid, radius_mm=0.1)
    assert estimate_shrinkage(fold.train, one, np.random.default_rng(0)) == LEAST_SHRINKAGE


def test_constant_voxels_change_nothing(fold, grid):
    spheres = Spheres(grid, radius_mm=5)
    dead = np.arange(grid.n_voxels) % 3 == 0
    train, test = np.where(dead, 0, fold.train), np.where(dead, 0, fold.test)
    for estimator in ("lda", "gnb"):
        found = predict(Fold(train, test, fold.classes, N_CLASSES), spheres, estimator)
        (voxels,) = spheres.of(np.array([61]))
        voxels = voxels[~dead[voxels]]
        if estimator == "gnb":
            model = GaussianNB()
        else:
            variance = float(train.var(axis=0).mean())
            model = LinearDiscriminantAnalysis(
                solver="lsqr", covariance_estimator=TotalShrinkage(variance)
            )
        model.fit(train[:, voxels], fold.classes[0])
        assert (found[61, 0] == model.predict(test[:, voxels])).all()
