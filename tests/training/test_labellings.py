"""All labellings fitted together are what one fit after the other gives."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Network, Troi
from bids_decoder.errors import LeakageError
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.training import labellings
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.labellings import fits_in_batches, scores_of_labellings
from bids_decoder.training.refit import permute_fold, refit_fold
from bids_decoder.trials import Person, Targets, VoxelGrid

SHAPE, N_CLASSES = (6, 7, 5), 4
TARGETS = Targets(tuple("abcd"), np.eye(N_CLASSES, dtype=np.float32), "category")
NOWHERE = VoxelGrid(np.ones((210, 1, 1), bool), np.eye(4))


def make_fold(per_run, n_permutations, signal=0.8, grid=None, n_runs=6, shared=0.0):
    """A region of 60 of 210 voxels; the last run is test. Two runs are short of one label."""
    rng = np.random.default_rng(0)
    grid = grid or VoxelGrid(np.ones(SHAPE, bool), np.diag([3.0, 3.0, 3.0, 1.0]))
    rows = np.concatenate([rng.permutation(per_run) % N_CLASSES for _ in range(n_runs)])
    rows[:2 * per_run] %= 3
    patterns = rng.standard_normal((N_CLASSES, 210)) * (np.arange(210) < 60)
    betas = signal * patterns[rows] + rng.standard_normal((len(rows), 210))
    betas += shared * rng.standard_normal((len(rows), 1))
    runs = np.repeat([f"run-{k}" for k in range(n_runs)], per_run)
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, per_run + 1), n_runs), "run_group": runs, "split": "train",
        "fold": np.repeat(np.arange(1, n_runs + 1), per_run),
        "stimulus": np.array(TARGETS.ids)[rows],
    })
    person = Person("01", grid, betas.astype(np.float32), trials, rows)
    held = person.subset(runs == runs[-1])
    test = replace(held, trials=held.trials.assign(split="test"))
    return permute_fold(
        person.subset(runs != runs[-1]), test, n_permutations, np.random.default_rng(1)
    )


@pytest.mark.parametrize("troi", [
    Troi(), Troi(budget_voxels=25), Troi(lowpass_fwhm_mm=0.0), Troi(selector="soft"),
    Troi(lowpass_fwhm_mm=6.0, budget_mm3=700.0),
], ids=["default", "budget", "no field", "soft", "width and volume"])
@pytest.mark.parametrize("grid", [None, NOWHERE], ids=["volume", "no positions"])
def test_together_as_one_after_the_other(troi, grid, monkeypatch):
    monkeypatch.setattr(labellings, "_MAX_BATCH", 3)
    fold, context = make_fold(12, 7, grid=grid), FitContext(Network(), troi, 5, "cpu")
    assert_same(fold, context)


def assert_same(fold, context):
    decoder = load_decoder("troi")
    found = scores_of_labellings(
        fold.train, fold.test.betas, TARGETS, fold.train_rows, context.network, context.troi
    )
    for number, rows in enumerate(fold.train_rows):
        train = replace(fold.train, target_rows=rows)
        _, model = decoder.fit(train, TARGETS, None, context)
        expected = label_scores(
            decoder.predict(model, fold.test.betas), decoder.gallery(model, TARGETS)
        )
        np.testing.assert_allclose(found[number], expected, atol=1e-5)
    np.testing.assert_array_equal(refit_fold(decoder, fold, TARGETS, None, context), found)


@pytest.mark.parametrize("network", [
    Network(n_seeds=3), Network(trunk="residual"), Network(target_whitening=0.5),
], ids=["seeds", "blocks", "whitening"])
def test_settings_that_change_nothing_or_the_space(network):
    assert_same(make_fold(8, 2), FitContext(network, Troi(), 5, "cpu"))


def test_labellings_without_one_of_the_labels():
    fold = make_fold(8, 4)
    rows = fold.train_rows.copy()
    rows[1], rows[3] = rows[1] % 3, 1 + rows[3] % 3
    assert_same(replace(fold, train_rows=rows), FitContext(Network(), Troi(), 5, "cpu"))


def test_very_few_trials():
    assert_same(make_fold(3, 3, n_runs=3), FitContext(Network(), Troi(), 5, "cpu"))


@pytest.mark.parametrize("troi", [Troi(), Troi(budget_voxels=25)], ids=["default", "budget"])
def test_in_noise_that_voxels_share(troi):
    fold = make_fold(12, 7, n_runs=4, shared=1.0)
    context = FitContext(Network(), troi, 5, "cpu")
    _, model = load_decoder("troi").fit(fold.train, TARGETS, None, context)
    assert model.card["noise_share"] > 0.3
    assert_same(fold, context)


def test_signal_is_found_and_other_labels_find_none():
    fold = make_fold(12, 8, signal=2.0)
    true = replace(fold, train_rows=fold.train.target_rows[None])
    context = FitContext(Network(), Troi(), 5, "cpu")
    found = refit_fold(load_decoder("troi"), true, TARGETS, None, context)[0]
    assert (found.argmax(axis=1) == fold.test.target_rows).mean() > 0.9
    null = refit_fold(load_decoder("troi"), fold, TARGETS, None, context)
    assert (null.argmax(axis=2) == fold.test_rows).mean() < 0.5


def test_no_test_trials_in_fits():
    fold = make_fold(8, 2)
    with pytest.raises(LeakageError):
        scores_of_labellings(
            fold.test, fold.test.betas, TARGETS, fold.test_rows, Network(), Troi()
        )


@pytest.mark.parametrize(("kind", "network", "troi", "expected"), [
    ("category", {}, {}, True),
    ("category", {}, {"selector": "soft"}, True),
    ("category", {}, {"selector": "encoding"}, False),
    ("category", {}, {"selector": "paper"}, False),
    ("category", {}, {"stage2_trunk": "full"}, False),
    ("category", {"finetune_epochs": 1}, {}, False),
    ("category", {"decoder": "cnn3d"}, {}, False),
    ("image", {}, {}, False),
])
def test_what_is_fitted_together(kind, network, troi, expected):
    assert fits_in_batches(kind, Network(**network), Troi(**troi)) is expected
