"""Frozen vision models, applied to a mosaic of the slices of a volume."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bids_decoder.errors import MissingInputError
from bids_decoder.models.seeding import seeded

RANDOM = "random-resnet50"
"""A ResNet-50 with random weights: a control, for use without pretrained weights."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def mosaic(volumes: np.ndarray) -> np.ndarray:
    """Arrange the slices of volumes in a mosaic with ten columns.

    Parameters
    ----------
    volumes : ndarray, shape (n, i, j, k)

    Returns
    -------
    ndarray, shape (n, n_rows * i, n_columns * j)
        60 slices of 95 x 79 make the published 570 x 790; empty tiles are 0.
    """
    n, height, width, n_slices = volumes.shape
    n_columns = min(10, n_slices)
    n_rows = math.ceil(n_slices / n_columns)
    picture = np.zeros((n, n_rows * height, n_columns * width), dtype=np.float32)
    for number in range(n_slices):
        row, column = divmod(number, n_columns)
        place = (slice(None), slice(row * height, (row + 1) * height),
                 slice(column * width, (column + 1) * width))
        picture[place] = volumes[..., number]
    return picture


Extractor = Callable[[Tensor], Tensor]
"""What turns a picture (1, 3, height, width) in [0, 1] into its features."""


def load_backbone(name: str, seed: int, device: str) -> Extractor:
    """Load a vision model of transformers from a local folder, or make :data:`RANDOM`.

    Parameters
    ----------
    name : str
        Folder with ``config.json`` and ``model.safetensors``, or :data:`RANDOM`.
    seed : int
        Seed of the random weights.
    device : str

    Returns
    -------
    callable
        Computes the pooled features of a picture, normalised as for ImageNet.

    Raises
    ------
    MissingInputError
        If transformers is not installed or the folder contains no model.
    """
    try:
        from transformers import AutoModel, ResNetConfig, ResNetModel
    except ImportError as error:
        raise MissingInputError(
            f"--backbone {name}", f"needs the package transformers: {error}",
            "install bids_decoder[clip], or leave the option out",
        ) from error
    if name == RANDOM:
        with seeded(seed):
            return _extractor(ResNetModel(ResNetConfig()), device)
    try:
        model = AutoModel.from_pretrained(Path(name), local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise MissingInputError(
            f"--backbone {name}", f"contains no vision model: {error}",
            "give a folder with config.json and model.safetensors",
        ) from error
    return _extractor(model, device)


def _extractor(model: Any, device: str) -> Extractor:
    model = model.eval().to(device)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (_MEAN, _STD))
    return lambda pixels: _pooled(model(pixel_values=(pixels - mean) / std))


@torch.no_grad()
def backbone_features(extract: Extractor, volumes: np.ndarray, device: str) -> np.ndarray:
    """Compute the pooled features of each volume's mosaic, (n, n_features).

    Parameters
    ----------
    extract : callable
        Of :func:`load_backbone`.
    volumes : ndarray, shape (n, i, j, k)
        Grey values 0 … 1, repeated over three channels.
    device : str
    """
    found = []
    for volume in volumes:
        grey = torch.from_numpy(mosaic(volume[None])).to(device)[:, None].expand(-1, 3, -1, -1)
        found.append(extract(grey).flatten().cpu().numpy())
    return np.stack(found)


def _pooled(output: Any) -> Tensor:
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled
    return output.last_hidden_state.mean(dim=1)
