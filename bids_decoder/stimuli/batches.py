"""Networks applied to pictures in batches that fit the device's memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bids_decoder.errors import Finding
from bids_decoder.stimuli.encoders import load_pictures, stacked
from bids_decoder.stimuli.sketch import N_BINS, shorten
from bids_decoder.stimuli.weights import Weights

_START = {"cpu": 16, "cuda": 256}
"""Pictures in the first batch; halved whenever the device runs out of memory."""


class NetworkEncoder(ABC):
    """An image encoder that is a network with weights.

    Parameters
    ----------
    weights : Weights
    variant : str
        The part of the encoder's name after the colon.
    device : str
    """

    name: str

    def __init__(self, weights: Weights, variant: str, device: str) -> None:
        self.weights = weights
        self.variant = variant
        self.device = torch.device(device)
        self.batch_size = _START[self.device.type]
        kind = f"tokens{N_BINS}" if variant == "tokens" else variant or "pooled"
        self.version = f"{kind}-{weights.sha256[:16]}"

    @abstractmethod
    def prepare(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Preprocess RGB pictures as in the training of the weights: (n, 3, height, width)."""

    @abstractmethod
    def embed(self, pixels: Tensor) -> Tensor:
        """Embed prepared pictures on the device: (n, n_dims)."""

    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        """Encode pictures; see :class:`~bids_decoder.stimuli.encoders.ImageEncoder`."""
        return stacked(self._batches(list(paths)))

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Encode pictures that are in memory: (n_images, n_dims), float32.

        Long vectors are shortened by :func:`~bids_decoder.stimuli.sketch.shorten`.
        """
        return self._embedded(self.prepare(pictures))

    def _batches(self, paths: list[Path]) -> Iterator[np.ndarray | list[Finding]]:
        start = 0
        while start < len(paths):
            size = self.batch_size
            pictures, findings = load_pictures(paths[start : start + size])
            yield findings or self.encode_pictures(pictures)
            start += size

    def _embedded(self, pixels: Tensor) -> np.ndarray:
        done: list[np.ndarray] = []
        while (start := sum(map(len, done))) < len(pixels):
            try:
                with torch.inference_mode():
                    part = self.embed(pixels[start : start + self.batch_size].to(self.device))
                done.append(shorten(part.float().flatten(1).cpu().numpy()))
            except torch.cuda.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size //= 2
                torch.cuda.empty_cache()
        return np.concatenate(done)
