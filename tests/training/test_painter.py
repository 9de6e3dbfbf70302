from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from bids_decoder.config import Troi
from bids_decoder.errors import InputError, LeakageError
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.training.painter import Painter, _folds, fit_painter
from bids_decoder.training.picture_basis import PictureBasis
from bids_decoder.training.selection.task import SelectionTask
from bids_decoder.training.selectors import reselect, select_voxels
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
    # The mean of other folds has an error slightly above the standard deviation.
    spread = pictures[:200].std(axis=0).mean(axis=2)
    assert painter.spread == pytest.approx(spread, rel=0.02)
    assert painter.spread.mean() > spread.mean()


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


def repeated_case(n_pictures, runs, signal=1.0):
    """Every run shows all pictures, in the order of runs; responses follow the pictures."""
    train, pictures, _ = smooth_case(noise=0.5)
    rows = np.tile(np.arange(n_pictures), runs)
    noise = np.random.default_rng(1).standard_normal((len(rows), 90))
    trials = pd.DataFrame({
        "run_group": np.repeat([f"run-{k}" for k in range(runs)], n_pictures), "split": "train",
    })
    betas = (signal * train.betas[rows] + noise).astype(np.float32)
    return Person("1", train.grid, betas, trials, rows), pictures[:n_pictures], pictures[200:]


@pytest.mark.parametrize("n_left_out", [0, 1, 2, 4])
def test_runs_that_show_the_same_pictures(n_left_out):
    """Excluded trials of the first run leave balanced folds of pictures."""
    whole, pictures, _ = repeated_case(40, runs=6)
    train = whole.subset(np.arange(n_left_out, len(whole.betas)))
    folds = _folds(train, train.target_rows, PictureBasis(16).transform(pictures))
    assert sorted(len(rows) for _, rows in folds) == [8] * 5
    assert all(not set(fitted) & set(rows) for fitted, rows in folds)
    painter = fit_painter(train, np.ones(90), pictures, train.target_rows)
    assert painter.error.mean() < 0.95 * painter.spread.mean()


def test_folds_are_runs_where_no_picture_is_repeated_and_follow_time():
    train, pictures, _ = smooth_case(noise=0.5)
    names = np.random.default_rng(2).permutation(200)  # of pictures, in order of time
    for _, rows in _folds(train, names, PictureBasis(16).transform(pictures[:200])):
        times = np.flatnonzero(np.isin(names, rows))
        assert len(times) == 40 and len(set(train.run_groups[times])) == 2
    one = Person("1", train.grid, train.betas, train.trials.assign(run_group="a"), names)
    for _, rows in _folds(one, names, PictureBasis(16).transform(pictures[:200])):
        assert np.ptp(np.flatnonzero(np.isin(names, rows))) == 39
    # A run of one picture alone is no fold that could tell anything.
    lone = train.trials.assign(run_group=["a"] * 199 + ["b"])
    one = Person("1", train.grid, train.betas, lone, names)
    folds = _folds(one, names, PictureBasis(16).transform(pictures[:200]))
    assert [len(rows) for _, rows in folds] == [40] * 5


@pytest.mark.parametrize("shown", [[0], [0, 1], [0, 1, 2], [0, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1]])
def test_too_few_pictures_paint_the_mean(shown):
    train, pictures, betas = smooth_case(noise=0.5)
    few, n = pictures[shown], len(shown)
    painter = fit_painter(train.subset(np.arange(n)), np.ones(90), few, np.arange(n))
    assert painter.paint(betas) == pytest.approx(np.repeat([few.mean(axis=0)], 40, axis=0))
    assert np.array_equal(painter.error, painter.spread)
    assert painter.spread == pytest.approx(few.std(axis=0).mean(axis=2), abs=1e-5)


def test_four_pictures_are_enough():
    train, pictures, betas = smooth_case(noise=0.5)
    painter = fit_painter(train.subset(np.arange(4)), np.ones(90), pictures[:4], np.arange(4))
    assert np.isfinite(painter.paint(betas)).all() and painter.weight.any()


def selected_case(seed, n_signal, selector="univariate"):
    """3,000 voxels, of which *n_signal* see the pictures, and a selection among them."""
    train, pictures, _ = smooth_case(noise=1.0, seed=seed)
    rng = np.random.default_rng(seed)
    betas = rng.standard_normal((240, 3000)).astype(np.float32)
    grey = pictures[..., 0].reshape(240, -1)
    betas[:, :n_signal] += 4 * (grey - grey.mean(axis=0))[:, rng.permutation(256)[:n_signal]]
    person = Person("1", VoxelGrid(np.ones((10, 15, 20), bool), np.diag([3.0, 3, 3, 1])),
                    betas[:200], train.trials, np.arange(200))
    wanted = np.linalg.svd(grey - grey.mean(axis=0), full_matrices=False)[0][:200, :20]
    settings = Troi(selector=selector, budget_voxels=100)
    weights = select_voxels(SelectionTask(person, wanted, settings, None, 0)).weights

    def select(rows):
        return reselect(person.subset(rows), wanted[rows], settings, 100, 0)

    return person, weights, pictures, betas[200:], select


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_voxels_selected_in_noise_know_nothing(seed):
    """Voxels that were chosen by held-out trials would seem to know them."""
    train, weights, pictures, betas, select = selected_case(seed, n_signal=0)
    fit = (train, weights, pictures[:200], np.arange(200))
    painter, double = fit_painter(*fit, select), fit_painter(*fit)
    known, claimed = (
        1 - (made.error**2).mean() / (made.spread**2).mean() for made in (painter, double)
    )
    assert known < 0.005 and known < claimed - 0.02
    assert painter.contrast == 0.5
    missed = painter.paint(betas) - pictures[200:]
    dull = pictures[:200].mean(axis=0) - pictures[200:]
    assert (missed**2).mean() < 1.02 * (dull**2).mean()


def test_the_error_of_selected_voxels_is_that_of_new_trials():
    train, weights, pictures, betas, select = selected_case(3, n_signal=60)
    painter = fit_painter(train, weights, pictures[:200], np.arange(200), select)
    error = np.sqrt(np.square(painter.paint(betas) - pictures[200:]).mean())
    assert error == pytest.approx(np.sqrt((painter.error**2).mean()), rel=0.08)
    assert painter.error.mean() < 0.95 * painter.spread.mean()


def test_held_out_trials_do_not_choose_voxels():
    train, weights, pictures, _, select = selected_case(3, n_signal=60)
    asked = []
    fit_painter(train, weights, pictures[:200], np.arange(200),
                lambda rows: asked.append(rows) or select(rows))
    assert [len(rows) for rows in asked] == [160] * 5
    left_out = [set(range(200)) - set(rows.tolist()) for rows in asked]
    assert sorted(set.union(*left_out)) == list(range(200))
