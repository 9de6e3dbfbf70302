"""Encoders on voxels whose tuning is known: who responds, what chance is, what leaks."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from bids_decoder.errors import InputError, LeakageError, MissingInputError, UsageError
from bids_decoder.evaluation.voxelwise import voxel_correlations
from bids_decoder.simulate.encoding import edge_energy, make_encoded_world
from bids_decoder.simulate.images import make_scene
from bids_decoder.training import encoding_ridge
from bids_decoder.training.encoders import (
    COMPARISONS,
    ENCODERS,
    EncodeContext,
    calibrated,
    fit_encoder,
    inner_split,
    load_encoder,
    make_task,
)
from bids_decoder.training.encoding_ridge import ALPHAS
from bids_decoder.training.encoding_settings import Encoding
from bids_decoder.trials import Person, Targets, VoxelGrid

torch.set_num_threads(1)

N_TRAIN, N_TEST, SIZE = 220, 40, 24
REGION = np.arange(40) < 16
SETTINGS = Encoding(image_size=SIZE, channels=16, epochs=90, learning_rate=2e-3, n_selected=16)
CONTEXT = EncodeContext(SETTINGS, seed=3)


class Known:
    """Pictures, features, trials and the truth."""

    def __init__(self):
        scenes = [make_scene(number, SIZE) for number in range(N_TRAIN + N_TEST)]
        grey = np.stack(scenes) @ np.array([0.299, 0.587, 0.114])
        self.pictures = np.rint(grey).astype(np.uint8)
        energy = edge_energy(self.pictures)[:, :, 2::5, 2::5]
        features = energy.reshape(len(energy), -1)
        ids = tuple(f"p{number:03d}" for number in range(len(features)))
        self.targets = Targets(ids, features, "image")
        rng = np.random.default_rng(7)
        self.world = make_encoded_world(self.pictures, REGION, "energy", 5)
        betas = self.world.respond(np.arange(N_TRAIN), 2.0, rng)
        scaled = (betas - betas.mean(axis=0)) / betas.std(axis=0)
        trials = pd.DataFrame({
            "run_group": [f"run-{10 * i // N_TRAIN}" for i in range(N_TRAIN)], "split": "train",
        })
        grid = VoxelGrid(np.ones((40, 1, 1), bool), np.eye(4))
        self.person = Person("01", grid, scaled, trials, np.arange(N_TRAIN))
        self.test = np.arange(N_TRAIN, N_TRAIN + N_TEST)

    def task(self, settings=SETTINGS, seed=0):
        return make_task(self.person, self.targets, self.pictures, settings, seed)

    def permuted(self, seed):
        """The trials, said to show other pictures than they did."""
        rows = np.random.default_rng(seed).permutation(N_TRAIN)
        return replace(self.task(), rows=rows)

    def accuracy(self, name, context=CONTEXT, task=None):
        task, encoder = task or self.task(), load_encoder(name)
        model = fit_encoder(encoder, task, context)
        predicted = encoder.predict(model, task.stimuli)
        return voxel_correlations(predicted[self.test], self.world.signal[self.test]), model


@pytest.fixture(scope="module")
def known():
    return Known()


@pytest.fixture(scope="module")
def fitted(known):
    return {name: known.accuracy(name) for name in ENCODERS}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_region_is_found(fitted, name):
    accuracy, model = fitted[name]
    floor = {"etecrm": 0.5, "ridge": 0.7, "twostep-plain": 0.5}.get(name, 0.3)
    assert accuracy[REGION].mean() > floor
    scores = model.tensors["calibration.score"]
    assert roc_auc_score(REGION, scores) > 0.95
    assert abs(scores[~REGION].mean()) < 0.15
    assert model.card["encoder"] == name


def test_selective_predictions_are_stronger_where_there_is_something_to_predict(fitted):
    for name in ("etecrm", "twostep-selective"):
        strength = fitted[name][1].tensors["calibration.sd"]
        assert roc_auc_score(REGION, strength) > 0.9


@pytest.mark.parametrize("name", ENCODERS)
def test_permuted_pictures_are_at_chance(known, name):
    context = EncodeContext(replace(SETTINGS, epochs=8), seed=3)
    found = [known.accuracy(name, context, known.permuted(seed)) for seed in range(4)]
    # Voxels share the pictures: one permutation varies by 0.16 at most (40 pictures), four by 0.08.
    assert abs(np.mean([accuracy[REGION].mean() for accuracy, _ in found])) < 0.25
    scores = [model.tensors["calibration.score"][REGION].mean() for _, model in found]
    assert abs(np.mean(scores)) < 0.25


@pytest.mark.parametrize("name", ["etecrm", "twostep-selective", "ridge"])
def test_same_seed_same_bytes(known, name):
    context = EncodeContext(replace(SETTINGS, epochs=3), seed=5)
    first, second = (known.accuracy(name, context)[1] for _ in range(2))
    assert first.tensors.keys() == second.tensors.keys()
    for key, values in first.tensors.items():
        np.testing.assert_array_equal(values, second.tensors[key])
    assert first.card == second.card
    if name != "ridge":
        other = known.accuracy(name, replace(context, seed=6))[1]
        assert (other.tensors["calibration.sd"] != first.tensors["calibration.sd"]).any()


@pytest.mark.parametrize("name", ["etecrm", "twostep-plain", "ridge"])
def test_held_out_stimuli_play_no_part(known, name):
    context = EncodeContext(replace(SETTINGS, epochs=2), seed=5)
    model = known.accuracy(name, context)[1]
    other = copy.deepcopy(known)
    other.pictures[N_TRAIN:] = 255 - other.pictures[N_TRAIN:]
    other.targets.vectors[N_TRAIN:] = 0
    again = fit_encoder(
        load_encoder(name),
        make_task(other.person, other.targets, other.pictures, SETTINGS, 0), context,
    )
    for key, values in model.tensors.items():
        np.testing.assert_array_equal(values, again.tensors[key])


def test_epochs_come_from_the_inner_split(fitted, known):
    for name in ("etecrm", "twostep-plain"):
        card = fitted[name][1].card
        history = pd.DataFrame(card["history"])
        assert card["chosen"]["epochs"] == history["epoch"][history["val_score"].idxmax()]
        assert len(card["loss"]) == card["chosen"]["epochs"]
    quick = known.accuracy("twostep-plain", EncodeContext(replace(SETTINGS, epochs=0), 1))[1]
    # 400 steps without a better score end it; there are three in an epoch.
    history = quick.card["history"]
    assert len(history) == quick.card["chosen"]["epochs"] + 134


def test_ridge_of_some_voxels_at_a_time_is_the_same(known, monkeypatch):
    task = known.task()
    whole = load_encoder("ridge").fit(task, None, CONTEXT)
    monkeypatch.setattr(encoding_ridge, "_VALUES", 7 * max(*task.betas.shape, N_TRAIN))
    parts = load_encoder("ridge").fit(task, None, CONTEXT)
    assert parts.card == whole.card
    for name, values in whole.part("ridge").items():
        np.testing.assert_allclose(parts.part("ridge")[name], values, atol=1e-6)


def test_ridge_is_that_of_scikit_learn(known):
    task = known.task()
    model = load_encoder("ridge").fit(task, None, CONTEXT)
    part, rows = model.part("ridge"), task.rows
    features = (task.stimuli.features - part["mean"]) / part["sd"]
    found = load_encoder("ridge").predict(model, task.stimuli)
    closest = []
    for voxel in (0, 30):
        errors = [
            np.abs(Ridge(alpha).fit(features[rows], task.betas[:, voxel]).predict(features)
                   - found[:, voxel]).max()
            for alpha in ALPHAS
        ]
        closest.append(min(errors))
    assert max(closest) < 1e-3


def test_calibrated_predictions_are_on_the_scale_of_responses(fitted, known):
    for name in ("etecrm", "ridge"):
        model, encoder = fitted[name][1], load_encoder(name)
        raw = encoder.predict(model, known.task().stimuli)
        values = calibrated(model, raw)[:N_TRAIN]
        weight = np.maximum(model.tensors["calibration.score"], 0.01)
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(values.std(axis=0), weight, rtol=1e-3)


def test_test_trials_are_refused(known):
    trials = known.person.trials.assign(split=["test"] + ["train"] * (N_TRAIN - 1))
    person = Person("01", known.person.grid, known.person.betas, trials, known.person.target_rows)
    with pytest.raises(LeakageError):
        make_task(person, known.targets, known.pictures, SETTINGS, 0)


def test_of_many_voxels_those_that_features_predict_are_kept(known):
    task = known.task(replace(SETTINGS, max_voxels=16))
    assert REGION[task.voxels].mean() > 0.9
    np.testing.assert_array_equal(task.betas, known.person.betas[:, task.voxels])


def test_inner_split_keeps_runs_and_stimuli_together():
    runs = np.repeat([f"r{i}" for i in range(10)], 12)
    rows = np.arange(120)
    rows[60] = rows[119]  # one stimulus comes back
    fitted, held = inner_split(rows, runs, 0.2, np.random.default_rng(0))
    assert len(held) == 24
    assert not set(runs[fitted]) & set(runs[held])
    assert not set(rows[fitted]) & set(rows[held])
    everything = inner_split(np.tile(np.arange(12), 10), runs, 0.2, np.random.default_rng(0))
    shown = [set(np.tile(np.arange(12), 10)[part]) for part in everything]
    assert not shown[0] & shown[1] and len(shown[1]) == 3
    with pytest.raises(InputError, match="5 training stimuli"):
        inner_split(np.arange(5), np.full(5, "r"), 0.2, np.random.default_rng(0))


def test_registry():
    assert {name for pair in COMPARISONS for name in pair[:2]} == set(ENCODERS)
    for name in ENCODERS:
        encoder = load_encoder(name)
        assert encoder.name == name and set(encoder.comparators) <= set(ENCODERS) - {name}
    assert set(load_encoder("etecrm").comparators) == set(ENCODERS) - {"etecrm"}
    with pytest.raises(UsageError, match="no such encoder"):
        load_encoder("nonesuch")


def test_pictures_are_needed_end_to_end(known):
    task = make_task(known.person, known.targets, None, SETTINGS, 0)
    with pytest.raises(MissingInputError, match="pictures of the stimuli are missing"):
        fit_encoder(load_encoder("etecrm"), task, CONTEXT)
