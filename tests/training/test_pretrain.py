"""Pretraining of the trunk: how long it trains is decided by stimuli left out."""

import numpy as np
import pytest

from bids_decoder.config import Network
from bids_decoder.training import pretrain as module
from bids_decoder.training.episodes import Latents
from bids_decoder.training.identification import distinctness, identifiability
from bids_decoder.training.loop import make_fabric
from bids_decoder.training.pretrain import choose_epochs, epoch_candidates, pretrain_trunk

N_LATENTS = 12


def make_latents(distortion, n_stimuli=200, n_people=3, noise=0.3, seed=0):
    """Latents that are the targets seen through *distortion*, with noise."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n_stimuli, N_LATENTS)).astype(np.float32)
    rows = np.tile(np.arange(n_stimuli), n_people)
    values = vectors[rows] @ distortion + noise * rng.standard_normal((len(rows), N_LATENTS))
    people = np.repeat(np.arange(n_people), n_stimuli)
    log_trials = np.full(len(rows), 6.0, np.float32)
    return Latents(values.astype(np.float32), rows, log_trials, people), vectors


def random_matrix(seed):
    return np.random.default_rng(seed).standard_normal((N_LATENTS, N_LATENTS))


def test_candidates_end_at_the_wanted_number_of_steps():
    assert epoch_candidates(256 * 100) == [0, 1, 2, 4, 8, 15]
    assert epoch_candidates(100)[-1] == 150
    assert epoch_candidates(10**7)[0] == 0


def test_a_shared_distortion_is_learned():
    latents, vectors = make_latents(np.eye(N_LATENTS) + 0.3 * random_matrix(1))
    assert choose_epochs(latents, vectors, Network(), 0, make_fabric("cpu")) > 0


def test_training_ends_before_stimuli_are_learned_by_heart():
    latents, vectors = make_latents(np.eye(N_LATENTS), n_stimuli=60, noise=2.0)
    longest = epoch_candidates(len(latents.values))[-1]
    assert choose_epochs(latents, vectors, Network(), 0, make_fabric("cpu")) <= longest / 4


def test_few_stimuli_that_are_learned_by_heart_leave_the_trunk_untrained(monkeypatch):
    latents, vectors = make_latents(np.eye(N_LATENTS), n_stimuli=20, noise=1.0)
    monkeypatch.setattr(module, "epoch_candidates", lambda _: [0, 40])
    assert choose_epochs(latents, vectors, Network(), 0, make_fabric("cpu")) == 0


@pytest.mark.parametrize("n_stimuli", [2, 3])
def test_stimuli_too_few_to_hold_some_out_leave_the_trunk_untrained(n_stimuli):
    latents, vectors = make_latents(np.eye(N_LATENTS), n_stimuli=n_stimuli)
    assert choose_epochs(latents, vectors, Network(), 0, make_fabric("cpu")) == 0
    _, _, losses = pretrain_trunk(latents, vectors, False, Network(), seed=0, device="cpu")
    assert losses == []


def test_a_distortion_is_learned_from_few_stimuli_too(monkeypatch):
    distortion = np.diag([4.0, *np.full(N_LATENTS - 1, 0.4)])
    latents, vectors = make_latents(distortion, n_stimuli=40)
    monkeypatch.setattr(module, "epoch_candidates", lambda _: [0, 80])
    assert choose_epochs(latents, vectors, Network(), 0, make_fabric("cpu")) == 80


@pytest.mark.parametrize(("n_stimuli", "n_folds"), [(4, 2), (20, 5), (99, 5), (100, 1)])
def test_all_fifths_of_few_stimuli_are_held_out(n_stimuli, n_folds):
    latents, _ = make_latents(np.eye(N_LATENTS), n_stimuli=n_stimuli)
    folds = module._stimulus_folds(latents, 0)
    assert len(folds) == n_folds
    held_out = [set(latents.target_rows[fold]) for fold in folds]
    assert sum(map(len, held_out)) == len(set().union(*held_out))
    assert all(not part & set(latents.target_rows[~fold])
               for part, fold in zip(held_out, folds, strict=True))


def test_number_of_epochs_asked_for_is_taken():
    latents, vectors = make_latents(np.eye(N_LATENTS), n_stimuli=40)
    _, _, losses = pretrain_trunk(
        latents, vectors, False, Network(pretrain_epochs=3), seed=0, device="cpu"
    )
    assert len(losses) == 3


def test_categories_train_for_the_whole_length():
    latents, vectors = make_latents(np.eye(N_LATENTS), n_stimuli=8, n_people=2)
    _, _, losses = pretrain_trunk(latents, vectors, True, Network(), seed=0, device="cpu")
    assert len(losses) == epoch_candidates(len(latents.values))[-1]


def test_distinctness_is_mean_identifiability(monkeypatch):
    rng = np.random.default_rng(0)
    predicted, vectors = rng.standard_normal((30, 5)), rng.standard_normal((30, 5))
    rows = rng.permutation(30)
    expected = identifiability(predicted, vectors[rows]).mean()
    monkeypatch.setattr("bids_decoder.training.identification._BLOCK", 7)
    assert distinctness(predicted, rows, vectors).mean() == pytest.approx(expected)
    assert identifiability(predicted, vectors[rows]).mean() == pytest.approx(expected)
    assert distinctness(vectors, np.arange(30), vectors).mean() > 2
    shuffled = distinctness(vectors[rng.permutation(30)], np.arange(30), vectors).mean()
    assert abs(shuffled) < 0.7


def test_many_people_give_a_part_each(person_from, monkeypatch):
    person, vectors = person_from(np.random.default_rng(0))
    monkeypatch.setattr(module, "MAX_LATENTS", 1000)
    monkeypatch.setattr(module, "MIN_LATENTS_PER_PERSON", 80)
    alone = module.collect_latents([person], vectors, lambda *_: None, 0, 1)
    many = module.collect_latents([person] * 10, vectors, lambda *_: None, 0, 10)
    few = module.collect_latents([person] * 3, vectors, lambda *_: None, 0, 30)
    assert len(alone.values) == 1000
    assert (np.bincount(many.people) == 100).all() and (np.bincount(few.people) == 80).all()
    # What is kept are latents of all calibration lengths.
    assert len(np.unique(few.log_trials)) == len(np.unique(alone.log_trials))
