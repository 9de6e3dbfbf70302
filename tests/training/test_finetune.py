from dataclasses import replace

import numpy as np
import pytest
import torch

from bids_decoder.config import Network, Troi
from bids_decoder.seeds import derive_seed
from bids_decoder.training import finetune
from bids_decoder.training.adaptation import Adaptation
from bids_decoder.training.finetune import fit_weights
from bids_decoder.training.gates import learn_gates
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.learners import GateLearner
from bids_decoder.training.loop import Schedule, Setup, make_fabric, shuffled_batches, train
from bids_decoder.training.smoothing import smooth_within

FWHM = 3.0


def masked_learning(adaptation, budgets):
    """Stage 1 restated without making the layer smaller: dropped voxels are multiplied by 0."""
    person = adaptation.person
    fit = fit_input_layer(person.betas, adaptation.wanted, person.run_groups)
    n_voxels = len(fit.weight)
    layer = GateLearner().layer(torch.from_numpy(fit.weight), torch.from_numpy(fit.bias))
    mask = torch.ones(n_voxels)
    betas = torch.from_numpy(person.betas)
    objective = adaptation.objective(round(len(budgets) / 3))
    people = np.zeros(len(betas), dtype=int)

    def loss_of(batch, epoch):
        mix = objective.mix(people[batch], epoch, derive_seed(adaptation.seed, int(batch[0])))
        part = betas[batch] * mask
        latents = layer(part if mix is None else mix.apply(part))
        embedding = adaptation.trunk(latents, adaptation.context(len(batch), len(betas)))
        rows = torch.from_numpy(person.target_rows[batch])
        return objective.loss(embedding, rows, mix, adaptation.trunk.scale)

    def judge(epoch, optimizer):
        smooth = smooth_within((layer.importance() * mask).numpy().astype(float), person.grid, FWHM)
        smooth[mask.numpy() == 0] = -np.inf
        chosen = np.argsort(-smooth, kind="stable")[: budgets[epoch]]
        mask.zero_()
        mask[torch.from_numpy(chosen.copy())] = 1

    settings = adaptation.settings
    train(
        layer, loss_of, lambda rng: shuffled_batches(len(betas), settings.batch_size, rng),
        Schedule(len(budgets), settings.learning_rate, settings.weight_decay),
        Setup(adaptation.seed, make_fabric("cpu")), groups=GateLearner().groups(layer),
        after_epoch=judge,
    )
    return np.flatnonzero(mask.numpy()), (layer.folded_weight() * mask[:, None]).numpy()


def test_a_layer_made_smaller_learns_what_a_masked_one_learns(known, adaptation_for):
    budgets = [300, 200, 90, 48]
    weights = np.ones(known[0].grid.n_voxels)
    learned = learn_gates(adaptation_for(*known), weights, budgets, FWHM)
    kept, weight = masked_learning(adaptation_for(*known), budgets)
    np.testing.assert_array_equal(learned.kept, kept)
    np.testing.assert_allclose(learned.weight, weight, atol=1e-5)
    assert [entry["n_voxels"] for entry in learned.history] == budgets


def test_later_survivors_score_higher(known, adaptation_for):
    weights = np.ones(known[0].grid.n_voxels)
    learned = learn_gates(adaptation_for(*known), weights, [200, 100, 30], FWHM)
    order = np.argsort(-learned.score, kind="stable")
    assert set(order[:30]) == set(learned.kept)
    assert len(np.unique(np.floor(learned.score[order]))) >= 3


def test_voxels_without_weight_never_take_part(known, adaptation_for, planted):
    weights = np.where(planted, 0.0, 1.0)
    learned = learn_gates(adaptation_for(*known), weights, [100, 50], FWHM)
    assert not planted[learned.kept].any()
    assert (learned.weight[planted] == 0).all()


def test_the_trunk_stays_as_it_is(known, adaptation_for):
    adaptation = adaptation_for(*known)
    before = {k: v.clone() for k, v in adaptation.trunk.state_dict().items()}
    learn_gates(adaptation, np.ones(known[0].grid.n_voxels), [100, 50], FWHM)
    fit_weights(adaptation, np.ones(known[0].grid.n_voxels), None, Troi())
    after = adaptation.trunk.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_nothing_to_gain_means_no_epochs(known, person_from, adaptation_for):
    """Responses without signal: training can only fit noise, the closed form stays."""
    person, vectors = person_from(np.random.default_rng(8), signal=0.0)
    adaptation = adaptation_for(person, vectors)
    weights = np.ones(person.grid.n_voxels)
    made = fit_weights(adaptation, weights, None, Troi())
    expected = fit_input_layer(person.betas, adaptation.wanted, person.run_groups, weights)
    assert made.notes["epochs"] == 0
    np.testing.assert_array_equal(made.fit.weight, expected.weight)
    scores = [entry["val_score"] for entry in made.history]
    assert max(scores) < 1.01 * scores[0]


@pytest.mark.parametrize(("gain", "epochs"), [(1.005, 0), (1.02, 3)])
def test_less_than_a_hundredth_is_no_gain(known, adaptation_for, monkeypatch, gain, epochs):
    curve = np.array([0.5, 0.5, 0.5, 0.5 * gain, 0.5])
    monkeypatch.setattr(
        finetune._Trainable, "validation_curve", lambda *_: (curve, [1.0] * 4)
    )
    made = fit_weights(adaptation_for(*known), np.ones(known[0].grid.n_voxels), None, Troi())
    assert made.notes["epochs"] == epochs


def test_something_to_gain_means_epochs(known, adaptation_for):
    """A closed form that is much too long for the trunk can be improved."""
    person, vectors = known
    adaptation = adaptation_for(person, vectors)
    adaptation.settings = replace(adaptation.settings, finetune_epochs=6, learning_rate=0.05)
    with torch.no_grad():
        adaptation.trunk.bias += 4.0
    weights = np.ones(person.grid.n_voxels)
    made = fit_weights(adaptation, weights, None, Troi())
    scores = [entry["val_score"] for entry in made.history]
    assert made.notes["epochs"] == int(np.argmax(scores)) > 0
    closed = fit_input_layer(person.betas, adaptation.wanted, person.run_groups, weights)
    assert not np.allclose(made.fit.weight, closed.weight, atol=1e-3)


@pytest.mark.parametrize("how", ["frozen", "lora", "full"])
def test_trunk_in_stage_two(person_from, adaptation_for, how):
    """Sources whose latents were turned: only a trunk that is trained along can turn back."""
    person, vectors = person_from(np.random.default_rng(3), signal=2.0)
    adaptation = adaptation_for(person, vectors)
    adaptation.settings = replace(adaptation.settings, finetune_epochs=6, learning_rate=0.02)
    with torch.no_grad():
        adaptation.trunk.projector += torch.randn(
            adaptation.trunk.projector.shape, generator=torch.Generator().manual_seed(1)
        )
    before = {k: v.clone() for k, v in adaptation.trunk.state_dict().items()}
    made = fit_weights(adaptation, np.ones(person.grid.n_voxels), None, Troi(stage2_trunk=how))
    assert made.notes["epochs"] > 0
    assert made.notes["stage2_trunk"] == how
    assert made.history[-1]["val_score"] > made.history[0]["val_score"]
    after = made.trunk.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(before[k], v) for k, v in adaptation.trunk.state_dict().items())
    assert torch.equal(after["projector"], before["projector"]) == (how == "frozen")
    assert torch.equal(after["bias"], before["bias"]) == (how != "full")
    assert not any(p.requires_grad for p in made.trunk.parameters())


def test_a_trunk_that_need_not_change_stays(person_from, adaptation_for):
    person, vectors = person_from(np.random.default_rng(8), signal=0.0)
    adaptation = adaptation_for(person, vectors)
    made = fit_weights(adaptation, np.ones(person.grid.n_voxels), None, Troi(stage2_trunk="full"))
    assert made.trunk is adaptation.trunk


def test_mixed_precision_learns_nearly_the_same(known, adaptation_for):
    person, vectors = known
    weights, learned = np.ones(person.grid.n_voxels), {}
    for precision in ("32-true", "bf16-mixed"):
        shared = adaptation_for(person, vectors).shared
        adaptation = Adaptation(
            person, shared, Network(precision=precision), seed=0, device="cpu"
        )
        learned[precision] = learn_gates(adaptation, weights, [300, 150, 60], FWHM).weight
    full, mixed = learned.values()
    assert full.dtype == mixed.dtype == np.float32
    assert not np.array_equal(full, mixed)
    assert np.corrcoef(full.ravel(), mixed.ravel())[0, 1] > 0.95


def test_stage_two_modes(known, adaptation_for):
    person, _ = known
    weights = np.ones(person.grid.n_voxels)
    start = np.random.default_rng(0).standard_normal((person.grid.n_voxels, 6)).astype(np.float32)
    adaptation = adaptation_for(*known)
    made = fit_weights(adaptation, weights, start, Troi(stage2="none"))
    np.testing.assert_array_equal(made.fit.weight, start)
    np.testing.assert_allclose(made.fit.latents(person.betas).mean(axis=0), 0, atol=1e-3)
    assert made.notes["epochs"] == 0
    assert made.history == []
    fresh = fit_weights(adaptation, weights, start, Troi())
    again = fit_weights(adaptation, weights, None, Troi())
    np.testing.assert_array_equal(fresh.fit.weight, again.fit.weight)


def test_only_chosen_voxels_get_weights(known, adaptation_for, planted):
    fit = fit_weights(adaptation_for(*known), planted.astype(float), None, Troi()).fit
    assert (fit.weight[~planted] == 0).all()
    assert (np.abs(fit.weight[planted]).max(axis=1) > 0).all()


@pytest.mark.parametrize("n_runs", [1, 2])
def test_too_few_runs_to_choose_epochs(known, n_runs, adaptation_for):
    person, vectors = known
    part = person.subset(np.arange(24 * n_runs))
    made = fit_weights(adaptation_for(part, vectors),
        np.ones(person.grid.n_voxels), None, Troi()
    )
    assert made.notes["epochs"] == 0
    assert made.history == []


def test_same_seed_same_weights(known, adaptation_for):
    adaptation = adaptation_for(*known)
    shared = adaptation.shared
    settings = Network(finetune_epochs=3, learning_rate=0.05)
    results = [
        learn_gates(
            Adaptation(known[0], shared, settings, seed=seed, device="cpu"),
            np.ones(known[0].grid.n_voxels), [300, 100], FWHM
        ).weight
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("asked", [
    {"finetune_epochs": 2}, {"stage2_trunk": "lora"}, {"selector": "troi-budget"}, {},
])
def test_labels_are_trained_only_if_asked_for(person_from, adaptation_for, asked):
    person, _ = person_from(np.random.default_rng(2))
    person = replace(person, target_rows=person.target_rows % 3)
    vectors = np.linalg.svd(np.eye(3) - 1 / 3)[0][:, :2].astype(np.float32)
    adaptation = adaptation_for(person, vectors, is_category=True)
    epochs = asked.get("finetune_epochs", 0)
    adaptation.settings = replace(adaptation.settings, finetune_epochs=epochs)
    troi = Troi(**{k: v for k, v in asked.items() if k != "finetune_epochs"})
    made = fit_weights(adaptation, np.ones(person.grid.n_voxels), None, troi)
    assert made.notes["stage2"] == ("reinit" if asked else "none")
    assert len(made.history) == (1 + (epochs or finetune.DEFAULT_EPOCHS) if asked else 0)
