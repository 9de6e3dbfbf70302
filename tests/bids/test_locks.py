import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bids_decoder.bids.locks import all_locks, participant_lock, remove_locks_of
from bids_decoder.errors import BidsDecoderError, ExitCode, FindingsError

HERE = {"host": socket.gethostname(), "pid_namespace": str(Path("/proc/self/ns/pid").readlink())}


def leave_lock(output_dir, label, **owner):
    lock = output_dir / "logs/locks" / label
    lock.mkdir(parents=True)
    (lock / "owner.json").write_text(json.dumps(owner))
    return lock


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_lock_is_held_and_given_back(tmp_path):
    with participant_lock(tmp_path, "01") as lock:
        owner = json.loads((lock / "owner.json").read_text())
        assert owner["pid"] == os.getpid() and owner["host"] == socket.gethostname()
        with participant_lock(tmp_path, "02"):
            pass
        with pytest.raises(BidsDecoderError) as caught, participant_lock(tmp_path, "01"):
            pass
        assert caught.value.code == ExitCode.TRY_AGAIN
        assert f"rm -r '{lock}'" in caught.value.finding.fix and lock.exists()
    assert list((tmp_path / "logs/locks").iterdir()) == []


def test_all_locks_that_others_hold_are_named_at_once(tmp_path):
    for label in ("02", "group", "call-0123"):
        leave_lock(tmp_path, label, host="elsewhere", pid=1, time="x")
    with pytest.raises(FindingsError) as caught, all_locks(
        tmp_path, ["01", "02", "group", "call-0123"]
    ):
        pass
    assert [found.what.partition(" is being")[0] for found in caught.value.findings] == [
        "participant 02", "the group", "the work folder of this call",
    ]
    assert caught.value.code == ExitCode.TRY_AGAIN
    assert not (tmp_path / "logs/locks/01").exists()
    with all_locks(tmp_path, ["01", "03"]):
        assert (tmp_path / "logs/locks/01").exists()
    assert not (tmp_path / "logs/locks/03").exists()


def test_one_of_two_calls_at_once_gets_all_locks(tmp_path):
    labels = [f"{number:02d}" for number in range(8)]

    def run(barrier, decided, got):
        barrier.wait()
        try:
            with all_locks(tmp_path, labels):
                got.append(True)
                decided.wait()
        except FindingsError:
            decided.wait()

    for _ in range(20):
        got, barrier, decided = [], threading.Barrier(2), threading.Barrier(2)
        threads = [threading.Thread(target=run, args=(barrier, decided, got)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert got == [True]


def test_lock_goes_when_the_work_fails(tmp_path):
    with pytest.raises(RuntimeError), participant_lock(tmp_path, "01"):
        raise RuntimeError
    with participant_lock(tmp_path, "01"):
        pass


def test_lock_of_a_dead_process_is_removed(tmp_path, caplog):
    leave_lock(tmp_path, "01", **HERE, pid=dead_pid(), time="x")
    with participant_lock(tmp_path, "01") as lock:
        assert json.loads((lock / "owner.json").read_text())["pid"] == os.getpid()
    assert "Removing the lock of 01" in caplog.text
    assert list((tmp_path / "logs/locks").iterdir()) == []


def test_lock_of_a_process_that_nobody_counted_is_removed(tmp_path):
    """Killed, but its parent has not asked for its end: so in containers without an init."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    leave_lock(tmp_path, "01", **HERE, pid=process.pid, time="x")
    with participant_lock(tmp_path, "01") as lock:
        assert json.loads((lock / "owner.json").read_text())["pid"] == os.getpid()
    process.wait()


def test_lock_of_another_host_is_respected(tmp_path):
    leave_lock(tmp_path, "01", host="elsewhere", pid=dead_pid(), time="x")
    with pytest.raises(BidsDecoderError, match="elsewhere"), participant_lock(tmp_path, "01"):
        pass


def test_lock_of_another_container_of_this_host_is_respected(tmp_path):
    """There the same numbers mean other processes, and one that runs cannot be seen from here."""
    other = {**HERE, "pid_namespace": "pid:[1]"}
    leave_lock(tmp_path, "01", **other, pid=dead_pid(), time="x")
    with pytest.raises(BidsDecoderError), participant_lock(tmp_path, "01"):
        pass


def test_only_the_locks_of_one_process_are_removed(tmp_path):
    kept = [leave_lock(tmp_path, "01", **HERE, pid=7), leave_lock(tmp_path, "02", pid=5),
            leave_lock(tmp_path, "03", **{**HERE, "host": "elsewhere"}, pid=5)]
    leave_lock(tmp_path, "04", **HERE, pid=5)
    remove_locks_of(5, tmp_path)
    assert sorted((tmp_path / "logs/locks").iterdir()) == kept
    remove_locks_of(5, tmp_path / "nothing")


def test_lock_without_owner_is_respected(tmp_path):
    (tmp_path / "logs/locks/01").mkdir(parents=True)
    with pytest.raises(BidsDecoderError), participant_lock(tmp_path, "01"):
        pass
