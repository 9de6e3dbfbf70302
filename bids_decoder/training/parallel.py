"""Several processes, on one machine or many, that pretrain one trunk together.

``torchrun`` starts them. The first one does the whole call; the others wait until it pretrains
and then train along. Each embeds its share of a batch; embeddings and gradients are exchanged, so
that the loss is that of the whole batch, as contrastive losses need it, and the result that of
one process up to rounding and the masks of dropout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from torch import Tensor, nn

_PATIENCE = timedelta(days=14)
"""The others wait while the first one prepares people."""


def n_processes() -> int:
    """Count the processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that does more than training along."""
    return int(os.environ.get("RANK", "0")) == 0


def join_fabric(device: str, precision: Literal["32-true", "bf16-mixed"] = "32-true") -> Fabric:
    """Set up Fabric over all processes; the first call waits for all of them.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``; on a GPU each process of a machine gets its own.
    precision : {"32-true", "bf16-mixed"}
        As for :func:`~bids_decoder.training.loop.make_fabric`.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", n_processes()))
    fabric = Fabric(
        accelerator="cpu" if device == "cpu" else "cuda", devices=here,
        num_nodes=n_processes() // here, precision=precision,
        strategy=DDPStrategy(timeout=_PATIENCE),
    )
    fabric.launch()
    return fabric


@contextmanager
def others_wait(device: str) -> Iterator[None]:
    """Let the other processes wait for work; they end when the first one leaves this."""
    if n_processes() == 1:
        yield
        return
    fabric = join_fabric(device)
    yield
    fabric.broadcast(None)
    _part(fabric)


def _part(fabric: Fabric) -> None:
    """Leave together: who ends early breaks the connections of the others."""
    fabric.barrier()
    torch.distributed.destroy_process_group()


def train_along(device: str, work: Callable[..., Any]) -> None:
    """In the other processes: call *work* with whatever :func:`share` sends, until the end.

    Parameters
    ----------
    device : str
    work : callable
    """
    fabric = join_fabric(device)
    while (sent := fabric.broadcast(None)) is not None:
        work(**sent)
    _part(fabric)


def share(fabric: Fabric, **given: Any) -> None:
    """In the first process: have the others call their work with *given*."""
    if fabric.world_size > 1 and fabric.global_rank == 0:
        fabric.broadcast(given)


def forward_together(
    module: nn.Module, fabric: Fabric, *inputs: Tensor
) -> Tensor:
    """Pass a batch through *module*, each process its share, and gather the whole.

    Parameters
    ----------
    module : torch.nn.Module
        The same in all processes.
    fabric : lightning.fabric.Fabric
    *inputs : Tensor, shape (n, ...)
        The whole batch, the same in all processes.

    Returns
    -------
    Tensor, shape (n, ...)
    """
    if fabric.world_size == 1:
        return module(*inputs)
    n_samples = len(inputs[0])
    size = -(-n_samples // fabric.world_size)
    # Shares must be of one size; the last rows are repeated and not used.
    start = fabric.global_rank * size
    mine = torch.arange(start, start + size, device=inputs[0].device).clamp(max=n_samples - 1)
    gathered = fabric.all_gather(module(*(part[mine] for part in inputs)), sync_grads=True)
    return gathered.flatten(0, 1)[:n_samples]


def average_gradients(fabric: Fabric, parameters: Iterator[nn.Parameter]) -> None:
    """Give all processes the gradient of the whole batch.

    Gathering sends each process the sum of all processes' gradients of the same loss, so many
    times its own share; their mean is the sum over shares.
    """
    if fabric.world_size == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = fabric.all_reduce(parameter.grad, reduce_op="mean")
