"""One function on many items, in several processes where they are worth their start."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MIN_ITEMS = 1000
"""With fewer items one process is as fast."""

_CHUNKS_PER_PROCESS = 8

_INHERITED: list[Any] = []
"""In a forked process only: the function and the items, which were never pickled."""


def map_items(
    function: Callable[[Item], Result], items: Iterable[Item], n_processes: int
) -> list[Result]:
    """Apply a function to each item.

    Parameters
    ----------
    function : callable
        With results that can be pickled.
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
    chunks = [slice(start, start + size) for start in range(0, len(items), size)]
    with ProcessPoolExecutor(
        n_processes, mp_context=forked, initializer=_inherit, initargs=(function, items)
    ) as pool:
        return [result for results in pool.map(_apply, chunks) for result in results]


def _inherit(function: Callable[[Item], Result], items: Sequence[Item]) -> None:
    _INHERITED[:] = [function, items]


def _apply(chunk: slice) -> list[Any]:
    function, items = _INHERITED
    return [function(item) for item in items[chunk]]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector of cyclic garbage, in this process and those forked from it.

    It looks at all objects again each time their number has grown by a quarter, which takes a
    fifth of the time of a large plan and finds nothing to free there.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
