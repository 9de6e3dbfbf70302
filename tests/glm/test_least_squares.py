import warnings

import numpy as np
import pandas as pd
import pytest
from nilearn.glm.first_level import make_first_level_design_matrix, run_glm

from bids_decoder.errors import InputError, UsageError
from bids_decoder.glm.base import EstimatorOptions, TrialRun, percent_signal_change
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.estimators import ESTIMATORS, get_estimator
from bids_decoder.glm.hrf import get_hrf

SPM = get_hrf("spm")


def make_run(
    n_scans=220, t_r=2.0, spacing=4.5, n_voxels=60, n_confounds=4, noise=1.0, seed=0, ar=0.0
):
    rng = np.random.default_rng(seed)
    timing = Timing(n_scans, t_r, t_r / 2)
    onsets = np.arange(6.0, timing.end - 14, spacing)
    durations = np.full(onsets.size, 3.0)
    confounds = pd.DataFrame(rng.standard_normal((n_scans, n_confounds)).cumsum(axis=0))
    confounds.columns = [f"c{i}" for i in range(n_confounds)]
    nuisance = nuisance_matrix(timing, 1 / 128, confounds).to_numpy()
    truth = rng.standard_normal((onsets.size, n_voxels)) + 1.0
    errors = rng.standard_normal((n_scans, n_voxels))
    for scan in range(1, n_scans):
        errors[scan] += ar * errors[scan - 1]
    empty = np.zeros(onsets.size, bool)
    names = np.arange(onsets.size).astype(str)
    run = TrialRun(np.zeros((n_scans, n_voxels)), timing, onsets, durations, nuisance, empty, names)
    drift = nuisance @ rng.standard_normal((nuisance.shape[1], n_voxels))
    run.bold[:] = run.regressors(SPM) @ truth + drift + noise * errors
    data = TrialRun(
        run.bold.astype(np.float32), timing, onsets, durations, nuisance, empty, names
    )
    return data, truth


def estimate(name, runs, **options):
    out = [np.full((r.n_trials, r.bold.shape[1]), np.nan, dtype=np.float32) for r in runs]
    report = get_estimator(name, EstimatorOptions(**options)).estimate(runs, out)
    return out, report


def nilearn_per_trial(run, trials, noise_model):
    """One nilearn GLM per trial: own column, all others, nuisance."""
    columns = run.regressors(SPM)
    rows = []
    for trial in trials:
        others = columns.sum(axis=1) - columns[:, trial]
        design = np.column_stack([columns[:, trial], others, run.nuisance])
        labels, results = run_glm(np.asarray(run.bold, float), design, noise_model=noise_model)
        rows.append([results[label].theta[0, (labels == label)[labels == label].cumsum() - 1][k]
                     for label, k in zip(labels, _rank_within(labels), strict=True)])
    return np.array(rows)


def _rank_within(labels):
    seen = {}
    ranks = []
    for label in labels:
        ranks.append(seen.get(label, 0))
        seen[label] = ranks[-1] + 1
    return ranks


@pytest.mark.parametrize("spacing", [4.5, 12.0])
def test_lss_gives_the_numbers_of_one_nilearn_glm_per_trial(spacing):
    run, _ = make_run(spacing=spacing)
    trials = [0, 3, run.n_trials - 1]
    theirs = nilearn_per_trial(run, trials, "ols")
    (mine,), _ = estimate("lss", [run], chunk_voxels=17)
    assert mine.dtype == np.float32
    assert np.allclose(mine[trials], theirs, rtol=2e-4, atol=2e-4)


def test_lss_from_nilearns_own_event_columns():
    """The whole way through nilearn, its regressors included, differs by a factor only."""
    run, _ = make_run()
    trial = 7
    labels = np.where(np.arange(run.n_trials) == trial, "one", "others")
    events = pd.DataFrame(
        {"onset": run.onsets, "duration": run.durations, "trial_type": labels}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        design = make_first_level_design_matrix(
            run.timing.frame_times, events, hrf_model="spm", drift_model=None,
            add_regs=run.nuisance[:, :-1],
        )
    theirs = (np.linalg.pinv(design.to_numpy()) @ run.bold)[list(design.columns).index("one")]
    (mine,), _ = estimate("lss", [run])
    assert np.corrcoef(mine[trial], theirs)[0, 1] > 0.9999


@pytest.mark.parametrize("noise_model", ["ols", "ar1"])
def test_lsa_gives_the_numbers_of_nilearn(noise_model):
    run, _ = make_run(spacing=9.0, ar=0.4)
    design = np.column_stack([run.regressors(SPM), run.nuisance])
    labels, results = run_glm(np.asarray(run.bold, float), design, noise_model=noise_model)
    theirs = np.empty((run.n_trials, run.bold.shape[1]))
    for label in np.unique(labels):
        theirs[:, labels == label] = results[label].theta[: run.n_trials]
    (mine,), _ = estimate("lsa", [run], noise_model=noise_model, chunk_voxels=13)
    assert np.allclose(mine, theirs, rtol=1e-3, atol=1e-3)


def test_lss_with_prewhitening_stays_close_to_nilearn_per_trial():
    run, _ = make_run(ar=0.5, noise=2.0)
    trials = [1, 20]
    theirs = nilearn_per_trial(run, trials, "ar1")
    (mine,), _ = estimate("lss", [run], noise_model="ar1")
    (plain,), _ = estimate("lss", [run])
    assert np.corrcoef(mine[trials].ravel(), theirs.ravel())[0, 1] > 0.999
    assert np.abs(mine[trials] - theirs).mean() < 0.2 * np.abs(plain[trials] - theirs).mean()


def test_known_weights_are_recovered_without_noise():
    run, truth = make_run(noise=0.0)
    (mine,), report = estimate("lsa", [run])
    assert np.abs(mine - truth).max() < 5e-3
    assert report.estimable[0].all()


@pytest.mark.parametrize("name", ["lss", "lsa"])
def test_known_weights_are_recovered_with_noise(name):
    run, truth = make_run(spacing=8.0, noise=0.5)
    (mine,), _ = estimate(name, [run])
    assert np.corrcoef(mine.ravel(), truth.ravel())[0, 1] > (0.75 if name == "lss" else 0.85)


def test_two_repetition_times_in_one_person_give_one_scale():
    slow, slow_truth = make_run(t_r=2.0, noise=0.0, spacing=12.0)
    fast, fast_truth = make_run(t_r=0.8, n_scans=550, noise=0.0, spacing=12.0, seed=1)
    (a, b), _ = estimate("lsa", [slow, fast])
    assert np.allclose(a, slow_truth, atol=5e-3)
    assert np.allclose(b, fast_truth, atol=5e-3)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_end_of_run_and_unknown_trials_are_zero_and_finite(name):
    run, _ = make_run(spacing=9.0)
    onsets = run.onsets.copy()
    onsets[-1], onsets[-2], onsets[-3] = run.timing.end - 0.5, np.nan, 1e4
    cut = TrialRun(
        run.bold, run.timing, onsets, run.durations, run.nuisance, run.train, run.conditions
    )
    (mine,), report = estimate(name, [cut])
    assert np.isfinite(mine).all()
    assert report.estimable[0].tolist() == [True] * (len(onsets) - 3) + [False] * 3
    assert not mine[-3:].any()
    assert mine[:-3].any(axis=1).all()


def test_twins_and_single_trials_do_not_break_lss():
    run, _ = make_run(noise=0.0)
    twins = TrialRun(run.bold, run.timing, run.onsets[[5, 5]], run.durations[:2], run.nuisance,
                     run.train[:2], run.conditions[:2])
    single = TrialRun(run.bold, run.timing, run.onsets[[5]], run.durations[:1], run.nuisance,
                      run.train[:1], run.conditions[:1])
    (a, b), _ = estimate("lss", [twins, single])
    design = np.column_stack([single.regressors(SPM), run.nuisance])
    expected = np.linalg.pinv(design)[0] @ run.bold
    assert np.allclose(b[0], expected, atol=1e-3)
    assert np.allclose(a.sum(axis=0), expected, atol=2e-3)


def test_redundant_and_empty_nuisance_changes_nothing():
    run, _ = make_run()
    padded = np.column_stack([run.nuisance, run.nuisance[:, 0] * 3, np.zeros(len(run.nuisance))])
    again = TrialRun(run.bold, run.timing, run.onsets, run.durations, padded, run.train,
                     run.conditions)
    (a, b), _ = estimate("lss", [run, again])
    assert np.allclose(a, b, atol=1e-4)


def test_chunks_and_memory_maps_change_nothing(tmp_path):
    run, _ = make_run()
    (whole,), _ = estimate("lss", [run], chunk_voxels=1000)
    path = tmp_path / "out.npy"
    place = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=whole.shape)
    get_estimator("lss", EstimatorOptions(chunk_voxels=7)).estimate([run], [place])
    assert np.allclose(place, whole, atol=1e-5)


def test_a_large_constant_does_not_hurt_single_precision():
    run, _ = make_run()
    lifted = TrialRun(run.bold + np.float32(1e4), run.timing, run.onsets, run.durations,
                      run.nuisance, run.train, run.conditions)
    (a, b), _ = estimate("lss", [run, lifted])
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9999


def test_percent_signal_change():
    rng = np.random.default_rng(0)
    bold = (1000 + 10 * rng.standard_normal((50, 6))).astype(np.float32)
    expected = 100 * (bold / bold.mean(axis=0) - 1)
    bold[:, 1] = 5.0
    bold[3, 2] = np.nan
    bold[:, 3] -= 2000
    good = percent_signal_change(bold)
    assert good.tolist() == [True, False, False, False, True, True]
    assert np.allclose(bold[:, good], expected[:, good], atol=1e-3)
    assert not bold[:, ~good].any()


def test_too_many_trials_are_refused_by_lsa_and_fine_with_lss():
    run, _ = make_run(n_scans=60, spacing=1.5, n_confounds=20)
    estimate("lss", [run])
    for name in ("lsa", "glmsingle"):
        with pytest.raises(InputError, match="lss"):
            estimate(name, [run])


def test_shapes_must_fit():
    run, _ = make_run()
    with pytest.raises(InputError, match="differ"):
        get_estimator("lss").estimate([run], [np.zeros((3, 3), np.float32)])
    with pytest.raises(UsageError, match="ols, ar1"):
        estimate("lss", [run], noise_model="ar2")
    with pytest.raises(UsageError, match="glmsingle"):
        get_estimator("lsx")
