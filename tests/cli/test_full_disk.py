"""A full or broken disk is told as such, with code 74, wherever it is met; so is full memory."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bids_decoder.analyses import assemble
from bids_decoder.cli import pages, run
from bids_decoder.cli.engine import Failure
from bids_decoder.cli.plan import Step
from bids_decoder.cli.summary import MOST_KINDS, step_lines
from bids_decoder.errors import ExitCode
from bids_decoder.files import can_write, disk_error, write_json
from bids_decoder.interfaces.arrays import new_array

FULL = OSError(errno.ENOSPC, "No space left on device", "/out/x.json")


def test_cause_is_found_behind_other_errors():
    try:
        try:
            raise FULL
        except OSError as error:
            raise RuntimeError("figure") from error
    except RuntimeError as error:
        assert disk_error(error) is FULL
    assert disk_error(FileNotFoundError(errno.ENOENT, "no")) is None
    assert disk_error(ValueError()) is None


@pytest.mark.parametrize(("error", "code"), [
    (FULL, ExitCode.IO_ERROR), (OSError(errno.EDQUOT, "quota"), ExitCode.IO_ERROR),
    (OSError(errno.EFBIG, "File too large"), ExitCode.IO_ERROR),
])
@pytest.mark.parametrize("stage", [
    "_plan", "_start", "_open_log", "_compute", "_provenance_writer", "_write_reports",
])
def test_every_part_of_a_call_ends_with_74(monkeypatch, tmp_path, capsys, stage, error, code):
    class Quiet:
        def __getattr__(self, name):
            return Quiet()

        def __iter__(self):
            return iter(())

    def fail(*_args, **_kwargs):
        # As libraries do: another error, raised while the first one is handled.
        try:
            raise error
        except OSError as cause:
            raise RuntimeError("while writing") from cause

    (tmp_path / "in").mkdir()
    logs = (tmp_path, {"started": "2026-01-01T00:00:00"})
    for name, result in (("_plan", Quiet()), ("_start", None), ("_open_log", logs),
                         ("_compute", Quiet()), ("_provenance_writer", lambda: None),
                         ("_write_reports", ([], 0))):
        monkeypatch.setattr(run, name, lambda *_a, result=result, **_k: result)
    monkeypatch.setattr(run, "write_json", lambda *_a: None)
    # Provenance is written later, by what is returned.
    monkeypatch.setattr(run, stage, (lambda *_a: fail) if "writer" in stage else fail)
    argv = [str(tmp_path / "in"), str(tmp_path / "out"), "participant", "--from-scratch"]
    assert run.main(argv) == code
    text = capsys.readouterr().err
    assert "free some space" in text
    assert "Traceback" not in text


def test_memory_that_is_not_enough_is_said(monkeypatch, tmp_path, capsys):
    def fail(*_args):
        raise MemoryError("Unable to allocate 9.31 TiB")

    (tmp_path / "in").mkdir()
    monkeypatch.setattr(run, "_plan", fail)
    argv = [str(tmp_path / "in"), str(tmp_path / "out"), "participant", "--from-scratch"]
    assert run.main(argv) == 1
    text = capsys.readouterr().err
    assert "the memory is not enough" in text and "9.31 TiB" in text
    assert "fix: give more memory" in text and "Traceback" not in text


def test_report_on_a_full_disk_is_no_failed_report(monkeypatch, tmp_path):
    (tmp_path / "sub-01").mkdir()
    monkeypatch.setattr(assemble, "build_participant_report", lambda *a, **k: (_ for _ in ()).throw(
        FULL))
    with pytest.raises(OSError, match="No space left"):
        pages.write_pages(tmp_path, ["01"], None)


def test_other_numbers_of_a_node_count_too():
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert Failure("a", f"OSError: [Errno {number}] x", None).disk_is_full
    assert not Failure("a", "OSError: [Errno 2] x", None).disk_is_full


def test_messages_for_a_full_device(tmp_path):
    """Code and end of a call are the same where its messages cannot be written."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bids_decoder", str(tmp_path / "absent"), str(tmp_path / "o"),
             "participant", "--from-scratch"], stderr=full, stdout=full, check=False,
        )
    assert done.returncode == ExitCode.MISSING_INPUT


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB, which needs the right to mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_files_on_a_small_disk(small_disk):
    assert can_write(small_disk)
    assert list(small_disk.iterdir()) == []
    with pytest.raises(OSError, match="No space left"):
        # Mapped without its room being reserved, it would end the process with SIGBUS.
        new_array(small_disk / "betas.npy", (1000, 1000))
    assert list(small_disk.iterdir()) == []
    array = new_array(small_disk / "betas.npy", (100, 100))
    array[:] = 1.0
    array.flush()
    with pytest.raises(OSError, match="No space left"):
        write_json(small_disk / "plan.json", ["x" * 1000] * 1000)
    assert [path.name for path in small_disk.iterdir()] == ["betas.npy"]
    (small_disk / "rest").write_bytes(bytes(100 << 10))
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "more").write_bytes(bytes(200 << 10))
    assert not can_write(small_disk)


def test_steps_of_many_participants_share_lines():
    few = [Step(f"sub-{n:02d}", "betas", True, "not done yet") for n in range(10)]
    assert len(step_lines(few)) == 10
    many = [Step(f"sub-{n:05d}", stage, n > 3, "not done yet" if n > 3 else "done")
            for n in range(10_000) for stage in ("betas", "decode")]
    lines = step_lines([*many, Step("group", "pretrain", True, "not done yet")])
    assert len(lines) == 5
    assert lines[2].split()[:4] == ["sub-00004,", "sub-00005,", "sub-00006", "and"]
    assert "9,993 more" in lines[2]
    odd = [Step(f"sub-{n}", "betas", True, f"sub-{n}_x.nii.gz is missing") for n in range(100)]
    lines = step_lines(odd)
    assert len(lines) == MOST_KINDS + 1
    assert lines[-1].split() == ["and", "80", "other", "step(s)"]
