"""Progress of a workflow: which steps run, how far they are, what they need."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bids_decoder.workflows.pace import Kind, Pace, kind_of

LOGGER = logging.getLogger("bids_decoder")

Step = tuple[str, str | None]
"""Stage, and participant or None for the group."""

_HELPERS = ("mark", "folders")
"""First words of nodes beside the workflow of a stage; the stage is the next word."""
_OF_GROUP = ("pretrain", "population", "subjects")
"""Stages whose further words are no participant."""


@dataclass
class Tally:
    """What is known of one step: one stage of one participant, or of the group.

    Parameters
    ----------
    n_nodes, n_done, n_failed : int
    seconds : float
        Work of its nodes together.
    peak_mb : int
        Largest memory of a process that ran one of them; 0 where it is not known.
    began : float or None
        Monotonic time of its first node that is computed: nodes that are taken over from an
        earlier call say nothing of how fast this one is.
    waiting : Counter
        Nodes that have not ended, of each kind.
    """

    n_nodes: int = 0
    n_done: int = 0
    n_failed: int = 0
    seconds: float = 0.0
    peak_mb: int = 0
    began: float | None = None
    waiting: Counter[Kind] = field(default_factory=Counter)


@dataclass(frozen=True)
class Line:
    """Progress of one running step, or of all together.

    Parameters
    ----------
    stage : str
        ``all`` for all together.
    participant : str or None
    percent : float
        Of the nodes; one that runs counts by the part of it that is done.
    seconds_left : float or None
        If the rest goes as fast as nodes of its kind did; None as long as nothing is done.
    memory_mb : int
        What its processes hold now.
    text : str
        What its node reports, or the name of the node.
    """

    stage: str
    participant: str | None
    percent: float
    seconds_left: float | None
    memory_mb: int
    text: str


@dataclass
class _Running:
    """A node that runs."""

    pid: int
    began: float
    fraction: float = 0.0
    text: str = ""
    memory_mb: int = 0
    peak_mb: int = 0

    def measure(self) -> None:
        self.memory_mb = resident_mb(self.pid)
        self.peak_mb = max(self.peak_mb, self.memory_mb)


def resident_mb(pid: int) -> int:
    """Return the memory that a process holds, in MiB; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _now() -> str:
    """Return the time in Nipype's format."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


class NodeLog:
    """Status callback for a plugin, and reader of what nodes report while they run.

    Nothing in it waits for a lock: a signal may stop the program anywhere.

    Parameters
    ----------
    names : iterable of str
        Full names of all nodes.
    are_here : bool
        False where nodes run on other machines or as jobs of a cluster; their memory is then
        not known, and left out.
    """

    def __init__(self, names: Iterable[str], *, are_here: bool = True) -> None:
        self._are_here = are_here
        self.timings: list[dict[str, Any]] = []
        self.failed: list[str] = []
        self.steps: dict[Step, Tally] = {}
        self._pace = Pace()
        for name in names:
            tally = self._tally(name)
            tally.n_nodes += 1
            tally.waiting[_kind(name)] += 1
        self._running: dict[str, _Running] = {}
        self._ended: set[str] = set()
        self._began_at = _now()

    def __call__(self, node: Any, status: str) -> None:
        """Record that a node starts, ends or fails."""
        name = node.fullname
        if status == "exception":
            self.failed.append(name)
            self._leave(name)
            self._running.pop(name, None)
            if not _is_part(name):
                self._tally(name).n_failed += 1
            LOGGER.error("failed: %s; what does not need it goes on", name,
                         extra={"event": "failed", "step": stage_and_person(name)})
        elif _is_part(name):
            return  # of a MapNode, which reports on all of them when it ends
        elif status == "start":
            self._start(name, os.getpid())
        elif status == "end":
            self._end(node, name)

    def take(self, record: logging.LogRecord) -> bool:
        """Read what a node reports; a filter of the logger, which drops these records."""
        event = getattr(record, "event", None)
        if event == "start":
            self._start(record.node, record.process or 0)  # type: ignore[attr-defined]
        elif event == "work":
            for name, running in list(self._running.items()):
                if running.pid == record.process:
                    running.fraction = record.fraction  # type: ignore[attr-defined]
                    running.text = record.getMessage()
                    self._begin(name, running.began)
        return event not in ("start", "work")

    def measure(self) -> None:
        """Measure the memory of all processes that run a node."""
        for running in list(self._running.values()) if self._are_here else ():
            running.measure()

    def lines(self) -> list[Line]:
        """Return the progress of all steps together, then of those that run now."""
        running: dict[Step, list[tuple[str, _Running]]] = {}
        for name, node in list(self._running.items()):
            running.setdefault(stage_and_person(name), []).append((name, node))
        fractions = {
            step: sum(node.fraction for _, node in nodes) for step, nodes in running.items()
        }
        memory = {node.pid: node.memory_mb for nodes in running.values() for _, node in nodes}
        n_nodes, n_done = (
            sum(getattr(tally, what) for tally in self.steps.values())
            for what in ("n_nodes", "n_done")
        )
        done = n_done + sum(fractions.values())
        tallies = list(self.steps.values())
        left = self._seconds_left(tallies, list(self._running.items()))
        first = Line(
            "all", None, _percent(done, n_nodes), left, sum(memory.values()),
            f"{n_done} of {n_nodes} nodes done",
        )
        return [first, *(
            self._line(step, nodes, fractions[step]) for step, nodes in running.items()
        )]

    def _line(
        self, step: Step, nodes: list[tuple[str, _Running]], fraction: float
    ) -> Line:
        tally = self.steps[step]
        memory = {node.pid: node.memory_mb for _, node in nodes}
        name, last = nodes[-1]
        percent = _percent(tally.n_done + fraction, tally.n_nodes)
        left = self._seconds_left([tally], nodes)
        return Line(*step, percent, left, sum(memory.values()), last.text or _leaf(name))

    def _seconds_left(
        self, tallies: list[Tally], running: list[tuple[str, _Running]]
    ) -> float | None:
        """Return the work that is left, by the work that was done per second until now."""
        now = time.monotonic()
        began = [tally.began for tally in tallies if tally.began is not None]
        if not began:
            return None
        done = sum(tally.seconds for tally in tallies)
        left = sum(self._pace.seconds(tally.waiting) for tally in tallies)
        for name, node in running:
            taken, expected = now - max(node.began, min(began)), self._pace.one(_kind(name))
            done += taken
            left -= min(expected, taken)
            if node.fraction:
                # What it has taken itself tells more than what others of its kind took.
                left += taken / node.fraction - max(expected, taken)
        return (now - min(began)) * max(left, 0.0) / done if done else None

    def _tally(self, name: str) -> Tally:
        return self.steps.setdefault(stage_and_person(name), Tally())

    def _start(self, name: str, pid: int) -> None:
        # A worker's record can come after the node has ended.
        if _is_part(name) or name in self._ended:
            return
        self._running[name] = _Running(pid, time.monotonic())
        self.measure()

    def _begin(self, name: str, began: float) -> None:
        """Record that a node is computed, not taken over."""
        tally = self._tally(name)
        tally.began = began if tally.began is None else min(tally.began, began)

    def _leave(self, name: str) -> None:
        """Record that a node is not waited for any more, whatever became of it."""
        if name not in self._ended:
            self._ended.add(name)
            if not _is_part(name):
                self._tally(name).waiting[_kind(name)] -= 1

    def _end(self, node: Any, name: str) -> None:
        ended = self._running.pop(name, None)
        self._leave(name)
        try:
            runtime = getattr(node.result, "runtime", None)
        except FileNotFoundError:
            return  # the serial plugin also "ends" the nodes that it leaves out
        if ended is not None and self._are_here:
            ended.measure()
        tally = self._tally(name)
        tally.n_done += 1
        runtimes = runtime if isinstance(runtime, list) else [runtime]
        seconds = sum(float(getattr(r, "duration", 0) or 0) for r in runtimes)
        self._pace.record(_kind(name), seconds)
        if not any(str(getattr(r, "startTime", "") or "9") < self._began_at for r in runtimes):
            self._add(name, seconds, ended)
        leaf, (stage, person) = _leaf(name), stage_and_person(name)
        if leaf.startswith("mark_"):
            unit = f"sub-{person}" if person else "group"
            LOGGER.info("%s: %s done", unit, leaf.removeprefix("mark_"),
                        extra={"event": "done", "step": (stage, person)})

    def _add(self, name: str, seconds: float, ended: _Running | None) -> None:
        """Add a node that this call computed."""
        stage, person = stage_and_person(name)
        timing = {"stage": stage, "participant": person, "node": name.split(".", 1)[-1],
                  "seconds": round(seconds, 2)}
        tally = self._tally(name)
        tally.seconds += seconds
        # Where the record of its start is late, it is known from how long it took.
        self._begin(name, time.monotonic() - seconds if ended is None else ended.began)
        if ended is not None and ended.peak_mb:
            tally.peak_mb = max(tally.peak_mb, ended.peak_mb)
            timing["peak_mb"] = ended.peak_mb
        self.timings.append(timing)


def node_names(workflow: Any, above: str = "") -> Iterator[str]:
    """Yield the full names that the nodes have when Nipype runs them.

    Parameters
    ----------
    workflow : nipype.pipeline.engine.Workflow
    above : str
        Name of the workflow that holds it, with a dot.

    Notes
    -----
    Nodes that only pass values on are taken out before a workflow runs.
    """
    from nipype.interfaces.utility import IdentityInterface
    from nipype.pipeline.engine import Workflow

    for node in workflow._graph:
        if isinstance(node, Workflow):
            yield from node_names(node, f"{above}{workflow.name}.")
        elif not isinstance(node.interface, IdentityInterface):
            yield f"{above}{workflow.name}.{node.name}"


def _percent(done: float, n_nodes: int) -> float:
    return 100 * min(1.0, done / max(n_nodes, 1))


def _kind(name: str) -> Kind:
    return kind_of(stage_and_person(name)[0], _leaf(name))


def _leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _is_part(name: str) -> bool:
    """Return whether a node is one of those that a MapNode consists of."""
    return _leaf(name).startswith("_")


def stage_and_person(name: str) -> Step:
    """Read stage and participant from the name of a node.

    Examples
    --------
    >>> stage_and_person("wf.prepare_01_wf.glm_wf.single_trial")
    ('betas', '01')
    """
    parts = name.split(".")
    head = parts[1] if len(parts) > 1 else parts[0]
    words = head.removesuffix("_wf").split("_")
    if words[0] in _HELPERS and len(words) > 1:
        words = words[1:]
    person = None
    if len(words) > 1 and words[0] not in _OF_GROUP:
        person = words[1].replace("-", "+")
    if words[0] == "prepare" and len(parts) > 2:
        preprocesses = parts[2] in ("anat_wf", "bold_wf", "preprocess_files", "mark_preprocess")
        return "preprocess" if preprocesses else "betas", person
    return words[0], person
