"""The default decoder on people with known truth, and the traps of published code."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.retrieval import Embedded, score_retrieval
from bids_decoder.interfaces.fitting import read_selection, save_selection
from bids_decoder.training import loop, shared_models
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import SeedEnsemble
from bids_decoder.training.input_layer import fit_input_layers
from bids_decoder.training.pretrain import build_trunk, collect_latents, pretrain_trunk
from bids_decoder.training.shared_models import WHITENING, choose_whitening
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.training.weightings import signal_weights
from bids_decoder.trials import Targets

SETTINGS = Evaluation(pool_size=40, n_draws=5, n_permutations=20)


def top1(predicted, gallery):
    ids = np.array([f"s{i}" for i in range(len(gallery))])
    trials = Embedded(predicted, ids, np.repeat("r", len(ids)), gallery, ids)
    table, *_ = score_retrieval(trials, SETTINGS, np.random.default_rng(0))
    rows = table[(table["metric"] == "top1") & (table["pool_size"] == 40)]
    return {(r.direction, r.similarity): r.value for r in rows.itertuples()}


def test_a_hub_among_the_images_lowers_b2i_and_not_i2b():
    """Evaluations that swap the axes report this the other way round.

    All predictions lean towards one direction: brains then agree on the same few images, while
    each image still finds its brain. Scaling the axes swapped gives the mirror image.
    """
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((80, 30))
    hub = rng.standard_normal(30)
    predicted = gallery + 0.7 * rng.standard_normal((80, 30)) + 3.0 * hub
    result = top1(predicted, gallery)
    assert result["i2b", "cosine"] > 0.8
    assert result["b2i", "cosine"] < 0.3
    assert result["b2i", "csls"] > result["b2i", "cosine"] + 0.3
    mirrored = top1(gallery, predicted)
    assert mirrored["b2i", "cosine"] > 0.8
    assert mirrored["i2b", "cosine"] < 0.3


def people(person_from, labels="123"):
    """People with the same targets' space and responses of their own."""
    parts = [person_from(np.random.default_rng(int(n)), label=n) for n in labels]
    sizes = np.cumsum([0, *(len(v) for _, v in parts)])
    vectors = np.concatenate([v for _, v in parts])
    targets = Targets(tuple(f"s{i}" for i in range(len(vectors))), vectors, "features")
    moved = [replace(p, target_rows=p.target_rows + at)
             for (p, _), at in zip(parts, sizes, strict=False)]
    return moved, targets


@pytest.fixture(scope="module")
def context():
    return FitContext(
        Network(pretrain_epochs=3, finetune_epochs=2),
        Troi(selector="encoding", budget_voxels=48, epochs=3), 5, "cpu",
    )


def test_whole_way_beats_chance_and_tells_what_it_saw(person_from, context):
    (*sources, new), targets = people(person_from)
    decoder = TroiDecoder()
    pretrained = decoder.pretrain(sources, targets, context)
    assert pretrained.card["participants"] == ["1", "2"]
    seen = {targets.ids[row] for person in sources for row in person.target_rows}
    assert set(pretrained.card["stimuli_seen"]) == seen
    train, test = new.subset(np.arange(144)), new.subset(np.arange(144, 192))
    selection = decoder.select(train, targets, pretrained, context)
    model = decoder.adapt(train, targets, selection, pretrained, context)
    gallery = decoder.gallery(model, targets)[test.target_rows]
    assert top1(decoder.predict(model, test.betas), gallery)["b2i", "cosine"] > 10 / 40
    shuffled = test.betas[np.random.default_rng(0).permutation(len(test.betas))]
    assert top1(decoder.predict(model, shuffled), gallery)["b2i", "cosine"] < 6 / 40
    relevance = decoder.explain(model, train, targets)["weight"]
    assert (relevance[~selection.mask] == 0).all()


def test_pretraining_gives_the_same_bytes_for_the_same_seed(person_from, context):
    sources, targets = people(person_from, "12")
    first, second = (TroiDecoder().pretrain(sources, targets, context) for _ in range(2))
    other = TroiDecoder().pretrain(sources, targets, replace(context, seed=6))
    assert all(np.array_equal(first.tensors[k], second.tensors[k]) for k in first.tensors)
    assert any(not np.array_equal(first.tensors[k], other.tensors[k]) for k in first.tensors)


class Killed(Exception):
    pass


def test_killed_pretraining_goes_on_to_the_same_result(person_from, tmp_path, monkeypatch):
    sources, targets = people(person_from, "12")
    latents = collect_latents(sources, targets.vectors, lambda *_: None, 0, len(sources))
    settings = Network(pretrain_epochs=4, trunk="residual")
    checkpoint = tmp_path / "state.safetensors"

    def fit(**options):
        return pretrain_trunk(
            latents, targets.vectors, False, settings, seed=1, device="cpu", **options
        )

    def kill(done, total, loss):
        if done == 3:
            raise Killed

    expected, *_ = fit()
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    with pytest.raises(Killed):
        fit(checkpoint=checkpoint, progress=kill)
    assert checkpoint.is_file()
    resumed, _, losses = fit(checkpoint=checkpoint)
    assert len(losses) == 4
    for key, value in expected.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_pretraining_moves_every_part_of_the_trunk(person_from):
    sources, targets = people(person_from, "12")
    latents = collect_latents(sources, targets.vectors, lambda *_: None, 0, len(sources))
    settings = Network(pretrain_epochs=2, trunk="residual")
    trunk, *_ = pretrain_trunk(
        latents, targets.vectors, False, settings, seed=1, device="cpu"
    )
    start = build_trunk(targets.vectors.shape[1], settings, 1).state_dict()
    for key, value in trunk.state_dict().items():
        assert not torch.equal(value, start[key]), key


@pytest.mark.parametrize(("strong_only", "expected"), [(True, 0.0), (False, 0.5)])
def test_whitening_follows_what_the_brain_carries(person_from, strong_only, expected):
    """Responses to the strong components only, or to all components alike."""
    rng = np.random.default_rng(4)
    person, plain = person_from(rng)
    if strong_only:
        noise = rng.standard_normal(plain.shape).astype(np.float32)
        carried = np.concatenate([plain[:, :3], noise[:, 3:]], axis=1)
        strengths = [4, 4, 4, 1, 1, 1]
    else:
        carried, strengths = plain, [16, 8, 1, 1, 1, 1]
    carried = carried * np.array(strengths, np.float32)
    targets = Targets(tuple(f"s{i}" for i in range(len(plain))), carried, "features")
    rows = [person.target_rows]
    found = choose_whitening([person], targets, rows, signal_weights, Network())
    assert found in WHITENING
    assert found == expected
    fixed = choose_whitening([person], targets, rows, signal_weights,
                             Network(target_whitening=0.3))
    assert fixed == 0.3


@pytest.mark.parametrize(("n_people", "least"), [(1, 0), (2, 0), (2, 96)])
def test_whitening_of_many_trials_is_chosen_by_runs_spread_over_all(
    person_from, monkeypatch, n_people, least
):
    person, vectors = person_from(np.random.default_rng(4))
    targets = Targets(tuple(map(str, range(len(vectors)))), vectors, "features")
    runs, fitted = np.unique(person.run_groups), []

    def record(betas, latents, scalings, run_groups, weights):
        fitted.append(set(run_groups.tolist()))
        return fit_input_layers(betas, latents, scalings, run_groups, weights)

    monkeypatch.setattr(shared_models, "fit_input_layers", record)
    monkeypatch.setattr(shared_models, "LEAST_TRIALS_OF_EACH", least)
    monkeypatch.setattr(
        shared_models, "MOST_TRIALS_TO_CHOOSE", n_people * len(person.betas) // (4 if least else 2)
    )
    people = [person] * n_people
    rows = [person.target_rows for person in people]
    found = choose_whitening(people, targets, rows, signal_weights, Network())
    used = set.union(*fitted)
    assert len(fitted) == 3 * n_people
    assert found in WHITENING and len(used) == len(runs) // 2
    assert {runs[0], runs[-1]} <= used


def test_categories_and_few_runs_have_no_whitening_to_choose(person_from):
    person, vectors = person_from(np.random.default_rng(4))
    rows = [person.target_rows]
    labels = Targets(tuple(map(str, range(len(vectors)))), np.eye(len(vectors)), "category")
    assert choose_whitening([person], labels, rows, signal_weights, Network()) == 0
    short = person.subset(np.arange(60))
    targets = Targets(labels.ids, vectors, "features")
    assert choose_whitening([short], targets, rows, signal_weights, Network()) == 0.25


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_without_pretraining_the_trunk_is_trained_once_for_voxels_and_decoder(
    person_from, context, n_seeds, monkeypatch, tmp_path
):
    (person,), targets = people(person_from, "1")
    context = replace(context, network=replace(
        context.network, n_seeds=n_seeds, trunk="residual", target_whitening=0.0,
    ))
    decoder, trained = SeedEnsemble(TroiDecoder()), []

    def count(*given, **options):
        trained.append(options["seed"])
        return pretrain_trunk(*given, **options)

    monkeypatch.setattr(shared_models, "pretrain_trunk", count)
    selection = decoder.select(person, targets, None, context)
    again = read_selection(save_selection(tmp_path / "selection.npz", selection))
    model = decoder.adapt(person, targets, again, None, context)
    assert len(set(trained)) == len(trained) == n_seeds
    anew = decoder.adapt(person, targets, replace(selection, own=None), None, context)
    assert len(trained) == 2 * n_seeds
    assert model.tensors.keys() == anew.tensors.keys()
    for name, value in anew.tensors.items():
        np.testing.assert_array_equal(model.tensors[name], value, err_msg=name)
    assert model.card == anew.card
