"""What happens when the user or the system stops the program."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bids_decoder.cli.logs import tell
from bids_decoder.errors import BidsDecoderError, ExitCode, name_some
from bids_decoder.markers import why_not_done

if TYPE_CHECKING:
    from bids_decoder.cli.plan import Plan

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

_SECONDS_TO_TELL = 2


# Restoring a signal handler writes out the old one, which would be the whole plan.
@dataclass(repr=False)
class Stopping:
    """What to do and say when one of :data:`SIGNALS` comes.

    Parameters
    ----------
    command : sequence of str
        The command line, for the message.
    log_format : str
    cleanup : ExitStack
        Closed before the program ends.
    plan : Plan or None
        Known once it is computed.
    """

    command: Sequence[str]
    log_format: str
    cleanup: ExitStack
    plan: Plan | None = None

    def message(self, number: int) -> str:
        """Return what was stopped, what is kept, and how to go on."""
        again = f"run the same command again: bids_decoder {shlex.join(self.command)}"
        name = signal.Signals(number).name
        return str(BidsDecoderError(f"stopped ({name})", self._kept(), again, ExitCode.TRY_AGAIN))

    def _kept(self) -> str:
        if self.plan is None:
            return "nothing was computed yet"
        output_dir = self.plan.study.output_dir
        due = [s for job in self.plan.jobs for s in job.stages if s.is_due]
        done = [f"{s.key.unit} {s.key.stage}" for s in due
                if why_not_done(output_dir, s.key) is None]
        if len(done) == len(due):
            return f"all steps are finished and kept in {output_dir}; reports may be missing"
        names = f": {name_some(done)}" if done else ""
        return (
            f"what is finished is kept in {output_dir}, {len(done)} of {len(due)} steps{names}; "
            f"of the others, the parts that were finished are kept in {self.plan.study.work_dir}"
        )

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """End the process at once when a signal comes during the block.

        No exception is raised: Nipype would treat it as the failure of a node and continue.
        """
        before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: Any) -> None:
        # The terminal and the process around this one may both send the signal.
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        for child in multiprocessing.active_children():
            child.kill()
        try:
            self._tell(number, self._clean_up())
        finally:
            _end()

    def _tell(self, number: int, failed: str) -> None:
        if os.isatty(2) and self.log_format == "text":
            # Leave the live lines, and show the cursor that they hid.
            os.write(2, b"\n\x1b[?25h")
        # Writing waits for ever where nobody reads the other end of a pipe.
        signal.signal(signal.SIGALRM, _end)
        # What is said of stopping is the last line: other threads may be about to tell progress.
        logging.disable()
        signal.alarm(_SECONDS_TO_TELL)
        tell(self.message(number) + failed, self.log_format, "stopped", sys.__stderr__)

    def _clean_up(self) -> str:
        """Close ``cleanup``; return what failed, which must not keep the process from ending.

        All of it is done also where a part fails: finds the disk full, or is called in the
        middle of the import of what it needs.
        """
        try:
            self.cleanup.close()
        except OSError:
            return ""
        except Exception as error:
            return f"\nnot all was cleaned up: {type(error).__name__}: {error}"
        return ""


def _end(*_: Any) -> None:
    os._exit(int(ExitCode.TRY_AGAIN))
