"""Folders that a call writes to."""

import os

import pytest

from bids_decoder.bids.places import check_places, check_writable, existing_parent
from bids_decoder.errors import ExitCode


def only(findings):
    (finding,) = findings
    return finding


def test_output_not_writable(toy, tmp_path):
    (tmp_path / "file").write_text("x")
    settings = toy.settings(execution={"output_dir": tmp_path / "file/out"})
    assert only(check_places(settings)).code == ExitCode.CANNOT_CREATE
    assert not (tmp_path / "file/out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_read_only(toy, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    settings = toy.settings(execution={"output_dir": tmp_path / "locked/out"})
    assert only(check_places(settings)).code == ExitCode.CANNOT_CREATE


@pytest.mark.parametrize(("place", "good"), [
    ("../out", True), ("derivatives/bids_decoder", True), ("out", False), (".", False),
    ("derivatives", False), ("derivatives/../code", False), ("../ds2", True),
])
def test_output_inside_the_input(toy, place, good):
    settings = toy.settings(execution={"output_dir": toy.root / place})
    assert (check_places(settings) == []) is good
    assert sorted(p.name for p in toy.root.iterdir()) == [
        "dataset_description.json", "sub-01", "sub-02", "task-see_bold.json",
    ]


def test_work_inside_the_input(toy):
    settings = toy.settings(execution={"work_dir": toy.root / "work"})
    found = only(check_places(settings))
    assert "work folder" in found.what
    # A work folder has no place among the derivatives.
    assert "leave -w out" in found.fix and "derivatives" not in found.fix


def test_link_into_the_input_is_seen(toy, tmp_path):
    (tmp_path / "alias").symlink_to(toy.root)
    settings = toy.settings(execution={"output_dir": tmp_path / "alias/out"})
    assert "inside the input" in only(check_places(settings)).why


def test_output_that_is_the_input(toy):
    settings = toy.settings(execution={"output_dir": toy.root})
    assert only(check_places(settings)).why == "is the input itself, which is never written to"
    assert check_writable(settings) == []


def test_nearest_folder_that_exists(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert existing_parent(deep / "c" / "d") == existing_parent(deep) == deep
    dead = tmp_path / "dead"
    dead.symlink_to(tmp_path / "nothing")
    assert existing_parent(dead / "x") == dead
