"""Networks on volumes: layer shapes and parameter counts of the publications."""

import pytest
import torch
from torch import nn

from bids_decoder.models.volumes import (
    KERNELS,
    STRIDES,
    VOLUME_FILTERS,
    ShallowNetwork,
    SliceNetwork,
    VolumeNetwork,
    fresh_network,
)

MNI = (91, 109, 91)
PET = (95, 79, 60)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_slice_network_has_the_published_layers():
    network = SliceNetwork(MNI, 16)
    filters = [layer.out_channels for layer in network.convolutions]
    assert filters == [8, 8, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64]
    assert tuple(layer.stride[0] for layer in network.convolutions) == STRIDES
    assert count(network.convolutions) == 165_816
    assert network.lstm.input_size == 4 * 3 * 64 == 768
    assert count(network.lstm) == 427_008
    assert count(network.output) == 2_064
    kept = [1 - drop.p for drop in network.drops]
    assert kept == pytest.approx([1.0] * 4 + [0.8] * 4 + [0.6] * 4)
    assert network.last_drop.p == 0.5


def test_slice_network_maps_a_standard_volume():
    network = SliceNetwork(MNI, 3).eval()
    with torch.no_grad():
        slices = network.slice_features(torch.randn(2, 1, *MNI[:2]))
        assert slices.shape == (2, 768)
        assert network(torch.randn(1, 20, 24, 7).new_zeros(1, 91, 109, 2)).shape == (1, 3)


def test_forget_gates_start_open():
    lstm = SliceNetwork((8, 8, 2), 2).lstm
    for suffix in ("", "_reverse"):
        bias = getattr(lstm, f"bias_ih_l0{suffix}") + getattr(lstm, f"bias_hh_l0{suffix}")
        assert (bias[64:128] == 1).all()
        assert (bias[:64] == 0).all()
        assert (bias[128:] == 0).all()


def test_slices_go_through_the_network_in_order():
    """Both directions of the LSTM: a flipped stack gives the other direction's states."""
    network = SliceNetwork((8, 8, 5), 2).eval()
    volumes = 1e4 * torch.randn(3, 8, 8, 5)
    lstm = network.lstm
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        getattr(lstm, f"{name}_reverse").data = getattr(lstm, name).data.clone()
    with torch.no_grad():
        ahead, back = network.features(volumes).split(64, dim=1)
        flipped, _ = network.features(volumes.flip(3)).split(64, dim=1)
    assert torch.allclose(back, flipped, atol=1e-6)
    assert not torch.allclose(ahead, back, atol=1e-3)


def test_volume_network_has_the_published_layers():
    network = VolumeNetwork(4)
    assert tuple(layer.out_channels for layer in network.convolutions) == VOLUME_FILTERS
    widths = (1, *VOLUME_FILTERS)
    expected = sum(27 * a * b + b for a, b in zip(widths, VOLUME_FILTERS, strict=False))
    assert count(network.convolutions) == expected == 887_192
    assert count(network.output) == 128 * 4 + 4
    assert all(drop.p == 0.2 for drop in (*network.drops, network.last_drop))
    with torch.no_grad():
        maps = network.eval().feature_maps(torch.zeros(1, *MNI))
    assert maps.shape == (1, 128, 3, 4, 3)


def test_shallow_network_has_the_layers_of_the_documentation():
    network = ShallowNetwork(PET, 4)
    assert [layer.out_channels for layer in network.convolutions] == [16, 32, 64, 64]
    assert count(network.convolutions) == 448 + 13_856 + 55_360 + 110_656
    assert network.dense.in_features == 5 * 4 * 3 * 64
    assert count(network.dense) + count(network.output) == 3840 * 128 + 128 + 128 * 4 + 4


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(12, 10, 8), (40, 20, 1), (5, 5, 5)])
def test_shallow_network_takes_any_grid(kernel, shape):
    network = ShallowNetwork(shape, 3, kernel).eval()
    assert network(torch.randn(2, *shape)).shape == (2, 3)
    assert network.features(torch.randn(2, *shape)).shape == (2, 128)


def test_slice_kernel_does_not_mix_slices_in_the_first_layer():
    network = ShallowNetwork((8, 8, 6), 2, "slices")
    maps = network.convolutions[0](torch.zeros(1, 1, 8, 8, 6))
    volume = torch.zeros(1, 1, 8, 8, 6)
    volume[..., 2] = 1.0
    changed = (network.convolutions[0](volume) != maps).any(dim=1).squeeze(0)
    assert changed[..., 2].any()
    assert not changed[..., [0, 1, 3, 4, 5]].any()


def test_start_depends_on_the_seed_alone():
    first = fresh_network(ShallowNetwork, (8, 8, 6), 2, seed=3)
    torch.rand(5)
    second = fresh_network(ShallowNetwork, (8, 8, 6), 2, seed=3)
    other = fresh_network(ShallowNetwork, (8, 8, 6), 2, seed=4)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.dense.weight, other.dense.weight)
    assert isinstance(first, nn.Module)
