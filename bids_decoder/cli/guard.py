"""Outermost process: waits for the working process, and explains why that was killed."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal
import sys
from collections.abc import Callable

from bids_decoder.cli.logs import asked_format, tell
from bids_decoder.cli.run import main
from bids_decoder.cli.stopping import SIGNALS
from bids_decoder.errors import BidsDecoderError, ExitCode, MemoryLackError
from bids_decoder.workflows.worker import end_when_closed

SECONDS_TO_STOP = 8
"""After a signal; clusters and container engines often kill what runs after 10 to 30 seconds.

Two seconds less than Docker leaves by default, for the message and the release of locks.
"""


def start(run: Callable[[], int] = main) -> int:
    """Run the program in a process of its own.

    A process that the system kills, most often because memory ran out, cannot report it. This
    process is small, survives, passes signals on, and reports what happened.

    Parameters
    ----------
    run : callable
        Called in the other process; returns its exit code.

    Returns
    -------
    int
        The exit code of *run*, in both processes.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        end_when_closed(reader)
        try:
            return run()
        finally:
            # All is done and told; ending takes seconds, and a signal must not make it a failure.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
    os.close(reader)
    received = _forward_signals(pid)
    _, status = os.waitpid(pid, 0)
    signal.alarm(0)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    killed_here = received and code == -signal.SIGKILL
    error = _explain_stop(received[0]) if killed_here else _explain(-code)
    _give_back_locks(pid)
    tell(str(error), asked_format(sys.argv[1:]))
    return int(error.code)


def _forward_signals(pid: int) -> list[int]:
    """Pass signals on; kill the process where it does not end within :data:`SECONDS_TO_STOP`.

    Python acts on a signal between two of its instructions; a call of a numerical library is
    one of them, and may take minutes.

    Returns
    -------
    list of int
        The signals that come, in order; it grows.
    """
    received: list[int] = []

    def forward(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if not received:
            signal.alarm(SECONDS_TO_STOP)
        received.append(number)

    def kill(_number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    for number in SIGNALS:
        signal.signal(number, forward)
    return received


def _explain_stop(number: int) -> BidsDecoderError:
    return BidsDecoderError(
        f"stopped ({signal.Signals(number).name})",
        f"within a computation of more than {SECONDS_TO_STOP} s; what was finished before is kept",
        f"run the same command again: bids_decoder {shlex.join(sys.argv[1:])}", ExitCode.TRY_AGAIN,
    )


def _explain(number: int) -> BidsDecoderError:
    from bids_decoder.cli.resources import available_memory_gb

    again = "then run the same command again, it goes on where it stopped"
    name = signal.Signals(number).name
    if number in SIGNALS:
        return BidsDecoderError(
            f"stopped ({name})", "the signal came before anything was computed",
            "run the same command again", ExitCode.TRY_AGAIN,
        )
    if number != signal.SIGKILL:
        return BidsDecoderError(
            f"the program was ended by {name}", "a library failed below Python",
            f"use --nprocs 1 to see in which step, {again}", ExitCode.FAILURE,
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    return MemoryLackError(
        "the program was killed by the system",
        f"usually the memory ran out: its largest process came to {peak:.1f} GB, libraries "
        f"included; container, job or machine has {available_memory_gb():.1f} GB",
    )


def _give_back_locks(pid: int) -> None:
    """Remove the locks that a killed process left behind."""
    from bids_decoder.bids.locks import remove_locks_of
    from bids_decoder.cli.parser import parse_args

    settings, _ = parse_args(None)
    remove_locks_of(pid, settings.execution.output_dir)
