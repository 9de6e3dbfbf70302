"""Many ridge regressions with the likeliest penalty are those of one fit after the other."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.likely_ridge import CentredTrials
from bids_decoder.training.penalties import RELATIVE_PENALTIES, penalties_for_labels


def draw(per_run=10, n_runs=5, n_voxels=60, n_latents=3):
    rng = np.random.default_rng(0)
    betas = rng.standard_normal((per_run * n_runs, n_voxels)).astype(np.float32)
    noise = np.array([0.1, 3.0, 10.0])[:, None, None]
    latents = betas[:, :n_latents] + noise * rng.standard_normal((3, len(betas), n_latents))
    weights = rng.uniform(0, 1, (3, n_voxels)).astype(np.float32)
    weights[0, 20:] = 0
    weights[:, :2] *= 10
    return betas, latents, weights, np.repeat([f"run-{k}" for k in range(n_runs)], per_run)


@pytest.mark.parametrize("per_run", [10, 3], ids=["runs", "short runs share one mean"])
@pytest.mark.parametrize("repeats", [1, 8], ids=["few sets", "pairs of trials"])
def test_as_one_after_the_other(per_run, repeats, monkeypatch):
    monkeypatch.setattr("bids_decoder.training.likely_ridge._BYTES", 2000)
    betas, latents, weights, runs = draw(per_run)
    new = np.random.default_rng(1).standard_normal((7, 60)).astype(np.float32)
    found = CentredTrials.of(betas, runs).fit(
        np.tile(latents, (repeats, 1, 1)), np.tile(weights, (repeats, 1)), new
    )
    assert found.latents.shape == (3 * repeats, 7, 3)
    for number in range(3 * repeats):
        own, scales = latents[number % 3], weights[number % 3]
        expected = fit_input_layer(betas, own, runs, scales, RELATIVE_PENALTIES)
        assert found.penalties[number] == expected.penalty
        assert found.gains[number] == pytest.approx(expected.gain, rel=1e-4)
        # Kernels are sums in single precision, in another basis.
        np.testing.assert_allclose(found.latents[number], expected.latents(new), atol=1e-3)
    assert len(set(found.penalties)) > 1


def test_voxels_that_nobody_uses():
    betas, latents, weights, runs = draw()
    weights[:, 30:] = 0
    found = CentredTrials.of(betas, runs).fit(latents, weights, betas[:5])
    fewer = CentredTrials.of(betas[:, :30], runs).fit(latents, weights[:, :30], betas[:5, :30])
    np.testing.assert_allclose(found.latents, fewer.latents, atol=1e-4)


def test_the_penalty_is_the_likeliest_one():
    """The marginal likelihood again, by scipy."""
    betas, latents, weights, runs = draw()
    found = CentredTrials.of(betas, runs).fit(latents, weights, betas[:1])
    centring = np.eye(50) - (runs[:, None] == runs) / 10
    basis = np.linalg.svd(centring)[0][:, :45]
    for chosen, own, scales in zip(found.penalties, latents, weights, strict=True):
        scaled = basis.T @ (betas * scales)
        kernel, targets = scaled @ scaled.T, basis.T @ own
        chances = []
        for penalty in RELATIVE_PENALTIES * np.trace(kernel) / 50:
            covariance = kernel + penalty * np.eye(45)
            size = np.trace(targets.T @ np.linalg.solve(covariance, targets))
            # The variance of the targets is its maximum likelihood estimate.
            covariance *= size / 45
            normal = multivariate_normal(np.zeros(45), covariance)
            chances.append(-2 * normal.logpdf(np.zeros(45)))
        assert chosen == RELATIVE_PENALTIES[int(np.argmin(chances))]


@pytest.mark.parametrize(("n_runs", "expected"), [
    (1, [0.1]), (3, [0.1]), (4, RELATIVE_PENALTIES[:6]),
])
def test_few_trials_of_each_label_are_no_evidence_for_a_penalty(n_runs, expected):
    runs = np.repeat([f"run-{k}" for k in range(n_runs)], 7)
    np.testing.assert_array_equal(penalties_for_labels(runs, 6), expected)


def test_one_trial_of_each_label_would_always_take_the_strongest_penalty():
    rng = np.random.default_rng(0)
    latents = np.linalg.svd(np.eye(7) - 1 / 7)[0][:, :6]
    betas = (5 * rng.standard_normal((7, 60))).astype(np.float32)
    runs = np.repeat("run-1", 7)
    likeliest = fit_input_layer(betas, latents, runs, penalty=RELATIVE_PENALTIES)
    assert likeliest.penalty == RELATIVE_PENALTIES[-1]
    together = CentredTrials.of(betas, runs).fit(
        latents[None], np.ones((1, 60)), betas, np.array([0.1])
    )
    alone = fit_input_layer(betas, latents, runs, penalty=0.1)
    np.testing.assert_allclose(together.latents[0], alone.latents(betas), atol=1e-3)
    assert together.penalties[0] == alone.penalty == 0.1


def test_noise_that_voxels_share_does_not_take_labels_with_it():
    scores = {"all": [], "for labels": []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        patterns, shared = 0.25 * rng.standard_normal((4, 400)), rng.standard_normal((5, 400))
        train, test = np.tile(np.arange(4), 10), np.tile(np.arange(4), 25)
        runs = np.repeat([f"run-{k}" for k in range(10)], 4)
        betas, new = (
            patterns[rows] + rng.standard_normal((len(rows), 5)) @ shared
            + rng.standard_normal((len(rows), 400)) for rows in (train, test)
        )
        latents = np.linalg.svd(np.eye(4) - 1 / 4)[0][:, :3]
        for name, candidates in (
            ("all", RELATIVE_PENALTIES), ("for labels", penalties_for_labels(runs, 3)),
        ):
            fit = fit_input_layer(betas, latents[train], runs, penalty=candidates)
            found = (fit.latents(new) @ latents.T).argmax(axis=1)
            scores[name].append((found == test).mean())
    assert np.mean(scores["for labels"]) > np.mean(scores["all"]) + 0.2
