"""DeepLight: a CNN over slices with an LSTM, or a 3-D CNN, with relevance propagation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from bids_decoder.config import Volumes
from bids_decoder.models.relevance import relevance_of
from bids_decoder.models.volumes import SliceNetwork, VolumeNetwork, fresh_network
from bids_decoder.training.classifier import Recipe
from bids_decoder.training.grids import Frame
from bids_decoder.training.loop import Schedule
from bids_decoder.training.smoothing import smooth_within
from bids_decoder.training.volume_decoder import VolumeDecoder
from bids_decoder.trials import VoxelGrid

EPOCHS, BATCH_SIZE, LEARNING_RATE = 50, 32, 1e-3
SMOOTHING_MM = 6.0
"""Full width at half maximum of the filter on the published maps."""


class DeepLightDecoder(VolumeDecoder):
    """Classify whole-brain volumes; ``volumes.variant`` selects the network.

    References
    ----------
    Thomas, Mueller and Samek 2019, arXiv 1907.01953; Thomas et al. 2021, arXiv 2111.01562.
    """

    name = "deeplight"

    def build(self, frame: Frame, n_classes: int, settings: Volumes, seed: int) -> nn.Module:
        """Make an untrained network; see :class:`VolumeDecoder`."""
        if settings.variant == "3d":
            return fresh_network(VolumeNetwork, n_classes, seed=seed)
        return fresh_network(SliceNetwork, frame.shape, n_classes, seed=seed)

    def recipe(self, settings: Volumes, n_epochs: int) -> Recipe:
        """Train with Adam at a constant rate; see :class:`VolumeDecoder`."""
        rate = settings.learning_rate or LEARNING_RATE
        schedule = Schedule(
            n_epochs or EPOCHS, rate, weight_decay=0.0, optimizer="adam", constant=True
        )
        return Recipe(
            schedule, settings.batch_size or BATCH_SIZE, settings.patience, "val_score"
        )

    def explain_volumes(
        self, network: nn.Module, volumes: np.ndarray, classes: np.ndarray, settings: Volumes
    ) -> np.ndarray:
        """Propagate relevance from the decoded label; see :class:`VolumeDecoder`."""
        parts = [
            relevance_of(network, torch.from_numpy(volumes[row:row + 8]),
                         torch.from_numpy(classes[row:row + 8])).numpy()
            for row in range(0, len(volumes), 8)
        ]
        return np.concatenate(parts)

    def describe(self, frame: Frame, settings: Volumes) -> dict[str, Any]:
        """Describe the propagation rules; see :class:`VolumeDecoder`."""
        rules = {
            "2d": "epsilon 0.001 in convolutions and output; LSTM along cell and candidate",
            "3d": "epsilon 1e-6 in the output, alpha 2 beta 1 in convolutions, flat in the first "
                  "layer",
        }
        return {
            "method": "layer-wise relevance propagation", "rules": rules[settings.variant],
            "smoothing_fwhm_mm": SMOOTHING_MM, "sums_to_logit": True,
        }

    def finish(self, values: np.ndarray, grid: VoxelGrid) -> np.ndarray:
        """Smooth a map as published; see :class:`VolumeDecoder`."""
        return smooth_within(values, grid, SMOOTHING_MM)
