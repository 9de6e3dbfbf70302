"""Networks on whole volumes: DeepLight in two and three dimensions, and a shallow 3-D CNN."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from bids_decoder.models.seeding import seeded

STRIDES = (1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1)
"""Strides of the twelve convolutions of both DeepLight networks."""

SLICE_FILTERS = (8, 8, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64)
SLICE_DROPOUT = (0.0,) * 4 + (0.2,) * 4 + (0.4,) * 4
VOLUME_FILTERS = (8, 8, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128)
LSTM_UNITS = 64

SHALLOW_FILTERS = (16, 32, 64, 64)
KERNELS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "3x3x3": ((3, 3, 3),) * 4,
    "3x3x6": ((3, 3, 6),) * 4,
    "slices": ((3, 3, 1), *((3, 3, 3),) * 3),
}
"""Kernels of the four convolutions: cubes, longer across slices, or the first within slices."""

Shape = tuple[int, int, int]


class SliceNetwork(nn.Module):
    """DeepLight: a CNN for each axial slice and a bidirectional LSTM over the slices.

    Parameters
    ----------
    shape : tuple of int
        Size of the volumes (i, j, k); k is the slice axis, from inferior to superior.
    n_classes : int

    Notes
    -----
    For 91 x 109 x 91 voxels: 165,816 weights in the convolutions, 427,008 in the LSTM. PyTorch
    pads stride-2 convolutions on both sides and TensorFlow only at the end, so that weights of
    the published network are shifted by half a stride for even sizes.

    References
    ----------
    Thomas, Mueller and Samek 2019, Deep transfer learning for whole-brain fMRI analyses,
    arXiv 1907.01953; layers as in the code of the follow-up, arXiv 2111.01562.
    """

    def __init__(self, shape: Shape, n_classes: int) -> None:
        super().__init__()
        channels = (1, *SLICE_FILTERS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, padding=1)
            for before, after, stride in zip(channels, SLICE_FILTERS, STRIDES, strict=False)
        )
        self.drops = nn.ModuleList(nn.Dropout2d(share) for share in SLICE_DROPOUT)
        n_features = SLICE_FILTERS[-1] * math.prod(_strided(size) for size in shape[:2])
        self.lstm = nn.LSTM(n_features, LSTM_UNITS, batch_first=True, bidirectional=True)
        self.last_drop = nn.Dropout(0.5)
        self.output = nn.Linear(2 * LSTM_UNITS, n_classes)
        _start_weights(self)
        _start_lstm(self.lstm)

    def slice_features(self, slices: Tensor) -> Tensor:
        """Map slices (n, 1, i, j) to features (n, n_features)."""
        for convolution, drop in zip(self.convolutions, self.drops, strict=True):
            slices = drop(torch.relu(convolution(slices)))
        return slices.flatten(1)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map volumes (n, i, j, k) to logits (n, n_classes)."""
        return self.output(self.last_drop(self.features(volumes)))

    def features(self, volumes: Tensor) -> Tensor:
        """Map volumes to the input of the output layer, (n, 128)."""
        features = self.slice_features(as_slices(volumes))
        _, (hidden, _) = self.lstm(features.view(len(volumes), volumes.shape[3], -1))
        return torch.cat([hidden[0], hidden[1]], dim=1)


def as_slices(volumes: Tensor) -> Tensor:
    """Split volumes (n, i, j, k) into axial slices (n * k, 1, i, j), volume by volume."""
    return volumes.permute(0, 3, 1, 2).flatten(0, 1).unsqueeze(1)


class VolumeNetwork(nn.Module):
    """DeepLight's three-dimensional variant: twelve convolutions and global average pooling.

    Parameters
    ----------
    n_classes : int

    References
    ----------
    Thomas et al. 2021, Evaluating deep transfer learning for whole-brain cognitive decoding,
    arXiv 2111.01562.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        channels = (1, *VOLUME_FILTERS)
        self.convolutions = nn.ModuleList(
            nn.Conv3d(before, after, 3, stride, padding=1)
            for before, after, stride in zip(channels, VOLUME_FILTERS, STRIDES, strict=False)
        )
        self.drops = nn.ModuleList(nn.Dropout3d(0.2) for _ in VOLUME_FILTERS)
        self.norms = nn.ModuleList(nn.BatchNorm3d(n) for n in VOLUME_FILTERS)
        self.last_drop = nn.Dropout3d(0.2)
        self.output = nn.Conv3d(VOLUME_FILTERS[-1], n_classes, 1)
        _start_weights(self)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map volumes (n, i, j, k) to non-negative logits (n, n_classes)."""
        maps = torch.relu(self.output(self.feature_maps(volumes)))
        return self.last_drop(maps).mean(dim=(2, 3, 4))

    def feature_maps(self, volumes: Tensor) -> Tensor:
        """Map volumes (n, i, j, k) to the last feature maps (n, 128, i', j', k')."""
        maps = volumes.unsqueeze(1)
        for convolution, drop, norm in zip(self.convolutions, self.drops, self.norms, strict=True):
            maps = norm(drop(torch.relu(convolution(maps))))
        return maps

    def features(self, volumes: Tensor) -> Tensor:
        """Map volumes to the means of the last feature maps, (n, 128)."""
        return self.feature_maps(volumes).mean(dim=(2, 3, 4))


class ShallowNetwork(nn.Module):
    """The shallow CNN of the PET study: four 3-D convolutions with pooling, one dense layer.

    Parameters
    ----------
    shape : tuple of int
        Size of the volumes (i, j, k).
    n_classes : int
    kernel : {"3x3x3", "3x3x6", "slices"}
        See :data:`KERNELS`.
    dropout : float
        Dropout before the output layer.

    Notes
    -----
    The paper does not give the numbers of filters and the width of the dense layer; the values
    here are our choice.

    References
    ----------
    Soliman et al. 2022, Adopting transfer learning for neuroimaging: a comparative analysis with
    a custom 3D convolution neural network model, BMC Med Inform Decis Mak 22 (Suppl 6):318.
    """

    def __init__(
        self, shape: Shape, n_classes: int, kernel: Literal["3x3x3", "3x3x6", "slices"] = "3x3x3",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        channels = (1, *SHALLOW_FILTERS)
        self.convolutions = nn.ModuleList(
            nn.Conv3d(before, after, size, padding="same")
            for before, after, size in zip(channels, SHALLOW_FILTERS, KERNELS[kernel], strict=False)
        )
        self.pools = nn.ModuleList()
        for _ in SHALLOW_FILTERS:
            # An axis with one voxel, as in single-slice images, is not pooled.
            pool = tuple(min(2, size) for size in shape)
            self.pools.append(nn.MaxPool3d(pool))
            shape = tuple(size // step for size, step in zip(shape, pool, strict=True))
        self.dense = nn.Linear(SHALLOW_FILTERS[-1] * math.prod(shape), 128)
        self.drop = nn.Dropout(dropout)
        self.output = nn.Linear(128, n_classes)
        _start_weights(self)

    def features(self, volumes: Tensor) -> Tensor:
        """Map volumes to the input of the output layer, (n, 128)."""
        maps = volumes.unsqueeze(1)
        for convolution, pool in zip(self.convolutions, self.pools, strict=True):
            maps = pool(torch.relu(convolution(maps)))
        return torch.relu(self.dense(maps.flatten(1)))

    def forward(self, volumes: Tensor) -> Tensor:
        """Map volumes (n, i, j, k) to logits (n, n_classes)."""
        return self.output(self.drop(self.features(volumes)))


def _strided(size: int) -> int:
    """Return the size of an axis after all twelve convolutions."""
    for stride in STRIDES:
        size = -(-size // stride)
    return size


def _start_weights(network: nn.Module) -> None:
    """Initialise convolutions He-normal, dense layers Glorot-normal, and biases with zero.

    The publications initialise convolutions Glorot-normal, which halves the variance in each of
    twelve layers with ReLU; with hundreds of trials, not millions, such a network does not learn.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
        else:
            continue
        nn.init.zeros_(module.bias)


def _start_lstm(lstm: nn.LSTM) -> None:
    """Initialise the LSTM Glorot-uniform, with a bias of one for the forget gates."""
    for name, parameter in lstm.named_parameters():
        if "weight" in name:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
            if "bias_ih" in name:
                # The order of the gates is input, forget, candidate, output.
                parameter.data[lstm.hidden_size:2 * lstm.hidden_size] = 1.0


def fresh_network(build: type[nn.Module], *arguments: object, seed: int) -> nn.Module:
    """Make a network with random weights that depend on *seed* only."""
    with seeded(seed):
        return build(*arguments)
