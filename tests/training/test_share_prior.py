"""Voxels of a new participant weighted by what the source participants say about their signal."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.models.store import Model
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.refit import permute_fold, refit_fold
from bids_decoder.training.selectors import BY_SHARE_PRIOR
from bids_decoder.training.share_prior import share_distribution, share_prior_of, weighting_with
from bids_decoder.training.signal import SIGNAL_SHARES, signal_shares
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

N_CLASSES, N_VOXELS = 4, 300
TARGETS = Targets(tuple("abcd"), np.eye(N_CLASSES, dtype=np.float32), "category")
WANTED = np.linalg.svd(np.eye(N_CLASSES) - 1 / N_CLASSES)[0][:, :3]
CONTEXT = FitContext(Network(pretrain_epochs=2), Troi(stage2="none"), 1, "cpu")
WITHOUT_NEIGHBOURS = VoxelGrid(np.ones((N_VOXELS, 1, 1), bool), np.eye(4))
WITH_NEIGHBOURS = VoxelGrid(np.ones((10, 6, 5), bool), np.eye(4))


def draw(seed, n_runs, *, share=0.06, fraction=1.0, n_test=50, grid=WITHOUT_NEIGHBOURS):
    """Return training and test trials, of each label one in a run.

    *share* is the part of the variance that labels explain, in a *fraction* of the voxels.
    """
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(N_CLASSES), n_runs + n_test)
    patterns = rng.standard_normal((N_CLASSES, N_VOXELS)) * (rng.random(N_VOXELS) < fraction)
    betas = np.sqrt(share / (1 - share)) * patterns[rows]
    betas += rng.standard_normal(betas.shape)
    is_train = np.arange(len(rows)) < n_runs * N_CLASSES
    betas = (betas - betas[is_train].mean(axis=0)) / betas[is_train].std(axis=0)
    table = pd.DataFrame({
        "trial": np.arange(len(rows)), "stimulus": np.array(TARGETS.ids)[rows], "fold": 1,
        "run_group": [f"run-{k // N_CLASSES}" for k in range(len(rows))],
        "split": np.where(is_train, "train", "test"),
    })
    whole = Person(f"{seed:02d}", grid, betas.astype(np.float32), table, rows)
    return whole.subset(is_train), whole.subset(~is_train)


def pretrain(people):
    return TroiDecoder().pretrain(people, TARGETS, CONTEXT)


def accuracy(new, pretrained):
    train, test = new
    decoder = TroiDecoder()
    _, model = decoder.fit(train, TARGETS, pretrained, CONTEXT)
    scores = label_scores(decoder.predict(model, test.betas), decoder.gallery(model, TARGETS))
    return float((scores.argmax(axis=1) == test.target_rows).mean())


@pytest.fixture(scope="module")
def sources():
    return [draw(seed, 8)[0] for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def pretrained(sources):
    return pretrain(sources)


def without_prior(pretrained):
    """Models of earlier versions have none."""
    card = {name: value for name, value in pretrained.card.items() if name != "share_prior"}
    return Model(pretrained.tensors, card)


@pytest.mark.parametrize(("share", "fraction"), [(0.06, 1.0), (0.16, 0.5), (0.02, 1.0)])
def test_the_distribution_is_that_of_the_source_participants(share, fraction):
    people = [draw(seed, 60, share=share, fraction=fraction)[0] for seed in (1, 2)]
    found = share_prior_of(people, WANTED)
    assert found.sum() == pytest.approx(1) and (found > 0).all()
    # Labels have three dimensions of four: less their mean, patterns are weaker by a quarter.
    near = np.abs(np.log(SIGNAL_SHARES[1:] / (0.75 * share))) < np.log(2.1)
    assert found[1:][near].sum() == pytest.approx(fraction, abs=0.15)
    assert found[0] + found[1] == pytest.approx(1 - fraction, abs=0.15)


def test_constant_voxels_tell_nothing(sources):
    betas, wanted = sources[0].betas.copy(), WANTED[sources[0].target_rows]
    betas[:, ::2] = 0
    found = share_distribution(replace(sources[0], betas=betas), wanted)
    grid = VoxelGrid(np.ones((N_VOXELS // 2, 1, 1), bool), np.eye(4))
    others = replace(sources[0], betas=betas[:, 1::2], grid=grid)
    np.testing.assert_allclose(found, share_distribution(others, wanted), rtol=1e-4)
    nothing = share_distribution(replace(sources[0], betas=0 * betas), wanted)
    np.testing.assert_allclose(nothing, 1 / len(SIGNAL_SHARES))


def test_equal_probabilities_are_no_prior(sources):
    person = sources[0]
    wanted = WANTED[person.target_rows]
    equal = np.full(len(SIGNAL_SHARES), 1 / len(SIGNAL_SHARES))
    found = weighting_with(equal, Network())(person, wanted)
    np.testing.assert_allclose(found, signal_shares(person, wanted, 0.0), rtol=1e-5)


def test_weak_evidence_leaves_what_is_expected():
    noise = draw(9, 2, share=0.0)[0]
    strong, weak = np.full((2, len(SIGNAL_SHARES)), 1e-9)
    strong[-1], weak[1] = 1.0, 1.0
    wanted = WANTED[noise.target_rows]
    assert weighting_with(strong, Network())(noise, wanted).min() > 0.39
    found = weighting_with(weak, Network())(noise, wanted)
    np.testing.assert_allclose(found, SIGNAL_SHARES[1], rtol=1e-3)


def test_weights_of_a_new_participant_follow_its_own_trials_too():
    mixed = pretrain([draw(seed, 8, share=0.3, fraction=0.5)[0] for seed in (1, 2)])
    train = draw(5, 8, share=0.3, fraction=0.5)[0]
    selection = TroiDecoder().select(train, TARGETS, mixed, CONTEXT)
    assert selection.mask.all() and selection.notes == {"rule": BY_SHARE_PRIOR, "budget": N_VOXELS}
    means = [train.betas[train.target_rows == k].mean(axis=0) for k in range(N_CLASSES)]
    assert np.corrcoef(np.std(means, axis=0), selection.weights)[0, 1] > 0.7


@pytest.mark.parametrize(("grid", "settings"), [
    (WITH_NEIGHBOURS, {}), (WITHOUT_NEIGHBOURS, {"budget_voxels": 40}),
    (WITHOUT_NEIGHBOURS, {"budget_mm3": 40.0}), (WITHOUT_NEIGHBOURS, {"selector": "soft"}),
])
def test_elsewhere_voxels_are_selected_as_without_it(pretrained, grid, settings):
    train = draw(5, 4, grid=grid)[0]
    context = replace(CONTEXT, troi=Troi(stage2="none", **settings))
    found, expected = (
        TroiDecoder().select(train, TARGETS, model, context)
        for model in (pretrained, without_prior(pretrained))
    )
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert found.notes == expected.notes and found.notes["rule"] != BY_SHARE_PRIOR


def test_source_participants_with_neighbours_have_no_prior():
    people = [draw(seed, 4, grid=WITH_NEIGHBOURS)[0] for seed in (1, 2)]
    assert share_prior_of(people, WANTED) is None
    assert "share_prior" not in pretrain(people).card


@pytest.mark.parametrize("n_runs", [4, 6])
def test_weak_signal_in_all_voxels_is_decoded_better(pretrained, n_runs):
    people = [draw(seed, n_runs) for seed in range(10, 18)]
    found = np.mean([accuracy(person, pretrained) for person in people])
    earlier = np.mean([accuracy(person, without_prior(pretrained)) for person in people])
    assert found > earlier + 0.04


def test_permuted_labels_are_at_chance(pretrained):
    train, test = draw(21, 4, share=0.2, n_test=12)
    fold = permute_fold(train, test, 40, np.random.default_rng(0))
    scores = refit_fold(TroiDecoder(), fold, TARGETS, pretrained, CONTEXT)
    hits = (scores.argmax(axis=2) == fold.test_rows).mean(axis=1)
    assert hits.mean() == pytest.approx(1 / N_CLASSES, abs=3 * hits.std() / np.sqrt(len(hits)))
    assert accuracy((train, test), pretrained) > 0.5
