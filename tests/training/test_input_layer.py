import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity

from bids_decoder.evaluation.folds import spread_runs
from bids_decoder.normal_equations import TrialStream
from bids_decoder.training import input_layer, penalties
from bids_decoder.training.identification import identifiability, row_cosines
from bids_decoder.training.input_layer import fit_input_layer, fit_input_layers
from bids_decoder.training.penalties import (
    DEFAULT_PENALTY,
    RELATIVE_PENALTIES,
    TOLERANCE,
    choose_penalties,
    choose_streamed_penalties,
)

UNSCALED = np.ones((1, 5))


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    betas = rng.standard_normal((60, 90))
    latents = betas[:, :20] @ rng.standard_normal((20, 5)) + rng.standard_normal((60, 5))
    return betas, latents, np.repeat([f"r{i}" for i in range(6)], 10)


def within_runs(values, runs):
    out = np.array(values, dtype=float)
    for run in np.unique(runs):
        out[runs == run] -= out[runs == run].mean(axis=0)
    return out


@pytest.mark.parametrize("weighted", [False, True])
def test_is_ridge_on_run_centred_trials_up_to_scale(data, weighted):
    betas, latents, runs = data
    scales = np.random.default_rng(0).uniform(0.1, 2, 90) * (np.arange(90) % 3 > 0)
    scales = scales if weighted else np.ones(90)
    fit = fit_input_layer(betas, latents, runs, scales if weighted else None, penalty=0.3)
    x = within_runs(betas, runs) * scales
    alpha = 0.3 * np.trace(x @ x.T) / len(x)
    theirs = Ridge(alpha=alpha, fit_intercept=False).fit(x, within_runs(latents, runs))
    expected = theirs.coef_.T * scales[:, None]
    expected *= np.sqrt(5) / np.linalg.norm(expected)
    np.testing.assert_allclose(fit.weight, expected, atol=1e-5)
    assert np.linalg.norm(fit.weight) == pytest.approx(np.sqrt(5), rel=1e-5)
    np.testing.assert_allclose(fit.latents(betas).mean(axis=0), 0, atol=1e-4)
    assert (fit.weight[scales == 0] == 0).all()


def test_offsets_of_runs_change_nothing(data):
    betas, latents, runs = data
    moved = betas + 5 * np.random.default_rng(1).standard_normal((6, 90))[np.repeat(range(6), 10)]
    plain, shifted = (fit_input_layer(b, latents, runs, penalty=0.3) for b in (betas, moved))
    np.testing.assert_allclose(shifted.weight, plain.weight, atol=1e-5)


def test_constant_voxels_get_no_weight(data):
    betas, latents, runs = data
    betas[:, 4] = 7.0
    assert np.abs(fit_input_layer(betas, latents, runs).weight[4]).max() < 1e-6


def test_the_more_noise_the_larger_the_penalty():
    rng = np.random.default_rng(5)
    runs = np.repeat(np.arange(8).astype(str), 20)
    betas = rng.standard_normal((160, 40))
    latents = betas @ rng.standard_normal((40, 6))
    chosen = [
        choose_penalties(
            betas @ betas.T, latents + sd * rng.standard_normal(latents.shape), runs,
            np.ones((1, 6)),
        )[0]
        for sd in (0.0, 10.0, 60.0)
    ]
    assert chosen[0] <= chosen[1] <= chosen[2]
    assert chosen[2] >= 3 * chosen[0]


def test_penalty_is_that_of_brute_force(data):
    """The criterion again, by scikit-learn's ridge fold by fold."""
    betas, latents, runs = data
    scores = np.zeros(len(RELATIVE_PENALTIES))
    names = list(dict.fromkeys(runs))
    folds = [[n for i, n in enumerate(names) if i % 5 == k] for k in range(5)]
    for fold in folds:
        test = np.isin(runs, fold)
        x, y = (within_runs(v[~test], runs[~test]) for v in (betas, latents))
        left = betas[test] - betas[~test].mean(axis=0)
        wanted = latents[test] - latents[~test].mean(axis=0)
        size = np.linalg.eigvalsh(x @ x.T).clip(0).mean()
        for number, penalty in enumerate(RELATIVE_PENALTIES):
            model = Ridge(alpha=penalty * size, fit_intercept=False).fit(x, y)
            scores[number] += standing_out(model.predict(left), wanted).sum()
    good = RELATIVE_PENALTIES[scores >= (1 - TOLERANCE) * scores.max()]
    assert choose_penalties(betas @ betas.T, latents, runs, UNSCALED) == [good.max()]


@pytest.mark.parametrize("per_run", [10, 3])
def test_sums_of_folds_score_penalties_as_products_of_trials_do(data, per_run, monkeypatch):
    """Runs of 3 trials share one mean, which differs between the folds."""
    betas, latents, _ = data
    betas = (betas[:, :30] + np.linspace(-3, 3, 60)[:, None]).astype(np.float32)
    runs = np.repeat([f"r{i:02d}" for i in range(60 // per_run)], per_run)
    scores, everything = [], np.arange(60)
    monkeypatch.setattr(penalties, "_best_penalties", scores.append)
    choose_penalties((betas @ betas.T).astype(float), latents, runs, UNSCALED)
    stream = TrialStream.of(betas, everything, everything // per_run, np.arange(30), np.ones(30))
    choose_streamed_penalties(stream, latents, runs, UNSCALED)
    np.testing.assert_allclose(*scores, rtol=1e-3)
    assert np.ptp(scores[0]) > 1


def standing_out(predicted, wanted):
    """Own cosine in standard deviations over the cosines with all targets, by scikit-learn."""
    cosines = cosine_similarity(predicted, wanted)
    return (np.diag(cosines) - cosines.mean(axis=1)) / cosines.std(axis=1)


def test_identifiability_is_blind_to_scale_and_sees_what_stands_out(data):
    _, latents, _ = data
    noise = np.random.default_rng(2).standard_normal(latents.shape)
    np.testing.assert_allclose(
        identifiability(latents + noise, latents), standing_out(latents + noise, latents)
    )
    few = np.zeros_like(latents)
    few[:, 0] = latents[:, 0]
    assert identifiability(few, latents).mean() < identifiability(latents, latents).mean()
    np.testing.assert_allclose(
        identifiability(3 * latents, 7 * latents), identifiability(latents, latents)
    )


def test_too_few_runs_to_choose(data):
    betas, latents, _ = data
    three, four = np.repeat(list("abc"), 20), np.repeat(list("abcd"), 15)
    assert fit_input_layer(betas, latents, three).penalty == DEFAULT_PENALTY
    assert fit_input_layer(betas, latents, three, few_runs_penalty=0.3).penalty == 0.3
    chosen = fit_input_layer(betas, latents, four, few_runs_penalty=0.3).penalty
    assert [chosen] == choose_penalties(betas @ betas.T, latents, four, UNSCALED)
    assert chosen in RELATIVE_PENALTIES


def test_row_cosines():
    left, right = np.array([[1.0, 0], [1, 1], [0, 0]]), np.array([[2.0, 0], [-1, -1], [1, 0]])
    np.testing.assert_allclose(row_cosines(left, right), [1, -1, 0], atol=1e-9)


@pytest.mark.parametrize("penalty", [0.3, None, np.array([0.01, 0.1, 1.0])])
@pytest.mark.parametrize("given", [False, True])
def test_products_of_voxels_and_of_trials_give_the_same_fit(data, penalty, given, monkeypatch):
    betas, latents, runs = data
    rng = np.random.default_rng(2)
    scales = rng.uniform(0, 2, 90) * (np.arange(90) % 2 > 0)  # fewer voxels than trials
    others = rng.standard_normal((90, 5)) * 0.1 + np.pad(
        np.linalg.lstsq(betas[:, :20], latents, rcond=None)[0], ((0, 70), (0, 0))
    ) if given else None

    def fit():
        return fit_input_layer(betas, latents, runs, scales, penalty, group_weight=others)

    monkeypatch.setattr("bids_decoder.normal_equations._BLOCK", 16)
    by_voxels = fit()
    monkeypatch.setattr(input_layer, "_from_products", input_layer._from_kernel)
    by_trials = fit()
    assert by_voxels.penalty == by_trials.penalty
    assert by_voxels.gain == pytest.approx(by_trials.gain, rel=1e-5)
    np.testing.assert_allclose(by_voxels.weight, by_trials.weight, atol=1e-5)
    np.testing.assert_allclose(by_voxels.bias, by_trials.bias, atol=1e-5)


@pytest.mark.parametrize("n_voxels", [30, 90])
@pytest.mark.parametrize("penalty", [None, RELATIVE_PENALTIES])
def test_scalings_of_targets_are_fitted_as_each_alone(data, n_voxels, penalty):
    betas, latents, runs = data
    betas, latents = betas[:, :n_voxels], latents.copy()
    latents[:, 3:] = 4 * np.random.default_rng(7).standard_normal((len(latents), 2))
    scalings = np.array([[1, 1, 1, 1, 1], [1, 3, 0.2, 1e-3, 0], [0, 0, 1e-3, 1, 2]])
    found = fit_input_layers(betas, latents, scalings, runs, penalty=penalty)
    assert len({fit.penalty for fit in found}) > 1
    for fit, scaling in zip(found, scalings, strict=True):
        alone = fit_input_layer(betas, latents * scaling, runs, penalty=penalty)
        assert fit.penalty == alone.penalty
        np.testing.assert_allclose(fit.weight, alone.weight, atol=1e-6)


@pytest.mark.parametrize("n_voxels", [8, 50, 90])
def test_penalties_of_many_trials_are_chosen_by_some_runs(data, n_voxels, monkeypatch):
    betas, latents, runs = data
    betas = betas[:, :n_voxels]
    rows = spread_runs(runs, 40)
    assert np.unique(runs[rows]).tolist() == ["r0", "r2", "r3", "r5"]
    latents = latents.copy()
    # What is not used to choose is nothing but noise.
    rest = np.setdiff1d(np.arange(60), rows)
    latents[rest] = 100 * np.random.default_rng(8).standard_normal((len(rest), 5))
    by_all = fit_input_layer(betas, latents, runs).penalty
    for module in ("input_layer", "penalties"):
        monkeypatch.setattr(f"bids_decoder.training.{module}.MOST_TRIALS_TO_CHOOSE", 40)
    by_some = fit_input_layer(betas, latents, runs)
    assert by_some.n_trials == 60
    assert by_some.penalty == fit_input_layer(betas[rows], latents[rows], runs[rows]).penalty
    assert by_some.penalty != by_all


@pytest.mark.parametrize("n_voxels", [50, 90])
def test_voxels_with_negligible_weights_do_not_enter_a_fit(data, n_voxels, monkeypatch):
    betas, latents, runs = data
    betas, few = betas[:, :n_voxels], np.arange(n_voxels) < 20
    monkeypatch.setattr(input_layer, "MANY_TRIALS", len(betas) - 1)
    weights = np.where(few, 1.0, 3e-4)
    without = fit_input_layer(betas, latents, runs, np.where(few, 1.0, 0.0), penalty=0.1)
    found = fit_input_layer(betas, latents, runs, weights, penalty=0.1)
    np.testing.assert_array_equal(found.weight, without.weight)
    others = without.weight + 0.01 * np.random.default_rng(1).standard_normal((n_voxels, 5))
    beside = fit_input_layer(betas, latents, runs, weights, 0.1, others)
    assert (beside.weight[~few] != 0).all()
    monkeypatch.setattr(input_layer, "NEGLIGIBLE", 0.0)
    everything = fit_input_layer(betas, latents, runs, weights, penalty=0.1)
    assert (everything.weight[~few] != 0).all()
    expected = everything.latents(betas)
    np.testing.assert_allclose(found.latents(betas), expected, atol=1e-4 * np.abs(expected).max())


def test_memory_does_not_grow_with_the_square_of_trials():
    rng = np.random.default_rng(6)
    betas = rng.standard_normal((6000, 40)).astype(np.float32)
    latents, runs = rng.standard_normal((6000, 3)), np.repeat(np.arange(60).astype(str), 100)
    tracemalloc.start()
    try:
        fit_input_layer(betas, latents, runs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The products of all trials would be 288 MB.
    assert peak < 30e6


@pytest.mark.parametrize(("noise", "expected"), [(0.01, 10**-2.5), (0.1, 0.01), (10.0, 10.0)])
def test_likeliest_penalty_of_few_voxels(noise, expected, monkeypatch):
    """By products of voxels and by those of trials; the weakest candidate has one neighbour."""
    rng = np.random.default_rng(5)
    betas, runs = rng.standard_normal((60, 25)).astype(np.float32), np.repeat(range(6), 10)
    latents = betas[:, :4] + noise * rng.standard_normal((60, 4))
    few = fit_input_layer(betas, latents, runs, penalty=RELATIVE_PENALTIES)
    strongest = fit_input_layer(betas, latents, runs, penalty=RELATIVE_PENALTIES[:-1])
    monkeypatch.setattr(input_layer, "_from_products", input_layer._from_kernel)
    same = fit_input_layer(betas, latents, runs, penalty=RELATIVE_PENALTIES)
    assert few.penalty == strongest.penalty == same.penalty == pytest.approx(expected)
    np.testing.assert_allclose(few.weight, same.weight, atol=1e-5)
