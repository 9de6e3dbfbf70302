from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bids_decoder.glm.base import EstimatorOptions, TrialRun, nuisance_basis, residualise
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.likelihood import RATIOS, _View, response_ratio
from bids_decoder.glm.likelihood_ridge import RELAXATION

SPM = get_hrf("spm")
N_VOXELS = 60


def make_run(spacing=4.0, n_trials=30, height=1.0, seed=0, n_test=0):
    """Independent responses of standard deviation *height*, white noise of one percent."""
    rng = np.random.default_rng([seed, 1])
    timing = Timing(int((spacing * n_trials + 24) / 2), 2.0, 1.0)
    onsets = 6 + spacing * np.arange(n_trials)
    run = TrialRun(
        rng.standard_normal((timing.n_scans, N_VOXELS)).astype(np.float32), timing, onsets,
        np.full(n_trials, 2.0), nuisance_matrix(timing, 1 / 128).to_numpy(),
        np.arange(n_trials) >= n_test, np.arange(n_trials).astype(str),
    )
    truth = height * rng.standard_normal((n_trials, N_VOXELS))
    run.bold[:] += (run.regressors(SPM) @ truth).astype(np.float32)
    return run, truth


def estimate(name, runs, **options):
    out = [np.full((r.n_trials, r.bold.shape[1]), np.nan, dtype=np.float32) for r in runs]
    report = get_estimator(name, EstimatorOptions(chunk_voxels=17, **options)).estimate(runs, out)
    return out, report


def ratios(runs):
    return response_ratio(runs, SPM, np.arange(N_VOXELS), 17)


def correlation(found, truth):
    a, b = found - found.mean(axis=0), truth - truth.mean(axis=0)
    return np.median((a * b).sum(axis=0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0))


def test_likelihood_is_that_of_the_error_contrasts():
    run, _ = make_run()
    basis = nuisance_basis(run.nuisance)
    # An orthonormal basis of everything but the nuisance: restricted likelihood by definition.
    contrasts = np.linalg.svd(np.eye(len(basis)) - basis @ basis.T)[0]
    contrasts = contrasts[:, : len(basis) - basis.shape[1]]
    columns, data = contrasts.T @ run.regressors(SPM), contrasts.T @ run.bold[:, 3]
    expected = []
    for ratio in RATIOS:
        shape = np.eye(len(data)) + ratio * columns @ columns.T
        scale = data @ np.linalg.solve(shape, data) / len(data)
        expected.append(multivariate_normal.logpdf(data, cov=scale * shape))
    found = _View.of(run, SPM).log_likelihood(np.array([3]))[:, 0]
    assert np.allclose(found - found[0], np.array(expected) - expected[0], atol=0.02)


@pytest.mark.parametrize("height", [0.3, 1.0, 3.0])
def test_ratio_of_variances_is_found(height):
    runs = [make_run(8.0, height=height, seed=seed)[0] for seed in range(4)]
    assert np.median(ratios(runs)) == pytest.approx(height**2, rel=0.5)


def test_fixed_test_trials_and_labels_do_not_matter():
    run, _ = make_run(n_test=10)
    rng = np.random.default_rng(5)
    added = run.regressors(SPM)[:, :10] @ (30 * rng.standard_normal((10, N_VOXELS)))
    changed = replace(
        run, bold=(run.bold + added).astype(np.float32), conditions=run.conditions[::-1]
    )
    assert np.array_equal(ratios([run]), ratios([changed]))
    everything = replace(changed, train=np.ones(run.n_trials, bool))
    assert not np.array_equal(ratios([changed]), ratios([everything]))
    held_out = replace(run, train=np.zeros(run.n_trials, bool))
    assert (ratios([held_out]) == 1).all()
    crossed = replace(held_out, crossed=np.ones(run.n_trials, bool))
    assert np.array_equal(ratios([crossed]), ratios([replace(run, train=crossed.crossed)]))


def test_trials_that_were_looked_at_are_counted():
    (_, report) = estimate("ridge", [make_run(n_test=12)[0], make_run(seed=1)[0]])
    assert any("over 48 of 60 trials" in note for note in report.notes)


def test_weights_are_those_of_ridge_regression():
    run, _ = make_run()
    (betas,), report = estimate("ridge", [run])
    basis = nuisance_basis(run.nuisance)
    columns = residualise(basis, run.regressors(SPM))
    for voxel in (0, 31, 59):
        penalty = 1 / (RELAXATION * report.maps["responseratio"][voxel])
        gram = columns.T @ columns + penalty * np.eye(run.n_trials)
        expected = np.linalg.solve(gram, columns.T @ run.bold[:, voxel])
        assert np.allclose(betas[:, voxel], expected, atol=1e-3)


@pytest.mark.parametrize("height", [0.3, 3.0])
def test_between_lss_and_lsa_it_keeps_the_better_of_both(height):
    """Closely spaced trials: LSS blurs strong responses, LSA amplifies noise on weak ones."""
    runs, truth = zip(*(make_run(3.0, 40, height, seed) for seed in range(3)), strict=True)
    truth = np.concatenate(truth)
    r = {name: correlation(np.concatenate(estimate(name, runs)[0]), truth)
         for name in ("lss", "lsa", "ridge")}
    assert r["ridge"] > max(r["lss"], r["lsa"]) - 0.02
    assert r["ridge"] > min(r["lss"], r["lsa"]) + 0.05


def test_more_trials_than_volumes_can_be_told():
    run, truth = make_run(1.5, 80, 3.0)
    assert run.n_trials > run.timing.n_scans - run.nuisance.shape[1]
    (betas,), _ = estimate("ridge", [run])
    assert np.isfinite(betas).all()
    assert correlation(betas, truth) > 0.2


def test_lost_trials_dead_voxels_and_prewhitening_request():
    run, _ = make_run()
    run.bold[:, 5] = 0
    run = replace(run, onsets=np.where(np.arange(30) == 4, np.nan, run.onsets))
    (betas,), report = estimate("ridge", [run], noise_model="ar1")
    assert np.isfinite(betas).all()
    assert not betas[:, 5].any() and not betas[4].any()
    assert not report.estimable[0][4]
    assert any("ar1 is not used" in note for note in report.notes)


def test_chunks_change_nothing_and_same_input_gives_same_bytes():
    runs = [make_run(seed=seed)[0] for seed in range(2)]
    first, again = estimate("ridge", runs)[0], estimate("ridge", runs)[0]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    out = [np.empty((r.n_trials, N_VOXELS), np.float32) for r in runs]
    get_estimator("ridge").estimate(runs, out)
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(first, out, strict=True))
