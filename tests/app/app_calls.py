"""Calls of the whole program, in this process or in one of its own; none may open a socket."""

import hashlib
import io
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

from PIL import Image
from threadpoolctl import threadpool_limits

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
SHORT = Path(__file__).with_name("short.toml")
PROGRAM = [sys.executable, "-m", "bids_decoder"]

# Refuses network sockets in the process and, through PYTHONPATH, in all processes it starts.
GUARD = """
import os, socket, sys, traceback

def _refuse(event, args):
    network = event == "socket.__new__" and args[1] in (socket.AF_INET, socket.AF_INET6)
    if network or event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        with open(os.environ["SOCKET_LOG"], "a") as log:
            log.write(f"{os.getpid()} {event} {args}\\n" + "".join(traceback.format_stack()))
        raise OSError("no network in this test")

with open(os.environ["SOCKET_LOG"] + ".guarded", "a") as seen:
    seen.write(f"{os.getpid()}\\n")
sys.addaudithook(_refuse)
"""

# What a call imports takes longer than a small call itself.
PRELOADED = """
import os, pkgutil
from importlib import import_module
from pathlib import Path

from bids_decoder.cli.environment import prepare_environment

prepare_environment(Path(os.environ["HOME"]), 1)

import bids.layout, lightning_fabric, nipype.pipeline.plugins.linear, ot, torch._dynamo
import bids_decoder

for module in pkgutil.walk_packages(bids_decoder.__path__, "bids_decoder."):
    import_module(module.name)
"""


@dataclass
class Done:
    """How a call ended."""

    code: int
    text: str
    out: str

    def todo(self):
        """Steps of the plan that were to do, as (unit, stage) -> reason."""
        found = {}
        for line in self.text.splitlines():
            words = line.split(maxsplit=5)
            if len(words) == 6 and words[3:5] == ["to", "do"]:
                found[words[1], words[2]] = words[5]
        return found

    def skipped(self):
        """Steps of the plan that were not to do."""
        rows = [line.split(maxsplit=4) for line in self.text.splitlines()]
        return {(row[1], row[2]) for row in rows if len(row) == 5 and row[3] == "skip"}


def betas_options(folder):
    """Options of calls on a dataset of responses; all have them, so that results are the same."""
    return ["-d", f"betas={folder}", "--features", folder / "features.tsv", "--config-file", SHORT]


@contextmanager
def put_back():
    """Put everything back that a call in this process changes."""
    environ, cwd, has_ipv6 = dict(os.environ), Path.cwd(), socket.has_ipv6
    handlers = list(logging.getLogger().handlers)
    try:
        yield
    finally:
        logging.getLogger().handlers[:] = handlers
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(cwd)
        socket.has_ipv6 = has_ipv6


def draw_nothing(figure, kind="svg"):
    """Return an empty file of the kind, instead of the figure."""
    if kind == "svg":
        return b"<svg/>"
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, kind)
    return file.getvalue()


def first_of_each_kind(seen):
    """Make and render the first figure of each drawing function only.

    Figures take half of a small call. *seen* holds the functions; it is added to.
    """
    from matplotlib.figure import Figure

    from bids_decoder.reports import figures

    make, write = figures._in_style, figures.render

    def make_first(draw, *args, **kwargs):
        name = f"{draw.__module__}.{draw.__qualname__}"
        if name in seen:
            return Figure((1, 1))
        seen.add(name)
        figure = make(draw, *args, **kwargs)
        figure.is_made = True
        return figure

    def write_made(figure, kind="svg"):
        return (write if hasattr(figure, "is_made") else draw_nothing)(figure, kind)

    return mock.patch.multiple(figures, _in_style=make_first, render=write_made)


COMMON = ("inputs", "options", "kill", "reuse", "refusals", "chance", "volumes")
"""Files of tests with the same datasets: those of the fixtures of a session."""

FIGURES = defaultdict(set)
"""Drawing functions whose first figure was made, for each of the other files, and for those."""


def world_of(test):
    """Name the file of a test, or what its datasets are shared by."""
    file = test.partition("::")[0]
    return "common" if Path(file).stem.removeprefix("test_app_") in COMMON else file


def no_reports():
    """Write no reports, which take most of a small call."""
    from bids_decoder.cli import run

    return mock.patch.object(run, "_write_reports", lambda plan: ([], 0))


def call_here(*argv, pages=True):
    """Call the program in this process.

    The first figure of each kind is made for each dataset; calls in processes of their own and
    the tests of reports make all of them. Without *pages* no report is written. Bias fields of T1w
    images, which take a quarter of a call on raw data, are estimated in few iterations: how well is
    seen in the tests of preprocessing. The validator runs in calls in processes of their own.
    """
    from bids_decoder.cli import reading, run
    from bids_decoder.preprocessing import bias

    def refuse(*args, **options):
        attempts.append(args)
        raise OSError("no network in this test")

    attempts, out, err = [], io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        for context in (
            put_back(), redirect_stdout(out), redirect_stderr(err),
            # A process of its own sets this before numpy is imported; here that was long ago.
            threadpool_limits(1),
            first_of_each_kind(FIGURES[world_of(os.environ["PYTEST_CURRENT_TEST"])]),
            mock.patch.object(bias, "_ITERATIONS", [5, 5, 5]),
            mock.patch.object(reading, "validate", lambda root: []),
            mock.patch.object(socket.socket, "connect", refuse),
            mock.patch.object(socket, "getaddrinfo", refuse),
        ):
            stack.enter_context(context)
        if not pages:
            stack.enter_context(no_reports())
        code = run.main([str(word) for word in argv])
    assert attempts == []
    return Done(code, err.getvalue(), out.getvalue())


class Caller:
    """Starts the program with a guard against sockets."""

    def __init__(self, folder, socket_log):
        self.folder, self.socket_log = folder, socket_log
        guard = folder / "guard"
        guard.mkdir()
        (guard / "sitecustomize.py").write_text(GUARD)
        (guard / "preloaded.py").write_text(PRELOADED)
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("OMP_")},
            "PYTHONPATH": os.pathsep.join([str(guard), str(PACKAGE_ROOT)]),
            "SOCKET_LOG": str(self.socket_log), "HOME": str(folder / "nowhere"),
        }
        for name in ("PYTHONHASHSEED", "MPLCONFIGDIR", "XDG_CACHE_HOME", "NIPYPE_CONFIG_DIR"):
            self.environ.pop(name, None)

    def start(self, *argv, **environ):
        """Start a call in a process group of its own."""
        return subprocess.Popen(
            [*PROGRAM, *map(str, argv)], start_new_session=True, text=True, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**self.environ, **environ},
        )

    def fork(self, *argv):
        """Start a call in a process that is forked from one which has imported everything.

        It writes no report.
        """
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(["preloaded"])
        environ = {**self.environ, "SOCKET_LOG": f"{self.socket_log}.forks"}
        with mock.patch.dict(os.environ, environ, clear=True):
            forkserver.ensure_running()
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        process = forks.Process(
            target=run_forked, args=([str(word) for word in argv], self.environ, folder)
        )
        process.start()
        return Forked(process, folder)

    def __call__(self, *argv, **environ):
        process = self.start(*argv, **environ)
        try:
            out, err = process.communicate(timeout=600)
        finally:
            end_group(process)
        return Done(process.returncode, err, out)


def run_forked(argv, environ, folder):
    """Be the program, in a process group of its own; its output goes to files of the folder."""
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = ["bids_decoder", *argv]
    from bids_decoder.cli.guard import start

    with threadpool_limits(1), no_reports():
        sys.exit(start())


class Forked:
    """A process of :meth:`Caller.fork`, with the methods of :class:`subprocess.Popen`."""

    def __init__(self, process, folder):
        self.process, self.folder, self.pid = process, folder, process.pid

    @property
    def returncode(self):
        return self.process.exitcode

    def poll(self):
        return self.process.exitcode

    def wait(self, timeout=None):
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("bids_decoder", timeout)
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        files = [self.folder / name for name in ("out", "err")]
        return tuple(file.read_text() if file.exists() else "" for file in files)


def end_group(process):
    """Kill whatever is left of a call."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(60)


def wait_for(process, condition, seconds=240):
    """Wait until *condition* holds while the call runs; True when it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if condition():
                return True
        except FileNotFoundError:
            pass  # the call tidies up folders while they are searched
        time.sleep(0.02)
    return False


def members(group):
    """Process ids of a process group that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(pgrp) == group and state not in "ZX":
            found.append(int(folder.name))
    return found


def digest(path):
    """SHA256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder):
    """Digest of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path) for path in files}


def derivatives(folder):
    """Digests of everything computed: not reports, figures and logs."""
    return {
        name: value for name, value in tree(folder).items()
        if name.startswith(("sub-", "group")) and "/figures/" not in name
        and not name.endswith((".html", "_report.json")) and not name.startswith("work/")
    }


def times(folder):
    """Time stamps of everything that is no log."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files
        if path.relative_to(folder).parts[0] != "logs"
    }
