import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bids_decoder.files import (
    atomic_path,
    content_key,
    file_digest,
    read_json,
    why_no_safetensors,
    write_bytes,
    write_json,
    write_text,
)


def test_file_appears_at_the_end_only(tmp_path):
    target = tmp_path / "a" / "b" / "x.nii.gz"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == target.parent
        assert temporary.name.endswith("x.nii.gz")
        assert not target.exists()
    assert target.read_bytes() == b"half"
    assert [path.name for path in target.parent.iterdir()] == ["x.nii.gz"]


def test_content_is_on_the_disk_before_the_name_and_the_name_at_the_end(tmp_path, monkeypatch):
    target, seen = tmp_path / "x.txt", []

    def sync(descriptor):
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append(("folder" if place == tmp_path else "file", target.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    write_text(target, "new")
    assert seen == [("file", False), ("folder", True)]


def test_failure_leaves_the_old_file(tmp_path):
    target = write_text(tmp_path / "x.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_body_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x.txt"):
        pass


def test_links_are_replaced_not_followed(tmp_path):
    precious = write_text(tmp_path / "precious.txt", "raw data")
    link = tmp_path / "out.txt"
    link.symlink_to(precious)
    write_text(link, "result")
    assert precious.read_text() == "raw data"
    assert not link.is_symlink()
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    write_text(link, "result")
    assert link.read_text() == "result"


def test_killed_writer_leaves_the_old_file(tmp_path):
    target = write_text(tmp_path / "x.txt", "old")
    code = (
        "import os, sys, time\nfrom bids_decoder.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as path:\n"
        "    path.write_text('new' * 1000)\n    print('written', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert target.read_text() == "old"
    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == [".tmp-", "x.txt"]


def test_json_is_readable_and_refuses_what_is_no_json(tmp_path):
    path = write_json(tmp_path / "x.json", {"é": [1, None]})
    assert path.read_text(encoding="utf-8") == '{\n  "é": [\n    1,\n    null\n  ]\n}\n'
    assert read_json(path) == {"é": [1, None]}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"x": float("nan")})
    assert read_json(path) == {"é": [1, None]}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([1]).encode())
    assert read_json(path) == [1]


def test_digest_knows_content_not_place_or_date(tmp_path):
    first = write_bytes(tmp_path / "a.bin", b"content")
    second = shutil.copy(first, tmp_path / "b.txt")
    os.utime(second, (0, time.time() - 1e6))
    assert file_digest(first) == file_digest(second)
    write_bytes(second, b"Content")
    assert file_digest(first) != file_digest(second)


@pytest.mark.parametrize("place", [0, 1 << 19, (1 << 20) - 1])
def test_digest_of_big_gzip_files_sees_every_byte_that_was_packed(tmp_path, place):
    import numpy as np

    content = bytearray(np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8))
    path = write_bytes(tmp_path / "x.nii.gz", gzip.compress(bytes(content), 1, mtime=0))
    before = file_digest(path)
    content[place] ^= 1
    write_bytes(path, gzip.compress(bytes(content), 1, mtime=0))
    assert file_digest(path) != before


def test_key_depends_on_content_not_on_order():
    assert content_key({"a": 1, "b": [1, 2]}) == content_key({"b": [1, 2], "a": 1})
    assert content_key([1, 2]) != content_key([2, 1])
    assert content_key({"a": "1"}) != content_key({"a": 1})


def test_two_writers_with_the_same_number_of_process(tmp_path):
    """As in two containers: each has its own temporary file, and the last one stays."""
    target = tmp_path / "x.txt"
    with atomic_path(target) as first:
        first.write_text("first")
        with atomic_path(target) as second:
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_header_whose_length_begins_like_a_pickle(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes((0x180).to_bytes(8, "little") + b"{}".ljust(0x180))
    assert why_no_safetensors(path) is None
    path.write_bytes(b"\x80\x04" + b"x" * 50)
    assert "pickle" in why_no_safetensors(path)
