"""Progress of a running workflow on a terminal, in files and as JSON, and its summary."""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bids_decoder.cli.logs import TerminalHandler

if TYPE_CHECKING:
    from rich.table import Table

    from bids_decoder.workflows.progress import Line, NodeLog, Step, Tally

LOGGER = logging.getLogger("bids_decoder")

SECONDS_BETWEEN_LINES = 30.0
"""Between two lines on progress in files."""

MOST_STEPS = 30
"""Steps that the summary lists one by one; more are joined by stage."""

_SECONDS_BETWEEN_MEASURES = 1.0


@contextlib.contextmanager
def watched(log: NodeLog) -> Iterator[None]:
    """Show and log the progress of a workflow until the end of the block.

    Parameters
    ----------
    log : NodeLog
        Status callback of the workflow.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(log, stop), daemon=True)
    LOGGER.addFilter(log.take)
    thread.start()
    try:
        with _shown(log):
            yield
    finally:
        stop.set()
        thread.join()
        LOGGER.removeFilter(log.take)


def _watch(log: NodeLog, stop: threading.Event) -> None:
    last = time.monotonic()
    while not stop.wait(_SECONDS_BETWEEN_MEASURES):
        log.measure()
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            lines = log.lines()
            LOGGER.info("%s", plain(lines), extra={"event": "progress", "lines": lines})


def _shown(log: NodeLog) -> contextlib.AbstractContextManager[None]:
    """Return the live lines, where a terminal is there to show them."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, TerminalHandler):
            return handler.live(lambda: table(log.lines()))
    return contextlib.nullcontext()


def plain(lines: Sequence[Line]) -> str:
    """Return the progress as one line of text.

    Parameters
    ----------
    lines : sequence of Line
        All together, then each running step.
    """
    first, *steps = lines
    left = "" if first.seconds_left is None else f", about {duration(first.seconds_left)} left"
    memory = f", {first.memory_mb:,} MB" if first.memory_mb else ""
    running = "; ".join(f"{_unit(s.participant)} {s.stage} {s.percent:.0f} %" for s in steps)
    return f"{first.text}, {first.percent:.0f} %{left}{memory}" + (
        f"; running: {running}" if running else ""
    )


def table(lines: Sequence[Line]) -> Table:
    """Return the progress as a table for a terminal: running steps, then all together."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2), expand=False)
    for justify in ("left", "left", "right", "right", "right"):
        grid.add_column(justify=justify, no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for line in (*lines[1:], lines[0]):
        left = "" if line.seconds_left is None else f"{duration(line.seconds_left)} left"
        grid.add_row(
            "" if line.stage == "all" else _unit(line.participant), line.stage,
            f"{line.percent:.0f} %", left, f"{line.memory_mb:,} MB" if line.memory_mb else "",
            line.text,
        )
    return grid


def summary_lines(steps: Mapping[Step, Tally]) -> list[str]:
    """Return what the steps took, as lines of a table.

    Parameters
    ----------
    steps : mapping of (stage, participant) to Tally
        Those of which nothing ran are left out. More than :data:`MOST_STEPS` are joined by stage.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    ran = {step: tally for step, tally in steps.items() if tally.seconds or tally.n_failed}
    if not ran:
        return []
    many = len(ran) > MOST_STEPS
    rows = _rows_by_stage(ran) if many else [
        (stage, _unit(participant), duration(t.seconds), _memory(t.peak_mb), _state([t]))
        for (stage, participant), t in ran.items()
    ]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("step")
    found.add_column("of")
    found.add_column("median time" if many else "time", justify="right")
    found.add_column("memory", justify="right")
    found.add_column("state")
    for row in rows:
        found.add_row(*row)
    buffer = io.StringIO()
    Console(file=buffer, width=100, color_system=None).print(found)
    return [line.rstrip() for line in buffer.getvalue().splitlines() if line.strip()]


def _rows_by_stage(steps: Mapping[Step, Tally]) -> list[tuple[str, ...]]:
    stages: dict[str, list[Tally]] = {}
    for (stage, _), tally in steps.items():
        stages.setdefault(stage, []).append(tally)
    return [
        (stage, f"{len(tallies):,} units", duration(statistics.median(t.seconds for t in tallies)),
         _memory(max(t.peak_mb for t in tallies)), _state(tallies))
        for stage, tallies in stages.items()
    ]


def _state(tallies: Sequence[Tally]) -> str:
    n_failed = sum(tally.n_failed > 0 for tally in tallies)
    n_partly = sum(not t.n_failed and t.n_done < t.n_nodes for t in tallies)
    if len(tallies) == 1:
        return "failed" if n_failed else "not finished" if n_partly > 0 else "done"
    said = [f"{n_failed:,} failed"] * (n_failed > 0)
    said += [f"{n_partly:,} not finished"] * (n_partly > 0)
    return ", ".join(said) or "done"


def _unit(participant: str | None) -> str:
    return "group" if participant is None else f"sub-{participant}"


def _memory(megabytes: int) -> str:
    return f"{megabytes:,} MB" if megabytes else "n/a"


def duration(seconds: float) -> str:
    """Return seconds as text that is short.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.4, 59.6, 61, 7320)]
    ['0 s', '1 min', '1 min', '2 h 02 min']
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
