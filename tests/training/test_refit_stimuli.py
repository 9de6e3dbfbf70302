"""Folds of stimuli: refits on permuted stimuli, confounds, and the tables of scores."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.decode.matches import (
    MatchedFold,
    null_folds,
    read_matches,
    save_matches,
)
from bids_decoder.analyses.decode.scoring_folds import score_stimulus_folds
from bids_decoder.config import Network, TrialRules, Troi
from bids_decoder.evaluation.baselines import baseline_names, coordinates, run_baselines
from bids_decoder.evaluation.folds import fold_list, resolve_fold
from bids_decoder.evaluation.held_out import apply_split
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.interfaces.heldout import Heldout
from bids_decoder.interfaces.predicting import predict_baselines, predict_test
from bids_decoder.training.controls import control_fold
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import DECODER
from bids_decoder.training.refit_stimuli import (
    match_predictions,
    permute_stimuli,
    refit_decoder,
    refit_ridge,
    refit_vector_baselines,
)
from bids_decoder.trials import Person, Targets, VoxelGrid

N_RUNS, N_STIMULI, N_VOXELS, N_PERMUTATIONS = 4, 12, 30, 9
NAMES = tuple(f"s{k:02d}" for k in range(N_STIMULI))
CONTEXT = FitContext(Network(), Troi(budget_voxels=12), 7, "cpu")


def make_data():
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((N_STIMULI, 3))
    vectors = latents @ rng.standard_normal((3, 20)) + 0.05 * rng.standard_normal((N_STIMULI, 20))
    # Two are the same: the number of components depends on which stimuli are trained on.
    vectors[1], latents[1] = vectors[0], latents[0]
    targets = Targets(NAMES, vectors.astype(np.float32), "features")
    rows = np.concatenate([rng.permutation(N_STIMULI) for _ in range(N_RUNS)])
    tuning = rng.standard_normal((3, N_VOXELS)) * (np.arange(N_VOXELS) < 12)
    betas = latents[rows] @ tuning + rng.standard_normal((len(rows), N_VOXELS))
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, N_STIMULI + 1), N_RUNS),
        "run_group": np.repeat([f"run-{k}" for k in range(N_RUNS)], N_STIMULI),
        "run": np.repeat([str(k) for k in range(N_RUNS)], N_STIMULI), "session": None,
        "stimulus": np.array(NAMES)[rows], "label": None, "excluded": False, "reason": None,
    })
    split, *_ = choose_split({"01": trials}, "features", TrialRules(), 0)
    trials = apply_split({"01": trials}, split)["01"]
    grid = VoxelGrid(np.ones((N_VOXELS, 1, 1), bool), np.eye(4))
    return Person("01", grid, betas.astype(np.float32), trials, rows), targets


PERSON, TARGETS = make_data()
FOLDS = fold_list(PERSON.trials)


def sides(number):
    known = replace(PERSON, trials=resolve_fold(PERSON.trials, number))
    test = (known.trials["split"] == "test").to_numpy()
    return known.subset(~test), known.subset(test)


def permuted(number, together=()):
    return permute_stimuli(
        *sides(number), together, N_PERMUTATIONS, np.random.default_rng(3)
    )


def test_all_trials_of_a_stimulus_get_the_same_other_one_in_all_folds():
    pairings = []
    for number in FOLDS:
        fold = permuted(number)
        for rows, test_rows in zip(fold.train_rows, fold.test_rows, strict=True):
            assert not set(rows) & set(test_rows)
        names = np.concatenate([fold.train.trials["stimulus"], fold.test.trials["stimulus"]])
        rows = np.concatenate([fold.train_rows, fold.test_rows], axis=1)
        found = pd.DataFrame({"name": names, **{str(k): own for k, own in enumerate(rows)}})
        assert (found.groupby("name").nunique() == 1).to_numpy().all()
        pairings.append(found.groupby("name").first())
    assert all(one.equals(pairings[0]) for one in pairings)
    assert (np.sort(pairings[0], axis=0) == np.arange(N_STIMULI)[:, None]).all()


def test_near_duplicates_stay_on_one_side_under_permutation():
    (first, second), (third, fourth) = (
        np.unique(sides(number)[1].target_rows)[:2] for number in FOLDS[:2]
    )
    together = [[NAMES[k] for k in pair] for pair in ((first, second), (third, fourth))]
    moved = 0
    for rows in permuted(FOLDS[0], together).train_rows:
        assert (first in rows) == (second in rows) and (third in rows) == (fourth in rows)
        moved += first in rows
    assert 0 < moved < N_PERMUTATIONS


def test_ridge_of_all_pairings_is_that_of_each_alone():
    fold = permuted(FOLDS[0])
    assert len({coordinates(r, TARGETS).scores.shape[1] for r in fold.train_rows}) == 2
    found, everything = refit_ridge(fold, TARGETS), np.ones(N_VOXELS, dtype=bool)
    for number, (rows, test_rows) in enumerate(
        zip(fold.train_rows, fold.test_rows, strict=True)
    ):
        train = replace(fold.train, target_rows=rows)
        test = replace(fold.test, target_rows=test_rows)
        alone = run_baselines(train, test, TARGETS, everything, seed=0, names=["ridge-all"])
        mean = TARGETS.vectors[np.unique(rows)].mean(axis=0)
        values = alone["ridge-all"] - mean
        expected = match_predictions(
            values, TARGETS.vectors - mean, values, train, test, TARGETS
        )
        for part in ("single", "averaged", "profiles"):
            np.testing.assert_allclose(
                getattr(found, part)[number], getattr(expected, part)[0], atol=1e-4
            )


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Decoder and two baselines in all folds, with refits, through the files."""
    decoder, folder = load_decoder("troi"), tmp_path_factory.mktemp("matches")
    heldout, matches, nulls = [], [], []
    for number in FOLDS:
        train, test = sides(number)
        selection, model = decoder.fit(train, TARGETS, None, CONTEXT)
        assert model.card["closed_form"]
        models = {
            DECODER: predict_test(decoder, model, train, test, TARGETS),
            **predict_baselines(train, test, TARGETS, selection.mask, 7, ["ridge-mask"]),
        }
        heldout.append(Heldout(test.trials, models))
        own = {
            name: match_predictions(
                one.values, one.gallery, one.values if one.features is None else one.features,
                train, test, TARGETS,
            ) for name, one in models.items()
        }
        path = save_matches(folder / "own.npz", MatchedFold(number, own))
        matches.append(read_matches(path))
        fold = permuted(number)
        null = {DECODER: refit_decoder(decoder, fold, TARGETS, None, CONTEXT)}
        nulls.append(MatchedFold(number, null, fold.exchange.describe(), 1e-6))
    return matches, nulls, score_stimulus_folds(heldout, matches, nulls, TARGETS)


def test_tables_of_all_folds(scored):
    _, nulls, tables = scored
    rows = tables.metrics[tables.metrics["model"] == DECODER]
    best = rows[(rows["metric"] == "two_way") & (rows["unit"] == "averaged")].iloc[0]
    assert best["value"] > 0.8 and best["n"] == N_STIMULI and best["null"] == "refitted"
    assert best["p_min"] == best["p"] == 1 / (1 + N_PERMUTATIONS)
    assert pd.isna(best["p_holm"])
    assert rows["p_holm"].notna().sum() == len(rows) - 1
    assert sorted(tables.predictions["stimulus"]) == sorted(PERSON.trials["stimulus"])
    of_fold = PERSON.trials.groupby("stimulus")["fold"].first()
    guessed = tables.predictions["top1"].map(of_fold)
    assert (guessed.astype(int) == tables.predictions["fold"].astype(int)).all()
    assert tables.comparisons["second"].tolist() == ["ridge-mask"]
    assert set(tables.nulls.table["model"]) == {DECODER}
    assert null_folds(nulls, "ridge-mask") == []


def test_a_refit_is_the_fit_itself_on_other_stimuli(scored):
    matches, _, _ = scored
    fold = permuted(FOLDS[0])
    fold = replace(
        fold, train_rows=fold.train.target_rows[None], test_rows=fold.test.target_rows[None]
    )
    found = refit_decoder(load_decoder("troi"), fold, TARGETS, None, CONTEXT)
    for part in ("single", "averaged", "profiles"):
        np.testing.assert_allclose(
            getattr(found, part), getattr(matches[0].models[DECODER], part), atol=1e-5
        )


def test_baselines_are_fitted_again_on_the_voxels_of_each_refit():
    found = refit_vector_baselines(
        load_decoder("troi"), permuted(FOLDS[0]), TARGETS, None, CONTEXT, 1
    )
    assert set(found) == set(baseline_names("features"))
    assert {name: len(match.averaged) for name, match in found.items()} == {
        name: N_PERMUTATIONS if name == "ridge-all" else 1 for name in found
    }


def test_confounds_are_tested_in_the_same_folds():
    train, test = (replace(side, betas=side.betas[:, :2]) for side in sides(FOLDS[0]))
    found = control_fold(train, test, TARGETS, N_PERMUTATIONS, 3)
    assert found.match.averaged.shape[0] == 1 and found.null_scores is None
    assert found.null_match.averaged.shape == (N_PERMUTATIONS, *found.match.averaged.shape[1:])
    assert found.exchange["ExchangedUnits"] == "stimuli"
    without = control_fold(train, test, TARGETS, 0, 3)
    assert without.null_match is None and np.isnan(without.least_p)
