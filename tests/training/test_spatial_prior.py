"""The spatial prior of decoders: a linear map of responses, used where training runs favour it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from bids_decoder.config import Network, Troi
from bids_decoder.grids.base import FWHM_PER_SD
from bids_decoder.training import spatial_prior
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.noise_filter import FILTER_WIDTHS, POWER, fit_noise_filter
from bids_decoder.training.spatial_prior import SpatialPrior, is_kept, prior_is_tried
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

SHAPE, N_LATENTS, N_RUNS = (14, 14, 6), 12, 6
CONTEXT = FitContext(Network(finetune_epochs=0, pretrain_epochs=1), Troi(stage2="none"), 1, "cpu")
NEVER = replace(CONTEXT, troi=replace(CONTEXT.troi, spatial_prior="never"))


def smooth(values, voxels):
    """White noise of unit variance, smoothed over this many voxels."""
    if not voxels:
        return values
    sigma = (*[0] * (values.ndim - 3), *[voxels / FWHM_PER_SD] * 3)
    found = gaussian_filter(values, sigma, mode="wrap")
    return found / found.std()


def make_person(seed, *, tuning, noise, strength=0.07, n_trials=150):
    """Responses to stimuli, with tuning and noise of some smoothness (voxels); half is test."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((2 * n_trials, N_LATENTS)).astype(np.float32)
    waves = smooth(rng.standard_normal((N_LATENTS, *SHAPE)), tuning).reshape(N_LATENTS, -1)
    region = np.zeros(SHAPE)
    region[3:11, 3:11, 1:5] = strength
    own = rng.standard_normal((2 * n_trials, *SHAPE))
    shared = smooth(rng.standard_normal(own.shape), noise)
    betas = vectors @ waves * region.ravel() + ((own + shared) / np.sqrt(2)).reshape(len(own), -1)
    table = pd.DataFrame({
        "trial": np.arange(2 * n_trials), "split": np.repeat(["train", "test"], n_trials),
        "run_group": np.repeat([f"run-{n}" for n in range(2 * N_RUNS)], n_trials // N_RUNS),
        "stimulus": [f"s{n}" for n in range(2 * n_trials)], "fold": None,
    })
    grid = VoxelGrid(np.ones(SHAPE, bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    scaled = (betas / betas[:n_trials].std(axis=0)).astype(np.float32)
    whole = Person("01", grid, scaled, table, np.arange(2 * n_trials))
    targets = Targets(tuple(table["stimulus"]), vectors, "features")
    rows = np.arange(n_trials)
    return whole.subset(rows), whole.subset(rows + n_trials), targets


def identified(model, test, targets):
    """Return the share of test trials whose stimulus is closest among the tested ones."""
    decoder = TroiDecoder()
    predicted = decoder.predict(model, test.betas)
    gallery = decoder.gallery(model, targets)[test.target_rows]
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    return float(((predicted @ gallery.T).argmax(axis=1) == np.arange(len(gallery))).mean())


def gain(model):
    before, after = model.card["spatial_prior_scores"]
    return after / before - 1


@pytest.fixture(scope="module")
def sharp():
    """Tuning that differs from voxel to voxel, in noise that neighbours share."""
    return make_person(0, tuning=0, noise=2.5)


def ragged_grid(person):
    """Leave out a third of the voxels of a participant."""
    mask = np.random.default_rng(0).random(person.grid.mask.shape) > 0.3
    betas = person.betas[:, mask.ravel()]
    return replace(person, betas=betas, grid=VoxelGrid(mask, person.grid.affine))


@pytest.mark.parametrize("width", [0, 3])
def test_weights_of_responses_read_the_same_latents(sharp, width):
    person, test = (ragged_grid(one) for one in sharp[:2])
    rng = np.random.default_rng(0)
    geometry, n_voxels = person.grid.geometry, person.grid.n_voxels
    smooth = geometry.kernel(width * geometry.spacing_mm) if width else None
    prior, _ = SpatialPrior(
        fit_noise_filter(person, rng), rng.random(n_voxels).astype(np.float32), smooth
    ).scaled(person.betas, np.arange(20))
    weight = rng.standard_normal((n_voxels, 3)).astype(np.float32)
    np.testing.assert_allclose(
        prior.apply(test.betas) @ weight, test.betas @ prior.of_responses(weight),
        rtol=1e-3, atol=1e-3,
    )


def test_mapped_responses_have_unit_variance_where_they_are_used(sharp):
    person = ragged_grid(sharp[0])
    noise = fit_noise_filter(person, np.random.default_rng(0))
    strength = (np.arange(person.grid.n_voxels) < 200).astype(np.float32)
    kernel = person.grid.geometry.kernel(6.0)
    filtered = noise.apply(person.betas)
    prior, mapped = SpatialPrior(noise, strength, kernel).scaled(filtered, np.arange(75))
    assert prior.reached[strength > 0].all() and strength.sum() < prior.reached.sum() < 800
    np.testing.assert_allclose(np.square(mapped[:75, prior.reached > 0]).mean(), 1, rtol=1e-4)
    np.testing.assert_allclose(prior.apply(person.betas), mapped, rtol=1e-3, atol=1e-4)


def test_noise_filter_is_a_power_of_the_covariance_of_noise():
    """Noise of known spectrum: at each frequency the filter is its density to the power -.5."""
    rng, shape, n_trials = np.random.default_rng(3), (24, 24, 24), 60
    shared = smooth(rng.standard_normal((n_trials, *shape)), 2.0)
    betas = (rng.standard_normal(shared.shape) + shared) / np.sqrt(2)
    table = pd.DataFrame({"run_group": ["run-0"] * n_trials})
    grid = VoxelGrid(np.ones(shape, bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    flat = betas.reshape(n_trials, -1).astype(np.float32)
    person = Person("01", grid, flat, table, np.zeros(n_trials, int))
    found = fit_noise_filter(person, np.random.default_rng(0))

    sigma, frequencies = 2.0 / FWHM_PER_SD, np.linspace(0, np.pi, 9)
    field = np.exp(-((sigma * frequencies) ** 2)) * (4 * np.pi * sigma**2) ** 1.5
    expected = ((1 + field) / (1 + field[-1])) ** -POWER
    means = np.exp(-0.5 * np.outer(frequencies, np.array(FILTER_WIDTHS) / FWHM_PER_SD) ** 2)
    transfer = found.factors[0] + means @ found.factors[1:]
    np.testing.assert_allclose(transfer / transfer[-1], expected, atol=0.12)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("tuning", "noise", "strength"), [(0, 2.5, 0.07), (3, 0, 0.08)])
def test_more_stimuli_are_identified(seed, tuning, noise, strength):
    train, test, targets = make_person(seed, tuning=tuning, noise=noise, strength=strength)
    _, model = TroiDecoder().fit(train, targets, None, CONTEXT)
    _, plain = TroiDecoder().fit(train, targets, None, NEVER)
    assert model.card["spatial_prior"] and gain(model) > 0.05
    assert (model.card["spatial_prior_fwhm_mm"] > 0) == (tuning > 0)
    assert "spatial_prior" not in plain.card
    assert identified(model, test, targets) > 1.15 * identified(plain, test, targets) > 0.1


def test_where_it_does_harm_responses_stay_as_they_are(sharp, monkeypatch):
    monkeypatch.setattr(spatial_prior, "WIDTHS", (6.0,))
    train, _, targets = sharp
    decoder = TroiDecoder()
    selection, model = decoder.fit(train, targets, None, CONTEXT)
    plain = decoder.adapt(train, targets, selection, None, NEVER)
    assert model.card["spatial_prior"] is False and gain(model) < -0.1
    np.testing.assert_array_equal(model.part("input")["weight"], plain.part("input")["weight"])


def test_prior_is_left_out_where_it_is_clearly_worse_or_nothing_is_decoded():
    rng = np.random.default_rng(0)
    plain, noise = 1 + rng.standard_normal(100), 0.5 * rng.standard_normal(100)
    noise -= noise.mean()
    assert is_kept(plain, plain + noise) and is_kept(plain, plain + noise - 0.04)
    assert not is_kept(plain, plain + noise - 0.06)
    assert not is_kept(np.zeros(100), np.zeros(100)) and not is_kept(plain - 2, plain - 2)


def test_without_a_selection_the_prior_is_used_and_all_voxels_stay_alike(sharp):
    train, test, targets = sharp
    everything = replace(CONTEXT, troi=replace(CONTEXT.troi, selector="all"))
    selection, model = TroiDecoder().fit(train, targets, None, everything)
    plain = TroiDecoder().adapt(train, targets, selection, None, replace(
        everything, troi=replace(everything.troi, spatial_prior="never")
    ))
    assert model.card["spatial_prior"] and gain(model) > 0.05 and "spatial_prior" not in plain.card
    assert selection.mask.all() and (selection.weights == 1).all()
    assert identified(model, test, targets) > identified(plain, test, targets)


def test_mask_is_that_of_the_responses_as_they_are(sharp):
    train, _, targets = sharp
    decoder = TroiDecoder()
    selection, model = decoder.fit(train, targets, None, CONTEXT)
    np.testing.assert_array_equal(
        selection.mask, decoder.select(train, targets, None, NEVER).mask
    )
    weighted = np.linalg.norm(model.part("input")["weight"], axis=1) > 0
    assert weighted[selection.mask].all() and weighted.sum() > selection.mask.sum()


def test_prior_is_tried_for_stimuli_with_neighbours_and_enough_trials(sharp):
    train, _, targets = sharp
    troi = CONTEXT.troi
    assert prior_is_tried(train, targets, troi)
    assert prior_is_tried(train, targets, replace(troi, selector="all"))
    assert not prior_is_tried(train, targets, replace(troi, spatial_prior="never"))
    assert not prior_is_tried(train, targets, replace(troi, selector="paper"))
    assert not prior_is_tried(train, replace(targets, kind="category"), troi)
    assert not prior_is_tried(train.subset(np.arange(50)), targets, troi)
    assert not prior_is_tried(train.subset(np.tile(np.arange(150), 21)), targets, troi)
    one_run = replace(train, trials=train.trials.assign(run_group="run-0"))
    assert not prior_is_tried(one_run, targets, troi)
    flat = VoxelGrid(np.ones((train.grid.n_voxels, 1, 1), bool), np.eye(4))
    assert not prior_is_tried(replace(train, grid=flat), targets, troi)


def test_runs_of_one_trial_tell_the_same_noise(sharp):
    person = sharp[0]
    long = fit_noise_filter(person, np.random.default_rng(0))
    names = [f"run-{n}" for n in range(len(person.betas))]
    short = replace(person, trials=person.trials.assign(run_group=names))
    found = fit_noise_filter(short, np.random.default_rng(0))
    np.testing.assert_allclose(found.factors, long.factors, atol=0.2)


def test_own_trunk_does_not_score_the_trials_it_was_trained_on(sharp):
    """With six runs a trunk is trained on all of them; held-out scores are those without it."""
    train, _, targets = sharp
    rows = np.random.default_rng(0).permutation(train.target_rows)
    shuffled = replace(train, target_rows=rows)
    scores = [
        TroiDecoder().fit(shuffled, targets, None, replace(CONTEXT, network=network))[1].card
        ["spatial_prior_scores"] for network in (
            replace(CONTEXT.network, target_whitening=0.25, pretrain_epochs=epochs)
            for epochs in (1, 30)
        )
    ]
    assert scores[0] == scores[1]


def test_shuffled_stimuli_are_not_told_apart(sharp):
    train, test, targets = sharp
    hits = []
    for seed in range(3):
        rows = np.random.default_rng(seed).permutation(train.target_rows)
        _, model = TroiDecoder().fit(replace(train, target_rows=rows), targets, None, CONTEXT)
        hits.append(identified(model, test, targets))
    assert np.mean(hits) < 3 / len(test.betas)
