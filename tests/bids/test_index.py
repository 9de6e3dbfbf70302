import os
import subprocess
import sys

import pytest

from bids_decoder.bids.layouts import find_files, open_layout
from bids_decoder.errors import ExitCode, InputError


def names(toy, suffix="bold"):
    found = []
    layout = open_layout(toy.root, None, found)
    return [str(p.relative_to(toy.root)) for p in find_files(layout, suffix, {})], found


def test_links_out_of_the_dataset_are_not_followed_and_said(toy, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "func"
    elsewhere.mkdir(parents=True)
    (elsewhere / "sub-03_task-see_run-1_bold.nii.gz").write_bytes(b"")
    before, _ = names(toy)
    (toy.root / "sub-03").symlink_to(elsewhere.parent)
    (toy.root / "everything").symlink_to("/")
    (toy.root / "sub-01" / "ses-1").symlink_to("/")
    found, findings = names(toy)
    assert found == before
    assert {f.place for f in findings} == {
        str(toy.root / "sub-01" / "ses-1"), str(toy.root / "sub-03"),
    }
    assert "outside of the dataset" in findings[0].why
    assert all(f.severity == "warning" for f in findings)


def test_links_to_files_out_of_the_dataset_are_followed(toy, tmp_path):
    path = toy.root / "sub-01/func/sub-01_task-see_run-1_bold.nii.gz"
    kept = tmp_path / "annex"
    path.rename(kept)
    path.symlink_to(kept)
    assert len(names(toy)[0]) == 6


def test_links_in_a_circle_end(toy):
    (toy.root / "sub-01" / "ses-a").symlink_to(toy.root)
    (toy.root / "sub-01" / "ses-b").symlink_to(toy.root / "sub-01")
    (toy.root / "sub-01" / "ses-c").symlink_to("ses-d")
    (toy.root / "sub-01" / "ses-d").symlink_to("ses-c")
    before = len(names(toy)[0])
    for left in ("01", "02"):
        for right in ("01", "02"):
            (toy.root / f"sub-{left}" / f"to{right}").symlink_to(toy.root / f"sub-{right}")
    assert before == 6
    assert len(names(toy)[0]) <= 12


def test_link_within_the_dataset_is_followed_once(toy):
    shared = toy.root / "sub-01" / "other"
    (toy.root / "sub-01" / "func").rename(shared)
    (toy.root / "sub-01" / "func").symlink_to("other")
    (toy.root / "sub-02" / "twice").symlink_to("../sub-01/other")
    _, findings = names(toy)
    assert ["in the dataset already" in f.why for f in findings] == [True]


def test_names_that_are_no_text_are_passed_over(toy):
    name = os.fsdecode(b"sub-01_task-\xff\xfe_bold.nii.gz")
    (toy.root / "sub-01" / "func" / name).write_bytes(b"")
    (toy.root / os.fsdecode(b"sub-\xff")).mkdir()
    assert len(names(toy)[0]) == 6


def test_only_the_path_in_the_dataset_tells_entities(toy, tmp_path):
    outer = tmp_path / "sub-99" / "ses-9" / "anat"
    outer.mkdir(parents=True)
    toy.root.rename(outer / "ds")
    toy.root = outer / "ds"
    layout = open_layout(toy.root)
    assert sorted(layout.get(return_type="id", target="subject")) == ["01", "02"]
    assert len(find_files(layout, "bold", {"session": None}, datatype="func")) == 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_unreadable_folder_is_an_error_of_its_participant(toy):
    folder = toy.root / "sub-02" / "func"
    folder.chmod(0)
    try:
        _, (finding,) = names(toy)
    finally:
        folder.chmod(0o755)
    assert finding.participant == "02" and finding.code == ExitCode.MISSING_INPUT


@pytest.mark.parametrize("content", [
    "[" * 200_000, '{"a":' * 200_000, "{", "[]", "null", '{"GeneratedBy": 3, "DatasetType": '
    '"derivative"}', '{"GeneratedBy": [1], "DatasetType": "derivative"}',
])
def test_damaged_description_is_a_message(toy, content):
    toy.text("dataset_description.json", content)
    try:
        open_layout(toy.root)
    except InputError as error:
        assert "dataset_description.json" in str(error)


def test_index_of_a_large_dataset_is_quick_and_small(tmp_path):
    """Not a clock but the number of rows: each file is one row, and sidecars are not opened."""
    for number in range(300):
        folder = tmp_path / "ds" / f"sub-{number:03d}" / "func"
        folder.mkdir(parents=True)
        for kind in ("bold.nii.gz", "bold.json", "events.tsv", "physio.json", "notes.txt"):
            (folder / f"sub-{number:03d}_task-see_{kind}").write_text("{")
    layout = open_layout(tmp_path / "ds")
    assert len(layout.get(return_type="filename")) == 900


def test_full_disk_at_the_index_is_no_fault_of_the_data(toy):
    """The index is written under a limit of file size, as on a full disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from bids_decoder.bids.layouts import open_layout\n"
        "from bids_decoder.errors import BidsDecoderError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    open_layout(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except BidsDecoderError as error:\n    print(error); sys.exit(int(error.code))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(toy.root), str(toy.root.parent / "db")],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == ExitCode.IO_ERROR, done.stderr
    assert "--bids-database-dir" in done.stdout
