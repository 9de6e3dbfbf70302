"""A small person whose informative voxels are known."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Network, Troi
from bids_decoder.training.adaptation import Adaptation, SharedModel
from bids_decoder.training.gates import learn_gates
from bids_decoder.training.pretrain import LatentScale, build_trunk
from bids_decoder.training.selection.task import SelectionTask
from bids_decoder.trials import Person, VoxelGrid

SHAPE = (8, 8, 6)
N_DIMS = 6
N_RUNS, TRIALS_PER_RUN = 8, 24
NETWORK = Network(pretrain_epochs=3, finetune_epochs=4)


def planted_mask():
    """A block in a corner of the grid."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:4, :4, :3] = True
    return mask.ravel()


def make_person(rng, signal=0.6, n_trials=N_RUNS * TRIALS_PER_RUN, label="01"):
    """Responses of planted voxels to stimuli of their own; the other voxels are noise."""
    planted = planted_mask()
    vectors = rng.standard_normal((n_trials, N_DIMS)).astype(np.float32)
    tuning = rng.standard_normal((N_DIMS, len(planted))) * planted / np.sqrt(N_DIMS)
    betas = signal * vectors @ tuning + rng.standard_normal((n_trials, len(planted)))
    runs = np.repeat([f"run-{i}" for i in range(N_RUNS)], TRIALS_PER_RUN)[:n_trials]
    trials = pd.DataFrame({
        "trial": np.arange(1, n_trials + 1), "run_group": runs,
        "stimulus": [f"s{i}" for i in range(n_trials)], "split": "train", "fold": None,
    })
    grid = VoxelGrid(np.ones(SHAPE, bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    scaled = ((betas - betas.mean(0)) / betas.std(0)).astype(np.float32)
    return Person(label, grid, scaled, trials, np.arange(n_trials)), vectors


def make_adaptation(person, vectors, seed=1, is_category=False):
    """An untrained trunk, the identity, before the person's input layer."""
    trunk = build_trunk(vectors.shape[1], NETWORK, seed=0).eval()
    shared = SharedModel(trunk, LatentScale(1.0, 7.0, 1.0), vectors, is_category)
    return Adaptation(person, shared, NETWORK, seed=seed, device="cpu")


def make_task(person, vectors, selector, seed=1, **settings):
    """What a selector gets, with a budget of the planted size unless told otherwise."""
    given = {"budget_voxels": int(planted_mask().sum()), "epochs": 8, **settings}
    adaptation = make_adaptation(person, vectors, seed)
    troi = replace(Troi(selector=selector), **given)
    return SelectionTask(person, adaptation.wanted, troi, partial(learn_gates, adaptation), seed)


@pytest.fixture(scope="session")
def planted():
    return planted_mask()


@pytest.fixture(scope="session")
def known():
    """A person with a clear region, and the target vectors."""
    return make_person(np.random.default_rng(0))


@pytest.fixture
def task_for():
    return make_task


@pytest.fixture
def adaptation_for():
    return make_adaptation


@pytest.fixture(scope="session")
def person_from():
    return make_person
