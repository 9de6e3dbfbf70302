"""Decoders under several seeds as one."""

from dataclasses import replace

import numpy as np
import pytest

from bids_decoder.config import Network, Troi
from bids_decoder.errors import UsageError
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.training.decoders import FitContext, Relevance
from bids_decoder.training.ensemble import agree, join_models, load_decoder, split_model
from bids_decoder.training.selection.task import Selection
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Targets

CONTEXT = FitContext(
    Network(pretrain_epochs=2, trunk="residual", n_seeds=3),
    Troi(selector="troi-budget", budget_voxels=48, epochs=2), 5, "cpu",
)
ONE = replace(CONTEXT, network=replace(CONTEXT.network, n_seeds=1))


def group_of(person_from):
    parts = [person_from(np.random.default_rng(int(n)), label=n) for n in "12"]
    vectors = np.concatenate([v for _, v in parts])
    targets = Targets(tuple(f"s{i}" for i in range(len(vectors))), vectors, "features")
    first, new = (person for person, _ in parts)
    return first, replace(new, target_rows=new.target_rows + len(parts[0][1])), targets


@pytest.fixture(scope="module")
def fitted(person_from, tmp_path_factory):
    source, new, targets = group_of(person_from)
    decoder = load_decoder("troi")
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    pretrained = load_model(save_model(path, decoder.pretrain([source], targets, CONTEXT)))
    train, test = new.subset(np.arange(144)), new.subset(np.arange(144, 192))
    selection = decoder.select(train, targets, pretrained, CONTEXT)
    adapted = decoder.adapt(train, targets, selection, pretrained, CONTEXT)
    return source, train, test, targets, pretrained, selection, adapted


def test_one_seed_is_the_decoder_itself(fitted):
    source, train, _, targets, *_ = fitted
    plain, wrapped = TroiDecoder(), load_decoder("troi")
    models = [d.pretrain([source], targets, ONE) for d in (plain, wrapped)]
    chosen = [d.select(train, targets, m, ONE) for d, m in zip((plain, wrapped), models,
                                                               strict=True)]
    adapted = [d.adapt(train, targets, chosen[0], models[0], ONE) for d in (plain, wrapped)]
    assert chosen[0].notes == chosen[1].notes and chosen[1].seed_agreement is None
    for one, other in (models, adapted):
        assert one.card == other.card
        assert all(np.array_equal(one.tensors[k], other.tensors[k]) for k in one.tensors)


def test_members_differ_in_their_trunks_and_share_the_rest(fitted):
    *_, pretrained, _, _ = fitted
    members = split_model(pretrained)
    assert len(members) == 3
    trunks = [member.part("trunk")["projector"] for member in members]
    assert not np.array_equal(trunks[0], trunks[1]) and not np.array_equal(trunks[1], trunks[2])
    assert "alike.space.components" in pretrained.tensors
    assert pretrained.card["participants"] == ["1"]


def test_the_prediction_is_the_mean_over_the_members(fitted):
    _, train, test, targets, _, _, adapted = fitted
    decoder, members = load_decoder("troi"), split_model(adapted)
    parts = [TroiDecoder().predict(member, test.betas) for member in members]
    assert not np.allclose(parts[0], parts[1], atol=1e-4)
    np.testing.assert_allclose(decoder.predict(adapted, test.betas), np.mean(parts, axis=0),
                               atol=1e-5)
    np.testing.assert_array_equal(decoder.gallery(adapted, targets),
                                  TroiDecoder().gallery(members[1], targets))
    maps = decoder.explain(adapted, train, targets)["weight"]
    assert (maps > 0).sum() == 48


def test_the_mask_is_what_most_seeds_chose(fitted):
    *_, selection, adapted = fitted
    assert selection.mask.sum() == 48
    assert selection.notes["n_seeds"] == 3
    assert -0.1 < selection.notes["seed_stability"] <= 1
    inside, outside = (selection.seed_agreement[m] for m in (selection.mask, ~selection.mask))
    assert inside.min() >= outside.max()
    assert (selection.weights[~selection.mask] == 0).all()
    assert adapted.card["selection"]["n_seeds"] == 3


def test_a_pretrained_ensemble_is_used_whole(fitted):
    """Whoever asks for one seed and starts from a model of three gets all three."""
    _, train, _, targets, pretrained, selection, _ = fitted
    adapted = load_decoder("troi").adapt(train, targets, selection, pretrained, ONE)
    assert len(split_model(adapted)) == 3


def test_several_seeds_from_one_pretrained_trunk(fitted):
    source, train, _, targets, *_ = fitted
    decoder = load_decoder("troi")
    single = decoder.pretrain([source], targets, ONE)
    selection = decoder.select(train, targets, single, CONTEXT)
    assert selection.notes["n_seeds"] == 3


def chosen(mask, score, **more):
    mask = np.array(mask, dtype=bool)
    return Selection(mask, mask.astype(np.float32), np.array(score, np.float32), {}, **more)


def test_agreement_goes_by_votes_then_by_score():
    start = np.ones((5, 2), np.float32)
    made = agree([
        chosen([1, 1, 0, 0, 0], [5, 4, 3, 2, 0], start_weight=start),
        chosen([1, 0, 1, 0, 0], [5, 1, 4, 2, 0], start_weight=3 * start),
        chosen([1, 0, 0, 1, 0], [5, 1, 3, 4, 0], start_weight=2 * start),
    ])
    # One vote each for voxels 1, 2 and 3; 2 has the highest mean score.
    np.testing.assert_array_equal(made.mask, [1, 0, 1, 0, 0])
    np.testing.assert_allclose(made.seed_agreement, [1, 1 / 3, 1 / 3, 1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(made.start_weight, 2 * start * made.mask[:, None])
    assert made.weights[0] == 1 and made.weights[2] == pytest.approx(1 / 3)


def test_stability_of_empty_masks_is_unknown_not_a_number_that_json_lacks():
    made = agree([chosen([0, 0], [0, 0])] * 2)
    assert made.notes["seed_stability"] is None


def test_equal_tensors_are_kept_once():
    members = [Model({"a": np.ones(3), "b": np.full(2, n)}, {"n": n}) for n in (1, 2)]
    joined = join_models(members)
    assert sorted(joined.tensors) == ["alike.a", "seed0.b", "seed1.b"]
    for before, after in zip(members, split_model(joined), strict=True):
        assert before.card == after.card
        assert all(np.array_equal(before.tensors[k], after.tensors[k]) for k in before.tensors)


def test_checkpoints_of_members_lie_apart(fitted, tmp_path, monkeypatch):
    source, _, _, targets, *_ = fitted
    seen = []
    monkeypatch.setattr(TroiDecoder, "pretrain",
                        lambda self, p, t, context: seen.append(context) or Model({}, {}))
    told = []
    load_decoder("troi").pretrain([source], targets, replace(
        CONTEXT, checkpoint=tmp_path / "k.safetensors", progress=lambda *at: told.append(at)))
    for context in seen:
        context.progress(2, 10, 0.5)
    assert told == [(2, 30, 0.5), (12, 30, 0.5), (22, 30, 0.5)]
    assert [c.checkpoint.name for c in seen] == ["k.safetensors", "k-1.safetensors",
                                                 "k-2.safetensors"]
    assert len({c.seed for c in seen}) == 3


def test_members_may_have_decoded_different_labels(monkeypatch):
    ensemble, found = load_decoder("troi"), iter([
        Relevance({"a": np.ones(2)}, {"a": 3}, {}),
        Relevance({"a": np.full(2, 5.0), "b": np.zeros(2)}, {"a": 1, "b": 2}, {}),
    ])
    monkeypatch.setattr(TroiDecoder, "relevance", lambda *_: next(found))
    joined = ensemble.relevance(join_models([Model({}, {"n": n}) for n in (1, 2)]), None, CONTEXT)
    assert joined.counts == {"a": 4, "b": 2}
    np.testing.assert_allclose(joined.maps["a"], 2.0)


def test_unknown_decoders_are_refused():
    with pytest.raises(UsageError, match="no such decoder"):
        load_decoder("svm")
