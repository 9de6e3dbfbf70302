"""Labels of searchlights: exchanged as for the decoder, the same in all folds."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.training.refit import permute_fold
from bids_decoder.training.search_labels import label_fold
from bids_decoder.trials import Person, VoxelGrid

N_CLASSES, N_RUNS, N_EACH = 3, 3, 6


@pytest.fixture
def person():
    rng = np.random.default_rng(0)
    n_trials = N_RUNS * N_EACH
    runs = np.repeat([f"run-{k}" for k in range(N_RUNS)], N_EACH)
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, N_EACH + 1), N_RUNS), "run_group": runs, "split": "cv",
        "fold": pd.array(np.repeat(np.arange(1, N_RUNS + 1), N_EACH), dtype="Int64"),
    })
    labels = np.concatenate([rng.permutation(np.arange(N_EACH) % N_CLASSES) for _ in range(3)])
    grid = VoxelGrid(np.ones((2, 1, 1), dtype=bool), np.eye(4))
    return Person("01", grid, np.zeros((n_trials, 2), np.float32), trials, labels)


def fold_of(person, fold):
    trials = resolve_fold(person.trials, fold)
    person = Person(person.label, person.grid, person.betas, trials, person.target_rows)
    return tuple(person.subset((trials["split"] == part).to_numpy()) for part in ("train", "test"))


def labels_of(person, fold, n_permutations=9):
    return label_fold(
        *fold_of(person, fold), N_CLASSES, n_permutations, np.random.default_rng(3),
        is_crossed=fold is not None,
    )


def test_every_fold_has_the_same_labelling_which_keeps_the_counts_of_runs(person):
    tested = np.hstack([labels_of(person, fold).test for fold in (1, 2, 3)])
    assert (tested[0] == person.target_rows).all()
    for fold in (1, 2, 3):
        found = labels_of(person, fold)
        trained = np.delete(tested, slice((fold - 1) * N_EACH, fold * N_EACH), axis=1)
        assert (found.train == trained).all()
        counts = np.apply_along_axis(np.bincount, 1, found.test, minlength=N_CLASSES)
        assert (counts == 2).all()
    assert (tested[1:] != tested[0]).any(axis=1).all()


def test_labellings_are_those_of_the_decoder(person):
    decoder = permute_fold(*fold_of(person, 2), 9, np.random.default_rng(3))
    found = labels_of(person, 2)
    assert (found.train[1:] == decoder.train_rows).all()
    assert (found.test[1:] == decoder.test_rows).all()


def test_weights_add_up_to_one_over_all_folds(person):
    total = np.zeros(10)
    for fold in (1, 2, 3):
        found = labels_of(person, fold)
        total += np.take_along_axis(found.weights, found.test, axis=1).sum(axis=1)
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert labels_of(person, 1).n_tested == N_CLASSES


def test_on_a_fixed_test_set_only_test_labels_are_exchanged(person):
    trials = person.trials.assign(split=np.where(person.trials["fold"] == 3, "test", "train"))
    person = Person(person.label, person.grid, person.betas, trials.assign(fold=pd.NA),
                    person.target_rows)
    found = label_fold(
        person.subset((trials["split"] == "train").to_numpy()),
        person.subset((trials["split"] == "test").to_numpy()), N_CLASSES, 5,
        np.random.default_rng(0), is_crossed=False,
    )
    assert found.train.shape == (1, 12)
    assert (np.sort(found.test, axis=1) == np.sort(found.test[0])).all()
    np.testing.assert_allclose(
        np.take_along_axis(found.weights, found.test, axis=1).sum(axis=1), 1, rtol=1e-6
    )
