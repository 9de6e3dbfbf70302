"""Runs and volumes that are there twice: between runs and people, whatever the file is like."""

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids import copies as module
from bids_decoder.bids import signatures
from bids_decoder.bids.copies import Volume, find_copies, find_equal_images
from bids_decoder.bids.signatures import (
    MIN_LEVELS,
    match_copies,
    read_volumes,
    run_signatures,
    source_signatures,
    volume_signatures,
)

SHAPE = (6, 5, 4, 12)


def bold(seed, shape=SHAPE, tsnr=100.0):
    """Volumes that differ by noise around one picture, as those of a scanner."""
    picture = np.random.default_rng(0).gamma(2.0, 400.0, (*shape[:3], 1))
    noise = np.random.default_rng(100 + seed).standard_normal(shape)
    return (picture * (1 + noise / tsnr)).round().astype(np.float32)


@pytest.fixture
def people(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0, "TaskName": "see"})
    for sub in ("01", "02"):
        for run in ("1", "2", "3"):
            bare.run(sub, run, data=bold(int(sub) * 10 + int(run)))
    return bare


def found(skeleton):
    dataset = skeleton.dataset()
    return find_copies(dataset, dataset.participants, n_processes=1)


def put(skeleton, sub, run, data, **header):
    path = skeleton.root / f"sub-{sub}/func/sub-{sub}_task-see_run-{run}_bold.nii.gz"
    skeleton.image(str(path.relative_to(skeleton.root)), data=data)
    return path


ONE, TWO, THREE = (("01", f"task-see_run-{k}") for k in "123")


def test_different_runs_share_nothing(people):
    result = found(people)
    assert (result.n_runs, result.n_volumes, result.n_skipped, result.whole) == (6, 72, 0, True)
    assert result.runs == () and result.volumes == ()


def test_copied_run_is_named_with_its_source(people):
    put(people, "01", "3", bold(11))
    result = found(people)
    assert result.runs == ((ONE, THREE),) and result.volumes == ()


def test_copies_between_people_and_three_of_a_kind(people):
    put(people, "02", "2", bold(11))
    put(people, "01", "2", bold(11))
    assert found(people).runs == ((ONE, TWO, ("02", "task-see_run-2")),)


@pytest.mark.parametrize("kind", ["uncompressed", "level", "affine", "int16", "slope", "float64"])
def test_header_compression_and_type_do_not_matter(people, kind):
    data = bold(11)
    path = put(people, "01", "3", data)
    image = nib.Nifti1Image(data, np.diag([3.0, 3, 3, 1]))
    image.header["pixdim"][4] = 2.0
    if kind == "affine":
        image = nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1]))
        image.header["descrip"] = b"another one"
    elif kind in ("int16", "float64"):
        image.set_data_dtype(kind)
    elif kind == "slope":
        # Values that whole numbers with a slope only come near to.
        data = data * np.float32(0.7310585)
        put(people, "01", "1", data)
        image = nib.Nifti1Image(data, np.eye(4))
        image.set_data_dtype(np.int16)
    if kind == "uncompressed":
        path.unlink()
        path = path.with_suffix("")
    nib.save(image, path)
    assert found(people).runs == ((ONE, THREE),)


def test_run_without_its_first_volumes_is_a_copy(people):
    put(people, "01", "3", bold(11)[..., 4:])
    assert found(people).runs == ((ONE, THREE),)


def test_single_volumes_are_named(people):
    data = bold(13)
    data[..., 7] = bold(11)[..., 2]
    put(people, "01", "3", data)
    result = found(people)
    assert result.runs == ()
    assert result.volumes == ((Volume(*ONE, 3), Volume(*THREE, 8)),)


def test_volumes_repeated_within_a_run_are_no_copies_of_another(people):
    data = bold(13)
    data[..., 7] = data[..., 6]
    put(people, "01", "3", data)
    result = found(people)
    assert result.runs == () and result.volumes == ()


@pytest.mark.parametrize("fill", [0.0, 7.0, np.nan])
def test_empty_and_constant_volumes_are_no_copies(people, fill):
    for run in ("1", "2", "3"):
        data = bold(10 + int(run))
        data[..., :8] = fill
        put(people, "01", run, data)
    result = found(people)
    assert result.runs == () and result.volumes == ()
    assert (result.n_volumes, result.n_skipped) == (72 - 24, 24)


def test_volumes_with_few_levels_are_not_compared():
    values = np.random.default_rng(0).integers(0, MIN_LEVELS - 1, (400, 3)).astype(np.float32)
    assert np.isnan(volume_signatures(values)).all()


def test_voxels_that_are_not_finite_count_as_zero(people):
    for run in ("1", "3"):
        data = bold(11)
        data[:2] = np.nan
        put(people, "01", run, data)
    assert found(people).runs == ((ONE, THREE),)


def test_smooth_runs_with_little_noise_are_told_apart(people):
    for run in ("1", "2", "3"):
        put(people, "01", run, bold(int(run), (20, 20, 10, 60), tsnr=500.0))
    assert found(people).volumes == ()


def test_damaged_images_are_left_to_other_checks(people):
    path = put(people, "01", "3", bold(11))
    path.write_bytes(path.read_bytes()[:500])
    result = found(people)
    assert result.runs == () and result.n_runs == 5


def test_large_datasets_are_sampled_and_suspects_read_whole(people, monkeypatch):
    read = []
    original = read_volumes

    def spy(path, n_volumes):
        read.append((path.name[:-len("_bold.nii.gz")], n_volumes))
        return original(path, n_volumes)

    monkeypatch.setattr(signatures, "read_volumes", spy)
    monkeypatch.setattr(module, "READ_LIMIT", 1)
    put(people, "01", "3", bold(11))
    # The first volumes alone do not make a copy.
    data = bold(22)
    data[..., :2] = bold(21)[..., :2]
    put(people, "02", "2", data)
    result = found(people)
    assert result.runs == ((ONE, THREE),) and not result.whole
    assert (result.n_runs, result.n_volumes) == (6, 12)
    assert {v.run_group for group in result.volumes for v in group} == {
        "task-see_run-1", "task-see_run-2"}
    whole = {name for name, n_volumes in read if n_volumes is None}
    assert whole == {f"sub-{sub}_task-see_run-{run}"
                     for sub, run in (("01", 1), ("01", 3), ("02", 1), ("02", 2))}


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "int16", "big-endian", "nifti2", "3-D"])
def test_first_volumes_are_read_as_the_whole_image_is(tmp_path, kind):
    data = bold(1) * np.float32(0.7310585)
    make = nib.Nifti2Image if kind == "nifti2" else nib.Nifti1Image
    header = nib.Nifti1Header(endianness=">") if kind == "big-endian" else None
    image = make(data[..., 0] if kind == "3-D" else data, np.eye(4), header)
    if kind == "int16":
        image.set_data_dtype(np.int16)
    path = tmp_path / ("a.nii" if kind == "nii" else "a.nii.gz")
    nib.save(image, path)
    whole, first = read_volumes(path, None), read_volumes(path, 2)
    np.testing.assert_allclose(first, whole[:2], atol=1e-5)
    assert len(first) == (1 if kind == "3-D" else 2)


def test_what_is_no_image_has_no_signature(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    (tmp_path / "a.nii").write_bytes(b"")
    for name in ("a.nii.gz", "a.nii", "absent.nii.gz"):
        assert read_volumes(tmp_path / name, 2) is None
        assert read_volumes(tmp_path / name, None) is None


def test_header_that_promises_more_than_there_is_asks_for_no_memory(tmp_path):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(bold(1), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[40:56] = np.array([4, 32767, 32767, 3000, 100, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(content)
    assert read_volumes(path, None) is None
    assert read_volumes(path, 2) is None


def test_participants_with_the_same_image_are_found_whatever_its_header(tmp_path):
    images = {}
    for number, label in enumerate(["a", "b", "c", "d", "e", "f"]):
        image = nib.Nifti1Image(bold(number)[..., 0], np.eye(4))
        nib.save(image, path := tmp_path / f"{label}.nii.gz")
        images[label] = path
    again = nib.Nifti1Image(bold(0)[..., 0], np.diag([2.0, 2, 2, 1]))
    again.set_data_dtype(np.int16)
    nib.save(again, images.setdefault("g", tmp_path / "g.nii"))
    nib.save(nib.Nifti1Image(bold(2)[..., 0] * 1.5, np.eye(4)), images["d"])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE[:3], np.float32), np.eye(4)), images["e"])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE[:3], np.float32), np.eye(4)), images["f"])
    groups, n_compared = find_equal_images(images, n_processes=1)
    # Images of zeros are not compared.
    assert groups == (("a", "g"),) and n_compared == 5


def test_runs_of_other_datasets_are_recognised_by_their_content(people):
    one, two = people.dataset().participants
    known = source_signatures({"a": one.runs, "b": two.runs})
    assert len(known) == 6 and "sub-a task-see_run-1" in known
    assert match_copies(run_signatures(two.runs), known) == {
        f"task-see_run-{k}": f"sub-b task-see_run-{k}" for k in "123"
    }
    put(people, "02", "2", bold(99))
    changed = run_signatures(people.dataset().participants[1].runs)
    assert sorted(match_copies(changed, known)) == ["task-see_run-1", "task-see_run-3"]
    # The first volume alone does not make a copy, and runs without signatures are none.
    rows = known["sub-a task-see_run-1"]
    other = {"half": [rows[0], [value + 0.1 for value in rows[1]]], "none": []}
    assert match_copies(other, known) == {} and match_copies(changed, {"none": []}) == {}
