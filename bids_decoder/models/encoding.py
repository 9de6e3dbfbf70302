"""Networks that predict all voxels of a region from a picture, and their losses."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

N_BLOCKS = 2
"""Blocks after the first convolution."""

_READOUT_BOUND = 0.1
_TINY = 1e-6
_PULL = 1e-4


class PictureFeatures(nn.Module):
    """Three convolutions with stride 2, each followed by ReLU.

    Parameters
    ----------
    channels : int
        Number of filters of each convolution.

    Notes
    -----
    The features of ETECRM (Qiao et al. 2019, arXiv 1907.11885): 3 x 3 filters, padding 1, no
    pooling and no normalisation. With 128 channels and pictures of 128 x 128 pixels the maps
    are 16 x 16 x 128, 32,768 features.
    """

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        widths = [1, *[channels] * (1 + N_BLOCKS)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in pairwise(widths)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 1, size, size) to non-negative features (n, n_features)."""
        maps = pictures
        for convolution in self.convolutions:
            maps = torch.relu(convolution(maps))
        return maps.flatten(start_dim=1)


def n_features(size: int, channels: int) -> int:
    """Return the number of :class:`PictureFeatures` for pictures of *size* pixels.

    Examples
    --------
    >>> n_features(128, 128)
    32768
    """
    edge = size
    for _ in range(1 + N_BLOCKS):
        edge = -(-edge // 2)
    return channels * edge**2


class GivenFeatures(nn.Module):
    """Given features, split into their positive and negative parts.

    The squared weights of a read-out are not negative; with the split, a feature can contribute
    with either sign. Nothing is trained here.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, n_features) to non-negative ones (n, 2 n_features)."""
        return torch.cat([features.clamp(min=0), (-features).clamp(min=0)], dim=1)


class SquaredReadout(nn.Module):
    """Linear layer to all voxels with squared weights: ``f (W * W) + b``.

    The gradient of a squared weight is proportional to the weight, so that small weights stay
    small: the sparse, self-adapting part of ETECRM's selective optimisation.

    Parameters
    ----------
    n_inputs, n_voxels : int
    """

    def __init__(self, n_inputs: int, n_voxels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_inputs, n_voxels))
        self.bias = nn.Parameter(torch.empty(n_voxels))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -_READOUT_BOUND, _READOUT_BOUND)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, n_inputs) to responses (n, n_voxels)."""
        return features @ self.weight.square() + self.bias


class EncodingNetwork(nn.Module):
    """Features, followed by a read-out to all voxels of a region.

    Parameters
    ----------
    features : torch.nn.Module
        :class:`PictureFeatures` or :class:`GivenFeatures`.
    n_inputs : int
        Number of inputs of the read-out.
    n_voxels : int
    squared : bool
        Whether the read-out is a :class:`SquaredReadout` instead of a linear layer.
    """

    def __init__(
        self, features: nn.Module, n_inputs: int, n_voxels: int, squared: bool
    ) -> None:
        super().__init__()
        self.features = features
        self.readout = (
            SquaredReadout(n_inputs, n_voxels) if squared else nn.Linear(n_inputs, n_voxels)
        )

    def forward(self, stimuli: Tensor) -> Tensor:
        """Map pictures (n, 1, size, size) or features (n, d) to responses (n, n_voxels)."""
        return self.readout(self.features(stimuli))


def scale_pictures(pictures: Tensor) -> Tensor:
    """Scale each grey picture to the range from -0.5 to 0.5, as published.

    Parameters
    ----------
    pictures : Tensor of uint8, shape (n, size, size)

    Returns
    -------
    Tensor of float32, shape (n, 1, size, size)
        Mean luminance and contrast of a picture are removed; a uniform picture becomes 0.
    """
    values = pictures.to(torch.float32)
    low = values.amin(dim=(1, 2), keepdim=True)
    span = values.amax(dim=(1, 2), keepdim=True) - low
    scaled = (values - low) / span.clamp(min=1.0) - 0.5
    return torch.where(span > 0, scaled, torch.zeros_like(scaled))[:, None]


def correlation(predicted: Tensor, measured: Tensor) -> Tensor:
    """Compute the correlation of each voxel over the trials of a batch.

    Parameters
    ----------
    predicted, measured : Tensor, shape (n, n_voxels)

    Returns
    -------
    Tensor, shape (n_voxels,)
        Near 0 if one of the two hardly varies: 1e-6 is added to the denominator.
    """
    first = predicted - predicted.mean(dim=0)
    second = measured - measured.mean(dim=0)
    scale = (first.square().mean(dim=0) * second.square().mean(dim=0)).sqrt()
    return (first * second).mean(dim=0) / (scale + _TINY)


def selective_loss(predicted: Tensor, measured: Tensor, noise: float) -> Tensor:
    """Compute ETECRM's loss: minus the mean over voxels of the cubed correlation.

    The gradient with respect to the correlation r of a voxel is -3 r ** 2, so that predictable
    voxels dominate. Gaussian noise is added to the predictions, so that the loss of a voxel
    decreases only if its predicted variance exceeds the noise, and 1e-4 times the mean
    prediction pulls the read-out towards 0.

    Parameters
    ----------
    predicted, measured : Tensor, shape (n, n_voxels)
    noise : float
        Standard deviation of the noise.
    """
    noisy = predicted + noise * torch.randn_like(predicted)
    return -correlation(noisy, measured).pow(3).mean() + _PULL * noisy.mean()


def plain_loss(predicted: Tensor, measured: Tensor) -> Tensor:
    """Compute minus the mean correlation over voxels, all with equal weight."""
    return -correlation(predicted, measured).mean()
