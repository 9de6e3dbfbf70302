"""Noise that voxels share: how much there is, and that labels of the mean are not lost with it."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.models.store import Model
from bids_decoder.training import shared_noise as module
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.labellings import scores_of_labellings
from bids_decoder.training.pretrain import noise_of_others
from bids_decoder.training.shared_noise import (
    NoisePrior,
    measure_noise,
    shared_noise,
    subtract_shared_noise,
)
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

N_CLASSES, N_VOXELS, NOTHING = 4, 200, NoisePrior()
TARGETS = Targets(tuple("abcd"), np.eye(N_CLASSES, dtype=np.float32), "category")
WANTED = np.linalg.svd(np.eye(N_CLASSES) - 1 / N_CLASSES)[0][:, :3]
CONTEXT = FitContext(Network(), Troi(stage2="none"), 1, "cpu")


def draw(seed, n_runs=4, *, shared=0.6, pattern=0.3, mean=0.0, n_test=100, label="01"):
    """Return training trials, one of each label twice in each run, and test trials.

    *shared*, *pattern*, *mean*: standard deviations, that of the noise of each voxel being 1.
    """
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(N_CLASSES), 2 * n_runs + n_test)
    patterns = pattern * rng.standard_normal((N_CLASSES, N_VOXELS))
    patterns += mean * np.array([1, -1, 2, -2])[:, None] / np.sqrt(2.5)
    betas = patterns[rows] + rng.standard_normal((len(rows), N_VOXELS))
    betas += shared * rng.standard_normal((len(rows), 1))
    n_train = 2 * n_runs * N_CLASSES
    betas = (betas - betas[:n_train].mean(axis=0)) / betas[:n_train].std(axis=0)
    table = pd.DataFrame({
        "trial": np.arange(len(rows)), "stimulus": np.array(TARGETS.ids)[rows], "fold": None,
        "run_group": [f"run-{k // (2 * N_CLASSES)}" for k in range(len(rows))],
        "split": np.where(np.arange(len(rows)) < n_train, "train", "test"),
    })
    grid = VoxelGrid(np.ones((N_VOXELS, 1, 1), bool), np.eye(4))
    whole = Person(label, grid, betas.astype(np.float32), table, rows)
    train = np.arange(len(rows)) < n_train
    return whole.subset(train), whole.subset(~train)


def accuracy(train, test, pretrained=None):
    decoder = TroiDecoder()
    _, model = decoder.fit(train, TARGETS, pretrained, CONTEXT)
    scores = label_scores(decoder.predict(model, test.betas), decoder.gallery(model, TARGETS))
    return float((scores.argmax(axis=1) == test.target_rows).mean())


def untouched(person, wanted, weights, prior):
    del wanted, prior
    return module.Filtered(person, weights)


def estimate(person, weights=None, prior=NOTHING):
    return shared_noise(person, WANTED[person.target_rows], weights, prior)


def test_weights_of_responses_read_the_same_latents():
    train, test = draw(0)
    rng = np.random.default_rng(1)
    noise = estimate(train, rng.uniform(0, 1, N_VOXELS))
    weight = rng.standard_normal((N_VOXELS, 3)).astype(np.float32)
    np.testing.assert_allclose(
        noise.apply(test.betas) @ weight, test.betas @ noise.of_responses(weight), atol=1e-4
    )


@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0])
def test_the_correlation_is_that_of_the_noise(shared):
    train, _ = draw(0, 60, shared=shared, pattern=0.1)
    noise, expected = estimate(train), shared**2 / (1 + shared**2)
    assert noise.correlation == pytest.approx(expected, abs=0.04)
    centred = noise.apply(train.betas)
    mean = centred.mean(axis=1).std()
    # As if voxels were independent.
    assert mean == pytest.approx(np.sqrt((1 - expected) / N_VOXELS), rel=0.15)


def test_labels_that_the_mean_tells_apart_are_no_noise():
    train, test = draw(0, 6, shared=0.0, pattern=0.0, mean=1.0)
    noise = estimate(train)
    assert noise.correlation < 0.02 and noise.share < 0.01
    # One dimension: of four labels those at its ends.
    assert accuracy(train, test) > 0.45


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_of_a_noisy_mean_are_not_lost(seed, monkeypatch):
    train, test = draw(seed, 4, shared=0.5, pattern=0.0, mean=1.0)
    noise = estimate(train)
    assert noise.correlation > 0.05 and noise.signal_ratio > 100 and noise.share < 0.01
    found = accuracy(train, test)
    monkeypatch.setattr("bids_decoder.training.troi.subtract_shared_noise", untouched)
    assert found == pytest.approx(accuracy(train, test), abs=0.02) and found > 0.45


def test_patterns_in_shared_noise_are_decoded_better(monkeypatch):
    people = [draw(seed, 2, shared=0.8, pattern=0.3) for seed in range(10)]
    found = np.mean([accuracy(*person) for person in people])
    monkeypatch.setattr("bids_decoder.training.troi.subtract_shared_noise", untouched)
    assert found > np.mean([accuracy(*person) for person in people]) + 0.05


def test_with_many_trials_it_would_be_no_gain(monkeypatch):
    gains = {}
    for n_runs in (2, 8):
        people = [draw(seed, n_runs, shared=0.8, pattern=0.3) for seed in range(10)]
        found = []
        for most in (1000, 0):
            monkeypatch.setattr(module, "MOST_TRIALS", most)
            found.append(np.mean([accuracy(*person) for person in people]))
        gains[n_runs] = found[0] - found[1]
    assert gains[2] > 0.05 and abs(gains[8]) < 0.01


def test_voxels_without_weight_have_no_part():
    train, _ = draw(0)
    weights = np.ones(N_VOXELS)
    weights[50:] = 0
    few = replace(
        train, betas=train.betas[:, :50], grid=VoxelGrid(np.ones((50, 1, 1), bool), np.eye(4))
    )
    whole, part = estimate(train, weights), estimate(few)
    assert whole.share == pytest.approx(part.share) and not whole.places[50:].any()
    single = estimate(train, (np.arange(N_VOXELS) == 3).astype(float))
    assert single.share == 0


@pytest.mark.parametrize("seed", range(4))
def test_with_copies_of_one_voxel_nothing_is_shared(seed):
    """What would be left of them is rounding, and refits of many labellings could not be solved."""
    train, test = draw(seed, shared=0.0, pattern=1.0)
    train, test = (
        replace(one, betas=np.repeat(one.betas[:, :1], N_VOXELS, axis=1)) for one in (train, test)
    )
    assert estimate(train).share == 0
    together = scores_of_labellings(
        train, test.betas, TARGETS, train.target_rows[None], CONTEXT.network, CONTEXT.troi
    )
    decoder = TroiDecoder()
    _, model = decoder.fit(train, TARGETS, None, CONTEXT)
    alone = label_scores(decoder.predict(model, test.betas), decoder.gallery(model, TARGETS))
    np.testing.assert_allclose(together[0], alone, atol=1e-4 * np.abs(alone).max())


def test_one_trial_of_each_label_leaves_no_noise_to_measure():
    train, _ = draw(0, 1)
    once = train.subset(np.arange(N_CLASSES))
    assert estimate(once).share == 0
    assert subtract_shared_noise(once, WANTED, None, NOTHING).person is once
    known = estimate(once, prior=NoisePrior(0.2, 1.0, 10.0))
    assert known.correlation == pytest.approx(0.2)
    assert known.share == pytest.approx(1 - np.sqrt(0.8 / (0.8 + 0.2 * N_VOXELS)), abs=0.03)
    useful = estimate(once, prior=NoisePrior(0.2, 1e4, 10.0))
    assert useful.share == 0


def test_many_trials_are_left_as_they_are(monkeypatch):
    train, _ = draw(0)
    monkeypatch.setattr(module, "MOST_TRIALS", len(train.betas) - 1)
    found = subtract_shared_noise(train, WANTED[train.target_rows], None, NOTHING)
    assert found.person is train and found.filter is None and found.notes == {}


def test_a_new_participant_takes_the_noise_of_others():
    others = [draw(seed, 6, label=f"0{seed}")[0] for seed in range(1, 4)]
    prior = noise_of_others(others, WANTED, lambda *_: None)
    assert prior.correlation == pytest.approx(0.36 / 1.36, abs=0.08) and prior.freedom == 10
    pretrained = TroiDecoder().pretrain(others, TARGETS, replace(
        CONTEXT, network=Network(pretrain_epochs=1)
    ))
    assert pretrained.card["noise"]["correlation"] == pytest.approx(prior.correlation, abs=0.05)
    once = draw(0, 1)[0].subset(np.arange(N_CLASSES))
    _, model = TroiDecoder().fit(once, TARGETS, pretrained, CONTEXT)
    assert model.card["noise_share"] > 0.5
    card = {name: value for name, value in pretrained.card.items() if name != "noise"}
    _, earlier = TroiDecoder().fit(once, TARGETS, Model(pretrained.tensors, card), CONTEXT)
    assert "noise_share" not in earlier.card


def test_source_participants_tell_as_much_as_they_have_noise():
    once = draw(1, 1)[0].subset(np.arange(N_CLASSES))
    some, many = draw(2, 2, shared=0.0)[0], draw(3, 20)[0]
    assert noise_of_others([once], WANTED, lambda *_: None) == NOTHING
    both = noise_of_others([once, many], WANTED, lambda *_: None)
    assert both == noise_of_others([many], WANTED, lambda *_: None)
    pooled = noise_of_others([some, many], WANTED, lambda *_: None)
    alone = [estimate(person).correlation for person in (some, many)]
    left = [len(person.betas) - n_runs - 3 for person, n_runs in ((some, 2), (many, 20))]
    assert pooled.correlation == pytest.approx(np.average(alone, weights=left))


def ratios_of_groups(n_groups, **options):
    """Pool five source participants at a time."""
    people = [draw(seed, 6, n_test=1, **options)[0] for seed in range(5 * n_groups)]
    measures = [measure_noise(one, WANTED[one.target_rows], None) for one in people]
    groups = [measures[start:start + 5] for start in range(0, len(measures), 5)]
    return np.array([NoisePrior.of(group).signal_ratio for group in groups])


def test_source_participants_without_signal_tell_nothing_of_its_ratio():
    """Where labels explain nothing, a ratio of two signals would be of any size."""
    ratios = ratios_of_groups(20, pattern=0.0)
    assert ratios.max() < 5 and 0.8 < np.median(ratios) < 1.5


def test_source_participants_tell_where_signal_is():
    assert ratios_of_groups(4, pattern=0.3).max() < 1
    assert ratios_of_groups(4, pattern=0.0, mean=1.0, shared=0.3).min() > 50


@pytest.mark.parametrize("stage2", ["none", "lr_rewind", "reinit"])
def test_an_input_layer_that_was_learned_reads_responses_as_they_are(stage2):
    train, _ = draw(0)
    context = FitContext(
        Network(finetune_epochs=2, pretrain_epochs=1),
        Troi(selector="paper", stage2=stage2, budget_voxels=50, epochs=3), 1, "cpu",
    )
    selection, model = TroiDecoder().fit(train, TARGETS, None, context)
    assert ("noise_share" in model.card) == (stage2 == "reinit")
    weight = model.part("input")["weight"]
    assert not weight[~selection.mask].any()
    if stage2 == "none":
        np.testing.assert_array_equal(weight, selection.start_weight)


def test_responses_are_not_copied_in_double_precision():
    rng = np.random.default_rng(0)
    train, n_voxels = draw(0)[0], 50_000
    train = replace(
        train, betas=rng.standard_normal((len(train.betas), n_voxels), dtype=np.float32),
        grid=VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4)),
    )
    peaks = []
    tracemalloc.start()
    noise = estimate(train)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.reset_peak()
    noise.apply(train.betas)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[0] < 0.8 * train.betas.nbytes and peaks[1] < 1.5 * train.betas.nbytes


def test_stimuli_are_decoded_from_responses_as_they_are():
    train, _ = draw(0, 6)
    rng = np.random.default_rng(0)
    stimuli = Targets(
        tuple(map(str, range(len(train.betas)))),
        rng.standard_normal((len(train.betas), 8)).astype(np.float32), "features",
    )
    seen = replace(train, target_rows=np.arange(len(train.betas)))
    _, model = TroiDecoder().fit(seen, stimuli, None, replace(
        CONTEXT, network=Network(pretrain_epochs=1)
    ))
    assert "noise_share" not in model.card
