import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax, normalize

from bids_decoder.models.losses import (
    Mix,
    bimixco,
    draw_mix,
    mixed_targets,
    prototype_loss,
    softclip,
)

SCALE = torch.tensor(7.0)


def vectors(n, d, seed):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))


def no_mix(n):
    return Mix(torch.arange(n), torch.ones(n))


def distinct(n):
    return torch.eye(n, dtype=torch.bool)


def test_unmixed_bimixco_is_cross_entropy_both_ways():
    out, target = vectors(9, 5, 0), vectors(9, 5, 1)
    logits = SCALE * normalize(out, dim=1) @ normalize(target, dim=1).T
    rows = torch.arange(9)
    expected = (cross_entropy(logits, rows) + cross_entropy(logits.T, rows)) / 2
    assert bimixco(out, target, distinct(9), no_mix(9), SCALE) == pytest.approx(float(expected))


def test_bimixco_follows_its_formula():
    """Sums over samples and their partners, written out."""
    out, target = vectors(6, 4, 2), vectors(6, 4, 3)
    partner, share = torch.tensor([1, 0, 3, 4, 2, 5]), torch.tensor([0.7, 1.0, 0.2, 0.5, 0.9, 0.4])
    logits = SCALE * normalize(out, dim=1) @ normalize(target, dim=1).T
    down, across = log_softmax(logits, dim=0), log_softmax(logits, dim=1)
    wanted = torch.zeros(6, 6)
    forward = 0.0
    for j in range(6):
        forward -= share[j] * across[j, j] + (1 - share[j]) * across[j, partner[j]]
        wanted[j, j] += share[j]
        wanted[j, partner[j]] += 1 - share[j]
    columns = wanted / wanted.sum(dim=0)
    backward = -(columns * down).sum()
    expected = (forward + backward) / 12
    got = bimixco(out, target, distinct(6), Mix(partner, share), SCALE)
    assert got == pytest.approx(float(expected), rel=1e-5)


def test_a_sample_mixed_with_itself_keeps_its_whole_weight():
    """The public loss assigns 1 - share over share on the diagonal instead of adding."""
    mix = Mix(torch.tensor([0, 2, 1]), torch.tensor([0.6, 0.3, 1.0]))
    wanted = mixed_targets(distinct(3), mix)
    assert torch.allclose(wanted, torch.tensor([[1, 0, 0], [0, 0.3, 0.7], [0, 0, 1.0]]))
    assigned = torch.diag(mix.share)
    assigned[torch.arange(3), mix.partner] = 1 - mix.share
    assert not torch.allclose(wanted[0], assigned[0])


def test_partners_of_a_mixed_batch_are_rows_of_the_batch():
    """The public loss points all people after the first to the first person's rows."""
    groups = np.repeat([3, 1, 2], [4, 5, 6])
    mix = draw_mix(groups, 0.15, 1.0, np.random.default_rng(0))
    partner = mix.partner.numpy()
    assert np.array_equal(groups[partner], groups)
    assert np.array_equal(np.sort(partner), np.arange(15))
    samples = vectors(15, 2, 0)
    share = mix.share[:, None]
    assert torch.equal(mix.apply(samples), share * samples + (1 - share) * samples[partner])


def test_mixing_probability_and_shape():
    rng = np.random.default_rng(1)
    groups = np.zeros(4000)
    share = draw_mix(groups, 0.15, 0.5, rng).share.numpy()
    assert np.mean(share == 1) == pytest.approx(0.5, abs=0.05)
    mixed = share[share < 1]
    assert mixed.mean() == pytest.approx(0.5, abs=0.05)
    assert np.mean((mixed < 0.05) | (mixed > 0.95)) > 0.6
    assert (draw_mix(groups, 0.15, 0.0, rng).share == 1).all()


def test_repeats_of_a_stimulus_are_equally_right():
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    wanted = mixed_targets(same, no_mix(3))
    assert torch.allclose(wanted, torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]))
    mix = Mix(torch.tensor([2, 0, 1]), torch.tensor([0.6, 0.5, 0.2]))
    assert torch.allclose(mixed_targets(same, mix).sum(dim=1), torch.ones(3))


def test_a_stimulus_in_nobodys_mixture_costs_nothing():
    """Column 1 has no positive: all of sample 1 was replaced by sample 0."""
    mix = Mix(torch.tensor([0, 0]), torch.tensor([1.0, 0.0]))
    loss = bimixco(vectors(2, 3, 0), vectors(2, 3, 1), distinct(2), mix, SCALE)
    assert torch.isfinite(loss)


def test_softclip_without_softness_is_cross_entropy():
    out, target = vectors(8, 6, 4), vectors(8, 6, 5)
    logits = SCALE * normalize(out, dim=1) @ normalize(target, dim=1).T
    rows = torch.arange(8)
    expected = (cross_entropy(logits, rows) + cross_entropy(logits.T, rows)) / 2
    assert softclip(out, target, SCALE, 1e-3) == pytest.approx(float(expected), rel=1e-5)


def test_softclip_is_least_where_similarities_are_those_of_the_targets():
    target = vectors(10, 6, 6)
    at_truth = softclip(target, target, torch.tensor(10.0), 0.1)
    for seed in range(5):
        moved = target + 0.2 * vectors(10, 6, seed)
        assert softclip(moved, target, torch.tensor(10.0), 0.1) > at_truth


def test_prototype_loss_is_cross_entropy():
    out, prototypes = vectors(7, 4, 8), vectors(3, 4, 9)
    rows = torch.tensor([0, 1, 2, 1, 1, 0, 2])
    logits = SCALE * out @ normalize(prototypes, dim=1).T
    expected = cross_entropy(logits, rows)
    assert prototype_loss(out, rows, prototypes, None, SCALE) == pytest.approx(float(expected))
    mix = Mix(torch.tensor([1, 2, 3, 4, 5, 6, 0]), torch.full((7,), 0.3))
    both = 0.3 * cross_entropy(logits, rows) + 0.7 * cross_entropy(logits, rows[mix.partner])
    assert prototype_loss(out, rows, prototypes, mix, SCALE) == pytest.approx(float(both), rel=1e-5)
