"""One training loop for all networks, on Lightning Fabric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.fabric import Fabric
from safetensors.torch import load, save
from torch import Tensor, nn

from bids_decoder.files import write_bytes
from bids_decoder.seeds import derive_seed
from bids_decoder.training.parallel import average_gradients

Batch = np.ndarray
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

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
        Keep the rate as it is, instead of the one cycle.
    """

    n_epochs: int
    learning_rate: float
    weight_decay: float = 1e-2
    warmup: float = 0.1
    optimizer: Literal["adamw", "adam", "adadelta"] = "adamw"
    constant: bool = False

    def rate(self, step: int, n_steps: int) -> float:
        """Give the learning rate of a step: cosine up from 1/25, cosine down to 1/25000."""
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
    """Parameters that share a learning rate factor.

    Parameters
    ----------
    parameters : tuple of Parameter
    rate_factor : float
        Times the rate of the schedule.
    decays : bool
        Whether weight decay applies.
    """

    parameters: tuple[nn.Parameter, ...]
    rate_factor: float = 1.0
    decays: bool = True


@dataclass
class History:
    """Mean training loss of each epoch, and what the caller adds."""

    loss: list[float] = field(default_factory=list)


def make_fabric(device: str, precision: Literal["32-true", "bf16-mixed"] = "32-true") -> Fabric:
    """Set up Fabric for ``cpu``, ``cuda`` or ``cuda:N``.

    Parameters
    ----------
    device : str
        Already resolved; ``auto`` is not known here.
    precision : {"32-true", "bf16-mixed"}
        Of what runs below ``fabric.autocast()``.
    """
    if device == "cpu":
        return Fabric(accelerator="cpu", devices=1, precision=precision)
    index = int(device.split(":")[1]) if ":" in device else 0
    return Fabric(accelerator="cuda", devices=[index], precision=precision)


def train(
    module: nn.Module,
    loss_of: Callable[[Batch, int], Tensor],
    batches: Callable[[np.random.Generator], Iterable[Batch]],
    schedule: Schedule,
    *,
    seed: int,
    fabric: Fabric,
    checkpoint: Path | None = None,
    groups: Sequence[ParameterGroup] | None = None,
    stop_after: int | None = None,
    after_step: Callable[[int], None] | None = None,
    after_epoch: Callable[[int, torch.optim.Optimizer], bool | None] | None = None,
    progress: Progress | None = None,
    seconds_between_checkpoints: float = 60.0,
) -> History:
    """Train *module* in place; the random numbers of an epoch depend on (seed, epoch) only.

    Parameters
    ----------
    module : torch.nn.Module
        Already on the device of *fabric*.
    loss_of : callable (rows, epoch) -> Tensor
        Loss of the samples with these row numbers.
    batches : callable (rng) -> iterable of row numbers
        The batches of one epoch; every epoch must have as many.
    schedule : Schedule
    seed : int
    fabric : lightning.fabric.Fabric
    checkpoint : Path, optional
        Where to keep the state, so that a killed training goes on to the same result. A
        checkpoint of another setting must not lie there: give a path that names the setting.
    groups : sequence of ParameterGroup, optional
        What to train and how fast; all parameters of *module* alike if absent.
    stop_after : int, optional
        End after this many epochs of the schedule.
    after_step : callable, optional
        Called with the number of the epoch after each step of the optimizer.
    after_epoch : callable, optional
        Called with the number of the finished epoch and the optimizer; True ends the training.
    progress : callable, optional
        Called with (epochs done, epochs in all, loss).
    seconds_between_checkpoints : float

    Returns
    -------
    History
    """
    if schedule.n_epochs == 0:
        return History()
    groups = groups or [ParameterGroup(tuple(module.parameters()))]
    optimizer = _OPTIMIZERS[schedule.optimizer]([
        {
            "params": list(group.parameters), "factor": group.rate_factor,
            "weight_decay": schedule.weight_decay * group.decays,
        }
        for group in groups
    ], lr=schedule.learning_rate)
    history = History()
    start = _restore(checkpoint, module, optimizer, history)
    saved = time.monotonic()
    last = schedule.n_epochs if stop_after is None else stop_after
    for epoch in range(start, last):
        history.loss.append(
            _one_epoch(module, optimizer, loss_of, batches, schedule, epoch, seed, fabric,
                       after_step)
        )
        ended = after_epoch is not None and after_epoch(epoch, optimizer)
        if progress is not None:
            progress(epoch + 1, schedule.n_epochs, history.loss[-1])
        if checkpoint is not None and time.monotonic() - saved > seconds_between_checkpoints:
            _keep(checkpoint, module, optimizer, history)
            saved = time.monotonic()
        if ended:
            break
    return history


def _one_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Batch, int], Tensor],
    batches: Callable[[np.random.Generator], Iterable[Batch]],
    schedule: Schedule,
    epoch: int,
    seed: int,
    fabric: Fabric,
    after_step: Callable[[int], None] | None,
) -> float:
    epoch_seed = derive_seed(seed, "epoch", epoch)
    rows_of_batches = list(batches(np.random.default_rng(epoch_seed)))
    n_steps = len(rows_of_batches) * schedule.n_epochs
    total = 0.0
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(epoch_seed, fabric.global_rank) if fabric.global_rank
                          else epoch_seed)
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


def _keep(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, history: History
) -> None:
    state = {f"module.{k}": v for k, v in module.state_dict().items()}
    for number, entry in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in entry.items()}
    state["loss"] = torch.tensor(history.loss, dtype=torch.float64)
    write_bytes(path, save({k: v.detach().cpu().contiguous() for k, v in state.items()}))


def _restore(
    path: Path | None, module: nn.Module, optimizer: torch.optim.Optimizer, history: History
) -> int:
    if path is None or not path.is_file():
        return 0
    state = load(path.read_bytes())
    weights = {k.removeprefix("module."): v for k, v in state.items() if k.startswith("module.")}
    module.load_state_dict(weights)
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            entries.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
    history.loss.extend(state["loss"].tolist())
    return len(history.loss)


def shuffled_batches(
    n_samples: int, batch_size: int, rng: np.random.Generator
) -> Iterable[np.ndarray]:
    """Give the rows 0 … n_samples - 1 once each, in random order, in nearly equal batches."""
    n_batches = max(1, round(n_samples / batch_size))
    return np.array_split(rng.permutation(n_samples), n_batches)
