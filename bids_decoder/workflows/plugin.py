"""Nipype's process pool, made to notice when a worker is killed, and a log of what nodes took."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from bids_decoder.errors import BidsDecoderError, ExitCode


class WorkerPoolPlugin(MultiProcPlugin):
    """MultiProc that stops with a message when the system kills a worker.

    Nipype's own plugin would wait for the dead worker for ever.
    """

    _broken: BaseException | None = None

    def _async_callback(self, args: Future[Any]) -> None:
        error = args.exception()
        if error is not None:
            self._broken = error
            return
        super()._async_callback(args)

    def _get_result(self, taskid: int) -> Any:
        if self._broken is not None:
            raise BidsDecoderError(
                "a worker process was killed", f"{self._broken}; usually the memory ran out "
                f"(the limit given to the scheduler was {self.memory_gb:.1f} GB)",
                "give more memory, fewer --nprocs, a lower --mem, or --low-mem; then run the same "
                "command again, it goes on where it stopped", ExitCode.FAILURE,
            ) from self._broken
        return super()._get_result(taskid)


@dataclass
class NodeLog:
    """Status callback for a plugin: start, end and failure of every node."""

    timings: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _started: dict[str, float] = field(default_factory=dict)

    def __call__(self, node: Any, status: str) -> None:
        """Take note of one change of status."""
        name = node.fullname
        if status == "start":
            self._started[name] = time.monotonic()
        elif status == "exception":
            self.failed.append(name)
        elif status == "end":
            self.timings.append(self._timing(node, name))

    def _timing(self, node: Any, name: str) -> dict[str, Any]:
        runtime = getattr(node.result, "runtime", None)
        runtimes = runtime if isinstance(runtime, list) else [runtime]
        seconds = sum(float(getattr(r, "duration", 0) or 0) for r in runtimes)
        peak = max((getattr(r, "mem_peak_gb", 0) or 0 for r in runtimes), default=0)
        stage, person = _stage_and_person(name)
        timing = {"stage": stage, "participant": person, "node": name.split(".", 1)[-1],
                  "seconds": round(seconds, 2)}
        return timing | ({"peak_mb": round(1024 * peak)} if peak else {})


def _stage_and_person(name: str) -> tuple[str, str | None]:
    """Read stage and participant from the name of a node, as the builders give it."""
    parts = name.split(".")
    head = parts[1] if len(parts) > 1 else parts[0]
    words = head.removesuffix("_wf").split("_")
    person = words[1] if len(words) > 1 and words[0] in ("prepare", "decode", "responses") else None
    if words[0] == "prepare" and len(parts) > 2:
        return {"glm_wf": "betas"}.get(parts[2], "preprocess"), person
    return words[0], person
