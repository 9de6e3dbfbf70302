"""Nipype's process pool that notices killed workers, and hears what they log."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from bids_decoder.errors import BidsDecoderError, ExitCode, MemoryLackError
from bids_decoder.workflows.worker import release_memory, start_worker

LOGGER = logging.getLogger("bids_decoder")

_FLUSH_SECONDS = 5.0


class WorkerPoolPlugin(MultiProcPlugin):
    """MultiProc that stops with a message when the system kills a worker.

    Nipype's own plugin would wait for the dead worker for ever. What workers log is handled in
    this process, so that screen and log file have one writer.
    """

    _broken: BaseException | None = None

    def __init__(self, plugin_args: dict[str, Any]) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown(wait=False)
        levels = (LOGGER.level, logging.getLogger("nipype").level)
        # Spawned, not forked: a forked child inherits locks of threads that it lacks.
        spawned = multiprocessing.get_context("spawn")
        self._records: Any = spawned.SimpleQueue()
        self._flushed = threading.Event()
        self.pool = ProcessPoolExecutor(
            max_workers=self.processors, initializer=start_worker,
            initargs=(self._cwd, *levels, self._records), mp_context=spawned,
        )
        # It reads as long as the program runs: a worker waits when nobody reads what it logs.
        threading.Thread(target=self._forward, daemon=True).start()

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run the nodes of *graph*."""
        # Nipype collects garbage around every job; objects that exist by now are excluded.
        gc.freeze()
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            gc.unfreeze()
            # A worker that was killed while it held the lock of the queue never gives it back.
            threading.Thread(target=self._records.put, args=(None,), daemon=True).start()
            self._flushed.wait(_FLUSH_SECONDS)

    def _forward(self) -> None:
        """Handle the log records of workers; None asks to say that all before it are handled."""
        while True:
            record = self._records.get()
            if record is None:
                self._flushed.set()
            else:
                logging.getLogger(record.name).handle(record)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        """Submit a node; as Nipype does, but the worker says when it starts."""
        self._taskid += 1
        future = self.pool.submit(run_announced, node, updatehash, self._taskid)
        future.add_done_callback(self._async_callback)
        self._task_obj[self._taskid] = future
        return int(self._taskid)

    def _async_callback(self, args: Future[Any]) -> None:
        error = args.exception()
        if error is not None:
            self._broken = error
            return
        super()._async_callback(args)

    def _get_result(self, taskid: int) -> Any:
        self.raise_if_broken()
        return super()._get_result(taskid)

    def raise_if_broken(self) -> None:
        """Raise when a worker was killed; Nipype treats the error as one of the node.

        Raises
        ------
        BidsDecoderError
        """
        if self._broken is None:
            return
        if isinstance(self._broken, OSError):
            raise BidsDecoderError(
                "a worker process could not read or write its result", f"{self._broken!r}",
                "free some space if the disk is full, then run the same command again",
                ExitCode.IO_ERROR,
            ) from self._broken
        raise MemoryLackError(
            "a worker process was killed", f"{self._broken}; usually the memory ran out "
            f"(the limit given to the scheduler was {self.memory_gb:.1f} GB)",
        ) from self._broken


def run_announced(node: Any, updatehash: bool, taskid: int) -> Any:
    """Run a node in a worker: say that it starts, and keep no memory when it has ended."""
    LOGGER.info("%s starts", node.fullname, extra={"event": "start", "node": node.fullname})
    try:
        return run_node(node, updatehash, taskid)
    finally:
        release_memory()
