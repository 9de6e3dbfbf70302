"""One training loop for all networks, on Lightning Fabric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from bids_decoder.files import write_bytes
from bids_decoder.seeds import derive_seed
from bids_decoder.training.parallel import average_gradients

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = np.ndarray
Progress = Callable[[int, int, float], None]
"""Called with (epochs done, epochs in all, loss)."""

CHECKPOINT_SECONDS = 60.0
"""Shortest time between two checkpoints."""


@dataclass(frozen=True)
class Schedule:
    """Number of epochs, learning rate and optimizer of a training.

    Parameters
    ----------
    n_epochs : int
    learning_rate : float
        Peak of the one-cycle schedule.
    weight_decay : float
    warmup : float
        Share of the steps in which the rate rises.
    optimizer : {"adamw", "adam", "adadelta"}
    constant : bool
        Use a constant rate instead of the one-cycle schedule.
    stop_after : int, optional
        Number of epochs after which training stops, while the rate follows the schedule of
        *n_epochs*.
    """

    n_epochs: int
    learning_rate: float
    weight_decay: float = 1e-2
    warmup: float = 0.1
    optimizer: Literal["adamw", "adam", "adadelta"] = "adamw"
    constant: bool = False
    stop_after: int | None = None

    def rate(self, step: int, n_steps: int) -> float:
        """Return the learning rate of a step: a cosine from 1/25 up and down to 1/25000."""
        if self.constant:
            return self.learning_rate
        rise = max(1, round(self.warmup * n_steps))
        low, end = self.learning_rate / 25, self.learning_rate / 25000
        if step < rise:
            return _cosine(low, self.learning_rate, step / rise)
        return _cosine(self.learning_rate, end, (step - rise) / max(1, n_steps - rise))


_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "adadelta": torch.optim.Adadelta,
}


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters with a learning rate factor in common.

    Parameters
    ----------
    parameters : tuple of Parameter
    rate_factor : float
        Multiplies the rate of the schedule.
    decays : bool
        Whether weight decay applies.
    """

    parameters: tuple[nn.Parameter, ...]
    rate_factor: float = 1.0
    decays: bool = True


@dataclass(frozen=True, eq=False)
class Setup:
    """Device, random numbers and bookkeeping of a training.

    Parameters
    ----------
    seed : int
    fabric : lightning_fabric.Fabric
    checkpoint : Path, optional
        File for the state, so that an interrupted training can resume with the same result. A
        checkpoint of other settings must not be there: use a path that names the settings.
    progress : callable, optional
        Called after each epoch; see :data:`Progress`.
    """

    seed: int
    fabric: Fabric
    checkpoint: Path | None = None
    progress: Progress | None = None


def make_fabric(device: str, precision: Literal["32-true", "bf16-mixed"] = "32-true") -> Fabric:
    """Set up Fabric for ``cpu``, ``cuda`` or ``cuda:N``.

    Parameters
    ----------
    device : str
        ``auto`` must be resolved before.
    precision : {"32-true", "bf16-mixed"}
        Precision under ``fabric.autocast()``.
    """
    # Its import takes seconds, and decoders in closed form do without it.
    from lightning_fabric import Fabric

    if device == "cpu":
        return Fabric(accelerator="cpu", devices=1, precision=precision)
    index = int(device.split(":")[1]) if ":" in device else 0
    return Fabric(accelerator="cuda", devices=[index], precision=precision)


def train(
    module: nn.Module, loss_of: Callable[[Batch, int], Tensor],
    batches: Callable[[np.random.Generator], Iterable[Batch]], schedule: Schedule, setup: Setup, *,
    groups: Sequence[ParameterGroup] | None = None, after_step: Callable[[int], None] | None = None,
    after_epoch: Callable[[int, torch.optim.Optimizer], bool | None] | None = None,
) -> list[float]:
    """Train *module* in place; the random numbers of an epoch depend on (seed, epoch) only.

    Parameters
    ----------
    module : torch.nn.Module
        On the device of ``setup.fabric``.
    loss_of : callable (rows, epoch) -> Tensor
        Loss of the samples with these row numbers.
    batches : callable (rng) -> iterable of row numbers
        The batches of one epoch; all epochs must have the same number of them.
    schedule : Schedule
    setup : Setup
    groups : sequence of ParameterGroup, optional
        Parameters to train; by default all of *module*, at the rate of the schedule.
    after_step : callable, optional
        Called with the number of the epoch after each step of the optimizer.
    after_epoch : callable, optional
        Called with the number of the finished epoch and the optimizer; True ends the training.

    Returns
    -------
    list of float
        Mean training loss of each epoch.
    """
    if schedule.n_epochs == 0:
        return []
    optimizer = _make_optimizer(
        groups or [ParameterGroup(tuple(module.parameters()))], schedule
    )
    losses = _restore(setup.checkpoint, module, optimizer)
    saved = time.monotonic()
    last = schedule.n_epochs if schedule.stop_after is None else schedule.stop_after
    for epoch in range(len(losses), last):
        losses.append(
            _one_epoch(module, optimizer, loss_of, batches, schedule, epoch, setup, after_step)
        )
        ended = after_epoch is not None and after_epoch(epoch, optimizer)
        if setup.progress is not None:
            setup.progress(epoch + 1, schedule.n_epochs, losses[-1])
        if setup.checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _keep(setup.checkpoint, module, optimizer, losses)
            saved = time.monotonic()
        if ended:
            break
    return losses


def _make_optimizer(
    groups: Sequence[ParameterGroup], schedule: Schedule
) -> torch.optim.Optimizer:
    return _OPTIMIZERS[schedule.optimizer]([
        {
            "params": list(group.parameters), "factor": group.rate_factor,
            "weight_decay": schedule.weight_decay * group.decays,
        }
        for group in groups
    ], lr=schedule.learning_rate)


def _one_epoch(
    module: nn.Module, optimizer: torch.optim.Optimizer, loss_of: Callable[[Batch, int], Tensor],
    batches: Callable[[np.random.Generator], Iterable[Batch]], schedule: Schedule, epoch: int,
    setup: Setup, after_step: Callable[[int], None] | None,
) -> float:
    fabric, epoch_seed = setup.fabric, derive_seed(setup.seed, "epoch", epoch)
    rows_of_batches = list(batches(np.random.default_rng(epoch_seed)))
    n_steps = len(rows_of_batches) * schedule.n_epochs
    total = 0.0
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        _seed_torch(derive_seed(epoch_seed, fabric.global_rank) if fabric.global_rank
                    else epoch_seed, fabric.device)
        module.train()
        for number, rows in enumerate(rows_of_batches):
            for group in optimizer.param_groups:
                rate = schedule.rate(epoch * len(rows_of_batches) + number, n_steps)
                group["lr"] = group["factor"] * rate
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(rows, epoch)
            fabric.backward(loss)
            average_gradients(fabric, module.parameters())
            optimizer.step()
            if after_step is not None:
                after_step(epoch)
            total += float(loss.detach())
    module.eval()
    return total / max(1, len(rows_of_batches))


def _seed_torch(seed: int, device: torch.device) -> None:
    """Seed the generators in use; torch.manual_seed also visits devices that are not, slowly."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        # That of the training, which need not be the current one.
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _keep(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]
) -> None:
    state = {f"module.{k}": v for k, v in module.state_dict().items()}
    for number, entry in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in entry.items()}
    state["loss"] = torch.tensor(losses, dtype=torch.float64)
    write_bytes(path, save({k: v.detach().cpu().contiguous() for k, v in state.items()}))


def _restore(
    path: Path | None, module: nn.Module, optimizer: torch.optim.Optimizer
) -> list[float]:
    """Load a checkpoint, if there is one, and return the losses of its epochs."""
    if path is None or not path.is_file():
        return []
    state = load(path.read_bytes())
    weights = {k.removeprefix("module."): v for k, v in state.items() if k.startswith("module.")}
    module.load_state_dict(weights)
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            entries.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
    return state["loss"].tolist()


def shuffled_batches(
    n_samples: int, batch_size: int, rng: np.random.Generator
) -> Iterable[np.ndarray]:
    """Split the rows 0 … n_samples - 1, in random order, into batches of nearly equal size.

    Parameters
    ----------
    n_samples, batch_size : int
        The number of batches is the nearest one to their ratio, at least 1.
    rng : numpy.random.Generator

    Returns
    -------
    iterable of ndarray of int
    """
    n_batches = max(1, round(n_samples / batch_size))
    return np.array_split(rng.permutation(n_samples), n_batches)
