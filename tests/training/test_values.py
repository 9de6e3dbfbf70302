"""The decoder and its baselines on numbers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.baselines import MEAN, WHOLE, coordinates, run_baselines
from bids_decoder.stimuli.targets import fit_value_space, make_targets
from bids_decoder.training.controls import control_fold
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.labellings import asks_for_training, fits_in_batches
from bids_decoder.training.penalties import RELATIVE_PENALTIES
from bids_decoder.training.refit import permute_fold, refit_baselines, refit_fold
from bids_decoder.training.run_means import centre_runs
from bids_decoder.trials import Person, VoxelGrid

N_RUNS, N_EACH, N_VOXELS = 6, 16, 90
GRID = VoxelGrid(np.ones((9, 10, 1), dtype=bool), np.eye(4))
CONTEXT = FitContext(Network(), Troi(), seed=1, device="cpu")


def dataset(signal=1.0, seed=0):
    """One participant whose first voxels follow two numbers: training and test trials."""
    rng = np.random.default_rng(seed)
    n_trials = N_RUNS * N_EACH
    values = np.column_stack([rng.normal(50, 10, n_trials), rng.normal(0.6, 0.1, n_trials)])
    texts = [" ".join(map(repr, row)) for row in values.tolist()]
    targets = make_targets("value", texts, columns=("pain", "rt"))
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    tuning = np.zeros((2, N_VOXELS))
    tuning[:, :20] = rng.normal(size=(2, 20))
    betas = signal * scaled @ tuning + rng.normal(size=(n_trials, N_VOXELS))
    runs = np.repeat(np.arange(1, N_RUNS + 1), N_EACH)
    trials = pd.DataFrame({
        "run_group": [f"run-{run}" for run in runs], "trial": np.tile(np.arange(N_EACH), N_RUNS),
        "stimulus": "heat", "value": texts, "fold": runs, "split": "train",
    })
    everybody = Person("01", GRID, betas.astype(np.float32), trials,
                       targets.rows_of(np.array(texts)))
    test = runs == N_RUNS
    train, held = everybody.subset(~test), everybody.subset(test)
    held.trials["split"] = "test"
    return train, held, targets


def correlations(predicted, test, targets):
    true = targets.vectors[test.target_rows]
    return [np.corrcoef(predicted[:, k], true[:, k])[0, 1] for k in range(2)]


def test_targets_hold_the_numbers_in_their_units():
    targets = make_targets("value", ["1.5 200.0", "0.1 3.0", "1.5 200.0"], columns=("a", "b"))
    assert targets.columns == ("a", "b") and targets.over_runs
    np.testing.assert_array_equal(targets.vectors, [[0.1, 3.0], [1.5, 200.0]])


def test_a_space_of_values_is_their_standardisation_and_back():
    values = np.array([[1.0, 100.0, 7.0], [2.0, 300.0, 7.0], [6.0, 200.0, 7.0]])
    space = fit_value_space(values)
    scores = space.transform(values)
    np.testing.assert_allclose(scores[:, :2].std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(space.inverse_transform(scores), values, rtol=1e-6)


def test_the_decoder_predicts_numbers_in_their_units():
    train, test, targets = dataset()
    decoder = load_decoder("troi")
    _, model = decoder.fit(train, targets, None, CONTEXT)
    predicted = decoder.predict(model, test.betas)
    assert min(correlations(predicted, test, targets)) > 0.8
    assert abs(predicted.mean(axis=0) - [50, 0.6]).max() < 10
    true = targets.vectors[test.target_rows]
    mean = targets.vectors[train.target_rows].mean(axis=0)
    gain = np.square(true - mean).sum(axis=0) - np.square(true - predicted).sum(axis=0)
    assert (gain > 0).all()
    np.testing.assert_array_equal(decoder.gallery(model, targets), targets.vectors)
    maps = decoder.explain(model, train, targets)
    assert set(maps) == {"pattern", "weight"}
    assert maps["pattern"][:20].mean() > 2 * maps["pattern"][20:].mean()


def test_test_values_change_no_prediction():
    train, test, targets = dataset()
    decoder = load_decoder("troi")
    before = decoder.predict(decoder.fit(train, targets, None, CONTEXT)[1], test.betas)
    changed = make_targets(
        "value", [*train.trials["value"], *(f"{k}.0 {k}.5" for k in range(900, 916))],
        columns=targets.columns,
    )
    moved = Person(train.label, GRID, train.betas, train.trials,
                   changed.rows_of(train.trials["value"].to_numpy(str)))
    after = decoder.predict(decoder.fit(moved, changed, None, CONTEXT)[1], test.betas)
    np.testing.assert_array_equal(before, after)
    held = Person(test.label, GRID, test.betas, test.trials,
                  changed.rows_of(np.array([f"{k}.0 {k}.5" for k in range(900, 916)])))
    mask = np.ones(N_VOXELS, dtype=bool)
    for name in (WHOLE, MEAN, "ridge-univariate"):
        (own,), (other,) = (
            run_baselines(*pair, mask, seed=0, names=(name,)).values()
            for pair in ((train, test, targets), (moved, held, changed))
        )
        np.testing.assert_array_equal(own, other)


def test_the_input_layer_is_the_ridge_regression_of_scikit_learn():
    train, test, targets = dataset()
    wanted = fit_value_space(targets.vectors[train.target_rows]).transform(
        targets.vectors[train.target_rows]
    ).astype(np.float64)
    penalty = float(RELATIVE_PENALTIES[5])
    fit = fit_input_layer(train.betas, wanted, train.run_groups, penalty=penalty)
    centred = centre_runs(train.betas.astype(np.float64), train.run_groups)
    alpha = penalty * np.square(centred).sum() / len(centred)
    model = Ridge(alpha=alpha, fit_intercept=False).fit(
        centred, centre_runs(wanted, train.run_groups)
    )
    expected = (test.betas - train.betas.mean(axis=0)) @ model.coef_.T
    np.testing.assert_allclose(fit.latents(test.betas) * fit.gain, expected, atol=2e-4)


def test_baselines_of_values():
    train, test, targets = dataset()
    mask = np.arange(N_VOXELS) < 30
    found = run_baselines(train, test, targets, mask, seed=0)
    assert {"ridge-mask", "ridge-all", "ridge-univariate", "ridge-random-1", MEAN} <= set(found)
    assert not any(name.startswith("svm") for name in found)
    for name in ("ridge-mask", "ridge-all", "ridge-univariate"):
        assert min(correlations(found[name], test, targets)) > 0.7, name
    mean = targets.vectors[train.target_rows].mean(axis=0)
    np.testing.assert_allclose(found[MEAN], np.repeat(mean[None], len(test.betas), axis=0))


def test_coordinates_of_values_lead_back_to_them():
    train, _, targets = dataset()
    found = coordinates(train.target_rows, targets)
    np.testing.assert_allclose(found.scores.std(axis=0), 1)
    np.testing.assert_allclose(found.restore(found.scores), targets.vectors[train.target_rows])


def test_refits_together_are_refits_one_by_one():
    train, test, targets = dataset()
    decoder = load_decoder("troi")
    fold = permute_fold(train, test, 3, np.random.default_rng(0), targets.numbers)
    assert fold.exchange.kind == "trials within runs"
    assert fits_in_batches("value", CONTEXT.network, CONTEXT.troi)
    found = refit_fold(decoder, fold, targets, None, CONTEXT)
    assert found.shape == (3, N_EACH, 2)
    for number, rows in enumerate(fold.train_rows):
        moved = Person("01", GRID, train.betas, train.trials, rows)
        _, model = decoder.fit(moved, targets, None, CONTEXT)
        np.testing.assert_allclose(
            found[number], decoder.predict(model, test.betas), rtol=1e-3, atol=1e-3
        )
    baselines = refit_baselines(decoder, fold, targets, None, CONTEXT, 1)
    assert baselines[WHOLE].shape == baselines[MEAN].shape == (3, N_EACH, 2)
    assert baselines["ridge-mask"].shape == (1, N_EACH, 2)
    moved = Person("01", GRID, train.betas, train.trials, fold.train_rows[2])
    alone = run_baselines(moved, test, targets, np.ones(N_VOXELS, bool), seed=0, names=(WHOLE,))
    np.testing.assert_allclose(baselines[WHOLE][2], alone[WHOLE], rtol=1e-4)


def test_slow_values_are_moved_as_series_the_same_in_all_folds():
    train, test, _ = dataset()
    rows = np.concatenate([train.target_rows, test.target_rows])
    slow = np.empty((len(rows), 1))
    slow[rows, 0] = np.arange(len(rows))
    first = permute_fold(train, test, 5, np.random.default_rng(1), slow)
    assert first.exchange.kind.startswith("series")
    steps = np.diff(slow[first.test_rows, 0], axis=1)
    assert set(steps.ravel().tolist()) <= {1.0, 1.0 - N_EACH}
    second = permute_fold(test, train, 5, np.random.default_rng(1), slow)
    np.testing.assert_array_equal(first.test_rows, second.train_rows)
    np.testing.assert_array_equal(first.train_rows, second.test_rows)


def test_permuted_values_are_not_decoded():
    train, test, targets = dataset()
    fold = permute_fold(train, test, 40, np.random.default_rng(1), targets.numbers)
    found = refit_fold(load_decoder("troi"), fold, targets, None, CONTEXT)
    r = [
        np.corrcoef(predicted[:, 0], targets.vectors[rows, 0])[0, 1]
        for predicted, rows in zip(found, fold.test_rows, strict=True)
    ]
    assert abs(np.mean(r)) < 0.12


def test_a_confound_is_decoded_as_values_are():
    train, test, targets = dataset()
    sides = [
        Person("01", VoxelGrid(np.ones((1, 1, 1), bool), np.eye(4)),
               targets.vectors[side.target_rows][:, :1].astype(np.float32), side.trials,
               side.target_rows)
        for side in (train, test)
    ]
    found = control_fold(*sides, targets, 4, 0)
    assert correlations(found.scores, test, targets)[0] > 0.99
    assert found.null_scores.shape == (4, N_EACH, 2) and found.null_means.shape == (4, 2)
    assert control_fold(*sides, targets, 0, 0).null_scores is None


def test_settings_that_train_are_named():
    assert asks_for_training(Network(), Troi()) == []
    asked = asks_for_training(Network(finetune_epochs=3), Troi(selector="troi-budget"))
    assert asked == ["--troi troi-budget", "[network] finetune_epochs = 3"]
    with pytest.raises(ValueError, match="could not convert"):
        make_targets("value", ["a", "1.0"])
