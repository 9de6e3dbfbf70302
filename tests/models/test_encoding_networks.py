"""Networks of encoding models: shapes and numbers of weights as published, losses by hand."""

import numpy as np
import pytest
import torch

from bids_decoder.models.encoding import (
    EncodingNetwork,
    GivenFeatures,
    PictureFeatures,
    SquaredReadout,
    correlation,
    n_features,
    plain_loss,
    scale_pictures,
    selective_loss,
)

torch.set_num_threads(1)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_shapes_and_weights_of_the_published_network():
    features = PictureFeatures(128)
    shapes, maps = [], torch.zeros(2, 1, 128, 128)
    for convolution in features.convolutions:
        maps = torch.relu(convolution(maps))
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(128, 64, 64), (128, 32, 32), (128, 16, 16)]
    assert features(torch.zeros(2, 1, 128, 128)).shape == (2, 32_768)
    first, *others = (count(convolution) for convolution in features.convolutions)
    assert first == 9 * 128 + 128 == 1280
    assert others == [128 * 128 * 9 + 128] * 2
    assert count(features) == 296_448
    with torch.device("meta"):
        readout = SquaredReadout(32_768, 1294)
    assert count(readout) == 32_768 * 1294 + 1294


@pytest.mark.parametrize("size", [32, 50, 96, 127])
def test_number_of_features_of_any_size(size):
    assert PictureFeatures(4)(torch.zeros(1, 1, size, size)).shape[1] == n_features(size, 4)


def test_readout_starts_as_published_and_uses_squares():
    torch.manual_seed(0)
    readout = SquaredReadout(200, 50)
    for parameter in readout.parameters():
        assert parameter.abs().max() <= 0.1
    assert readout.weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    features = torch.rand(3, 200)
    expected = features @ (readout.weight * readout.weight) + readout.bias
    torch.testing.assert_close(readout(features), expected)
    readout(features).sum().backward()
    torch.testing.assert_close(
        readout.weight.grad, 2 * readout.weight.detach() * features.sum(0)[:, None]
    )


def test_parts_of_given_features_can_be_put_together_again():
    features = torch.randn(4, 7)
    parts = GivenFeatures()(features)
    assert parts.shape == (4, 14) and parts.min() >= 0
    torch.testing.assert_close(parts[:, :7] - parts[:, 7:], features)


@pytest.mark.parametrize("squared", [True, False])
def test_network_predicts_all_voxels_at_once(squared):
    network = EncodingNetwork(PictureFeatures(4), n_features(16, 4), 9, squared)
    assert network(torch.zeros(5, 1, 16, 16)).shape == (5, 9)


def test_pictures_are_stretched_one_by_one():
    pictures = torch.randint(40, 90, (3, 8, 8), dtype=torch.uint8)
    pictures[2] = 77
    scaled = scale_pictures(pictures)
    assert scaled.shape == (3, 1, 8, 8)
    for picture in scaled[:2]:
        assert (picture.min().item(), picture.max().item()) == (-0.5, 0.5)
    assert not scaled[2].any()


def test_correlation_is_that_of_numpy():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 40, 6))
    expected = [np.corrcoef(first[:, v], second[:, v])[0, 1] for v in range(6)]
    found = correlation(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    constant = correlation(torch.ones(40, 2), torch.from_numpy(second[:, :2]))
    assert constant.abs().max() < 1e-5


def test_gradient_of_the_selective_loss_goes_with_the_squared_correlation():
    r = torch.tensor([0.8, 0.1, 0.0], requires_grad=True)
    (-r.pow(3).mean()).backward()
    by_correlation = r.grad
    torch.testing.assert_close(by_correlation, -3 * r.detach() ** 2 / 3)
    torch.manual_seed(0)
    measured = torch.randn(60, 2)
    predicted = torch.stack([measured[:, 0] + 0.5 * torch.randn(60), torch.randn(60)], 1)
    predicted.requires_grad_()
    value = selective_loss(predicted, measured, noise=0.0)
    expected = -correlation(predicted, measured).pow(3).mean() + 1e-4 * predicted.mean()
    torch.testing.assert_close(value, expected)
    value.backward()
    informative, other = predicted.grad.abs().sum(0)
    assert informative > 5 * other
    torch.testing.assert_close(
        plain_loss(predicted, measured), -correlation(predicted, measured).mean()
    )


def test_noise_costs_a_voxel_whose_predictions_hardly_vary():
    torch.manual_seed(0)
    measured = torch.randn(500, 1)
    quiet, loud = (selective_loss(size * measured, measured, 1.0) for size in (0.1, 10.0))
    assert loud < -0.9 and quiet > -0.1
