"""Filters of responses of labels and values, chosen by the marginal likelihood of the targets."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.grids.base import FWHM_PER_SD
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.labellings import scores_of_labellings
from bids_decoder.training.likely_filter import (
    FILTERS,
    LEAST_EVIDENCE,
    candidate_filters,
    choose_candidate,
    filters_are_tried,
)
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

SHAPE, PER_RUN, N_RUNS, N_LABELS = (12, 12, 8), 12, 16, 4
LABELS = Targets(tuple("abcd"), np.eye(N_LABELS, dtype=np.float32), "category")
CONTEXT = FitContext(Network(), Troi(), 1, "cpu")
NEVER = replace(CONTEXT, troi=Troi(spatial_prior="never"))


def smooth(values, voxels):
    """White noise of unit variance, smoothed over this many voxels."""
    sigma = (*[0] * (values.ndim - 3), *[voxels / FWHM_PER_SD] * 3)
    found = gaussian_filter(values, sigma, mode="wrap") if voxels else values
    return found / found.std()


def make_person(seed, kind, *, tuning, noise, strength):
    """Labels or values in a region, tuning and noise of some smoothness (voxels); half is test."""
    rng = np.random.default_rng(seed)
    n_trials = PER_RUN * N_RUNS
    if kind == "value":
        vectors = rng.standard_normal((n_trials, 1)).astype(np.float32)
        targets = Targets(tuple(f"v{n}" for n in range(n_trials)), vectors, "value", ("rating",))
        rows = np.arange(n_trials)
    else:
        rows = np.concatenate([rng.permutation(PER_RUN) % N_LABELS for _ in range(N_RUNS)])
        targets, vectors = LABELS, rng.standard_normal((N_LABELS, 3))
    waves = smooth(rng.standard_normal((vectors.shape[1], *SHAPE)), tuning)
    region = np.zeros(SHAPE)
    region[2:9, 2:9, 1:6] = strength
    own = rng.standard_normal((n_trials, *SHAPE))
    betas = np.tensordot(vectors[rows], waves * region, axes=1)
    betas += (0.5 * own + smooth(rng.standard_normal(own.shape), noise)) / np.sqrt(1.25)
    runs = np.repeat([f"run-{n:02d}" for n in range(N_RUNS)], PER_RUN)
    is_test = np.arange(n_trials) >= n_trials // 2
    table = pd.DataFrame({
        "trial": np.arange(n_trials), "run_group": runs, "fold": None,
        "split": np.where(is_test, "test", "train"),
    })
    grid = VoxelGrid(np.ones(SHAPE, bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    flat = betas.reshape(n_trials, -1).astype(np.float32)
    person = Person("01", grid, flat, table, rows)
    return person.subset(np.flatnonzero(~is_test)), person.subset(np.flatnonzero(is_test)), targets


def score(model, test, targets):
    """Accuracy, or correlation of values."""
    predicted = TroiDecoder().predict(model, test.betas)
    if targets.kind == "value":
        return float(np.corrcoef(predicted[:, 0], targets.vectors[test.target_rows, 0])[0, 1])
    found = label_scores(predicted, TroiDecoder().gallery(model, targets)).argmax(axis=1)
    return float((found == test.target_rows).mean())


def fit(person, targets, context=CONTEXT):
    return TroiDecoder().fit(person, targets, None, context)[1]


@pytest.mark.parametrize(("kind", "strength"), [("category", 0.13), ("value", 0.1)])
def test_noise_that_voxels_share_is_reduced_and_more_is_decoded(kind, strength):
    gains = []
    for seed in range(3):
        train, test, targets = make_person(seed, kind, tuning=0, noise=3, strength=strength)
        model, plain = fit(train, targets), fit(train, targets, NEVER)
        assert model.card["noise_filter_power"] == 0.5
        assert model.card["noise_filter_evidence"] > LEAST_EVIDENCE
        assert "noise_filter" not in plain.card
        gains.append(score(model, test, targets) - score(plain, test, targets))
    assert min(gains) > 0.02 and np.mean(gains) > 0.08


def test_tuning_that_neighbours_share_is_smoothed():
    """Smooth tuning in white noise, as strong as in a localizer with blocks."""
    gains = []
    for seed in range(3):
        train, test, targets = make_person(seed, "category", tuning=4, noise=0, strength=0.15)
        model, plain = fit(train, targets), fit(train, targets, NEVER)
        assert model.card["noise_filter_fwhm_mm"] == 3.0
        gains.append(score(model, test, targets) - score(plain, test, targets))
    assert np.mean(gains) > 0.02


@pytest.mark.parametrize("kind", ["category", "value"])
def test_shuffled_targets_are_decoded_at_chance(kind):
    train, test, targets = make_person(0, kind, tuning=0, noise=3, strength=0.13)
    found = []
    for seed in range(12):
        rows = np.random.default_rng(seed).permutation(train.target_rows)
        found.append(score(fit(replace(train, target_rows=rows), targets), test, targets))
    chance = 1 / N_LABELS if kind == "category" else 0.0
    assert np.mean(found) == pytest.approx(chance, abs=0.08)


@pytest.mark.parametrize("kind", ["category", "value"])
def test_all_labellings_are_filtered_as_each_alone(kind):
    """Among the true and shuffled targets, some are filtered and some are not."""
    train, test, targets = make_person(1, kind, tuning=0, noise=3, strength=0.16)
    rng = np.random.default_rng(0)
    drawn = [train.target_rows, *(rng.permutation(train.target_rows) for _ in range(7))]
    together = scores_of_labellings(
        train, test.betas, targets, np.array(drawn), CONTEXT.network, CONTEXT.troi
    )
    used = set()
    for rows, found in zip(drawn, together, strict=True):
        model = fit(replace(train, target_rows=rows), targets)
        used.add(model.card["noise_filter"])
        predicted = TroiDecoder().predict(model, test.betas)
        if kind == "category":
            predicted = label_scores(predicted, TroiDecoder().gallery(model, targets))
        np.testing.assert_allclose(found, predicted, atol=2e-5)
    assert used == {True, False}


def test_filters_do_not_depend_on_targets():
    train, _, targets = make_person(0, "category", tuning=0, noise=3, strength=0.2)
    shuffled = replace(train, target_rows=np.random.default_rng(0).permutation(train.target_rows))
    both = [candidate_filters(one, targets, CONTEXT.troi) for one in (train, shuffled)]
    assert len(both[0]) == len(FILTERS)
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one.factors, other.factors)


def test_weights_of_responses_read_the_same_latents():
    train, test, targets = make_person(0, "category", tuning=0, noise=3, strength=0.2)
    weight = np.random.default_rng(0).standard_normal((train.grid.n_voxels, 3)).astype(np.float32)
    for one in candidate_filters(train, targets, CONTEXT.troi):
        np.testing.assert_allclose(
            one.apply(test.betas) @ weight, test.betas @ one.of_responses(weight),
            rtol=1e-3, atol=1e-3,
        )


def test_second_filter_is_a_gaussian_after_a_power():
    """In white noise the power is 1 at all frequencies, and the Gaussian is left."""
    train, _, targets = make_person(0, "category", tuning=0, noise=0, strength=0.0)
    sharp, soft = candidate_filters(train, targets, CONTEXT.troi)
    point = np.zeros((1, *SHAPE), np.float32)
    point[0, 6, 6, 4] = 1
    kept = [one.apply(point.reshape(1, -1)).reshape(SHAPE)[6, 6, 4] for one in (sharp, soft)]
    sigma = FILTERS[1][1] / FWHM_PER_SD
    own = 1 / np.exp(-0.5 * (np.arange(-9, 10) / sigma) ** 2).sum()
    assert kept[0] == pytest.approx(1, abs=0.15) and kept[1] == pytest.approx(own**3, abs=0.1)


def test_a_filter_has_to_be_clearly_likelier():
    evidence = np.array([[0.0, 0.0, 0.0], [1.9, 2.1, 3.0], [-5.0, 2.2, 1.0]])
    np.testing.assert_array_equal(choose_candidate(evidence), [0, 2, 1])


def test_filters_are_tried_for_labels_and_values_with_neighbours_and_enough_trials():
    train, _, targets = make_person(0, "category", tuning=0, noise=0, strength=0.1)
    troi = CONTEXT.troi
    assert filters_are_tried(train, targets, troi)
    assert filters_are_tried(train, replace(targets, kind="value", columns=("x",) * 4), troi)
    assert not filters_are_tried(train, replace(targets, kind="features"), troi)
    assert not filters_are_tried(train, targets, NEVER.troi)
    assert not filters_are_tried(train, targets, replace(troi, selector="encoding"))
    assert not filters_are_tried(train.subset(np.arange(20)), targets, troi)
    assert not filters_are_tried(train.subset(np.tile(np.arange(96), 11)), targets, troi)
    flat = VoxelGrid(np.ones((train.grid.n_voxels, 1, 1), bool), np.eye(4))
    assert not filters_are_tried(replace(train, grid=flat), targets, troi)
