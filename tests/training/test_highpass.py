"""The high-pass filter of responses: a linear map, used where training runs favour it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from bids_decoder.config import Network, Troi
from bids_decoder.grids.base import FWHM_PER_SD
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.highpass import SHARE, WIDTH_VOXELS, HighPass, filter_is_tried
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

SHAPE, N_LATENTS, N_RUNS = (14, 14, 6), 12, 6
CONTEXT = FitContext(Network(finetune_epochs=0, pretrain_epochs=1), Troi(stage2="none"), 1, "cpu")
NEVER = replace(CONTEXT, troi=replace(CONTEXT.troi, highpass="never"))


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
    before, after = model.card["highpass_cosines"]
    return after / before - 1


@pytest.fixture(scope="module")
def sharp():
    """Tuning that differs from voxel to voxel, in noise that neighbours share."""
    return make_person(0, tuning=0, noise=2.5)


def test_weights_of_responses_read_the_same_latents(sharp):
    person, test, _ = sharp
    rng = np.random.default_rng(0)
    mask = rng.random(person.grid.mask.shape) > 0.3
    ragged = replace(
        person, betas=person.betas[:, mask.ravel()], grid=VoxelGrid(mask, person.grid.affine)
    )
    highpass, filtered = HighPass.fit(ragged)
    np.testing.assert_allclose(filtered.betas.std(axis=0), 1, rtol=1e-4)
    weight = rng.standard_normal((ragged.grid.n_voxels, 3))
    shown = test.betas[:, mask.ravel()]
    np.testing.assert_allclose(
        highpass.apply(shown) @ weight, shown @ highpass.of_responses(weight), rtol=1e-3, atol=1e-2
    )


def test_filter_subtracts_a_share_of_the_mean_around(sharp):
    person, _, _ = sharp
    highpass, _ = HighPass.fit(person)
    one = np.zeros((1, person.grid.n_voxels), np.float32)
    place = np.ravel_multi_index((7, 7, 3), SHAPE)
    one[0, place] = 1
    found = highpass.apply(one)[0] * highpass.spread
    expected = one[0] - SHARE * person.grid.geometry.kernel(2.0 * WIDTH_VOXELS).mean(one[0])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    constant = highpass.apply(np.ones_like(one))[0] * highpass.spread
    np.testing.assert_allclose(constant, 1 - SHARE, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_that_neighbours_share_is_removed(seed):
    train, test, targets = make_person(seed, tuning=0, noise=2.5)
    _, model = TroiDecoder().fit(train, targets, None, CONTEXT)
    _, plain = TroiDecoder().fit(train, targets, None, NEVER)
    assert model.card["highpass"] and gain(model) > 0.05
    assert "highpass" not in plain.card
    assert identified(model, test, targets) > 1.15 * identified(plain, test, targets) > 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tuning_that_neighbours_share_is_kept(seed):
    train, test, targets = make_person(seed, tuning=3, noise=0, strength=0.1)
    selection, model = TroiDecoder().fit(train, targets, None, CONTEXT)
    plain = TroiDecoder().adapt(train, targets, selection, None, NEVER)
    assert model.card["highpass"] is False and gain(model) < 0
    np.testing.assert_array_equal(model.part("input")["weight"], plain.part("input")["weight"])
    assert identified(model, test, targets) > 0.2


def test_without_a_selection_the_filter_is_used_and_all_voxels_stay_alike(sharp):
    train, test, targets = sharp
    everything = replace(CONTEXT, troi=replace(CONTEXT.troi, selector="all"))
    selection, model = TroiDecoder().fit(train, targets, None, everything)
    plain = TroiDecoder().adapt(train, targets, selection, None, replace(
        everything, troi=replace(everything.troi, highpass="never")
    ))
    assert model.card["highpass"] and gain(model) > 0.05 and "highpass" not in plain.card
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


def test_filter_is_tried_for_stimuli_with_neighbours_and_enough_trials(sharp):
    train, _, targets = sharp
    troi = CONTEXT.troi
    assert filter_is_tried(train, targets, troi)
    assert filter_is_tried(train, targets, replace(troi, selector="all"))
    assert not filter_is_tried(train, targets, replace(troi, highpass="never"))
    assert not filter_is_tried(train, targets, replace(troi, selector="paper"))
    assert not filter_is_tried(train, replace(targets, kind="category"), troi)
    assert not filter_is_tried(train.subset(np.arange(75)), targets, troi)
    assert not filter_is_tried(train.subset(np.tile(np.arange(150), 21)), targets, troi)
    one_run = replace(train, trials=train.trials.assign(run_group="run-0"))
    assert not filter_is_tried(one_run, targets, troi)
    flat = VoxelGrid(np.ones((train.grid.n_voxels, 1, 1), bool), np.eye(4))
    assert not filter_is_tried(replace(train, grid=flat), targets, troi)


def test_shuffled_stimuli_are_not_told_apart(sharp):
    train, test, targets = sharp
    hits = []
    for seed in range(3):
        rows = np.random.default_rng(seed).permutation(train.target_rows)
        _, model = TroiDecoder().fit(replace(train, target_rows=rows), targets, None, CONTEXT)
        hits.append(identified(model, test, targets))
    assert np.mean(hits) < 3 / len(test.betas)
