"""EfficientNet-Lite0 trained on ImageNet, whose weights are installed as a package."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from bids_decoder.stimuli.batches import NetworkEncoder
from bids_decoder.stimuli.weights import PACKAGED, Weights

SIZE = 224
LAYERS = {"early": (1, 8), "middle": (8, 4), "late": (None, 1)}
"""Block after which each layer is read (None: the last convolution), and cells along an edge."""

_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)
"""Number of blocks, kernel, stride, expansion and channels of each stage."""


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does, with the odd pixel at the end."""

    def forward(self, input: Tensor) -> Tensor:
        sides = []
        for size, kernel, stride in zip(
            input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            excess = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [excess // 2, excess - excess // 2]
        return super().forward(pad(input, sides))


def _norm(n_channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(n_channels, eps=1e-3)


class _Block(nn.Module):
    """Inverted residual: expansion, depthwise convolution, linear projection."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_wide = n_in * expansion
        self.has_expansion, self.is_residual = expansion > 1, stride == 1 and n_in == n_out
        if self.has_expansion:
            self._expand_conv = nn.Conv2d(n_in, n_wide, 1, bias=False)
            self._bn0 = _norm(n_wide)
        self._depthwise_conv = _SameConv(n_wide, n_wide, kernel, stride, groups=n_wide, bias=False)
        self._bn1 = _norm(n_wide)
        self._project_conv = nn.Conv2d(n_wide, n_out, 1, bias=False)
        self._bn2 = _norm(n_out)

    def forward(self, maps: Tensor) -> Tensor:
        inner = maps
        if self.has_expansion:
            inner = self._bn0(self._expand_conv(inner)).clamp(0, 6)
        inner = self._bn1(self._depthwise_conv(inner)).clamp(0, 6)
        inner = self._bn2(self._project_conv(inner))
        return maps + inner if self.is_residual else inner


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 [1]_ without classifier, with the names of the packaged weights.

    EfficientNet-B0 without squeeze-and-excitation and with ReLU6.

    References
    ----------
    .. [1] Tan & Le 2019, ICML, arXiv 1905.11946.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _SameConv(3, 32, 3, 2, bias=False), _norm(32)
        blocks, n_in = [], 32
        for n_blocks, kernel, stride, expansion, n_out in _STAGES:
            for number in range(n_blocks):
                blocks.append(_Block(n_in, n_out, kernel, 1 if number else stride, expansion))
                n_in = n_out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = nn.Conv2d(n_in, 1280, 1, bias=False), _norm(1280)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the maps (n, 1280, h, w) of the last convolution; their mean is classified."""
        return self.maps(pixels)[-1]

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """Return the maps of all blocks and of the last convolution.

        Parameters
        ----------
        pixels : Tensor, shape (n, 3, height, width)
            In [-1, 1]; see :func:`scaled`.
        """
        found = [self._bn0(self._conv_stem(pixels)).clamp(0, 6)]
        for block in self._blocks:
            found.append(block(found[-1]))
        return [*found[1:], self._bn1(self._conv_head(found[-1])).clamp(0, 6)]


class EfficientNetEncoder(NetworkEncoder):
    """Features of EfficientNet-Lite0 at three depths, from edges to objects.

    Maps after an early and a middle block are standardised with the mean and spread that their
    batch normalisation has on ImageNet, and averaged over 8 x 8 and 4 x 4 cells; of the last
    convolution the mean is taken, which the classifier sees. Each of the three is centred and
    scaled to length 1, so that they count the same. A variant is one of them alone.
    """

    name = PACKAGED

    def __init__(self, weights: Weights, variant: str, device: str) -> None:
        super().__init__(weights, variant, device)
        self.layers = (variant,) if variant else tuple(LAYERS)
        self.version = f"{variant or 'all'}-{weights.sha256[:16]}"
        self.model = load_network(weights).to(self.device)

    def prepare(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Resize the central squares to 224 x 224 pixels, in the range of the training."""
        return torch.stack([_pixels(picture) for picture in pictures])

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed prepared pictures; see the class."""
        maps = self.model.maps(pixels)
        return torch.cat([self._layer(maps, name) for name in self.layers], dim=1)

    def _layer(self, maps: list[Tensor], name: str) -> Tensor:
        block, n_cells = LAYERS[name]
        chosen = maps[-1]
        if block is not None:
            norm = self.model._blocks[block]._bn2
            spread = norm.weight.abs().clamp_min(1e-6)
            chosen = (maps[block] - norm.bias[:, None, None]) / spread[:, None, None]
        values = adaptive_avg_pool2d(chosen, n_cells).flatten(1)
        values = values - values.mean(dim=1, keepdim=True)
        return values / values.norm(dim=1, keepdim=True).clamp_min(1e-12)


def scaled(pixels: Tensor) -> Tensor:
    """Scale pixels in [0, 1] to the range that the network was trained with."""
    return (pixels * 255 - 127) / 128


def _pixels(picture: Image.Image) -> Tensor:
    resized = ImageOps.fit(picture, (SIZE, SIZE), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.asarray(resized, dtype=np.float32) / 255)
    return scaled(values.permute(2, 0, 1))


def load_network(weights: Weights) -> EfficientNetLite0:
    """Load the network for inference.

    Parameters
    ----------
    weights : Weights
        Of :func:`~bids_decoder.stimuli.weights.find_packaged`, which compared the file with its
        SHA256. It is loaded with ``weights_only``: tensors alone, no code.
    """
    model = EfficientNetLite0()
    state = torch.load(weights.path, map_location="cpu", weights_only=True)
    # The packaged file has the classifier, which is not used.
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("_fc.")})
    return model.eval().requires_grad_(False)


def load_pooled(weights: Weights, device: str) -> Callable[[Tensor], Tensor]:
    """Load what turns pictures in [0, 1] into the features (n, 1280) below the classes.

    Parameters and errors are those of :func:`load_network`; pictures may have any size.
    """
    model = load_network(weights).to(device)
    return lambda pixels: model(scaled(pixels)).mean(dim=(2, 3))
