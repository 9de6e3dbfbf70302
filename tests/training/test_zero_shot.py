"""Decoding of people of whom no trial is labelled, by maps of others in a standard space."""

import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from zero_shot_people import (
    GRID,
    LABELS,
    N_NEW,
    N_TRAINED,
    SPACE,
    STIMULI,
    TARGETS,
    VECTORS,
    make_person,
    make_viewer,
)

from bids_decoder.config import Network, Troi
from bids_decoder.errors import InputError, UsageError
from bids_decoder.evaluation.similarity import cosine_similarity, label_scores
from bids_decoder.models.store import load_model, save_model
from bids_decoder.training import common_space
from bids_decoder.training.common_space import decode_new_stimuli, gather_common
from bids_decoder.training.decoders import FitContext, describe_targets
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.fitted import load_fitted
from bids_decoder.training.labellings import fit_space
from bids_decoder.training.source_fits import fit_source
from bids_decoder.training.zero_shot import (
    candidates_of,
    decoder_without_trials,
    describe_zero_shot,
    why_not,
)
from bids_decoder.trials import Targets, VoxelGrid

FACTS = {"participant": "9", "dataset": "d", "normalise": "session", "space": SPACE}
N_PEOPLE = 4


def pretrain(people, n_seeds=1, targets=TARGETS):
    context = FitContext(Network(pretrain_epochs=1, n_seeds=n_seeds), Troi(), 1, "cpu")
    model = load_decoder("troi").pretrain(people, targets, context)
    return replace(model, card={**model.card, "targets": describe_targets(targets)})


@pytest.fixture(scope="module")
def sources():
    return [make_person(str(number)) for number in range(1, N_PEOPLE + 1)]


@pytest.fixture(scope="module")
def model(sources, tmp_path_factory):
    path = tmp_path_factory.mktemp("group") / "m.safetensors"
    return load_model(save_model(path, pretrain(sources)))


def share_right(fitted, person, betas=None):
    scores = fitted.scores(fitted.embed(person.betas if betas is None else betas))
    return float((scores.argmax(axis=1) == person.target_rows).mean())


def test_a_new_person_is_decoded_where_maps_are_shared_and_not_elsewhere(model):
    fitted = decoder_without_trials(model, GRID, TARGETS, FACTS)
    # Of 96 trials 24 would be right by chance; 2.5 % of guesses have more than 33 or fewer than 16.
    assert share_right(fitted, make_person("9")) > 0.6
    strange = [share_right(fitted, make_person(str(k), shared=False)) for k in range(20, 30)]
    assert 0.15 < np.mean(strange) < 0.35


def test_people_who_share_nothing_are_decoded_at_chance():
    people = [make_person(str(number), shared=False) for number in range(1, N_PEOPLE + 1)]
    model = pretrain(people)
    fitted = decoder_without_trials(model, GRID, TARGETS, FACTS)
    found = [share_right(fitted, make_person(str(k), shared=False)) for k in range(20, 30)]
    assert 0.15 < np.mean(found) < 0.35
    # The calibration knows it: probabilities stay near those of guessing.
    chances = fitted.probabilities(fitted.scores(fitted.embed(make_person("9").betas)))
    assert chances.max(axis=1).mean() < 0.5


def test_probabilities_are_calibrated_on_people_left_out(sources, model):
    calibration = model.card["zero_shot"]["calibration"]
    assert calibration["source"] == "other participants"
    assert calibration["n_trials"] == sum(len(p.betas) for p in sources)
    # Each source participant without themselves: the maps of the other three.
    left = gather_common(sources, np.eye(len(LABELS))).left_out[1]
    others = gather_common([p for p in sources if p.label != "2"], np.eye(len(LABELS)))
    expected = sources[1].betas @ others.layer_of(GRID)
    np.testing.assert_allclose(left.latents, expected, rtol=1e-3, atol=1e-4)
    right = [row["accuracy"] * row["n"] for row in calibration["bins"]]
    new = make_person("9")
    fitted = decoder_without_trials(model, GRID, TARGETS, FACTS)
    share = share_right(fitted, new)
    assert sum(right) / calibration["n_trials"] == pytest.approx(share, abs=0.15)
    chances = fitted.probabilities(fitted.scores(fitted.embed(new.betas))).max(axis=1)
    assert chances.mean() == pytest.approx(share, abs=0.15)


def test_other_voxel_sizes_keep_the_scale_of_scores(model):
    new = make_person("9")
    mask = GRID.mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = GRID.affine @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] -= 0.75
    volumes = GRID.to_volume(new.betas).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    finer = decoder_without_trials(model, VoxelGrid(mask, affine), TARGETS, FACTS)
    plain = decoder_without_trials(model, GRID, TARGETS, FACTS)
    found, wanted = finer.embed(volumes[mask].T), plain.embed(new.betas)
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.95
    assert found.std() == pytest.approx(wanted.std(), rel=0.2)


def test_new_trials_are_scaled_by_themselves_alone(model, tmp_path):
    fitted = decoder_without_trials(model, GRID, TARGETS, FACTS)
    betas, groups = 3 * make_person("9").betas + 7, np.repeat(["a", "b"], 48)
    scaled = fitted.scale(betas, groups)
    assert np.abs(scaled[groups == "a"].mean(axis=0)).max() < 1e-5
    again = load_fitted(fitted.save(tmp_path / "sub-9_desc-decoder_model.safetensors"))
    np.testing.assert_array_equal(again.embed(scaled), fitted.embed(scaled))
    assert again.judge_runs(betas, groups, groups).empty
    for bad in ((betas, groups, "training"), (betas[:3], groups[:3], "own")):
        with pytest.raises(InputError, match="no training trials"):
            fitted.scale(*bad)


def test_seeds_share_the_maps(sources, model):
    several = decoder_without_trials(pretrain(sources, n_seeds=2), GRID, TARGETS, FACTS)
    one = decoder_without_trials(model, GRID, TARGETS, FACTS)
    betas = make_person("9").betas
    np.testing.assert_allclose(several.embed(betas), one.embed(betas), rtol=0.02, atol=0.02)


def test_latents_are_not_changed_by_a_trunk(model):
    fitted = decoder_without_trials(model, GRID, TARGETS, FACTS)
    betas = make_person("9").betas
    latents = betas @ fitted.model.part("input")["weight"]
    np.testing.assert_allclose(fitted.embed(betas), latents, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        fitted.scores(latents), label_scores(latents, fitted.gallery), rtol=1e-6
    )


def test_refusals_name_what_is_needed(model):
    assert why_not(model.card, SPACE) is None
    assert "no standard space" in why_not(model.card, "")[0]
    assert "share no standard space" in why_not({"participants": ["1"]}, SPACE)[0]
    old = {name: value for name, value in model.card.items() if name != "zero_shot"}
    assert "earlier version" in why_not(old, SPACE)[0]
    away = VoxelGrid(GRID.mask, GRID.affine + 1000 * np.eye(4, k=3))
    with pytest.raises(InputError, match="none of 567 voxels"):
        decoder_without_trials(model, away, TARGETS, FACTS)
    with pytest.raises(UsageError, match="keeps no maps"):
        load_decoder("cnn3d").without_trials(model, GRID)
    bare = replace(model, tensors={
        name: value for name, value in model.tensors.items() if not name.startswith("common.")
    })
    with pytest.raises(UsageError, match="keeps no maps"):
        load_decoder("troi").without_trials(bare, GRID)


TRAINED, NEW = np.arange(N_TRAINED), np.arange(N_TRAINED, N_TRAINED + N_NEW)
CANDIDATES = Targets(STIMULI.ids[N_TRAINED:], STIMULI.vectors[N_TRAINED:], "features")


def viewers(shared):
    people = [make_viewer(str(k), TRAINED, shared) for k in range(1, N_PEOPLE + 1)]
    return pretrain(people, targets=STIMULI)


@pytest.fixture(scope="module")
def viewed():
    return viewers(shared=True)


def identified(model, shared):
    """Shares of trials of ten new people whose stimulus is found among sixteen new ones."""
    fitted = decoder_without_trials(model, GRID, CANDIDATES, FACTS)
    people = [make_viewer(str(k), NEW, shared) for k in range(40, 50)]
    found = [fitted.scores(fitted.embed(one.betas)).argmax(axis=1) + N_TRAINED for one in people]
    return [float((own == one.target_rows).mean()) for own, one in zip(found, people, strict=True)]


def test_new_stimuli_of_new_people_are_found_where_maps_are_shared(viewed):
    # Chance is 1 / 16; over ten people with 32 trials each, .09 is two standard errors above it.
    assert np.mean(identified(viewed, shared=True)) > 0.4
    assert np.mean(identified(viewed, shared=False)) < 0.12


def test_stimuli_of_people_who_share_nothing_are_found_at_chance():
    assert 0.02 < np.mean(identified(viewers(shared=False), shared=False)) < 0.12


def test_stimuli_that_calibrate_are_held_out_of_the_maps_of_others():
    people = [make_viewer(str(k), TRAINED) for k in range(1, N_PEOPLE + 1)]
    held_out = np.arange(5, 17)
    left = decode_new_stimuli(people, VECTORS, held_out)[1]
    others = [one.subset(~np.isin(one.target_rows, held_out)) for one in people if one.label != "2"]
    tested = people[1].subset(np.isin(people[1].target_rows, held_out))
    expected = tested.betas @ gather_common(others, VECTORS, False).layer_of(GRID)
    np.testing.assert_allclose(left.latents, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(left.target_rows, tested.target_rows)
    assert decode_new_stimuli(people[:1], VECTORS, held_out) == []


def test_stimuli_that_are_only_found_again_get_no_confidence():
    """Patterns of stimuli are shared, but unrelated to their vectors: new ones cannot be found."""
    patterns = np.random.default_rng(5).standard_normal((N_TRAINED, GRID.n_voxels))
    vectors = np.random.default_rng(6).standard_normal((N_TRAINED, 40)).astype(np.float32)
    targets = Targets(STIMULI.ids[:N_TRAINED], vectors, "features", source="made")
    people = []
    for number in range(3):
        one = make_viewer(str(60 + number), TRAINED, signal=0.0)
        betas = one.betas + 1.5 * patterns[one.target_rows]
        people.append(replace(one, betas=betas.astype(np.float32)))
    rows = [one.target_rows for one in people]
    found = describe_zero_shot(
        people, targets, (), rows, partial(fit_space, targets, whitening=0.25), 1
    )["calibration"]
    # With the maps of the others, who saw the same stimuli, nearly all trials are found.
    vectors = fit_space(targets, rows, 0.25).transform(vectors)
    seen = gather_common(people, vectors).left_out[0]
    again = cosine_similarity(seen.latents, vectors).argmax(axis=1) == seen.target_rows
    assert again.mean() > 0.8
    for row in found["bins"]:
        assert row["confidence"] < 2.5 / found["n_candidates"]


def test_few_stimuli_give_no_calibration():
    targets = Targets(STIMULI.ids[:7], STIMULI.vectors[:7], "features")
    people = [make_viewer(str(k), np.arange(7)) for k in range(2)]
    rows = [one.target_rows for one in people]
    found = describe_zero_shot(people, targets, (), rows, partial(fit_space, targets), 1)
    assert found == {"calibration": None}


def test_decoders_of_stimuli_say_what_was_seen_and_need_candidates(viewed):
    calibration = viewed.card["zero_shot"]["calibration"]
    # Stimuli are decoded in four parts, each of two trials of a participant.
    assert calibration["n_candidates"] == N_TRAINED // 4
    assert calibration["n_trials"] == N_PEOPLE * 2 * N_TRAINED
    fitted = decoder_without_trials(viewed, GRID, CANDIDATES, FACTS)
    assert set(fitted.facts["seen"]) == set(STIMULI.ids[:N_TRAINED])
    chances = fitted.probabilities(fitted.scores(fitted.embed(make_viewer("9", NEW).betas)))
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(InputError, match="holds no stimuli to choose among"):
        candidates_of(viewed)
    other = Targets(("a", "b"), np.eye(2, dtype=np.float32), "features")
    with pytest.raises(InputError, match="vectors of candidates have 2 numbers"):
        decoder_without_trials(viewed, GRID, other, FACTS)


def test_the_candidates_of_labels_are_in_the_model(model):
    assert candidates_of(model).ids == LABELS


def test_all_trials_are_not_kept_beside_those_with_other_stimuli(monkeypatch):
    whole: list[weakref.ref] = []

    def watched(person):
        whole.append(weakref.ref(person.betas))
        return person

    class Sources:
        def __iter__(self):
            for number in range(3):
                yield watched(make_viewer(str(number), np.arange(12)))

    def fit(person, wanted):
        assert whole[-1]() is None and set(person.target_rows) == set(range(9))
        return fit_source(person, wanted)

    monkeypatch.setattr(common_space, "fit_source", fit)
    found = decode_new_stimuli(Sources(), STIMULI.vectors[:12], np.arange(9, 12))
    assert [set(one.target_rows) for one in found] == [{9, 10, 11}] * 3 and len(whole) == 3
