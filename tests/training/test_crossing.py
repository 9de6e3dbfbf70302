"""Decoders carried over to another kind of trials: truth of simulations, and chance."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.baselines import baseline_names
from bids_decoder.evaluation.classification import Heldout, score_classification
from bids_decoder.training.crossing import score_models
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.trials import Person, Targets, VoxelGrid

N_VOXELS, N_TRIALS = 40, 48
TARGETS = Targets(("a", "b"), np.eye(2, dtype=np.float32), "category")
CONTEXT = FitContext(Network(), Troi(budget_voxels=15), 7, "cpu")


def sides(same_code, seed=0, signal=1.0):
    """Training and test trials of two kinds, whose patterns of labels are equal or unrelated."""
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((2, 2, N_VOXELS))
    people = []
    for number, split in enumerate(("train", "test")):
        rows = rng.permutation(np.arange(N_TRIALS) % 2)
        betas = signal * codes[0 if same_code else number][rows]
        betas = betas + rng.standard_normal((N_TRIALS, N_VOXELS))
        trials = pd.DataFrame({
            "trial": np.tile(np.arange(1, 13), 4), "split": split,
            "run_group": np.repeat([f"{split}-{run}" for run in range(4)], 12),
            "stimulus": np.array(TARGETS.ids)[rows], "fold": 1,
        })
        grid = VoxelGrid(np.ones((N_VOXELS, 1, 1), bool), np.eye(4))
        people.append(Person("01", grid, betas.astype(np.float32), trials, rows))
    return people


def accuracy(scores, test):
    return (scores.argmax(axis=1) == test.target_rows).mean()


@pytest.mark.parametrize("model", ["decoder", *baseline_names("category")])
def test_a_shared_code_generalises(model):
    train, test = sides(same_code=True)
    scores = score_models(load_decoder("troi"), train, test, TARGETS, CONTEXT)
    assert list(scores) == ["decoder", *baseline_names("category")]
    assert accuracy(scores[model], test) > 0.85


def test_codes_of_their_own_do_not():
    found = []
    for seed in range(4):
        train, test = sides(same_code=False, seed=seed)
        scores = score_models(load_decoder("troi"), train, test, TARGETS, CONTEXT)["decoder"]
        # A wrong code may also be the opposite one: what counts is the mean.
        found.append(accuracy(scores, test))
    assert 0.3 < np.mean(found) < 0.7


def heldout(scores, labels, trains_on_tested):
    runs = np.repeat(["1", "2", "3", "4"], len(labels) // 4)
    return Heldout(scores, labels, ("a", "b"), runs, runs.astype(int),
                   trains_on_tested=trains_on_tested)


def test_folds_that_never_train_on_tested_trials_have_exact_fixed_nulls():
    rng = np.random.default_rng(0)
    labels = np.tile(["a", "b"], 20)
    scores = rng.standard_normal((40, 2)) + 1.5 * np.eye(2)[(labels == "b").astype(int)]
    found = {
        trains: score_classification(
            heldout(scores, labels, trains), settings=Evaluation(n_permutations=99),
            rng=np.random.default_rng(0),
        ).metrics.set_index("metric").loc["balanced_accuracy"]
        for trains in (True, False)
    }
    assert found[True]["null"] == "none" and np.isnan(found[True]["p"])
    assert found[False]["null"] == "fixed" and found[False]["p"] == 0.01
    assert found[True]["ci_low"] == found[False]["ci_low"]
