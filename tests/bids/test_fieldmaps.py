"""Images in fmap/: found, read with their sidecars, and matched with runs."""

from itertools import pairwise
from pathlib import Path

import pytest

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.fieldmaps import FieldmapImage, magnitude_of, partner_of
from bids_decoder.bids.inputs import input_digests

RUN = Path("/data/sub-01/ses-a/func/sub-01_ses-a_task-see_run-1_bold.nii.gz")


@pytest.mark.parametrize(("entry", "expected"), [
    ("ses-a/func/sub-01_ses-a_task-see_run-1_bold.nii.gz", True),
    (["ses-a/func/other.nii.gz", "ses-a/func/sub-01_ses-a_task-see_run-1_bold.nii.gz"], True),
    ("bids::sub-01/ses-a/func/sub-01_ses-a_task-see_run-1_bold.nii.gz", True),
    ("bids:raw:sub-01/ses-a/func/sub-01_ses-a_task-see_run-1_bold.nii.gz", True),
    ("./ses-a/func/sub-01_ses-a_task-see_run-1_bold.nii", True),
    ("ses-a/func/sub-01_ses-a_task-see_run-2_bold.nii.gz", False),
    ("ses-b/func/sub-01_ses-a_task-see_run-1_bold.nii.gz", False),
    ("func/sub-01_ses-a_task-see_run-1_bold.nii.gz", False),
    ("", False), (None, False), (3, False), ([3, None], False),
])
def test_intended_for(entry, expected):
    image = FieldmapImage(Path("/data/sub-01/ses-a/fmap/sub-01_ses-a_dir-AP_epi.nii.gz"),
                          {"IntendedFor": entry})
    assert image.is_intended_for(RUN) == expected


def test_images_that_belong_together():
    names = ("acq-a_phase1", "acq-a_phase2", "acq-b_phase2", "acq-a_magnitude2",
             "acq-a_magnitude1", "acq-b_magnitude2")
    images = [FieldmapImage(Path(f"sub-01_{name}.nii.gz"), {}) for name in names]
    assert partner_of(images[0], images) is images[1]
    assert magnitude_of(images[0], images).name == "sub-01_acq-a_magnitude1.nii.gz"
    assert magnitude_of(images[2], images).name == "sub-01_acq-b_magnitude2.nii.gz"
    assert magnitude_of(FieldmapImage(Path("sub-01_fieldmap.nii.gz"), {}), images) is None


def test_collected_with_inherited_sidecars(toy):
    toy.image("sub-01/fmap/sub-01_dir-AP_epi.nii.gz", (4, 4, 3))
    toy.image("sub-01/fmap/sub-01_dir-PA_epi.nii.gz", (4, 4, 3))
    toy.image("sub-01/func/sub-01_task-see_run-1_sbref.nii.gz", (4, 4, 3))
    toy.image("sub-01/func/sub-01_task-see_run-2_sbref.nii.gz", (4, 4, 3))
    toy.json("epi.json", {"TotalReadoutTime": 0.05})
    toy.json("sub-01/fmap/sub-01_dir-AP_epi.json", {"PhaseEncodingDirection": "j-"})
    toy.json("sub-01/func/sub-01_task-see_run-2_sbref.json", {"B0FieldIdentifier": "pe"})
    first, second = toy.dataset().participants
    assert [image.path.name for image in first.fieldmaps] == [
        "sub-01_dir-AP_epi.nii.gz", "sub-01_dir-PA_epi.nii.gz",
        "sub-01_task-see_run-2_sbref.nii.gz",
    ]
    assert first.fieldmaps[0].metadata == {
        "TotalReadoutTime": 0.05, "PhaseEncodingDirection": "j-",
    }
    assert first.fieldmaps[2].identifiers == ("pe",)
    assert second.fieldmaps == ()


def test_filter_file(toy):
    for name in ("acq-a_dir-AP", "acq-b_dir-AP"):
        toy.image(f"sub-01/fmap/sub-01_{name}_epi.nii.gz", (4, 4, 3))
    path = toy.json("../filter.json", {"fmap": {"acquisition": "b"}})
    person = toy.dataset(execution={"bids_filter_file": path}).participants[0]
    assert [image.path.name for image in person.fieldmaps] == ["sub-01_acq-b_dir-AP_epi.nii.gz"]


def test_digests_change_with_content_and_metadata(toy):
    path = toy.image("sub-01/fmap/sub-01_dir-AP_epi.nii.gz", (4, 4, 3))
    toy.json(str(path.relative_to(toy.root)).replace(".nii.gz", ".json"), {
        "IntendedFor": "func/sub-01_task-see_run-1_bold.nii.gz",
    })
    seen = [input_digests(toy.dataset().participants[0])]
    toy.image(str(path.relative_to(toy.root)), (4, 4, 3))
    seen.append(input_digests(toy.dataset().participants[0]))
    toy.json("epi.json", {"TotalReadoutTime": 0.05})
    seen.append(input_digests(toy.dataset().participants[0]))
    toy.json("task-see_bold.json", {"RepetitionTime": 2.0, "PhaseEncodingDirection": "j"})
    seen.append(input_digests(toy.dataset().participants[0]))
    assert all(a != b for a, b in pairwise(seen))


def test_digests_hold_only_images_that_are_meant_for_a_run(tmp_path):
    def digests(metadata, entry):
        run = BoldRun("01", "a", "see", "1", "raw", {}, metadata, RUN)
        images = [FieldmapImage(tmp_path / f"sub-01_ses-a_{name}.nii.gz", own) for name, own in (
            ("acq-x_phasediff", entry), ("acq-x_magnitude1", {}), ("acq-y_magnitude1", {}),
            ("dir-AP_epi", {"B0FieldIdentifier": "other", "IntendedFor": "func/other.nii.gz"}),
        )]
        found = input_digests(Participant("01", (), (run,), fieldmaps=tuple(images)))
        return [image["name"] for image in found.get("fieldmaps", [])]

    both = ["sub-01_ses-a_acq-x_phasediff.nii.gz", "sub-01_ses-a_acq-x_magnitude1.nii.gz"]
    assert digests({}, {"IntendedFor": f"ses-a/func/{RUN.name}"}) == both
    assert digests({"B0FieldSource": ["pe"]}, {"B0FieldIdentifier": "pe"}) == both
    assert digests({"B0FieldSource": "pe"}, {}) == []


def test_an_unreadable_sidecar_of_a_field_map_is_an_error(toy):
    toy.image("sub-01/fmap/sub-01_dir-AP_epi.nii.gz", (4, 4, 3))
    path = toy.text("sub-01/fmap/sub-01_dir-AP_epi.json", "{")
    (finding,) = [f for f in toy.dataset().findings if f.place == str(path)]
    assert finding.severity == "error"


def test_ignored_field_maps_are_not_read(toy):
    toy.image("sub-01/fmap/sub-01_dir-AP_epi.nii.gz", (4, 4, 3))
    toy.image("sub-01/func/sub-01_task-see_run-1_sbref.nii.gz", (4, 4, 3))
    toy.text("sub-01/fmap/sub-01_dir-AP_epi.json", "{")
    toy.text("sub-01/func/sub-01_task-see_run-1_sbref.json", "{")
    dataset = toy.dataset(preprocessing={"ignore": ("fieldmaps",)})
    assert not [f for f in dataset.findings if f.place and f.place.endswith(".json")]
    assert not dataset.participants[0].fieldmaps
