from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

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


def smooth_case(noise, n=240, size=16, seed=3):
    """Smooth grey pictures, seen by voxels with receptive fields; the last 40 are for tests."""
    rng = np.random.default_rng(seed)
    grey = gaussian_filter(rng.standard_normal((n, size, size)), (0, 2, 2))
    pictures = np.repeat((0.5 + 0.15 * grey / grey.std())[..., None], 3, axis=3).clip(0, 1)
    centres = rng.integers(0, size, (90, 2))
    fields = np.stack([gaussian_filter(_dot(size, *centre), 1.2) for centre in centres])
    betas = (pictures[..., 0].reshape(n, -1) - 0.5) @ fields.reshape(90, -1).T
    betas /= betas.std(axis=0)
    betas += noise * rng.standard_normal(betas.shape)
    trials = pd.DataFrame({"run_group": [f"run-{k // 20}" for k in range(200)], "split": "train"})
    train = Person("1", VoxelGrid(np.ones((90, 1, 1), bool), np.eye(4)),
                   betas[:200].astype(np.float32), trials, np.arange(200))
    return train, pictures.astype(np.float32), betas[200:]


def _dot(size, row, column):
    made = np.zeros((size, size))
    made[row, column] = 1
    return made


def test_receptive_fields_are_turned_around_and_the_error_is_known():
    train, pictures, betas = smooth_case(noise=0.5)
    painter = fit_painter(train, np.ones(90), pictures[:200], np.arange(200))
    painted, truth = painter.paint(betas), pictures[200:]
    mean = pictures[:200].mean(axis=0)
    assert agreement(painted, truth, mean) > 0.9
    others = agreement(painted, np.roll(truth, 1, axis=0), mean)
    assert abs(others) < 0.2
    # Of new pictures the error is what the map says, and less than that of the mean picture.
    error = np.sqrt(np.square(painted - truth).mean(axis=3).mean(axis=0))
    assert np.sqrt((error**2).mean()) == pytest.approx(np.sqrt((painter.error**2).mean()), rel=0.1)
    assert painter.error.mean() < 0.5 * painter.spread.mean()
    assert painter.spread == pytest.approx(pictures[:200].std(axis=0).mean(axis=2), rel=1e-3)


def test_the_error_is_larger_where_no_voxel_looks():
    train, pictures, _ = smooth_case(noise=0.5)
    rng = np.random.default_rng(5)
    columns = pictures[:200, :, 10:].mean(axis=(1, 3))  # voxels that see the right side only
    betas = (columns - columns.mean(axis=0)) @ rng.standard_normal((columns.shape[1], 30)) * 20
    blind = Person("1", VoxelGrid(np.ones((30, 1, 1), bool), np.eye(4)),
                   (betas + 0.3 * rng.standard_normal(betas.shape)).astype(np.float32),
                   train.trials, train.target_rows)
    rows = pictures[:200].mean(axis=2, keepdims=True)
    painter = fit_painter(blind, np.ones(30), pictures[:200], np.arange(200))
    known = 1 - (painter.error / painter.spread) ** 2
    assert rows.shape[2] == 1 and known[:, 10:].mean() > known[:, :5].mean() + 0.1


def test_repeats_are_one_picture_and_never_in_two_folds():
    """Trials of one picture in many runs teach no error smaller than that of new pictures."""
    train, pictures, betas = smooth_case(noise=2.0)
    rows = np.arange(200) % 25
    repeated = Person("1", train.grid, np.random.default_rng(0).standard_normal(
        train.betas.shape).astype(np.float32), train.trials, rows)
    painter = fit_painter(repeated, np.ones(90), pictures[:25], rows)
    assert painter.error.mean() > 0.95 * painter.spread.mean()
    assert painter.paint(betas).shape == (40, 16, 16, 3)


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
