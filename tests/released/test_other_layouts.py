"""BOLD5000, THINGS-fMRI and the Natural Object Dataset."""

import numpy as np
import pytest
import samples
from nibabel.affines import voxel_sizes

from bids_decoder.released.blocks import read_runs


def read(person):
    """Responses and stimuli of a participant."""
    runs = [run.released for run in person.runs]
    values = np.concatenate([values for _, values in read_runs(runs)])
    return values, [name for run in runs for name in run.table["stimulus"]]


@pytest.mark.parametrize("form", ["nii.gz", "npy"])
def test_bold5000(place, form):
    expected, names = samples.bold5000(place.folder, form=form)
    (person,) = place.dataset().participants
    values, stimuli = read(person)
    np.testing.assert_array_equal(values, expected)
    assert person.label == "CSI1" and stimuli == names
    assert [len(run.released.table) for run in person.runs] == [37] * 4
    grid = person.runs[0].released.responses.grid
    assert grid.has_geometry == (form == "nii.gz")
    if form == "nii.gz":
        assert [run.session for run in person.runs] == ["01", "01", "02", "02"]
        np.testing.assert_array_equal(grid.mask, samples.mask_of(20))


def test_best_type_of_bold5000(place):
    samples.bold5000(place.folder)
    for path in list(place.folder.glob("*_ses-*.nii.gz")):
        name = path.name.replace("TYPED-FITHRF-GLMDENOISE-RR", "TYPEA-ASSUMEHRF")
        path.with_name(name).write_bytes(b"not opened")
    assert {run.image_file.name[:18] for run in place.dataset().runs} == {"CSI1_GLMbetas-TYPE"}
    assert all("TYPED" in run.image_file.name for run in place.dataset().runs)


def test_repetitions_of_bold5000_are_the_same_picture(place):
    _, names = samples.bold5000(place.folder, form="npy")
    file = next(place.folder.rglob("CSI1_imgnames.txt"))
    file.write_text("\n".join([*names[:-2], f"rep_{names[0]}", "rep_other.jpg"]))
    (person,) = place.dataset().participants
    assert read(person)[1] == [*names[:-2], names[0], "rep_other.jpg"]


def test_faults_of_bold5000(place):
    samples.bold5000(place.folder, "CSI1")
    samples.bold5000(place.folder, "CSI2")
    samples.bold5000(place.folder, "CSI3", "npy")
    samples.bold5000(place.folder, "CSI4", "npy")
    next(place.folder.glob("CSI1_*_ses-01.nii.gz")).unlink()
    next(place.folder.rglob("CSI2_imgnames.txt")).unlink()
    path = next(place.folder.glob("CSI3_*_RHPPA.npy"))
    np.save(path, np.load(path)[:-1])
    names = next(place.folder.rglob("CSI4_imgnames.txt"))
    names.write_text("\n".join(names.read_text().splitlines()[:-3]))
    found = dict.fromkeys(("CSI1", "CSI2", "CSI3", "CSI4"))
    for code, text in place.errors():
        found[next(label for label in found if label in text)] = (code, text)
    assert "sessions: [2]" in found["CSI1"][1]
    assert found["CSI2"][0] == 66 and "imgnames.txt" in found["CSI2"][1]
    assert "[147, 148] trials" in found["CSI3"][1]
    assert "145 names of pictures" in found["CSI4"][1]


def test_things(place, check_read):
    truth = samples.trials()
    mask = samples.things(place.folder, truth)
    (person,) = place.dataset().participants
    check_read(person, truth)
    grid = person.runs[0].released.responses.grid
    np.testing.assert_array_equal(voxel_sizes(grid.affine), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(np.argwhere(grid.mask) + np.argwhere(mask).min(axis=0),
                                  np.argwhere(mask))
    table = person.runs[3].released.table
    assert set(table["split"]) == {"test"} and set(table["label"]) == {"picture"}


def test_faults_of_things(place):
    for label in ("01", "02", "03", "04"):
        samples.things(place.folder, samples.trials(), label)
    place_of = place.folder / "betas_csv"
    path = place_of / "sub-01_ResponseData.h5"
    path.write_bytes(path.read_bytes()[:-500])
    rows = (place_of / "sub-02_StimulusMetadata.csv").read_text().splitlines()
    (place_of / "sub-02_StimulusMetadata.csv").write_text("\n".join(rows[:-2]))
    (place_of / "sub-03_VoxelMetadata.csv").unlink()
    rows = (place_of / "sub-04_VoxelMetadata.csv").read_text().splitlines()
    (place_of / "sub-04_VoxelMetadata.csv").write_text("\n".join(rows[:-1]))
    errors = place.errors()
    for label, code, word in (
        ("01", 65, "damaged or truncated"), ("02", 65, "has 22 rows"),
        ("03", 66, "there is no such table"), ("04", 65, "expected (24, 3)"),
    ):
        (found,) = [error for error in errors if f"sub-{label}" in error[1]]
        assert found[0] == code and word in found[1]


def test_natural_object_dataset(place):
    expected, names = samples.nod(place.folder)
    (person,) = place.dataset().participants
    values, stimuli = read(person)
    np.testing.assert_array_equal(values, expected)
    assert stimuli == names
    assert [run.run_group for run in person.runs] == [
        f"ses-imagenet01_task-imagenet_run-{run}" for run in (1, 2)
    ]
    place.set("execution", stage=("prepare",))
    assert place.plan().study.dataset.source == "betas"


def test_faults_of_natural_object_dataset(place):
    for label in ("01", "02", "03"):
        samples.nod(place.folder, label)
    one, two, three = (sorted(place.folder.rglob(f"sub-{label}/**/*run-1_*"))
                       for label in ("01", "02", "03"))
    one[0].write_bytes(one[0].read_bytes()[:-20])
    two[1].write_text("\n".join(two[1].read_text().splitlines()[:-1]))
    three[1].unlink()
    place.set("execution", stage=("prepare",))
    errors = place.errors()
    for label, code, word in (("01", 65, "truncated"), ("02", 65, "has 4 rows"),
                              ("03", 66, "names of the stimuli")):
        (found,) = [error for error in errors if f"sub-{label}" in error[1]]
        assert found[0] == code and word in found[1]
