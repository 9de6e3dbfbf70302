"""Pretraining of one trunk by several processes, on one or more machines.

The processes are started by ``torchrun``. The first one runs the program; the others wait and
take part in pretraining. Each process embeds its share of a batch, and embeddings and gradients
are exchanged. The loss is thus computed over the whole batch, as contrastive losses require, and
the result equals that of one process, up to rounding and the masks of dropout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PATIENCE = timedelta(days=14)
"""Timeout of the other processes, which wait while the first one prepares participants."""


def n_processes() -> int:
    """Return the number of processes that torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this is the first process, which runs the program."""
    return int(os.environ.get("RANK", "0")) == 0


def join_fabric(device: str, precision: Literal["32-true", "bf16-mixed"] = "32-true") -> Fabric:
    """Set up Fabric over all processes; the call waits for all of them.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``; on a GPU each process of a machine gets its own.
    precision : {"32-true", "bf16-mixed"}
        As for :func:`~bids_decoder.training.loop.make_fabric`.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

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
    """Keep the other processes waiting for work; they end when the first one exits this."""
    if n_processes() == 1:
        yield
        return
    fabric = join_fabric(device)
    yield
    fabric.broadcast(None)
    _part(fabric)


def _part(fabric: Fabric) -> None:
    """Disconnect together: a process that ends early breaks the connections of the others."""
    fabric.barrier()
    torch.distributed.destroy_process_group()


def train_along(device: str, work: Callable[..., Any]) -> None:
    """Call *work* with the arguments of each :func:`share`, in all but the first process.

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
    """Send arguments to the other processes, from the first one; see :func:`train_along`."""
    if fabric.world_size > 1 and fabric.global_rank == 0:
        fabric.broadcast(given)


def forward_together(
    module: nn.Module, fabric: Fabric, *inputs: Tensor
) -> Tensor:
    """Pass a batch through *module*, divided between the processes, and gather the output.

    Parameters
    ----------
    module : torch.nn.Module
        The same in all processes.
    fabric : lightning_fabric.Fabric
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
    # Shares must be equal; the last row is repeated to fill them, and then cut off.
    start = fabric.global_rank * size
    mine = torch.arange(start, start + size, device=inputs[0].device).clamp(max=n_samples - 1)
    gathered = fabric.all_gather(module(*(part[mine] for part in inputs)), sync_grads=True)
    return gathered.flatten(0, 1)[:n_samples]


def average_gradients(fabric: Fabric, parameters: Iterator[nn.Parameter]) -> None:
    """Average gradients over processes, which yields the gradient of the whole batch.

    The backward pass of gathering sums the gradients of all processes, which compute the same
    loss: each share is counted once per process. The mean over processes is the sum over shares.
    """
    if fabric.world_size == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = fabric.all_reduce(parameter.grad, reduce_op="mean")
