"""Single-band references: found, refused, left out."""

import numpy as np
import pytest

from bids_decoder.bids.inputs import input_digests


def sbref(skeleton, run="1", echo="", shape=(4, 4, 3), **image):
    name = f"sub-01/func/sub-01_task-see_run-{run}{echo}_sbref.nii.gz"
    return skeleton.image(name, shape, **image)


def given(dataset):
    return [run.sbref_file and run.sbref_file.name for run in dataset.participants[0].runs]


def test_runs_have_their_own_reference(toy):
    sbref(toy, "1"), sbref(toy, "3")
    dataset = toy.dataset()
    assert given(dataset) == [
        "sub-01_task-see_run-1_sbref.nii.gz", None, "sub-01_task-see_run-3_sbref.nii.gz"
    ]
    decided = [d.value for d in dataset.decisions if d.what == "boldref"]
    assert decided == ["SBRef of 2 of 6 run(s)"]


def test_ignored_references_are_not_used(toy):
    sbref(toy)
    assert given(toy.dataset(preprocessing={"ignore": ("sbref",)})) == [None, None, None]


@pytest.mark.parametrize("image", [{"shape": (4, 4, 2)}, {"affine": [3.0, 3.0, 3.5, 1.0]}])
def test_a_reference_on_another_grid_is_left_out(toy, image):
    if "affine" in image:
        image = {"affine": np.diag(image["affine"])}
    path = sbref(toy, **image)
    dataset = toy.dataset()
    assert given(dataset) == [None, None, None]
    (finding,) = [f for f in dataset.findings if f.what == str(path)]
    assert finding.severity == "warning" and "differ" in finding.why


def test_a_file_that_is_no_image_is_left_out(toy):
    path = sbref(toy)
    path.write_bytes(b"no image")
    dataset = toy.dataset()
    assert given(dataset) == [None, None, None]
    assert [f.severity for f in dataset.findings if f.what == str(path)] == ["warning"]


def test_a_reference_without_content_is_an_error(toy):
    link = toy.root / "sub-01/func/sub-01_task-see_run-1_sbref.nii.gz"
    link.symlink_to("/nowhere/image")
    (finding,) = [f for f in toy.check() if f.severity == "error"]
    assert "without content" in finding.what and "sbref" in finding.why


def test_a_damaged_reference_is_an_error(toy):
    path = sbref(toy)
    path.write_bytes(path.read_bytes()[:-30])
    (finding,) = [f for f in toy.check() if f.severity == "error"]
    assert finding.what == str(path) and finding.participant == "01"


def test_echoes_are_moved_to_the_reference_of_the_first(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.events("sub-01/func/sub-01_task-see_run-1_events.tsv")
    for number, time in enumerate((0.01, 0.02, 0.03), start=1):
        stem = f"sub-01/func/sub-01_task-see_run-1_echo-{number}_bold"
        bare.image(f"{stem}.nii.gz")
        bare.json(f"{stem}.json", {"EchoTime": time})
        sbref(bare, echo=f"_echo-{number}")
    assert given(bare.dataset()) == ["sub-01_task-see_run-1_echo-1_sbref.nii.gz"]
    assert given(bare.dataset(multiecho={"echo": 2})) == [
        "sub-01_task-see_run-1_echo-2_sbref.nii.gz"
    ]


def test_content_of_the_reference_counts(toy):
    def digest():
        runs = input_digests(toy.dataset().participants[0])["runs"]
        return runs["task-see_run-1"].get("sbref")

    assert digest() is None
    sbref(toy)
    first = digest()
    sbref(toy)
    assert first is not None and digest() != first
