from dataclasses import replace

import numpy as np
import pytest

from bids_decoder.glm.base import EstimatorOptions, TrialRun
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.glmsingle import (
    GlmSingle,
    fewest_components,
    noise_pool,
    rescaling,
    signal_voxels,
)
from bids_decoder.glm.hrf import get_hrf, hrf_library
from bids_decoder.glm.least_squares import lsa_weights
from bids_decoder.glm.onoff import explained_variance, preferred_shapes
from bids_decoder.glm.reliability import split_half_reliability
from bids_decoder.glm.repeats import repeat_scheme
from bids_decoder.glm.ridge import RidgePath

N_SIGNAL, N_NOISE = 120, 130


def person(n_runs=5, test_run=4, n_conditions=18, noise=1.5, seed=0, shapes=(3, 14)):
    """Signal voxels answer with one of two shapes; all share three noise time courses."""
    rng = np.random.default_rng(seed)
    tuning = rng.standard_normal((n_conditions, N_SIGNAL)) + 1.5
    voxel_shape = np.arange(N_SIGNAL) % 2
    loading = rng.standard_normal((3, N_SIGNAL + N_NOISE))
    runs = []
    for number in range(n_runs):
        timing = Timing(110, 2.0)
        order = rng.permutation(n_conditions)
        onsets = 6.0 + 10.0 * np.arange(n_conditions)
        nuisance = nuisance_matrix(timing, 1 / 128).to_numpy()
        common = np.cumsum(rng.standard_normal((110, 3)), axis=0) * 0.5
        bold = common @ loading + noise * rng.standard_normal((110, N_SIGNAL + N_NOISE))
        run = TrialRun(
            bold.astype(np.float32), timing, onsets, np.full(n_conditions, 2.0), nuisance,
            np.full(n_conditions, number != test_run), np.array([f"c{c}" for c in order]),
        )
        for which, shape in enumerate(shapes):
            columns = np.flatnonzero(voxel_shape == which)
            response = run.regressors(hrf_library()[shape]) @ tuning[order][:, columns]
            run.bold[:, columns] += response.astype(np.float32)
        runs.append(run)
    return runs, voxel_shape, tuning


def fit(runs, **rungs):
    out = [np.full((r.n_trials, r.bold.shape[1]), np.nan, dtype=np.float32) for r in runs]
    report = GlmSingle(EstimatorOptions(chunk_voxels=64), **rungs).estimate(runs, out)
    return out, report


@pytest.fixture(scope="module")
def simulated():
    return person()


@pytest.fixture(scope="module")
def fitted(simulated):
    return fit(simulated[0])


def test_response_shapes_are_found():
    runs, voxel_shape, _ = person(n_runs=9, test_run=8, shapes=(3, 17))
    _, report = fit(runs, denoise=False, ridge=False)
    chosen = report.maps["hrf"][:N_SIGNAL].astype(int)
    peaks = np.array([5.0, *np.repeat([3.5, 4.25, 5.0, 6.0, 7.0], 4)])
    assert peaks[chosen[voxel_shape == 0]].mean() < 4.2
    assert peaks[chosen[voxel_shape == 1]].mean() > 5.5


def test_what_all_trials_of_a_run_have_in_common_tells_no_stimuli_apart(simulated):
    scheme = repeat_scheme(simulated[0][:4])
    betas = np.random.default_rng(3).standard_normal((len(scheme.run), 5))
    moved = betas + 3 * scheme.run[:, None]
    np.testing.assert_allclose(scheme.errors(moved, moved), scheme.errors(betas, betas))
    np.testing.assert_allclose(scheme.power(moved), scheme.power(betas))


def test_labels_that_repeat_within_a_run_alone_are_no_repeats(simulated):
    """Trials of one run share its noise; with labels there are enough of them in other runs."""
    labels = np.array(["a", "b", "c"] * 6)
    runs = [
        replace(run, labels=labels, conditions=np.array([f"{k}-{name}" for name in run.conditions]))
        for k, run in enumerate(simulated[0][:2])
    ]
    assert repeat_scheme(runs[:1]) is None
    scheme = repeat_scheme(runs)
    assert scheme.note == "labels, folds are runs"
    rows, columns = scheme.predictor.nonzero()
    assert (scheme.run[rows] != scheme.run[columns]).all()


def test_the_whole_length_is_no_penalty():
    rng = np.random.default_rng(4)
    path = RidgePath.of(rng.standard_normal((40, 6)))
    rotated = path.rotate(rng.standard_normal((40, 3)).astype(np.float32))
    found = path.penalties_for(rotated, np.array([[0.5] * 3, [1.0] * 3]))
    assert (found[0] > 0).all() and (found[1] == 0).all()


def test_tuning_does_not_look_at_test_trials_among_the_others():
    """Whatever the responses to them are, in noise voxels as elsewhere."""
    rng, train = np.random.default_rng(6), np.arange(18) % 3 > 0
    runs = [replace(run, train=train) for run in person(n_runs=3, test_run=3, shapes=(10, 10))[0]]
    changed = [replace(run, bold=run.bold + (
        run.regressors(get_hrf("spm"))[:, ~train] @ (20 * rng.standard_normal((6, 250)))
    ).astype(np.float32)) for run in runs]
    (_, first), (_, second) = (fit(some, fit_hrf=False) for some in (runs, changed))
    assert any("noise components of" in note for note in first.notes)
    assert first.notes == second.notes
    np.testing.assert_array_equal(first.maps["fraction"], second.maps["fraction"])


def test_training_trials_at_the_time_of_test_trials_are_not_tuned_on(simulated):
    """Their responses cannot be told from those to test trials."""
    runs = simulated[0][:4]
    first = replace(runs[0], onsets=np.repeat(runs[0].onsets[:9], 2), train=np.arange(18) % 2 > 0)
    _, mixed = fit([first, *runs[1:]], fit_hrf=False, denoise=False)
    untold = replace(first, train=np.zeros(18, bool))
    _, without = fit([untold, *runs[1:]], fit_hrf=False, denoise=False)
    assert "54 of 72 trials" in mixed.notes[0]
    np.testing.assert_array_equal(mixed.maps["fraction"], without.maps["fraction"])


def test_lost_trials_are_zero(simulated):
    runs = [replace(run, onsets=np.append(run.onsets[:-1], 400.0)) for run in simulated[0][:2]]
    out, report = fit(runs, fit_hrf=False, denoise=False)
    for betas, estimable in zip(out, report.estimable, strict=True):
        assert estimable.tolist() == [True] * 17 + [False]
        assert not betas[-1].any() and betas[:-1].any(axis=1).all()


def test_few_voxels_below_zero_are_joined_by_the_lowest_ones():
    explained = np.r_[0.0, np.linspace(-0.1, 0.8, 90)]
    assert (explained < 0).sum() == 10
    assert noise_pool(explained).tolist() == list(range(1, 31))


def test_trials_with_one_regressor_share_its_weight():
    rng = np.random.default_rng(5)
    design = rng.standard_normal((40, 4))
    design[:, 3] = design[:, 2]
    truth = np.array([[1.0], [-1.0], [2.0], [4.0]])
    path = RidgePath.of(design)
    found = path.weights(path.rotate((design @ truth).astype(np.float32)), np.zeros(1))
    np.testing.assert_allclose(found[:, 0], [1, -1, 3, 3], atol=1e-4)


@pytest.mark.parametrize("n_runs", [2, 3])
def test_three_runs_are_enough_to_choose_a_shape(n_runs):
    runs, voxel_shape, _ = person(n_runs=3, test_run=3, noise=0.3, shapes=(3, 17))
    options = [get_hrf("spm"), *(hrf_library()[number] for number in (3, 17))]
    chosen = preferred_shapes(runs[:n_runs], options)[0][:N_SIGNAL]
    assert (chosen == voxel_shape + 1).mean() > 0.5 if n_runs == 3 else not chosen.any()


def test_shapes_that_are_not_clearly_better_are_not_taken():
    runs, _, _ = person(n_runs=6, test_run=5, shapes=(10, 10))  # number 10 is the assumed one
    _, report = fit(runs, denoise=False, ridge=False)
    assert (report.maps["hrf"][:N_SIGNAL] > 0).mean() < 0.35
    _, report = fit(runs[:2], denoise=False, ridge=False)
    assert not report.maps["hrf"].any()


def test_each_rung_makes_repeats_more_alike(simulated):
    runs, _, _ = simulated
    scores = []
    for rungs in [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)]:
        flags = dict(zip(("fit_hrf", "denoise", "ridge"), map(bool, rungs), strict=True))
        betas = np.concatenate(fit(runs, **flags)[0])
        names = np.concatenate([run.conditions for run in runs])
        scores.append(np.median(split_half_reliability(betas, names)[:N_SIGNAL]))
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.05


def test_without_rungs_it_is_lsa(simulated):
    runs, _, _ = simulated
    betas, report = fit(runs, fit_hrf=False, denoise=False, ridge=False)
    design = np.column_stack([runs[0].regressors(get_hrf("spm")), runs[0].nuisance])
    expected = (np.linalg.pinv(design) @ runs[0].bold)[: runs[0].n_trials]
    assert np.allclose(betas[0], expected, atol=2e-3)
    assert set(report.maps) == {"hrf"}


def test_weights_correlate_with_the_truth(simulated, fitted):
    runs, _, tuning = simulated
    plain, _ = fit(runs, fit_hrf=False, denoise=False, ridge=False)
    rows = np.array([int(name[1:]) for name in runs[-1].conditions])
    truth = tuning[rows] - tuning[rows].mean(axis=0)

    def r(betas):
        values = betas[-1][:, :N_SIGNAL]
        return np.corrcoef((values - values.mean(axis=0)).ravel(), truth.ravel())[0, 1]

    assert r(fitted[0]) > r(plain) + 0.03


def test_held_out_runs_never_influence_tuning(simulated, fitted):
    runs, _, _ = simulated
    rng = np.random.default_rng(9)
    changed = [*runs[:-1], replace(
        runs[-1], bold=(50 * rng.standard_normal(runs[-1].bold.shape)).astype(np.float32),
        conditions=np.roll(runs[-1].conditions, 3),
    )]
    betas, report = fit(changed)
    for name, values in fitted[1].maps.items():
        assert np.array_equal(values, report.maps[name]), name
    assert report.notes == fitted[1].notes
    for before, after in zip(fitted[0][:-1], betas[:-1], strict=True):
        assert np.array_equal(before, after)
    assert not np.allclose(fitted[0][-1], betas[-1])


def test_training_data_does_influence_tuning(simulated, fitted):
    runs, _, _ = simulated
    rng = np.random.default_rng(9)
    noise = (5 * rng.standard_normal(runs[0].bold.shape)).astype(np.float32)
    _, report = fit([replace(runs[0], bold=noise), *runs[1:]])
    assert not np.array_equal(report.maps["fraction"], fitted[1].maps["fraction"])


def test_test_trials_within_a_run_do_not_move_the_response_shape(simulated):
    """Responses to test trials under the assumed shape are projected out of the choice."""
    runs, _, _ = simulated
    spm = get_hrf("spm")
    mixed = [replace(run, train=np.arange(run.n_trials) % 4 != 0) for run in runs]
    rng = np.random.default_rng(0)
    changed = []
    for run in mixed:
        weights = 20 * rng.standard_normal((run.n_trials, run.bold.shape[1]))
        added = run.regressors(spm)[:, ~run.train] @ weights[~run.train]
        changed.append(replace(run, bold=(run.bold + added).astype(np.float32)))
    before, after = (explained_variance(r, [spm], 64) for r in (mixed, changed))
    assert np.allclose(before, after, atol=1e-3)
    assert not np.allclose(before, explained_variance(runs, [spm], 64), atol=1e-3)


def test_repeats_are_needed_for_denoising_and_fractions(simulated):
    runs, _, _ = simulated
    unique = [
        replace(run, conditions=np.array([f"{n}-{i}" for i in range(run.n_trials)]))
        for n, run in enumerate(runs)
    ]
    _, report = fit(unique)
    assert any("no denoising" in note for note in report.notes)
    assert any("marginal likelihood" in note for note in report.notes)
    assert "fraction" not in report.maps
    assert "responseratio" in report.maps
    labelled = [replace(run, labels=old.conditions)
                for run, old in zip(unique, runs, strict=True)]
    _, report = fit(labelled)
    assert any("labels, folds are runs" in note for note in report.notes)
    assert (report.maps["fraction"] < 1).any()


def test_without_training_trials_nothing_is_tuned(simulated):
    runs, _, _ = simulated
    betas, report = fit([replace(r, train=np.zeros(r.n_trials, bool)) for r in runs[:2]])
    assert not report.maps["hrf"].any()
    assert (report.maps["responseratio"] == 1).all()
    assert any("0 of 36 trials" in note for note in report.notes)
    assert np.isfinite(betas[0]).all()


def test_cross_validation_tunes_without_any_label(simulated):
    runs, _, _ = simulated
    nobody = np.zeros(runs[0].n_trials, bool)
    crossed = [replace(run, train=nobody, crossed=~nobody) for run in runs]
    betas, report = fit(crossed)
    assert report.maps["hrf"].any() and (report.maps["responseratio"] != 1).any()
    assert "fraction" not in report.maps
    rng = np.random.default_rng(3)
    renamed = [
        replace(r, conditions=rng.permutation(r.conditions), labels=rng.permutation(r.conditions))
        for r in crossed
    ]
    again, _ = fit(renamed)
    for before, after in zip(betas, again, strict=True):
        assert before.tobytes() == after.tobytes()


def test_dead_voxels_and_prewhitening_request(simulated):
    runs, _, _ = simulated
    dead = []
    for run in runs:
        bold = run.bold.copy()
        bold[:, 5] = 0
        dead.append(replace(run, bold=bold))
    out = [np.empty((r.n_trials, r.bold.shape[1]), dtype=np.float32) for r in dead]
    report = GlmSingle(EstimatorOptions(noise_model="ar1")).estimate(dead, out)
    assert all(np.isfinite(place).all() and not place[:, 5].any() for place in out)
    assert any("ar1 is not used" in note for note in report.notes)


def test_same_input_same_bytes(simulated, fitted):
    again, _ = fit(simulated[0])
    for before, after in zip(fitted[0], again, strict=True):
        assert before.tobytes() == after.tobytes()


def test_repeat_scheme_predicts_only_across_folds(simulated):
    runs, _, _ = simulated
    scheme = repeat_scheme(runs[:3])
    assert scheme.usable.all()
    names = np.concatenate([run.conditions for run in runs[:3]])
    for row in range(len(names)):
        partners = scheme.predictor[[row], :].nonzero()[1]
        assert (names[partners] == names[row]).all()
        assert (scheme.run[partners] != scheme.run[row]).all()
        assert len(partners) == 2
    assert np.allclose(scheme.predictor.sum(axis=1), 1)
    one_run = replace(runs[0], conditions=np.repeat(["a", "b", "c"], 6))
    assert "repeats" in repeat_scheme([one_run]).note
    assert repeat_scheme([replace(runs[0], conditions=np.repeat(["a", "b"], 9))]) is None
    assert repeat_scheme([]) is None


def test_ridge_path_keeps_the_fraction_of_the_length():
    rng = np.random.default_rng(0)
    design = rng.standard_normal((80, 20)) @ np.diag(np.logspace(0, -2, 20))
    data = rng.standard_normal((80, 30)).astype(np.float32)
    path = RidgePath.of(design)
    rotated = path.rotate(data)
    plain = path.weights(rotated, np.zeros(1))
    assert np.allclose(plain, lsa_weights(design) @ data, atol=1e-3 * np.abs(plain).max())
    fractions = np.linspace(0.05, 1, 20)
    penalties = path.penalties_for(rotated, np.repeat(fractions[:, None], 30, axis=1))
    for fraction, penalty in zip(fractions, penalties, strict=True):
        length = np.linalg.norm(path.weights(rotated, penalty), axis=0)
        assert np.allclose(length / np.linalg.norm(plain, axis=0), fraction, atol=0.02)
    voxel, penalty = 4, penalties[9, 4]
    gram = design.T @ design + penalty * np.eye(20)
    expected = np.linalg.solve(gram, design.T @ data[:, voxel])
    assert np.allclose(path.weights(rotated, penalties[9])[:, voxel], expected, atol=1e-3)


def test_small_choices():
    assert fewest_components(np.array([0.1, 0.05, 0.0])) == 0
    assert fewest_components(np.array([0.0, 0.5, 0.97, 1.0, 0.9])) == 2
    explained = np.r_[np.full(60, -0.1), 0.0, np.linspace(0.01, 0.5, 40)]
    assert np.array_equal(noise_pool(explained), np.arange(60))
    assert len(noise_pool(np.abs(explained))) == 33
    assert 60 not in noise_pool(np.abs(explained))
    assert np.array_equal(signal_voxels(explained), np.arange(61, 101))
    shrunk = np.random.default_rng(0).standard_normal((30, 3))
    slope, offset = rescaling(shrunk, shrunk * [2, 1, -1] + 3)
    assert np.allclose(slope, [2, 1, 1])
    assert np.allclose(offset[:2], 3) and offset[2] == 0
