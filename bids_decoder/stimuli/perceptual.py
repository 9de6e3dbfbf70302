"""Networks of the field's metrics that compare reconstructions with what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bids_decoder.errors import MissingInputError
from bids_decoder.files import file_digest
from bids_decoder.stimuli.backbones import import_library, load_weights, scale_as_trained
from bids_decoder.stimuli.efficientnet import SIZE, load_pooled
from bids_decoder.stimuli.weights import (
    PACKAGE,
    PACKAGED,
    Digest,
    Weights,
    find_file,
    find_folder,
    find_packaged,
)

_OPTION = "--metric-weights"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH = 16


@dataclass(frozen=True)
class MetricNetwork:
    """One network of the field's metrics.

    Parameters
    ----------
    file : str
        Name of its weights in the folder of ``--metric-weights``.
    size : int
        Edge in pixels to which pictures are resized.
    distance : bool
        True for a score by correlation distance, False for two-way identification.
    layers : dict of str to str
        Layer by name of the feature space.
    fetch : str
        What to fetch.
    """

    file: str
    size: int
    distance: bool
    layers: dict[str, str]
    fetch: str


NETWORKS: dict[str, MetricNetwork] = {
    "alexnet": MetricNetwork(
        "alexnet.safetensors", 256, False, {"alexnet2": "4", "alexnet5": "11"},
        "AlexNet of torchvision (IMAGENET1K_V1)",
    ),
    "inception_v3": MetricNetwork(
        "inception_v3.safetensors", 342, False, {"inception": "avgpool"},
        "Inception v3 of torchvision",
    ),
    "clip": MetricNetwork("clip", 224, False, {"clip": ""}, "CLIP ViT-L/14"),
    "efficientnet_b1": MetricNetwork(
        "efficientnet_b1.safetensors", 255, True, {"efficientnet": "avgpool"},
        "EfficientNet-B1 of torchvision",
    ),
    "swav_resnet50": MetricNetwork(
        "swav_resnet50.safetensors", 224, True, {"swav": "avgpool"}, "ResNet-50 of SwAV",
    ),
}
"""Layers and sizes as in Scotti et al. 2024 (MindEye2)."""


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """Feature vectors of one layer; call it with pictures in [0, 1]."""

    name: str
    distance: bool
    extract: Callable[[Sequence[np.ndarray]], np.ndarray]


def find_networks(
    folder: Path | None, digest: Digest = file_digest
) -> dict[str, Weights]:
    """Find the networks whose weights are in *folder*, and the one that is installed.

    Parameters
    ----------
    folder : Path or None
    digest : callable
        See :data:`.weights.Digest`.

    Returns
    -------
    dict of str to Weights
        Empty without folder and without an installed network.

    Raises
    ------
    MissingInputError
        When there are no weights, or torchvision is needed and cannot be imported.
    InputError
        When weights are damaged or pickled.
    """
    installed = (
        {} if find_spec(PACKAGE) is None else {PACKAGED: find_packaged("metrics", digest)}
    )
    if folder is None:
        return installed
    found = {}
    for name, network in NETWORKS.items():
        path = folder / network.file
        if not path.exists():
            continue
        if name == "clip":
            found[name] = find_folder(path, ("config.json",), _OPTION, network.fetch, digest)
        else:
            found[name] = find_file(path, _OPTION, network.fetch, digest)
    if not found:
        wanted = ", ".join(f"{n.file} ({n.fetch})" for n in NETWORKS.values())
        raise MissingInputError(f"{_OPTION} {folder}", "it holds none of the known networks",
                                f"put one or more of these into it: {wanted}")
    if set(found) - {"alexnet", "clip"}:
        import_library("torchvision")
    return installed | found


def load_features(networks: dict[str, Weights], device: str) -> Iterator[NetworkFeatures]:
    """Load networks one after the other, so that only one is in memory.

    Parameters
    ----------
    networks : dict
        From :func:`find_networks`.
    device : str
    """
    for name, weights in networks.items():
        if name == PACKAGED:
            pooled = load_pooled(weights, device)
            yield NetworkFeatures(name, False, _Extractor(pooled, SIZE, device))
            continue
        network = NETWORKS[name]
        build = {"alexnet": _alexnet, "clip": _clip}.get(name, _torchvision)
        for space, layer in network.layers.items():
            run = build(name, weights, layer, device)
            yield NetworkFeatures(space, network.distance, _Extractor(run, network.size, device))


@dataclass(frozen=True, eq=False)
class _Extractor:
    run: Callable[[Tensor], Tensor]
    size: int
    device: str

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        parts = []
        for start in range(0, len(pictures), _BATCH):
            batch = [self._sized(picture) for picture in pictures[start : start + _BATCH]]
            with torch.inference_mode():
                parts.append(self.run(torch.cat(batch)).flatten(1).cpu().numpy())
        return np.concatenate(parts)

    def _sized(self, picture: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32))
        pixels = pixels.permute(2, 0, 1)[None].to(self.device)
        size = (self.size, self.size)
        return interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)


def _normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) for v in (_MEAN, _STD))
    return (pixels - mean) / std


class AlexNetFeatures(nn.Module):
    """The convolutions of AlexNet with the names of torchvision's weights [1]_.

    The metrics need only these layers, so that torchvision is not required.

    References
    ----------
    .. [1] Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks,
       arXiv 1404.5997.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )


def _alexnet(name: str, weights: Weights, layer: str, device: str) -> Callable[[Tensor], Tensor]:
    del name
    model = AlexNetFeatures()
    load_weights(model, weights, unused=("classifier.",))
    part = model.features[: int(layer) + 1].eval().to(device)
    return lambda pixels: part(_normalised(pixels))


def _clip(name: str, weights: Weights, layer: str, device: str) -> Callable[[Tensor], Tensor]:
    del name, layer
    from bids_decoder.stimuli.vision_models import CLIP_MEAN, CLIP_STD, load_clip_tower

    model = load_clip_tower(weights).eval().requires_grad_(False).to(device)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return lambda pixels: model(pixel_values=(pixels - mean) / std).image_embeds


def _torchvision(
    name: str, weights: Weights, layer: str, device: str
) -> Callable[[Tensor], Tensor]:
    models = import_library("torchvision").models
    extraction = import_library("torchvision.models.feature_extraction")
    made = {
        "inception_v3": lambda: models.inception_v3(weights=None, init_weights=False),
        "efficientnet_b1": lambda: models.efficientnet_b1(weights=None),
        "swav_resnet50": lambda: models.resnet50(weights=None),
    }[name]()
    load_weights(made, weights, unused=("fc.", "projection_head.", "prototypes."))
    made = scale_as_trained(made).eval()
    part = extraction.create_feature_extractor(made, {layer: "out"}).to(device)
    return lambda pixels: part(_normalised(pixels))["out"]
