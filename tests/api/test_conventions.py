"""Estimators to which not all checks of scikit-learn apply."""

import pickle

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from simulated import make_mask
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV

from bids_decoder import (
    EpisodicPretrainer,
    Searchlight,
    TrialEstimator,
    TROIDecoder,
    TROIRegressor,
)


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


def test_methods_are_known_before_the_fit(trials):
    """scikit-learn's own estimators ask for them before they fit."""
    X, y, _ = trials
    assert hasattr(TROIDecoder(), "predict_proba") and hasattr(TROIDecoder(), "decision_function")
    assert not hasattr(TROIRegressor(), "predict_proba")
    assert not hasattr(TROIRegressor(), "decision_function")
    calibrated = CalibratedClassifierCV(TROIDecoder(calibration_folds=0), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (len(X), len(np.unique(y)))


@pytest.mark.parametrize("is_number", [False, True])
def test_neighbours_can_be_left_out(is_number):
    rng = np.random.default_rng(0)
    truth, runs = np.tile([1.0, -1.0], 36), np.repeat(np.arange(6), 12)
    noise, pattern = (
        np.stack([gaussian_filter(rng.standard_normal((8, 8, 6)), 1) for _ in range(number)])
        for number in (72, 1)
    )
    X = noise / noise.std() + 0.3 * truth[:, None, None, None] * pattern / pattern.std()
    mask = nib.Nifti1Image(np.ones((8, 8, 6), np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))
    used = []
    for prior in ("auto", "never"):
        decoder = TROIRegressor(mask_img=mask, spatial_prior=prior) if is_number else TROIDecoder(
            mask_img=mask, spatial_prior=prior, calibration_folds=0)
        y = truth + 0.1 * rng.standard_normal(72) if is_number else truth
        fitted = decoder.fit(X.reshape(72, -1), y, groups=runs).fitted_
        used.append(fitted.model.card.get("noise_filter", False))
    assert used == [True, False]
