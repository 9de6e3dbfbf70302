"""How much of a pretrained trunk is used: trunks that help, and trunks that do harm."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation import folds
from bids_decoder.models.networks import Trunk
from bids_decoder.training.adaptation import Adaptation, SharedModel
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.identification import distinctness
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.pretrain import LatentScale
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.training.trust import PRIOR, choose_share
from bids_decoder.training.weightings import signal_weights
from bids_decoder.trials import Person, Targets, VoxelGrid

N_DIMS = 6
MIXED_UP = np.roll(np.eye(N_DIMS), 1, axis=0) - np.eye(N_DIMS)
"""Changes a linear trunk so that it exchanges all latents."""


def make_trunk(change, kind="linear"):
    trunk = Trunk(N_DIMS, N_DIMS, kind, 8, 2).eval()
    with torch.no_grad():
        trunk.projector += torch.from_numpy(np.asarray(change, dtype=np.float32))
        trunk.bias += 0.1
        for block in trunk.blocks:
            block.narrow.weight += 0.3
    return trunk


def adapted(person, vectors, trunk):
    shared = SharedModel(trunk, LatentScale(1.0, 7.0, 1.0), vectors, False)
    return Adaptation(person, shared, Network(), seed=0, device="cpu")


def some_runs(person, *runs):
    return person.subset(np.isin(person.run_groups, [f"run-{k}" for k in runs]))


def test_a_linear_trunk_shrinks_to_the_mean_of_its_input_and_output():
    trunk = make_trunk(MIXED_UP)
    latents, context = torch.randn(7, N_DIMS), torch.ones(7, 1)
    with torch.no_grad():
        expected = 0.25 * trunk(latents, context) + 0.75 * latents
        torch.testing.assert_close(trunk.shrunk(0.25)(latents, context), expected)


def test_shares_of_a_residual_trunk_go_from_the_identity_to_the_trunk():
    trunk = make_trunk(MIXED_UP, "residual")
    latents, context = torch.randn(7, N_DIMS), torch.ones(7, 1)
    with torch.no_grad():
        before = trunk(latents, context)
        torch.testing.assert_close(trunk.shrunk(0.0)(latents, context), latents)
        torch.testing.assert_close(trunk.shrunk(1.0)(latents, context), before)
        torch.testing.assert_close(trunk(latents, context), before)
    assert not torch.allclose(before, latents)


def test_a_trunk_that_exchanges_latents_is_not_used(known):
    share, notes = choose_share(adapted(*known, make_trunk(MIXED_UP)), signal_weights)
    assert share == notes["trunk_share"] == 0
    assert notes["trunk_gains"]["0.0"] > 0 == notes["trunk_gains"]["1.0"]


def test_a_trunk_that_drops_latents_without_signal_is_used(person_from):
    person, vectors = person_from(np.random.default_rng(3), signal=0.25)
    rng = np.random.default_rng(4)
    vectors = np.hstack([vectors[:, :2], rng.standard_normal((len(vectors), 4))])
    drops = -np.diag([0, 0, 1.0, 1, 1, 1])
    adaptation = adapted(person, vectors.astype(np.float32), make_trunk(drops))
    share, notes = choose_share(adaptation, signal_weights)
    assert share == 1
    assert notes["trunk_gains"]["0.0"] < 0


def test_one_run_is_no_evidence(known):
    person, vectors = known
    adaptation = adapted(some_runs(person, 0), vectors, make_trunk(MIXED_UP))
    assert choose_share(adaptation, signal_weights) == (1.0, {"trunk_share": 1.0,
                                                              "trunk_gains": {}})


def test_runs_of_fewer_trials_than_a_calibration_has_are_no_evidence(known):
    person, vectors = known
    first = some_runs(person, 0, 1).subset(np.r_[0:3, 24:27])
    adaptation = adapted(first, vectors, make_trunk(MIXED_UP))
    assert choose_share(adaptation, signal_weights)[0] == 1


def test_voxels_are_weighted_without_the_runs_that_decide(known):
    seen = []

    def watching(person, wanted):
        assert len(person.betas) == len(wanted)
        seen.append(set(person.run_groups))
        return signal_weights(person, wanted)

    choose_share(adapted(*known, make_trunk(MIXED_UP)), watching)
    runs = set(known[0].run_groups)
    left_out = [runs - part for part in seen]
    assert all(left_out)
    assert set().union(*left_out) == runs
    assert sum(map(len, left_out)) == len(runs)


def test_one_fold_decides_if_it_has_enough_trials(known, monkeypatch):
    seen = []

    def watching(person, wanted):
        seen.append(len(person.betas))
        return signal_weights(person, wanted)

    monkeypatch.setattr(folds, "ENOUGH_VALIDATION", 3 * 24)
    share, notes = choose_share(adapted(*known, make_trunk(MIXED_UP)), watching)
    assert seen == [5 * 24]
    assert share == 0 and notes["trunk_gains"]["0.0"] > 0


@pytest.mark.parametrize("change", [MIXED_UP, 0.3 * np.ones((N_DIMS, N_DIMS))])
def test_targets_that_are_unrelated_to_responses_stay_at_chance(person_from, change):
    values = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        person, vectors = person_from(rng, signal=0.6)
        person = replace(person, target_rows=rng.permutation(person.target_rows))
        train, test = some_runs(person, 0, 1, 2, 3), some_runs(person, 4, 5, 6, 7)
        adaptation = adapted(train, vectors, make_trunk(change))
        share, _ = choose_share(adaptation, signal_weights)
        fit = fit_input_layer(train.betas, adaptation.wanted, train.run_groups)
        embedding = adaptation.shared.shrunk(share).embed(fit.latents(test.betas), fit.n_trials)
        values.append(distinctness(embedding, test.target_rows, vectors).mean())
    assert abs(np.mean(values)) < 3 * np.std(values, ddof=1) / np.sqrt(len(values))


def test_the_decoder_of_a_participant_keeps_the_chosen_share_of_the_trunk(known):
    person, vectors = known
    person = some_runs(person, 0, 1, 2, 3)
    targets = Targets(tuple(f"s{k}" for k in range(len(vectors))), vectors, "features")
    context = FitContext(Network(pretrain_epochs=2), Troi(selector="all", stage2="none"), 0, "cpu")
    decoder = TroiDecoder()
    pretrained = decoder.pretrain([person], targets, context)
    n_latents = pretrained.card["n_latents"]
    spoilt = np.roll(np.eye(n_latents, dtype=np.float32), 1, axis=0) - np.eye(n_latents)
    pretrained.tensors["trunk.projector"] = spoilt.astype(np.float32)
    _, fitted = decoder.fit(person, targets, pretrained, context)
    share = fitted.card["trunk_share"]
    assert share < 0.5
    np.testing.assert_allclose(fitted.tensors["trunk.projector"], share * spoilt)
    _, own = decoder.fit(person, targets, None, context)
    assert "trunk_share" not in own.card


LABELS = np.linalg.svd(np.eye(4) - 1 / 4)[0][:, :3].astype(np.float32)


def of_labels(seed, change, *, signal=(0.5, 0.5, 0.5), runs=6, often=0):
    """Four labels before a linear trunk with this change: each six times in a run, or one often."""
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(4), 6 * (runs + 20))
    if often:
        rows[:24 * runs] = np.tile(np.maximum(np.arange(24) - often + 1, 0), runs)
    betas = (LABELS * signal @ rng.standard_normal((3, 60)))[rows]
    betas += rng.standard_normal(betas.shape)
    table = pd.DataFrame({
        "trial": np.arange(len(rows)), "run_group": [f"run-{k // 24}" for k in range(len(rows))],
        "stimulus": "x", "split": "train",
    })
    grid = VoxelGrid(np.ones((60, 1, 1), bool), np.eye(4))
    whole = Person("01", grid, betas.astype(np.float32), table, rows)
    trunk = Trunk(3, 3, "linear").eval()
    with torch.no_grad():
        trunk.projector += torch.from_numpy(np.asarray(change, dtype=np.float32))
    train = whole.subset(slice(24 * runs))
    shared = SharedModel(trunk, LatentScale(1.0, 7.0, 1.0), LABELS, True)
    adaptation = Adaptation(train, shared, Network(), seed=0, device="cpu")
    return adaptation, whole.subset(slice(24 * runs, None))


def accuracy(adaptation, test, share):
    fit = adaptation.closed_form(signal_weights(adaptation.person, adaptation.wanted))
    latents = fit.latents(test.betas)
    scores = adaptation.shared.shrunk(share).embed(latents, fit.n_trials) @ LABELS.T
    return (scores.argmax(axis=1) == test.target_rows).mean()


def test_labels_are_decoded_by_the_likeliest_mean_of_both():
    """A trunk that weakens one direction of three is worth something, not everything."""
    shares, gains = [], []
    for seed in range(6):
        adaptation, test = of_labels(seed, -np.diag([0, 0, 1.4]), signal=(0.25, 0.25, 0.25))
        share, notes = choose_share(adaptation, signal_weights)
        found = notes["trunk_gains"]
        assert found[str(share)] == pytest.approx(max(found.values()), abs=PRIOR / 144)
        shares.append(share)
        gains.append(accuracy(adaptation, test, share) - accuracy(adaptation, test, 1.0))
    assert 0 < np.mean(shares) < 0.6
    assert np.mean(gains) > 0.05


def test_a_trunk_of_exchanged_labels_is_not_used():
    change = np.roll(np.eye(3), 1, axis=0) - np.eye(3)
    assert choose_share(of_labels(1, change)[0], signal_weights)[0] <= 0.1


def test_rare_labels_are_as_important_as_a_frequent_one():
    """One label of 21 in 24 trials; the trunk exchanges labels, and names that one all the same."""
    change = np.roll(np.eye(3), 1, axis=0) - np.eye(3)
    lost = []
    for seed in range(8):
        adaptation, test = of_labels(seed, change, signal=(0.35, 0.35, 0.35), often=21)
        share, _ = choose_share(adaptation, signal_weights)
        lost.append(accuracy(adaptation, test, 0.0) - accuracy(adaptation, test, share))
    assert np.mean(lost) < 0.02


def test_a_trunk_that_leaves_out_noise_is_used_for_labels():
    """Labels that differ along one direction only."""
    change, signal = -np.diag([0, 1, 1.0]), (0.3, 0, 0)
    shares = [
        choose_share(of_labels(seed, change, signal=signal)[0], signal_weights)[0]
        for seed in range(4)
    ]
    assert np.mean(shares) >= 0.8


def test_permuted_labels_stay_at_chance():
    found = []
    for seed in range(8):
        adaptation, test = of_labels(seed, 0.4 * np.ones((3, 3)))
        rng = np.random.default_rng(100 + seed)
        rows = rng.permutation(adaptation.person.target_rows)
        permuted = adaptation.with_person(replace(adaptation.person, target_rows=rows))
        share, _ = choose_share(permuted, signal_weights)
        found.append(accuracy(permuted, test, share))
    assert abs(np.mean(found) - 0.25) < 3 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_equal_trunks_leave_all_of_the_pretrained_one():
    share, notes = choose_share(of_labels(0, np.zeros((3, 3)))[0], signal_weights)
    assert share == 1.0
    assert set(notes["trunk_gains"].values()) == {0.0}
