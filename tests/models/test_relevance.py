"""Relevance: conserved, equal to captum where captum has the rule, in the right place."""

import pytest
import torch
from torch import nn

from bids_decoder.models.relevance import (
    alpha_beta_rule,
    choose_window,
    epsilon_rule,
    flat_rule,
    lstm_rule,
    occlusion_map,
    relevance_of,
)
from bids_decoder.models.volumes import ShallowNetwork, SliceNetwork, VolumeNetwork, fresh_network

SHAPE = (12, 10, 6)


def without_biases(network):
    for name, parameter in network.named_parameters():
        if name.endswith("bias") or ".bias_hh" in name:
            parameter.data.zero_()
    return network.eval()


def test_relevance_of_the_slice_network_is_conserved():
    network = without_biases(fresh_network(SliceNetwork, SHAPE, 3, seed=0).double())
    # Large activations, beside which the stabiliser is small.
    volumes = 1e7 * torch.randn(6, *SHAPE, dtype=torch.double)
    logits = network(volumes)
    classes = logits.abs().argmax(1)
    relevance = relevance_of(network, volumes, classes)
    assert relevance.shape == volumes.shape
    share = relevance.sum(dim=(1, 2, 3)) / logits[torch.arange(6), classes]
    assert share.detach().numpy() == pytest.approx(1, abs=0.1)


def test_relevance_of_the_volume_network_is_conserved():
    network = without_biases(fresh_network(VolumeNetwork, 3, seed=0).double())
    for norm in network.norms:
        norm.running_var.fill_(0.2)
    network.output.weight.data.abs_()
    volumes = 3 * torch.randn(4, *SHAPE, dtype=torch.double)
    logits = network(volumes)
    classes = logits.argmax(1)
    assert (logits.max(1).values > 0).all()
    relevance = relevance_of(network, volumes, classes)
    share = relevance.sum(dim=(1, 2, 3)) / logits.max(1).values
    assert share.detach().numpy() == pytest.approx(1, abs=0.01)


def test_relevance_of_the_lstm_is_conserved_and_knows_time():
    torch.manual_seed(0)
    lstm = nn.LSTM(5, 7, batch_first=True, bidirectional=True).double()
    for name, parameter in lstm.named_parameters():
        if "bias" in name:
            parameter.data.zero_()
    inputs = torch.randn(4, 6, 5, dtype=torch.double)
    inputs[:, 2] = 0
    _, (hidden, _) = lstm(inputs)
    states = torch.cat([hidden[0], hidden[1]], dim=1).detach()
    with torch.no_grad():
        found = lstm_rule(lstm, inputs, states, 1e-9)
    assert found.sum(dim=(1, 2)).numpy() == pytest.approx(states.sum(1).numpy(), rel=1e-5)
    assert (found[:, 2] == 0).all()
    # The last step alone, without a past, hands the forward states' relevance to itself.
    with torch.no_grad():
        alone = lstm_rule(lstm, inputs[:, :1], states, 1e-9)
    assert alone.sum(dim=(1, 2)).numpy() == pytest.approx(states.sum(1).numpy(), rel=1e-6)


def test_epsilon_rule_gives_what_captum_gives():
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 5), nn.ReLU(),
        nn.Conv2d(3, 4, 1),
    ).eval()
    image = torch.randn(2, 1, 9, 9)
    target = [(1, 0, 0), (3, 0, 0)]
    expected = captum.LRP(model).attribute(image, target=target)
    active = [image]
    for layer in model:
        active.append(layer(active[-1]).detach())
    relevance = active[-1] * nn.functional.one_hot(torch.tensor([1, 3]), 4)[..., None, None]
    for layer, entered in zip(reversed(model), reversed(active[:-1]), strict=True):
        if isinstance(layer, nn.Conv2d):
            relevance = epsilon_rule(layer, entered, relevance, 1e-9)
    assert torch.allclose(relevance, expected.detach(), rtol=1e-3, atol=1e-5)


def test_alpha_beta_and_flat_rules_conserve():
    torch.manual_seed(2)
    layer = nn.Conv3d(2, 3, 3, 2, padding=1).double()
    inputs = torch.randn(2, 2, 7, 6, 5, dtype=torch.double)
    relevance = torch.rand(2, 3, 4, 3, 3, dtype=torch.double)
    with torch.no_grad():
        parts = alpha_beta_rule(layer, inputs, relevance, 1e-9)
        flat = flat_rule(layer, inputs, relevance)
    assert float(parts.sum()) == pytest.approx(float(relevance.sum()))
    assert float(flat.sum()) == pytest.approx(float(relevance.sum()))
    assert (parts < 0).any()
    assert (flat >= 0).all()


def test_relevance_without_rules_is_refused():
    with pytest.raises(TypeError, match="ShallowNetwork"):
        relevance_of(ShallowNetwork(SHAPE, 2), torch.zeros(1, *SHAPE), torch.zeros(1).long())


class Corner(nn.Module):
    """Decides by the mean of one corner alone."""

    def forward(self, volumes):
        score = volumes[:, :4, :4, :3].mean(dim=(1, 2, 3))
        return torch.stack([score, -score], dim=1)


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_occlusion_finds_the_voxels_that_decide(kind):
    volumes = torch.ones(3, *SHAPE)
    window, stride = choose_window(SHAPE, kind)
    found = occlusion_map(
        Corner(), volumes, torch.zeros(3).long(), fill=torch.zeros(SHAPE), window=window,
        stride=stride,
    )
    assert found[:2, :2, :2].min() > 0
    assert found[9:, 9:].abs().max() < 1e-6


@pytest.mark.parametrize(("shape", "kind"), [
    ((91, 109, 91), "3d"), ((91, 109, 91), "2d"), ((40, 20, 1), "3d"), ((3, 3, 3), "2d"),
])
def test_windows_are_few_and_cover_everything(shape, kind):
    from bids_decoder.models.relevance import _corners

    window, stride = choose_window(shape, kind)
    corners = _corners(shape, window, stride)
    assert len(corners) <= 600
    seen = torch.zeros(shape)
    for corner in corners:
        seen[tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))] += 1
    assert (seen > 0).all()


def test_published_window_on_volumes_that_are_small_enough():
    assert choose_window((20, 20, 5), "2d") == ((6, 5, 1), (2, 2, 1))
    assert choose_window((20, 20, 12), "3d") == ((5, 5, 5), (2, 2, 2))
