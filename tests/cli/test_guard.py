"""The process around the program: what it says when the system kills the one that works."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bids_decoder.cli import guard

ROOT = Path(__file__).parents[2]
CODE = """
import json, os, signal, sys, time
from pathlib import Path
from bids_decoder.cli import guard

guard.SECONDS_TO_STOP = {seconds}

def run():
    Path(sys.argv[2], "pid").write_text(str(os.getpid()))
    {body}

sys.exit(guard.start(run))
"""


def guarded(tmp_path, body, seconds=guard.SECONDS_TO_STOP):
    (tmp_path / "out").mkdir()
    code = CODE.format(body=body, seconds=seconds)
    return subprocess.Popen(
        [sys.executable, "-c", code, tmp_path, tmp_path / "out", "participant"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def pid_of(tmp_path):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        path = tmp_path / "out" / "pid"
        if path.is_file() and path.read_text():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError("the program did not start")


@pytest.mark.parametrize(("body", "code"), [
    ("return 0", 0), ("return 75", 75), ("sys.exit(64)", 64), ("raise OSError('x')", 1),
])
def test_exit_code_is_that_of_the_program(tmp_path, body, code):
    process = guarded(tmp_path, body)
    _, text = process.communicate(timeout=60)
    assert process.returncode == code
    assert "killed" not in text


def test_killed_by_the_system(tmp_path):
    process = guarded(tmp_path, "time.sleep(60)")
    pid = pid_of(tmp_path)
    lock = tmp_path / "out" / "logs" / "locks" / "01"
    lock.mkdir(parents=True)
    (lock / "owner.json").write_text(json.dumps({
        "host": socket.gethostname(), "pid": pid,
        "pid_namespace": str(Path("/proc/self/ns/pid").readlink()),
    }))
    os.kill(pid, signal.SIGKILL)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the program was killed by the system\n    why: usually the memory ran out" in text
    assert "--low-mem" in text and "same command again" in text
    assert "Traceback" not in text
    assert not lock.exists()


def test_fault_of_a_library(tmp_path):
    process = guarded(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ended by SIGSEGV" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_reach_the_program(tmp_path, number):
    body = f"signal.signal({int(number)}, lambda *_: os._exit(33)); time.sleep(60)"
    process = guarded(tmp_path, body)
    pid_of(tmp_path)
    time.sleep(0.3)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 33


def test_stopped_before_the_program_listens(tmp_path):
    process = guarded(tmp_path, "signal.signal(15, signal.SIG_DFL); time.sleep(60)")
    pid_of(tmp_path)
    time.sleep(0.3)
    process.terminate()
    _, text = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped (SIGTERM)" in text


def test_signal_after_the_end_changes_nothing(tmp_path):
    """The interpreter takes a while to end; what was told must not be taken back."""
    body = "import atexit; atexit.register(time.sleep, 3); return 0"
    process = guarded(tmp_path, body)
    pid_of(tmp_path)
    time.sleep(0.5)
    process.terminate()
    _, text = process.communicate(timeout=60)
    assert (process.returncode, text) == (0, "")


def test_program_that_does_not_stop_is_killed(tmp_path):
    """A call of a numerical library lets no handler of a signal run before its end."""
    body = "signal.signal(15, lambda *_: None); [time.sleep(1) for _ in range(60)]"
    process = guarded(tmp_path, body, seconds=2)
    pid = pid_of(tmp_path)
    time.sleep(0.3)
    began = time.monotonic()
    process.terminate()
    _, text = process.communicate(timeout=60)
    assert 1 < time.monotonic() - began < 10
    assert process.returncode == 75
    assert "stopped (SIGTERM)\n    why: within a computation of more than 2 s" in text
    assert f"same command again: bids_decoder {tmp_path}" in text
    assert not runs(pid)


def test_program_ends_with_the_process_around_it(tmp_path):
    process = guarded(tmp_path, "time.sleep(60)")
    pid = pid_of(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 20
    while runs(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not runs(pid)


def runs(pid):
    """In a container nobody may count a process that has ended; it is then a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
