"""Encoding models and their inversion against textbook formulas."""

import numpy as np
import pytest

from bids_decoder.training import inversion
from bids_decoder.training.inversion import (
    EncodingFit,
    fit_encoding,
    invert,
    shrink_correlations,
)


def make(noise, n=120, n_coefficients=10, n_voxels=15, seed=0):
    rng = np.random.default_rng(seed)
    coefficients = rng.standard_normal((n, n_coefficients))
    coefficients -= coefficients.mean(axis=0)
    weight = rng.standard_normal((n_coefficients, n_voxels))
    responses = coefficients @ weight + noise * rng.standard_normal((n, n_voxels))
    return coefficients, responses - responses.mean(axis=0), weight


def test_weights_come_back_and_residuals_are_left_out():
    coefficients, responses, weight = make(noise=0.5)
    fit = fit_encoding(coefficients, responses, np.ones(10))
    assert fit.weight == pytest.approx(weight, abs=0.25)
    assert fit.residuals.std() == pytest.approx(0.5, rel=0.1)


def test_residuals_are_those_of_models_without_the_row():
    coefficients, responses, _ = make(noise=2.0, n=30, n_coefficients=4, n_voxels=1)
    fit = fit_encoding(coefficients, responses, np.ones(4))
    power = np.linalg.svd(coefficients, compute_uv=False) ** 2

    def ridge(rows, penalty):
        left = coefficients[rows]
        return np.linalg.solve(left.T @ left + penalty * np.eye(4), left.T @ responses[rows])

    penalties = np.logspace(-3, 3, 13) * power.mean()
    (penalty,) = (p for p in penalties if np.allclose(ridge(slice(None), p), fit.weight))
    missed = responses[4] - coefficients[4] @ ridge(np.arange(30) != 4, penalty)
    assert fit.residuals[4] == pytest.approx(missed)


def test_voxels_without_signal_have_no_weight():
    coefficients, responses, _ = make(noise=1.0, n_voxels=60)
    responses[:, 30:] = np.random.default_rng(1).standard_normal((120, 30))
    weight = fit_encoding(coefficients, responses, np.ones(10)).weight
    assert np.abs(weight[:, 30:]).mean() < 0.1 * np.abs(weight[:, :30]).mean()


def test_shrinkage_equals_that_of_all_pairs():
    rng = np.random.default_rng(3)
    residuals = rng.standard_normal((40, 6)) + 0.7 * rng.standard_normal((40, 1))
    scaled = (residuals - residuals.mean(axis=0)) / residuals.std(axis=0)
    top = bottom = 0.0
    for i in range(6):
        for j in range(6):
            if i != j:
                products = scaled[:, i] * scaled[:, j]
                top += products.var() / 40
                bottom += products.mean() ** 2
    assert shrink_correlations(residuals) == pytest.approx(top / bottom)
    assert shrink_correlations(rng.standard_normal((30, 50))) > 0.5


def test_the_inverse_is_the_posterior_mean():
    rng = np.random.default_rng(4)
    weight, residuals = rng.standard_normal((5, 9)), rng.standard_normal((30, 9))
    prior = np.cov(rng.standard_normal((5, 40)))
    found = invert(EncodingFit(weight, residuals), prior).weight(2.0)
    share = shrink_correlations(residuals)
    observed = residuals.T @ residuals / 30
    noise = 2 * ((1 - share) * observed + share * np.diag(np.diagonal(observed)))
    gain = prior @ weight @ np.linalg.inv(weight.T @ prior @ weight + noise)
    assert found == pytest.approx(gain.T, abs=1e-4)


def test_voxels_in_blocks_and_residuals_of_some_rows_are_those_of_all(monkeypatch):
    coefficients, responses, _ = make(noise=1.0)
    whole = fit_encoding(coefficients, responses, np.ones(10))
    monkeypatch.setattr(inversion, "_VALUES", 4 * len(responses))
    monkeypatch.setattr(inversion, "_MAX_RESIDUALS", 7)
    found = fit_encoding(coefficients, responses + 3.0, np.ones(10))
    np.testing.assert_allclose(found.weight, whole.weight, atol=1e-12)
    rows = np.linspace(0, len(responses) - 1, 7).astype(int)
    np.testing.assert_allclose(found.residuals, whole.residuals[rows], atol=1e-12)
