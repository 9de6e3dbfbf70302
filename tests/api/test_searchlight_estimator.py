"""Searchlights as an estimator: finds where signal is, with the app's functions."""

import numpy as np
import pytest
from simulated import SHAPE, make_mask, make_trials, to_images
from sklearn.base import clone
from sklearn.model_selection import LeaveOneGroupOut, ShuffleSplit

from bids_decoder import Searchlight
from bids_decoder.errors import BidsDecoderError


@pytest.fixture(scope="module")
def fitted(trials):
    X, y, runs = trials
    search = Searchlight(make_mask(), radius=3.5, n_permutations=19, random_state=0)
    return search.fit(X, y, groups=runs)


def test_spheres_with_signal_are_found(fitted):
    assert fitted.scores_[:8].mean() > 0.75
    assert fitted.scores_[-20:].mean() < 0.5
    assert fitted.chance_ == pytest.approx(1 / 3)
    assert fitted.p_values_[:5].max() == pytest.approx(0.05)
    assert np.median(fitted.p_values_max_[-20:]) > 0.2
    assert fitted.p_values_tfce_.shape == fitted.scores_.shape


def test_map_is_an_image_on_the_grid(fitted):
    assert fitted.scores_img_.shape == SHAPE
    inside = make_mask().get_fdata() > 0
    assert fitted.scores_img_.get_fdata()[inside] == pytest.approx(fitted.scores_, abs=1e-6)


def test_images_give_the_same_map(trials, fitted):
    X, y, runs = trials
    again = clone(fitted).set_params(n_permutations=0).fit(to_images(X), y, groups=runs)
    assert again.scores_ == pytest.approx(fitted.scores_)
    assert again.p_values_ is None


def test_scores_are_those_of_scikit_learn(trials):
    """Naive Bayes in one sphere of all voxels is scikit-learn's."""
    from sklearn.model_selection import cross_val_predict
    from sklearn.naive_bayes import GaussianNB

    X, y, runs = trials
    X, y, runs = X[:40, :], y[:40], runs[:40]
    search = Searchlight(make_mask(), radius=None, n_voxels=59, estimator="gnb")
    search.fit(X, y, groups=runs)
    guess = cross_val_predict(GaussianNB(), X, y, groups=runs, cv=LeaveOneGroupOut())
    recall = np.mean([(guess[y == name] == name).mean() for name in np.unique(y)])
    assert search.scores_ == pytest.approx(recall, abs=1e-6)


def test_distances(trials):
    X, y, runs = trials
    search = Searchlight(make_mask(), radius=3.5, estimator="crossnobis").fit(X, y, groups=runs)
    assert search.chance_ == 0
    assert search.scores_[:5].min() > search.scores_[-20:].max()


def test_without_runs_folds_are_stratified():
    X, y, _ = make_trials()
    assert Searchlight(make_mask(), radius=3.5, cv=3).fit(X, y).scores_[:8].mean() > 0.7


@pytest.mark.parametrize(("parameters", "why"), [
    ({"mask_img": None}, "no mask_img"),
    ({"n_voxels": 5}, "radius 8.0, n_voxels 5"),
    ({"radius": -1.0}, "radius -1.0"),
    ({"radius": None, "n_voxels": 2.5}, "n_voxels 2.5"),
    ({"n_permutations": -1}, "n_permutations -1"),
    ({"estimator": "svm"}, "estimator 'svm'"),
    ({"shrinkage": 2.0}, "shrinkage 2.0"),
    ({"cv": ShuffleSplit(3, random_state=0)}, "tested in several"),
    ({"cv": [(np.arange(20), np.arange(30, 60))]}, "trains on 20 and tests 30 of 60"),
])
def test_refusals(trials, parameters, why):
    X, y, runs = trials
    with pytest.raises(ValueError, match=why) as refused:
        Searchlight(**{"mask_img": make_mask(), **parameters}).fit(X, y, groups=runs)
    assert isinstance(refused.value, BidsDecoderError)


def test_one_class_is_refused(trials):
    X, y, runs = trials
    with pytest.raises(ValueError, match="one class only"):
        Searchlight(make_mask(), radius=3.5).fit(X, np.full_like(y, "face"), groups=runs)


def test_folds_may_be_masks(trials):
    X, y, runs = trials
    given = list(LeaveOneGroupOut().split(X, y, runs))
    masks = [(np.isin(np.arange(len(y)), train), np.isin(np.arange(len(y)), test))
             for train, test in given]
    one, other = (Searchlight(make_mask(), radius=3.5, cv=cv).fit(X, y) for cv in (given, masks))
    assert np.array_equal(one.scores_, other.scores_)


def test_images_that_are_not_finite_are_refused(trials):
    X, y, runs = trials
    X = X.copy()
    X[3, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        Searchlight(make_mask(), radius=3.5).fit(to_images(X), y, groups=runs)
