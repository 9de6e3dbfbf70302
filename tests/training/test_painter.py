from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bids_decoder.errors import InputError, LeakageError
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.training.painter import Painter, fit_painter
from bids_decoder.trials import Person, VoxelGrid

SIZE = 6


def make_case(noise, n_train=160, n_test=20, n_voxels=80, seed=0):
    """Voxels that respond to pixels; a quarter of them to nothing."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((8, SIZE * SIZE * 3)) * 0.04
    pictures = (0.5 + rng.standard_normal((n_train + n_test, 8)) @ basis).clip(0, 1)
    tuning = rng.standard_normal((SIZE * SIZE * 3, n_voxels))
    tuning[:, : n_voxels // 4] = 0
    betas = (pictures - 0.5) @ tuning + noise * rng.standard_normal((len(pictures), n_voxels))
    betas /= betas[:n_train].std(axis=0)
    trials = pd.DataFrame({
        "run_group": np.repeat([f"run-{i}" for i in range(8)], n_train // 8),
        "split": "train",
    })
    grid = VoxelGrid(np.ones((n_voxels, 1, 1), bool), np.eye(4))
    train = Person("1", grid, betas[:n_train].astype(np.float32), trials, np.arange(n_train))
    shaped = pictures.reshape(-1, SIZE, SIZE, 3).astype(np.float32)
    return train, shaped[:n_train], shaped[n_train:], betas[n_train:].astype(np.float32)


def paint(train, pictures, betas, weights=None):
    weights = np.ones(betas.shape[1]) if weights is None else weights
    return fit_painter(train, weights, pictures, np.arange(len(pictures))).paint(betas)


def agreement(painted, truth, mean):
    flat = [(x - mean).reshape(len(x), -1) for x in (painted, truth)]
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*flat, strict=True)])


def test_known_pictures_come_back():
    train, pictures, truth, betas = make_case(noise=0.05)
    painted = paint(train, pictures, betas)
    assert painted.shape == truth.shape and painted.dtype == np.float32
    assert painted.min() >= 0 and painted.max() <= 1
    assert agreement(painted, truth, pictures.mean(axis=0)) > 0.95


def test_noise_paints_the_mean():
    train, pictures, _, betas = make_case(noise=1e3)
    painted = paint(train, pictures, betas)
    assert np.abs(painted - pictures.mean(axis=0)).mean() < 0.25 * pictures.std(axis=0).mean()


def test_dropped_voxels_have_no_say():
    train, pictures, _, betas = make_case(noise=0.3)
    weights = np.linspace(0, 1, betas.shape[1])
    weights[::3] = 0
    first = paint(train, pictures, betas, weights)
    betas[:, ::3] = 99
    assert np.array_equal(first, paint(train, pictures, betas, weights))


def test_permuted_trials_paint_nothing():
    train, pictures, truth, betas = make_case(noise=0.05)
    rows = np.random.default_rng(0).permutation(len(pictures))
    weights = np.ones(betas.shape[1])
    painted = fit_painter(train, weights, pictures, rows).paint(betas)
    assert abs(agreement(painted, truth, pictures.mean(axis=0))) < 0.25


def test_equal_pictures_and_test_trials():
    train, pictures, _, betas = make_case(noise=0.05)
    same = np.full_like(pictures, 0.25)
    assert np.allclose(paint(train, same, betas), 0.25)
    train.trials.loc[3, "split"] = "test"
    with pytest.raises(LeakageError):
        paint(train, pictures, betas)


def test_a_stored_painter_paints_the_same(tmp_path):
    train, pictures, _, betas = make_case(noise=0.3)
    weights = np.linspace(0, 1, betas.shape[1])
    painter = fit_painter(train, weights, pictures, np.arange(len(pictures)))
    path = save_model(tmp_path / "m.safetensors", painter.to_model({"decoder_key": "k"}))
    model = load_model(path)
    assert model.card["decoder_key"] == "k" and model.card["painter"]["size"] == SIZE
    assert np.array_equal(Painter.restore(model).paint(betas), painter.paint(betas))
    with pytest.raises(InputError, match="another kind of model"):
        Painter.restore(Model({}, {}))
