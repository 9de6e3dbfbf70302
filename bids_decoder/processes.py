"""One function on many items, in several processes where they are worth their start."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MIN_ITEMS = 1000
"""With fewer items one process is as fast."""

_CHUNKS_PER_PROCESS = 8


def map_items(
    function: Callable[[Item], Result], items: Iterable[Item], n_processes: int
) -> list[Result]:
    """Apply a function to each item.

    Parameters
    ----------
    function : callable
        Of a module, or a :func:`functools.partial` of one, so that it can be sent to a process.
    items : iterable
    n_processes : int
        One, or none, means that no process is started.

    Returns
    -------
    list
        Results in the order of the items.

    Notes
    -----
    Processes are forked, which takes no time, on Linux only: elsewhere forking is not safe, and
    importing the package again in each process would take longer than it saves.
    """
    items = list(items)
    if n_processes < 2 or len(items) < MIN_ITEMS or not sys.platform.startswith("linux"):
        return [function(item) for item in items]
    forked = multiprocessing.get_context("fork")
    size = -(-len(items) // (_CHUNKS_PER_PROCESS * n_processes))
    with ProcessPoolExecutor(n_processes, mp_context=forked) as pool:
        return list(pool.map(function, items, chunksize=size))
