"""What the program says: on a terminal, in files, and as JSON for schedulers."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bids_decoder.workflows.progress import Line

FORMATS = ("text", "json")
LOGGER = logging.getLogger("bids_decoder")


class JsonFormatter(logging.Formatter):
    """One JSON object per line.

    ``time`` (UTC), ``level``, ``event`` (``message``, ``progress``, ``done``, ``failed``,
    ``stopped``, ``error``), ``step``, ``participant``, ``percent``, ``seconds_left``,
    ``memory_mb`` and ``message``; what does not apply is null. Progress is one object for all
    steps together, with the step ``all``, and one for each running step.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, or objects, of a record."""
        lines: Sequence[Line] = getattr(record, "lines", ())
        if lines:
            return "\n".join(_object(
                record, line.text, step=line.stage, participant=line.participant,
                percent=round(line.percent, 1), memory_mb=line.memory_mb or None,
                seconds_left=None if line.seconds_left is None else round(line.seconds_left),
            ) for line in lines)
        step, participant = getattr(record, "step", (None, None))
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return _object(record, text, step=step, participant=participant)


def _object(record: logging.LogRecord, message: str, **fields: Any) -> str:
    empty = dict.fromkeys(("step", "participant", "percent", "seconds_left", "memory_mb"))
    return json.dumps({
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(), "event": getattr(record, "event", "message"),
        **empty, **fields, "message": message,
    }, ensure_ascii=False)


class TerminalHandler(logging.Handler):
    """Prints messages above the lines of running steps, which stay at the bottom.

    Parameters
    ----------
    stream : text stream
        A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        super().__init__()
        self.console = Console(file=stream, highlight=False, markup=False, emoji=False)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message; progress is in the lines already."""
        if getattr(record, "event", None) != "progress":
            with contextlib.suppress(OSError):
                self.console.print(self.format(record), soft_wrap=True)

    @contextlib.contextmanager
    def live(self, render: Callable[[], RenderableType]) -> Iterator[None]:
        """Show what *render* returns, twice a second, until the end of the block."""
        from rich.live import Live

        with Live(get_renderable=render, console=self.console, refresh_per_second=2,
                  transient=True):
            yield


def asked_format(words: Sequence[str]) -> str:
    """Return the value of ``--log-format``, also where other options are wrong."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--log-format")
    try:
        # Names of options may be written with _, too; other values are not read here.
        found = finder.parse_known_args([word.replace("_", "-") for word in words])[0].log_format
    except (argparse.ArgumentError, SystemExit):
        return FORMATS[0]
    return found if found in FORMATS else FORMATS[0]


def screen_handler(log_format: str) -> logging.Handler:
    """Make the handler for standard error: JSON, a terminal, or plain lines."""
    terminal = sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    handler = (
        TerminalHandler(sys.stderr) if terminal and log_format != "json"
        else logging.StreamHandler(sys.stderr)
    )
    handler.setFormatter(
        JsonFormatter() if log_format == "json"
        else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    return handler


def set_up_logging(verbosity: int, log_format: str) -> None:
    """Show messages of the program; with -v also those of Nipype, with -vv debug messages."""
    logging.getLogger().handlers[:] = [screen_handler(log_format)]
    # On a full disk each line for the log file would otherwise print a traceback.
    logging.raiseExceptions = False
    LOGGER.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)


def quiet_libraries(verbosity: int) -> None:
    """Undo log handlers and levels of libraries; show what they say only with -v."""
    from bids_decoder.workflows.worker import configure_logging

    configure_logging(
        logging.getLogger().handlers[0], LOGGER.level,
        logging.INFO if verbosity else logging.CRITICAL,
    )


def quiet_nipype(verbosity: int) -> None:
    """Import Nipype, and undo its own log handler and levels."""
    import nipype  # noqa: F401

    quiet_libraries(verbosity)


@contextlib.contextmanager
def log_file(path: Path, log_format: str) -> Iterator[None]:
    """Write all messages to a file, too, until the end of the block."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(
        JsonFormatter() if log_format == "json"
        else logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")
    )
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def tell(
    text: str, log_format: str, event: str = "error", stream: TextIO | None = None
) -> None:
    """Write a last message, whatever state logging is in.

    It does not fail when the terminal or file cannot take the message.

    Parameters
    ----------
    text : str
    log_format : {"text", "json"}
    event : str
        For JSON.
    stream : text stream, optional
        Default: standard error. A signal handler gives the one that the process started with:
        writing to that waits for no lock.
    """
    line = f"bids_decoder: {text}"
    if log_format == "json":
        line = _object(logging.makeLogRecord({"levelname": "ERROR", "event": event}), text)
    with contextlib.suppress(OSError):
        print(line, file=stream or sys.stderr, flush=True)
