"""Decoder of trial responses with the shallow 3-D CNN of the PET study and occlusion maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from bids_decoder.config import Volumes
from bids_decoder.models.relevance import choose_window, occlusion_map
from bids_decoder.models.volumes import ShallowNetwork, fresh_network
from bids_decoder.training.classifier import Recipe
from bids_decoder.training.grids import Frame
from bids_decoder.training.loop import Schedule
from bids_decoder.training.volume_decoder import VolumeDecoder

EPOCHS, BATCH_SIZE = 50, 6
LEARNING_RATES = {"adadelta": 0.01, "adam": 1e-3}


class ShallowDecoder(VolumeDecoder):
    """Classify volumes with four 3-D convolutions.

    References
    ----------
    Soliman et al. 2022, BMC Med Inform Decis Mak 22 (Suppl 6):318.
    """

    name = "cnn3d"

    def build(self, frame: Frame, n_classes: int, settings: Volumes, seed: int) -> nn.Module:
        """Make an untrained network; see :class:`VolumeDecoder`."""
        return fresh_network(ShallowNetwork, frame.shape, n_classes, settings.kernel, seed=seed)

    def recipe(self, settings: Volumes, n_epochs: int) -> Recipe:
        """Train at a constant rate; see :class:`VolumeDecoder`."""
        return shallow_recipe(settings, n_epochs)

    def explain_volumes(
        self, network: nn.Module, volumes: np.ndarray, classes: np.ndarray, settings: Volumes
    ) -> np.ndarray:
        """Occlude windows of all volumes of a label at once; see :class:`VolumeDecoder`."""
        window, stride = choose_window(volumes.shape[1:], settings.window)
        found = occlusion_map(
            network, torch.from_numpy(volumes), torch.from_numpy(classes),
            fill=torch.zeros(volumes.shape[1:]), window=window, stride=stride,
        )
        return found.numpy()[None]

    def describe(self, frame: Frame, settings: Volumes) -> dict[str, Any]:
        """Return window and stride; see :class:`VolumeDecoder`."""
        window, stride = choose_window(frame.shape, settings.window)
        return {
            "method": "occlusion: growth of the cross-entropy of the decoded label",
            "window_voxels": list(window), "stride_voxels": list(stride),
            "fill": "0, the mean of z-scored responses",
            "sums_to_logit": False,
        }


def shallow_recipe(settings: Volumes, n_epochs: int) -> Recipe:
    """Return the training settings of the shallow CNN; 0 epochs stand for the published number."""
    rate = settings.learning_rate or LEARNING_RATES[settings.optimizer]
    schedule = Schedule(
        n_epochs or EPOCHS, rate, weight_decay=0.0, optimizer=settings.optimizer, constant=True
    )
    return Recipe(schedule, settings.batch_size or BATCH_SIZE, settings.patience)
