"""What is printed at the end stays short, however many participants there are."""

from pathlib import Path

from bids_decoder.cli.engine import Failure
from bids_decoder.cli.summary import failure_lines, report_lines


def failure(label, why):
    message = f"InputError: sub-{label} task-see: no voxel of /out/sub-{label}/x.nii.gz {why}"
    return Failure(f"bids_decoder_wf.sub_{label}_wf.decode", message, Path(f"/logs/{label}.txt"))


def test_one_cause_is_told_once():
    failures = [failure(f"{k:04d}", "varies") for k in range(1, 1001)]
    (line,) = failure_lines(failures)
    assert line.startswith("failed: bids_decoder_wf.sub_0001_wf.decode, ")
    assert "and 997 more" in line and line.count("\n") == 1
    assert line.endswith("x.nii.gz varies (details: /logs/0001.txt)")


def test_two_causes_are_told_apart():
    lines = failure_lines([failure("01", "varies"), failure("02", "is finite")])
    assert [line.split("\n")[1].split(" (")[0] for line in lines] == [
        "InputError: sub-01 task-see: no voxel of /out/sub-01/x.nii.gz varies",
        "InputError: sub-02 task-see: no voxel of /out/sub-02/x.nii.gz is finite",
    ]


def test_reports_of_many_are_counted():
    pages = [Path(f"/out/sub-{k:05d}.html") for k in range(10_000)] + [Path("/out/group.html")]
    lines = report_lines(pages)
    assert len(lines) == 11
    assert lines[-2:] == ["report: /out/group.html", "report: and 9,991 more in /out"]
    assert report_lines(pages[:2]) == [f"report: {page}" for page in pages[:2]]
