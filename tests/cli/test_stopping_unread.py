"""A stopped call ends although nobody reads what it says, or cleaning up fails."""

import signal
import subprocess
import sys

CODE = """
import os, time
from contextlib import ExitStack
from bids_decoder.cli.stopping import Stopping

stopping = Stopping(["x"], "text", ExitStack())
stopping.message = lambda number: "stopped"
with stopping.on_signals():
    os.set_blocking(2, False)
    try:
        while True:
            os.write(2, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(2, True)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_nobody_reads_what_is_said():
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 75
    finally:
        process.kill()
        process.communicate()


FAILS = """
import os, signal, time
from contextlib import ExitStack
from bids_decoder.cli.stopping import Stopping

def fail():
    raise ImportError("half imported")

cleanup = ExitStack()
cleanup.callback(print, "the rest is done", flush=True)
cleanup.callback(fail)
stopping = Stopping(["x"], "text", cleanup)
with stopping.on_signals():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
print("it goes on")
"""


def test_cleaning_up_fails():
    """An error raised here would be taken for that of the node that is running."""
    done = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 75, done.stderr
    assert done.stdout == "the rest is done\n"
    assert "stopped (SIGTERM)" in done.stderr
    assert "not all was cleaned up: ImportError: half imported" in done.stderr
