"""Start of a worker process. Imports nothing, so that it runs before all libraries."""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
from logging.handlers import QueueHandler
from typing import Any

LOGGER = logging.getLogger("bids_decoder")

_MALLOC_OPTIONS = {
    -3: 1 << 30,  # M_MMAP_THRESHOLD
    -1: (1 << 31) - 1,  # M_TRIM_THRESHOLD
    -2: 1 << 26,  # M_TOP_PAD
}
"""Parameters of mallopt(3), in bytes."""

_GARBAGE_THRESHOLDS = (10_000, 10, 10)
"""New objects after which the youngest are looked at, and factors for older ones."""


class RecordSender(QueueHandler):
    """Sends log records to the process that started this one, before anything else happens."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Write a record to the pipe."""
        self.queue.put(record)


def configure_logging(handler: logging.Handler, level: int, nipype_level: int) -> None:
    """Send all log records of this process to one handler.

    Parameters
    ----------
    handler : logging.Handler
    level : int
        For the program itself.
    nipype_level : int
        For Nipype and for warnings of libraries.
    """
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(level)
    logging.captureWarnings(True)
    for name in ("nipype", "nipype.workflow", "nipype.interface", "nipype.utils", "py.warnings"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(nipype_level)


def open_no_sockets() -> None:
    """Keep urllib3 from opening a socket on import, which it does to test IPv6."""
    socket.has_ipv6 = False


def keep_memory() -> None:
    """Let the C library keep freed memory for the next array, where it is glibc.

    By default every large array is mapped anew, and the kernel fills its pages with zeros: of
    training on a CPU that is up to half of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, n_bytes in _MALLOC_OPTIONS.items():
            mallopt(option, n_bytes)


def release_memory() -> None:
    """Return to the system what :func:`keep_memory` keeps."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def collect_rarely() -> None:
    """Look for cyclic garbage less often than Python does by default.

    Libraries make half a million objects that stay. Looking at all of them again and again takes
    a tenth of a small call, and finds little.
    """
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


def end_when_closed(sentinel: int) -> None:
    """End this process when *sentinel* closes, even in the middle of a task.

    A worker would otherwise wait for tasks forever, or write into the files of a new run.

    Parameters
    ----------
    sentinel : int
        A file descriptor whose other end only the process that started this one holds.
    """
    def watch() -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def start_worker(folder: str, level: int, nipype_level: int, records: Any) -> None:
    """Set up a worker process, before it gets its first task and imports anything else.

    Parameters
    ----------
    folder : str
        Working folder.
    level, nipype_level : int
        See :func:`configure_logging`.
    records : multiprocessing.SimpleQueue
        Takes what this process logs.
    """
    # The terminal sends Ctrl-C to all processes; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_when_closed(parent.sentinel)
    open_no_sockets()
    keep_memory()
    collect_rarely()
    os.chdir(folder)
    # Undo the log handler and levels that Nipype sets on import.
    import nipype  # noqa: F401

    configure_logging(RecordSender(records), level, nipype_level)
