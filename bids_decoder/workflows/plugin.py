"""Nipype's process pool that notices killed workers, and a log of the time of nodes."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from bids_decoder.errors import BidsDecoderError, ExitCode
from bids_decoder.workflows.worker import start_worker

LOGGER = logging.getLogger("bids_decoder")
SECONDS_BETWEEN_LINES = 30.0


class WorkerPoolPlugin(MultiProcPlugin):
    """MultiProc that stops with a message when the system kills a worker.

    Nipype's own plugin would wait for the dead worker for ever.
    """

    _broken: BaseException | None = None

    def __init__(self, plugin_args: dict[str, Any]) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown(wait=False)
        levels = (LOGGER.level, logging.getLogger("nipype").level)
        # Spawned, not forked: a forked child inherits locks of threads that it lacks.
        self.pool = ProcessPoolExecutor(
            max_workers=self.processors, initializer=start_worker,
            initargs=(self._cwd, *levels), mp_context=multiprocessing.get_context("spawn"),
        )

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run the nodes of *graph*."""
        # Nipype collects garbage around every job; objects that exist by now are excluded.
        gc.freeze()
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            gc.unfreeze()

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
        raise BidsDecoderError(
            "a worker process was killed", f"{self._broken}; usually the memory ran out "
            f"(the limit given to the scheduler was {self.memory_gb:.1f} GB)",
            "give more memory, fewer --nprocs, a lower --mem, or --low-mem; then run the same "
            "command again, it goes on where it stopped", ExitCode.FAILURE,
        ) from self._broken


def _now() -> str:
    """Return the time in Nipype's format."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


@dataclass
class NodeLog:
    """Status callback for a plugin: start, end and failure of every node."""

    n_nodes: int
    timings: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _n_done: int = 0
    _began_at: str = field(default_factory=_now)
    _began: float = field(default_factory=time.monotonic)
    _last_line: float = field(default_factory=time.monotonic)

    def __call__(self, node: Any, status: str) -> None:
        """Record one change of status."""
        name = node.fullname
        if status == "exception":
            self.failed.append(name)
            LOGGER.error("failed: %s; what does not need it goes on", name)
        elif status == "end" and not name.rsplit(".", 1)[-1].startswith("_"):
            # Others are parts of a MapNode, which reports on all of them when it ends.
            try:
                runtime = getattr(node.result, "runtime", None)
            except FileNotFoundError:
                return  # the serial plugin also "ends" the nodes that it leaves out
            self._n_done += 1
            timing = self._timing(runtime, name)
            if timing is not None:
                self.timings.append(timing)
            self._tell(name)

    def _tell(self, name: str) -> None:
        """Log that a stage is done, or from time to time how many steps are."""
        now, done = time.monotonic(), self._n_done
        _, person = _stage_and_person(name)
        leaf = name.rsplit(".", 1)[-1]
        if leaf.startswith("mark_"):
            unit = f"sub-{person}" if person else "group"
            LOGGER.info("%s: %s done", unit, leaf.removeprefix("mark_"))
        elif now - self._last_line > SECONDS_BETWEEN_LINES:
            left = (now - self._began) / done * (self.n_nodes - done)
            LOGGER.info("%d of %d steps done, about %.0f s left", done, self.n_nodes, left)
            self._last_line = now

    def _timing(self, runtime: Any, name: str) -> dict[str, Any] | None:
        """Return the timing of a node; None when its result is from an earlier call."""
        runtimes = runtime if isinstance(runtime, list) else [runtime]
        if any(str(getattr(r, "startTime", "") or "9") < self._began_at for r in runtimes):
            return None
        seconds = sum(float(getattr(r, "duration", 0) or 0) for r in runtimes)
        peak = max((getattr(r, "mem_peak_gb", 0) or 0 for r in runtimes), default=0)
        stage, person = _stage_and_person(name)
        timing = {"stage": stage, "participant": person, "node": name.split(".", 1)[-1],
                  "seconds": round(seconds, 2)}
        return timing | ({"peak_mb": round(1024 * peak)} if peak else {})


def _stage_and_person(name: str) -> tuple[str, str | None]:
    """Read stage and participant from the name of a node."""
    parts = name.split(".")
    head = parts[1] if len(parts) > 1 else parts[0]
    words = head.removesuffix("_wf").split("_")
    person = None
    if len(words) > 1 and words[0] != "pretrain":
        person = words[1].replace("-", "+")
    if words[0] == "prepare" and len(parts) > 2:
        preprocesses = parts[2] in ("anat_wf", "bold_wf", "preprocess_files", "mark_preprocess")
        return "preprocess" if preprocesses else "betas", person
    return words[0], person
