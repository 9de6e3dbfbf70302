"""Random weights that depend on a seed only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw the random numbers of PyTorch, on the CPU, from *seed* within the context.

    Those drawn after it are as if it had not been. :func:`torch.manual_seed` would also seed all
    other devices, which takes as long as a small fit.

    Parameters
    ----------
    seed : int
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
