from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.baselines import baseline_names, run_baselines
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import (
    permute_fold,
    refit_baselines,
    refit_fold,
)
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

N_RUNS, PER_RUN, N_CLASSES = 4, 9, 3
TARGETS = Targets(tuple("abc"), np.eye(N_CLASSES, dtype=np.float32), "category")
CONTEXT = FitContext(Network(finetune_epochs=2), Troi(budget_voxels=12), 7, "cpu")


def make_person(signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(PER_RUN) % N_CLASSES for _ in range(N_RUNS)])
    patterns = rng.standard_normal((N_CLASSES, 40)) * (np.arange(40) < 12)
    betas = signal * patterns[rows] + rng.standard_normal((len(rows), 40))
    runs = np.repeat([f"run-{k}" for k in range(N_RUNS)], PER_RUN)
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, PER_RUN + 1), N_RUNS), "run_group": runs, "split": "train",
        "fold": np.repeat(np.arange(1, N_RUNS + 1), PER_RUN),
        "stimulus": np.array(TARGETS.ids)[rows],
    })
    grid = VoxelGrid(np.ones((40, 1, 1), bool), np.eye(4))
    return Person("01", grid, betas.astype(np.float32), trials, rows)


def fold_of(person, number):
    test = person.run_groups == f"run-{number}"
    held = person.subset(test)
    return person.subset(~test), replace(held, trials=held.trials.assign(split="test"))


def test_folds_see_the_same_permuted_labels():
    person = make_person()
    first, second = (
        permute_fold(*fold_of(person, k), 5, np.random.default_rng(3)) for k in (0, 2)
    )
    # Run 2 is training in the first fold and test in the second.
    trained = first.train.run_groups == "run-2"
    assert (first.train_rows[:, trained] == second.test_rows).all()
    assert (np.sort(second.test_rows, axis=1) == np.sort(second.test.target_rows)).all()
    assert first.exchange.kind == "trials within runs"


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_a_refit_is_the_fit_itself_on_other_labels(n_seeds):
    decoder = load_decoder("troi")
    context = replace(CONTEXT, network=replace(CONTEXT.network, n_seeds=n_seeds))
    fold = permute_fold(*fold_of(make_person(), 1), 2, np.random.default_rng(0))
    found = refit_fold(decoder, fold, TARGETS, None, context)
    baselines = refit_baselines(decoder, fold, TARGETS, None, context, 1)
    assert set(baselines) == set(baseline_names("category"))
    assert {name: len(scores) for name, scores in baselines.items() if len(scores) > 1} == {
        "ridge-all": 2
    }
    for number, rows in enumerate(fold.train_rows):
        train = replace(fold.train, target_rows=rows)
        selection = decoder.select(train, TARGETS, None, context)
        model = decoder.adapt(train, TARGETS, selection, None, context)
        expected = label_scores(
            decoder.predict(model, fold.test.betas), decoder.gallery(model, TARGETS)
        )
        np.testing.assert_array_equal(found[number], expected.astype(np.float32))
        for name in ("ridge-mask", "ridge-all")[number:]:
            ridge = run_baselines(train, fold.test, TARGETS, selection.mask, seed=7, names=[name])
            np.testing.assert_allclose(baselines[name][number], ridge[name], atol=1e-5)


def test_refits_know_nothing_of_the_true_labels():
    person = make_person(signal=3.0)
    fold = permute_fold(*fold_of(person, 0), 12, np.random.default_rng(1))
    found = refit_fold(load_decoder("troi"), fold, TARGETS, None, CONTEXT)
    hits = (found.argmax(axis=2) == fold.test_rows).mean()
    assert abs(hits - 1 / 3) < 0.2


def test_the_decoder_that_is_given_is_refitted_whatever_the_settings_name():
    class Other(TroiDecoder):
        name = "other"
        n_fits = 0

        def fit(self, *given):
            self.n_fits += 1
            return super().fit(*given)

    decoder = Other()
    fold = permute_fold(*fold_of(make_person(), 1), 2, np.random.default_rng(0))
    refit_fold(decoder, fold, TARGETS, None, CONTEXT)
    assert decoder.n_fits == 2
