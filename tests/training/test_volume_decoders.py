"""deeplight and cnn3d on people whose categories light up known places."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from volume_people import blobs, label_targets, make_person

from bids_decoder.analyses.explain.relevance import read_relevance, save_relevance
from bids_decoder.config import Network, Troi, Volumes
from bids_decoder.errors import InputError, LeakageError
from bids_decoder.training.decoders import FitContext, Relevance, join_relevance
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.volume_decoder import transfer
from bids_decoder.trials import VoxelGrid

NAMES = ("deeplight", "cnn3d")
N_CLASSES = 3
TARGETS = label_targets("abc")


def make_context(seed=0, **settings):
    return FitContext(
        Network(), Troi(), seed, "cpu", Volumes(**{"epochs": 10, "pretrain_epochs": 6, **settings})
    )


def halves(person, n_train=6):
    train = person.trials["run_group"].isin([f"run-{n}" for n in range(n_train)]).to_numpy()
    return person.subset(train), person.subset(~train)


@pytest.fixture(scope="module")
def patterns():
    return blobs(N_CLASSES, seed=0)


@pytest.fixture(scope="module", params=NAMES)
def fitted(request, patterns):
    """A decoder trained from scratch, its held-out trials and the context."""
    decoder, context = load_decoder(request.param), make_context()
    train, test = halves(make_person("01", patterns, seed=1, n_runs=9, strength=5.0))
    selection = decoder.select(train, TARGETS, None, context)
    return decoder, decoder.adapt(train, TARGETS, selection, None, context), test, context


def test_held_out_trials_are_decoded_and_permuted_ones_are_not(fitted):
    decoder, model, test, _ = fitted
    predicted = decoder.predict(model, test.betas)
    assert np.exp(predicted).sum(axis=1) == pytest.approx(1)
    decoded = predicted.argmax(axis=1)
    assert (decoded == test.target_rows).mean() > 0.6
    rng = np.random.default_rng(0)
    permuted = [(decoded == rng.permutation(test.target_rows)).mean() for _ in range(50)]
    assert np.mean(permuted) == pytest.approx(1 / N_CLASSES, abs=0.06)


def test_maps_show_the_places_that_tell_categories_apart(fitted, patterns):
    decoder, model, test, context = fitted
    relevance = decoder.relevance(model, test, context)
    truth = patterns.max(axis=0)[test.grid.mask] > 0.3
    mean = np.mean([np.abs(values) for values in relevance.maps.values()], axis=0)
    assert mean.shape == (test.grid.n_voxels,)
    assert roc_auc_score(truth, mean) > 0.7
    assert abs(relevance.notes["likeness_randomised_all"]) < 0.7
    assert sum(relevance.counts.values()) == len(test.trials)


def test_training_on_permuted_labels_gives_chance(patterns):
    decoder, context = load_decoder("cnn3d"), make_context()
    person = make_person("01", patterns, seed=1, n_runs=9, strength=5.0)
    shuffled = np.random.default_rng(3).permutation(person.target_rows)
    train, test = halves(replace(person, target_rows=shuffled))
    selection = decoder.select(train, TARGETS, None, context)
    model = decoder.adapt(train, TARGETS, selection, None, context)
    decoded = decoder.predict(model, test.betas).argmax(axis=1)
    assert (decoded == test.target_rows).mean() < 0.6


def test_test_trials_are_never_trained_on(patterns):
    decoder, context = load_decoder("cnn3d"), make_context()
    person = make_person("01", patterns, seed=1)
    person.trials.loc[3, "split"] = "test"
    selection = decoder.select(person, TARGETS, None, context)
    with pytest.raises(LeakageError):
        decoder.adapt(person, TARGETS, selection, None, context)
    with pytest.raises(LeakageError):
        decoder.pretrain([person], TARGETS, context)


@pytest.mark.parametrize("name", NAMES)
def test_transfer_to_other_labels_takes_all_but_the_output(name, patterns):
    decoder, context = load_decoder(name), make_context(pretrain_epochs=1, epochs=1)
    people = [make_person(str(n), patterns, seed=n) for n in range(3)]
    pretrained = decoder.pretrain(people, TARGETS, context)
    assert pretrained.card["participants"] == ["0", "1", "2"]
    assert pretrained.card["validation_participants"] == ["2"]
    assert pretrained.card["stimuli_seen"] == ["a", "b", "c"]
    others = label_targets("xyz")
    network = decoder.decoder.build(
        decoder_frame(pretrained), 3, Volumes(**pretrained.card["volumes"]), seed=9
    )
    fresh = network.output.weight.detach().clone()
    kept = transfer(network, pretrained, fresh_output=True)
    assert torch.equal(network.output.weight, fresh)
    names = {name for name in network.state_dict() if not name.startswith("output.")}
    assert set(kept) == names
    new = make_person("9", blobs(3, seed=5), seed=20)
    model = decoder.adapt(new, others, decoder.select(new, others, None, context), pretrained,
                          context)
    assert model.card["pretrained_on"] == ["0", "1", "2"]
    assert model.card["classes"] == ["x", "y", "z"]
    assert not any(n.startswith("output.") for n in model.card["tensors_transferred"])


def test_person_in_another_space_is_refused(patterns):
    decoder, context = load_decoder("cnn3d"), make_context(pretrain_epochs=1, epochs=1)
    pretrained = decoder.pretrain([make_person("1", patterns, seed=1)], TARGETS, context)
    person = make_person("2", patterns, seed=2)
    moved = person.grid.affine.copy()
    moved[0, 3] += 30
    away = replace(person, grid=VoxelGrid(person.grid.mask, moved))
    with pytest.raises(InputError, match="output-spaces"):
        decoder.adapt(
            away, TARGETS, decoder.select(away, TARGETS, None, context), pretrained, context
        )


def decoder_frame(model):
    from bids_decoder.training.volume_decoder import _frame

    return _frame(model)


@pytest.mark.parametrize("variant", ["2d", "3d"])
def test_same_seed_gives_the_same_bytes(variant, patterns):
    decoder, context = load_decoder("deeplight"), make_context(epochs=1, variant=variant)
    person = make_person("01", patterns, seed=1)
    selection = decoder.select(person, TARGETS, None, context)
    first, again, other = (
        decoder.adapt(person, TARGETS, selection, None, replace(context, seed=seed))
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(first.tensors[k], again.tensors[k]) for k in first.tensors)
    assert any(not np.array_equal(first.tensors[k], other.tensors[k]) for k in first.tensors)


def test_maps_of_folds_are_averaged_by_trials(tmp_path):
    folds = [
        Relevance({"a": np.ones(4)}, {"a": 1}, {"method": "m", "relevance_per_logit": 0.8}),
        Relevance({"a": np.zeros(4), "b": np.ones(4)}, {"a": 3, "b": 2},
                  {"method": "m", "relevance_per_logit": 1.0}),
    ]
    paths = [save_relevance(tmp_path / f"{n}.npz", fold) for n, fold in enumerate(folds)]
    joined = join_relevance([read_relevance(path) for path in paths])
    assert joined.counts == {"a": 4, "b": 2}
    assert joined.maps["a"] == pytest.approx(0.25)
    assert joined.notes == {"method": "m", "relevance_per_logit": 0.9}
    nothing = save_relevance(tmp_path / "none.npz", None)
    assert join_relevance([read_relevance(nothing)]) is None
