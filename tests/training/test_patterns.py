"""Activation patterns: signal is where it is, not where the weights are."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from bids_decoder.training.patterns import activation_patterns, explained_sd
from bids_decoder.training.run_means import centre_runs

N_TRIALS, N_VOXELS = 400, 6


@pytest.fixture
def data():
    """Two sources in voxels 0-2; voxel 5 only has the noise of voxel 0."""
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(N_TRIALS, 2))
    betas = 0.2 * rng.normal(size=(N_TRIALS, N_VOXELS))
    betas[:, :3] += sources @ np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]])
    noise = 3.0 * rng.normal(size=N_TRIALS)
    betas[:, 0] += noise
    betas[:, 5] += noise
    runs = np.repeat(["a", "b", "c", "d"], N_TRIALS // 4)
    weight = LinearRegression().fit(betas, sources).coef_.T
    return sources, betas, weight, runs


def test_noise_that_the_weights_cancel_is_not_in_the_pattern(data):
    _, betas, weight, runs = data
    assert abs(weight[5, 0]) > 0.15 * np.abs(weight[:, 0]).max()
    patterns = activation_patterns(betas, weight, runs)
    np.testing.assert_allclose(patterns[:, :3], [[1, 0.5, 0], [0, 0.5, 1]], atol=0.15)
    assert np.abs(patterns[:, 3:5]).max() < 0.05


def test_equals_regression_of_responses_on_latents(data):
    _, betas, weight, runs = data
    latents = centre_runs(betas @ weight, runs)
    responses = centre_runs(betas, runs)
    for own, pattern in zip(latents.T, activation_patterns(betas, weight, runs), strict=True):
        slopes = LinearRegression(fit_intercept=False).fit(own[:, None], responses).coef_[:, 0]
        np.testing.assert_allclose(pattern, slopes * own.std(), atol=1e-5)
    both = LinearRegression(fit_intercept=False).fit(latents, responses)
    fitted = both.predict(latents).std(axis=0)
    np.testing.assert_allclose(explained_sd(betas, weight, runs), fitted, rtol=1e-4)


def test_length_does_not_depend_on_the_basis_of_latents(data):
    _, betas, weight, runs = data
    mixed = weight @ np.array([[2.0, -1.0, 0.5], [0.3, 4.0, 1.0]])
    np.testing.assert_allclose(
        explained_sd(betas, mixed, runs), explained_sd(betas, weight, runs), rtol=1e-4
    )


def test_latents_without_variance_have_no_pattern(data):
    _, betas, weight, runs = data
    assert not activation_patterns(betas, 0 * weight, runs).any()
    assert not explained_sd(betas, 0 * weight, runs).any()
