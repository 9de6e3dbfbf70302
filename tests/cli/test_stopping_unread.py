"""A stopped call ends although nobody reads what it says."""

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
