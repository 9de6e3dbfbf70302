"""Training of networks that classify volumes, with early stopping."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bids_decoder.seeds import derive_seed
from bids_decoder.training.loop import (
    Progress,
    Schedule,
    Setup,
    make_fabric,
    shuffled_batches,
    train,
)

MIN_DELTA = 1e-4
"""Smallest change on the validation trials that counts as an improvement."""

PLATEAU = 0.02
"""Change of the validation loss from which on the network counts as learning.

Deep networks may need some epochs before the loss changes; patience must not end training there.
"""

MIN_STEPS = 20
"""Minimum number of steps per epoch; an epoch repeats small datasets to reach it."""

_BATCH = 32
"""Volumes that pass the network at once outside training."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Volumes and their classes.

    Parameters
    ----------
    volumes : ndarray of float32, shape (n, i, j, k)
        May be memory-mapped.
    classes : ndarray of int, shape (n,)
    """

    volumes: np.ndarray
    classes: np.ndarray

    def rows(self, rows: np.ndarray) -> Labelled:
        """Return the volumes *rows*."""
        return Labelled(self.volumes[rows], self.classes[rows])


@dataclass(frozen=True)
class Recipe:
    """Training settings of a network.

    Parameters
    ----------
    schedule : Schedule
    batch_size : int
    patience : int
        Epochs without an improvement on the validation trials after which training ends;
        epochs before the network begins to learn do not count.
    monitor : {"val_loss", "val_score"}
        Measure that must improve. With few trials, overconfidence alone increases the loss;
        the mean probability of the true class is robust to it.
    """

    schedule: Schedule
    batch_size: int
    patience: int = 10
    monitor: Literal["val_loss", "val_score"] = "val_loss"


def fit_classifier(
    network: nn.Module, data: Labelled, validation: Labelled | None, recipe: Recipe, *,
    seed: int, device: str, checkpoint: Path | None = None, progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Train *network* in place with cross-entropy.

    Parameters
    ----------
    network : torch.nn.Module
        Maps volumes (n, i, j, k) to logits.
    data : Labelled
        Training trials.
    validation : Labelled or None
        Training trials that are held out; the network keeps the weights of the epoch that was
        best on them. None trains for all epochs.
    recipe : Recipe
    seed : int
    device : str
    checkpoint : Path or None
        See :class:`bids_decoder.training.loop.Setup`; used only without validation.
    progress : callable or None

    Returns
    -------
    list of dict
        One per epoch: ``epoch``, ``loss`` and, with validation, ``val_loss`` and ``val_score``
        (mean probability of the true class).
    """
    fabric = make_fabric(device)
    network.to(fabric.device)
    watch = None if validation is None else _Watch(network, validation, recipe)

    def loss_of(rows: np.ndarray, _epoch: int) -> Tensor:
        batch = data.rows(np.sort(rows))
        classes = torch.from_numpy(np.asarray(batch.classes, dtype=np.int64))
        logits = network(_tensor(batch.volumes).to(fabric.device))
        return nn.functional.cross_entropy(logits, classes.to(fabric.device))

    def batches(rng: np.random.Generator) -> Iterable[np.ndarray]:
        n_trials = len(data.classes)
        n_passes = -(-MIN_STEPS * recipe.batch_size // n_trials)
        return chain.from_iterable(
            shuffled_batches(n_trials, recipe.batch_size, rng) for _ in range(n_passes)
        )

    setup = Setup(
        derive_seed(seed, "classifier"), fabric, checkpoint if watch is None else None, progress
    )
    losses = train(network, loss_of, batches, recipe.schedule, setup,
                   after_epoch=None if watch is None else watch.after_epoch)
    network.cpu().eval()
    rows = [{"epoch": number, "loss": loss} for number, loss in enumerate(losses, start=1)]
    if watch is None:
        return rows
    watch.restore()
    return [{**row, **found} for row, found in zip(rows, watch.found, strict=True)]


class _Watch:
    """Early stopping: score the validation trials after each epoch, keep the best weights."""

    def __init__(self, network: nn.Module, validation: Labelled, recipe: Recipe) -> None:
        self.network, self.validation, self.recipe = network, validation, recipe
        self.found: list[dict[str, float]] = []
        self.best = np.inf
        self.since = 0
        self.state: dict[str, Tensor] = {}

    def after_epoch(self, _epoch: int, _optimizer: torch.optim.Optimizer) -> bool:
        log_chances = log_probabilities(self.network, self.validation.volumes)
        right = log_chances[np.arange(len(log_chances)), self.validation.classes]
        self.found.append(
            {"val_loss": float(-right.mean()), "val_score": float(np.exp(right).mean())}
        )
        sign = 1 if self.recipe.monitor == "val_loss" else -1
        value = sign * self.found[-1][self.recipe.monitor]
        if value < self.best - MIN_DELTA:
            self.best, self.since = value, 0
            self.state = {k: v.detach().cpu().clone()
                          for k, v in self.network.state_dict().items()}
        elif abs(self.found[-1]["val_loss"] - self.found[0]["val_loss"]) > PLATEAU:
            self.since += 1
        return self.since >= self.recipe.patience

    def restore(self) -> None:
        if self.state:
            self.network.load_state_dict(self.state)


@torch.no_grad()
def log_probabilities(
    network: nn.Module, volumes: np.ndarray
) -> np.ndarray:
    """Return the log-probability of each class, float64 of shape (n, n_classes).

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    volumes : ndarray, shape (n, i, j, k)
    """
    device = next(network.parameters()).device
    parts = [
        network(_tensor(volumes[start:start + _BATCH]).to(device)).log_softmax(1).cpu().numpy()
        for start in range(0, len(volumes), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float64)


@torch.no_grad()
def penultimate(network: nn.Module, volumes: np.ndarray) -> np.ndarray:
    """Return the input of the output layer, (n, n_features)."""
    parts = [
        network.features(_tensor(volumes[start:start + _BATCH])).numpy()
        for start in range(0, len(volumes), _BATCH)
    ]
    return np.concatenate(parts)


def _tensor(volumes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(volumes, dtype=np.float32))
