"""Estimators to which not all checks of scikit-learn apply."""

import pickle

import pytest
from simulated import make_mask
from sklearn.base import clone

from bids_decoder import EpisodicPretrainer, Searchlight, TrialEstimator, TROIDecoder


@pytest.mark.parametrize("estimator", [
    TrialEstimator("lss", t_r=1.5, hrf="glover"), EpisodicPretrainer(epochs=3, space="x"),
    Searchlight(radius=5.0, estimator="ridge"), TROIDecoder(n_voxels=30, selector="all"),
], ids=lambda e: type(e).__name__)
def test_parameters_are_kept(estimator):
    parameters = estimator.get_params()
    assert clone(estimator).get_params() == parameters
    assert type(estimator)(**parameters).get_params() == parameters
    assert pickle.loads(pickle.dumps(estimator)).get_params() == parameters
    name, value = next(iter(parameters.items()))
    assert getattr(estimator, name) is value
    with pytest.raises(ValueError, match="Invalid parameter"):
        estimator.set_params(nothing=1)


def test_fitting_leaves_parameters_alone(trials):
    X, y, runs = trials
    search = Searchlight(make_mask(), radius=3.5)
    before = search.get_params()
    search.fit(X, y, groups=runs)
    assert search.get_params() == before
