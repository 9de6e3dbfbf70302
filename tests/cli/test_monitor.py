"""What a running call shows: on a terminal, in a file, as JSON; and when it is stopped."""

import json
import logging
import os
import pty
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from bids_decoder.cli.logs import JsonFormatter, asked_format, tell
from bids_decoder.cli.monitor import _state, plain, summary_lines
from bids_decoder.cli.stopping import Stopping
from bids_decoder.markers import StageKey, write_marker
from bids_decoder.workflows.progress import Line, Tally

ROOT = Path(__file__).parents[2]
LINES = (
    Line("all", None, 25.0, 90.0, 3000, "1 of 4 nodes done"),
    Line("betas", "01", 50.0, None, 1200, "single_trial"),
    Line("pretrain", None, 0.0, None, 0, "pretraining: epoch 1 of 9"),
)
CALL = """
import logging, os, signal, sys, time
from contextlib import ExitStack
from bids_decoder.cli import monitor
from bids_decoder.cli.logs import set_up_logging
from bids_decoder.cli.stopping import Stopping
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.workflows.progress import NodeLog

class Node:
    fullname = "wf.decode_01_wf.score"
    result = None

monitor.SECONDS_BETWEEN_LINES = monitor._SECONDS_BETWEEN_MEASURES = 0.4
form = sys.argv[1]
set_up_logging(0, form)
log = NodeLog([Node.fullname, "wf.decode_01_wf.fit"])
with ExitStack() as cleanup, Stopping(["a b"], form, cleanup).on_signals():
    with monitor.watched(log):
        log(Node, "start")
        log_progress("chance", unit="permutation")(1, 2)
        time.sleep(1.2)
        logging.getLogger("bids_decoder").warning("something")
        if len(sys.argv) > 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        log(Node, "end")
print("over", file=sys.stderr)
"""


def run(tmp_path, *words, terminal=False):
    """Return the exit code and what was written to standard error."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
    call = [sys.executable, "-c", CALL, *words]
    if not terminal:
        done = subprocess.run(call, env=environ, capture_output=True, text=True, timeout=120,
                              check=False)
        return done.returncode, done.stderr
    ours, theirs = pty.openpty()
    process = subprocess.Popen(call, env=environ, stderr=theirs)
    os.close(theirs)
    parts = []
    while True:
        try:
            parts.append(os.read(ours, 1 << 16))
        except OSError:  # nobody holds the other side any more
            break
    os.close(ours)
    return process.wait(60), b"".join(parts).decode()


def test_terminal_shows_running_steps_and_messages_above_them(tmp_path):
    code, text = run(tmp_path, "text", terminal=True)
    assert code == 0
    assert "chance: permutation 1 of 2" in text and "sub-01" in text and "25 %" in text
    assert "left" in text and " MB" in text and "0 of 2 nodes done" in text
    assert "\x1b[?25l" in text and text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "something" in text and "over" in text
    assert "running: " not in text, "plain lines on progress are for files"


def test_file_gets_plain_lines(tmp_path):
    code, text = run(tmp_path, "text")
    assert code == 0 and "\x1b" not in text and "\r" not in text
    lines = text.splitlines()
    assert any(line.endswith("; running: sub-01 decode 25 %") for line in lines)
    assert any(line.endswith(" something") for line in lines) and lines[-1] == "over"


@pytest.mark.parametrize("terminal", [False, True])
def test_json_is_one_object_per_line(tmp_path, terminal):
    code, text = run(tmp_path, "json", terminal=terminal)
    *lines, last = text.splitlines()
    found = [json.loads(line) for line in lines]
    assert code == 0 and last == "over"
    step = next(one for one in found if one["step"] == "decode")
    assert step["event"] == "progress" and step["participant"] == "01" and step["percent"] == 25
    assert step["message"] == "chance: permutation 1 of 2" and step["memory_mb"] > 1
    assert {"all", "decode"} <= {one["step"] for one in found if one["event"] == "progress"}
    message = next(one for one in found if one["message"] == "something")
    assert (message["level"], message["event"], message["step"]) == ("warning", "message", None)
    assert len({tuple(one) for one in found}) == 1, "all objects have the same fields"


@pytest.mark.parametrize(("form", "terminal"), [("text", True), ("text", False), ("json", False)])
def test_interrupt_says_what_is_kept_and_how_to_go_on(tmp_path, form, terminal):
    code, text = run(tmp_path, form, "stop", terminal=terminal)
    assert code == 75
    if form == "json":
        last = json.loads(text.splitlines()[-1])
        assert last["event"] == "stopped"
        text = last["message"]
    if terminal:
        assert text.rindex("\x1b[?25h") < text.index("stopped"), "the cursor is back"
    assert "stopped (SIGINT)" in text and "nothing was computed yet" in text
    assert "run the same command again: bids_decoder 'a b'" in text
    assert "over" not in text.splitlines() and "Traceback" not in text


def test_message_names_what_is_finished(tmp_path):
    keys = [StageKey(stage, "sub-01", {"x": 1}) for stage in ("preprocess", "betas")]
    stages = tuple(SimpleNamespace(key=key, is_due=True) for key in keys)
    plan = SimpleNamespace(
        study=SimpleNamespace(output_dir=tmp_path, work_dir=tmp_path / "work"),
        jobs=(SimpleNamespace(stages=stages),),
    )
    stopping = Stopping(["/data", "/out"], "text", ExitStack(), plan)
    assert "0 of 2 steps;" in stopping.message(signal.SIGTERM)
    write_marker(tmp_path, keys[0], [])
    text = stopping.message(signal.SIGTERM)
    assert f"kept in {tmp_path}, 1 of 2 steps: sub-01 preprocess;" in text
    assert f"kept in {tmp_path / 'work'}" in text and "bids_decoder /data /out" in text


def test_plain_line():
    assert plain(LINES) == (
        "1 of 4 nodes done, 25 %, about 2 min left, 3,000 MB; "
        "running: sub-01 betas 50 %; group pretrain 0 %"
    )
    assert plain(LINES[:1]) == "1 of 4 nodes done, 25 %, about 2 min left, 3,000 MB"


def test_json_of_failures_and_exceptions():
    record = logging.makeLogRecord({
        "levelname": "ERROR", "msg": "failed: %s", "args": ("wf.a",), "event": "failed",
        "step": ("betas", "01"), "exc_info": (ValueError, ValueError("ä\nb"), None),
    })
    found = json.loads(JsonFormatter().format(record))
    assert (found["event"], found["step"], found["participant"]) == ("failed", "betas", "01")
    assert found["message"].startswith("failed: wf.a\n") and "ä\nb" in found["message"]


@pytest.mark.parametrize(("words", "expected"), [
    ([], "text"), (["--log-format", "json"], "json"), (["--log_format=json", "--nope"], "json"),
    (["--log-format", "xml"], "text"), (["--log-format"], "text"),
])
def test_format_is_known_where_other_options_are_wrong(words, expected):
    assert asked_format(words) == expected


def test_errors_are_json_too(capsys):
    tell("three\nlines", "json")
    found = json.loads(capsys.readouterr().err)
    assert (found["event"], found["level"], found["message"]) == ("error", "error", "three\nlines")


def tallies(n, **fields):
    return {("betas", f"{i:02d}"): Tally(n_nodes=2, n_done=2, seconds=60.0 * i, peak_mb=100 * i)
            for i in range(1, n + 1)}


def test_summary_lists_steps():
    steps = {**tallies(1), ("decode", "01"): Tally(3, 1, 1, 5.0), ("pretrain", None): Tally(3, 0)}
    head, _, *rows = (line.split() for line in summary_lines(steps))
    assert head == ["step", "of", "time", "memory", "state"]
    assert rows == [
        ["betas", "sub-01", "1", "min", "100", "MB", "done"],
        ["decode", "sub-01", "5", "s", "n/a", "failed"],
    ]
    assert summary_lines({}) == []


def test_summary_of_many_participants_is_by_stage():
    _, _, *rows = (line.split() for line in summary_lines(tallies(41)))
    assert rows == [["betas", "41", "units", "21", "min", "4,100", "MB", "done"]]


def test_state_of_many_says_what_failed_and_what_is_not_finished():
    done, partly, failed = Tally(2, 2), Tally(2, 1), Tally(2, 0, 1)
    assert _state([done, done]) == "done"
    assert _state([done, partly, partly]) == "2 not finished"
    assert _state([done, partly, failed]) == "1 failed, 1 not finished"
