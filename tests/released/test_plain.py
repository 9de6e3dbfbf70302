"""Plain arrays: every format, positions of voxels, and faults that the plan names."""

import sys

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import samples
import zarr
from nibabel.affines import voxel_sizes
from scipy.io import savemat

from bids_decoder.errors import FindingsError, InputError
from bids_decoder.files import file_digest
from bids_decoder.interfaces.released import write_beta_series
from bids_decoder.released.base import Stored
from bids_decoder.released.files import measure

WRITERS = {
    "npy": np.save,
    "npz": lambda path, values: np.savez(path, betas=values, other=np.ones((3, 3))),
    "mat": lambda path, values: savemat(path, {"responses": values}),
    "h5": lambda path, values: h5py.File(path, "w").create_dataset("a/b", data=values).file.close(),
    "hdf5": lambda path, values: h5py.File(path, "w").create_dataset("X", data=values).file.close(),
    "zarr": lambda path, values: zarr.create_array(path, data=values, chunks=(5, 10)),
}


@pytest.mark.parametrize("extension", WRITERS)
def test_formats(place, check_read, extension):
    truth = samples.trials()
    place.folder.mkdir()
    WRITERS[extension](place.folder / f"sub-01_betas.{extension}", truth.values)
    samples.write_table(place.folder / "trials.csv", samples.table(truth))
    (person,) = place.dataset().participants
    assert person.label == "01" and len(person.runs) == 4
    check_read(person, truth)


@pytest.mark.parametrize("version", [2, 3])
def test_group_of_a_zarr_store(place, check_read, version):
    truth = samples.trials()
    group = zarr.open_group(place.folder / "sub-01.zarr", mode="w", zarr_format=version)
    group.create_array("betas", data=truth.values, chunks=(7, 24))
    group.create_array("r2", data=np.ones((3, 3)))
    samples.write_table(place.folder / "trials.tsv", samples.table(truth))
    check_read(place.dataset().participants[0], truth)
    assert place.plan().record["overlap"]["images"]["n_volumes"] == 24


def test_zarr_store_with_shards(place, check_read):
    truth = samples.trials()
    place.folder.mkdir()
    zarr.create_array(
        place.folder / "sub-01.zarr", data=truth.values, chunks=(5, 6), shards=(10, 12)
    )
    samples.write_table(place.folder / "trials.tsv", samples.table(truth))
    check_read(place.dataset().participants[0], truth)


def test_change_of_a_zarr_store_is_noticed(tmp_path):
    store = zarr.create_array(tmp_path / "a.zarr", data=np.ones((6, 4)), chunks=(2, 4))
    before = file_digest(tmp_path / "a.zarr")
    assert file_digest(tmp_path / "a.zarr") == before
    store[5, 3] = 2.0
    assert file_digest(tmp_path / "a.zarr") != before


def test_chunks_that_are_not_there_are_no_zeros(place):
    place.folder.mkdir()
    truth = samples.trials()
    zarr.create_array(place.folder / "sub-01.zarr", data=truth.values, chunks=(8, 24))
    samples.write_table(place.folder / "trials.tsv", samples.table(truth))
    (place.folder / "sub-01.zarr/c/1/0").unlink()
    ((code, text),) = place.errors()
    assert code == 65 and "1 of 3 chunks are not there" in text


def test_zarr_that_is_not_installed(place, monkeypatch):
    place.folder.mkdir()
    WRITERS["zarr"](place.folder / "sub-01.zarr", np.ones((4, 3)))
    samples.write_table(place.folder / "trials.tsv", pd.DataFrame({"stimulus": list("abcd")}))
    monkeypatch.setitem(sys.modules, "zarr", None)
    ((code, text),) = place.errors()
    assert code == 66 and "package zarr" in text


def test_matrix_of_matlab_is_turned(place, check_read):
    truth = samples.trials()
    place.folder.mkdir()
    samples.matlab73(place.folder / "sub-01.mat", betas=truth.values)
    samples.write_table(place.folder / "sub-01_trials.tsv", samples.table(truth))
    check_read(place.dataset().participants[0], truth)


def test_folders_of_participants_and_names_without_prefix(place, check_read):
    truth = samples.trials()
    (place.folder / "sub-07").mkdir(parents=True)
    np.save(place.folder / "sub-07/betas.npy", truth.values)
    samples.write_table(place.folder / "sub-07/trials.tsv", samples.table(truth))
    np.save(place.folder / "S_8_betas.npy", truth.values)
    samples.write_table(place.folder / "trials.tsv", samples.table(truth))
    people = place.dataset().participants
    assert [person.label for person in people] == ["07", "S8"]
    for person in people:
        check_read(person, truth)


def test_mask_gives_positions(place, tmp_path):
    truth, mask = samples.trials(), samples.mask_of(24)
    place.folder.mkdir()
    np.save(place.folder / "sub-01.npy", truth.values)
    samples.write_table(place.folder / "trials.tsv", samples.table(truth))
    samples.save_image(place.folder / "mask.nii.gz", mask.astype(np.uint8))
    (person,) = place.dataset().participants
    runs = [run.released for run in person.runs]
    targets = [tmp_path / f"run{number}.nii.gz" for number in range(4)]
    write_beta_series(runs, targets, ["file"] * 4)
    images = [nib.load(path) for path in targets]
    volumes = np.concatenate([image.get_fdata(dtype=np.float32) for image in images], axis=-1)
    np.testing.assert_array_equal(volumes, samples.on_grid(truth.values, mask))
    np.testing.assert_array_equal(images[0].affine, samples.AFFINE)
    assert person.runs[0].header.shape == (4, 5, 6, 6)


@pytest.mark.parametrize("extension", ["npy", "tsv"])
def test_coordinates_give_positions(place, extension):
    truth, mask = samples.trials(), samples.mask_of(24)
    places = np.argwhere(mask) @ samples.AFFINE[:3, :3] + [-10.0, 5.0, 0.5]
    order = np.random.default_rng(1).permutation(24)
    place.folder.mkdir()
    np.save(place.folder / "sub-01.npy", truth.values[:, order])
    samples.write_table(place.folder / "trials.tsv", samples.table(truth))
    if extension == "npy":
        np.save(place.folder / "sub-01_coordinates.npy", places[order])
    else:
        samples.write_table(
            place.folder / "coordinates.tsv", pd.DataFrame(places[order], columns=list("XYZ"))
        )
    released = place.dataset().participants[0].runs[0].released
    grid = released.responses.grid
    np.testing.assert_allclose(grid.coordinates, places)
    np.testing.assert_allclose(voxel_sizes(grid.affine), [2.0, 2.0, 2.5])
    np.testing.assert_array_equal(released.responses.columns, np.argsort(order))


def test_without_positions_the_grid_is_a_container(place):
    samples.plain(place.folder)
    grid = place.dataset().participants[0].runs[0].released.responses.grid
    assert grid.mask.shape == (24, 1, 1) and not grid.has_geometry


def test_many_voxels_without_positions_are_written(tmp_path, place):
    place.folder.mkdir()
    values = np.arange(2 * 33_000, dtype=np.float32).reshape(2, -1)
    np.save(place.folder / "sub-01.npy", values)
    samples.write_table(place.folder / "trials.tsv", pd.DataFrame({"stimulus": ["a", "b"]}))
    runs = [run.released for run in place.dataset().participants[0].runs]
    write_beta_series(runs, [tmp_path / "b.nii.gz"], ["x"])
    np.testing.assert_array_equal(
        nib.load(tmp_path / "b.nii.gz").get_fdata()[:, 0, 0].T, values
    )


def test_plan_says_what_was_recognised(place):
    samples.plain(place.folder)
    plan = place.plan()
    found = {d.what: d for d in plan.decisions}
    assert "plain arrays" in found["source of responses"].value
    assert "2 participant(s), 8 run(s), 48 trials" in found["source of responses"].reason
    assert plan.study.dataset.source == "betas"
    assert plan.record["overlap"]["images"]["n_volumes"] == 48


def test_all_faults_at_once(place):
    samples.plain(place.folder, ("01", "02", "03", "04", "05", "06", "07", "08"))
    folder = place.folder
    truth = samples.trials()
    np.save(folder / "sub-01_betas.npy", truth.values[:, :20].T)
    np.save(folder / "sub-02_betas.npy", truth.values.astype(complex))
    content = (folder / "sub-03_betas.npy").read_bytes()
    (folder / "sub-03_betas.npy").write_bytes(content[:-100])
    samples.write_table(folder / "sub-04_trials.tsv", samples.table(truth)[:-1])
    (folder / "sub-05_trials.tsv").unlink()
    np.save(folder / "sub-06_betas.npy", np.full_like(truth.values, np.nan))
    (folder / "sub-07_betas.npy").unlink()
    (folder / "sub-07_betas.npy").symlink_to(folder / "nowhere.npy")
    errors = place.errors()
    text = "\n".join(what for _, what in errors)
    assert {code for code, _ in errors} == {65, 66}
    for label, word in (
        ("01", "seems to be transposed: 20 trials of 24 voxels"), ("02", "complex128"),
        ("03", "damaged or truncated"), ("04", "24 trials, but"), ("05", "no table of trials"),
        ("06", "100% of the voxels are not finite"), ("07", "there is no such file"),
    ):
        (line,) = [line for line in text.splitlines() if f"sub-{label}" in line]
        assert word in line
    assert len(errors) == 7


@pytest.mark.parametrize(("change", "word"), [
    (lambda folder: samples.save_image(folder / "mask.nii.gz", np.ones((2, 2, 2), np.uint8)),
     "24 voxels, but"),
    (lambda folder: samples.save_image(folder / "mask.nii.gz", np.zeros((4, 5, 6), np.uint8)),
     "0 voxels above 0"),
    (lambda folder: (folder / "mask.nii.gz").write_bytes(b"no image"), "damaged"),
    (lambda folder: np.save(folder / "coordinates.npy", np.ones((24, 3))),
     "not those of different voxels"),
    (lambda folder: np.save(folder / "coordinates.npy", np.ones((23, 3))), "expected (24, 3)"),
    (lambda folder: samples.write_table(
        folder / "coordinates.csv", pd.DataFrame({"x": [1.0], "y": [1.0]})), "no columns x, y"),
])
def test_faults_of_positions(place, change, word):
    samples.plain(place.folder, ("01",))
    change(place.folder)
    (error,) = place.errors()
    assert error[0] == 65 and word in error[1]


@pytest.mark.parametrize(("write", "code", "word"), [
    (lambda path: np.savez(path.with_suffix(".npz"), a=np.ones((2, 3)), b=np.ones((2, 3))), 65,
     "which array holds the responses"),
    (lambda path: np.save(path, np.ones((2, 3, 4))), 65, "a matrix has two axes"),
    (lambda path: np.save(path, np.array([{"a": 1}])), 65, "Python objects in dtype"),
    (lambda path: path.with_suffix(".h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 100), 65,
     "damaged or truncated"),
    (lambda path: path.with_suffix(".mat").write_bytes(b"text"), 65, "damaged or truncated"),
    (lambda path: path.with_suffix(".zarr").mkdir(), 65, "damaged or truncated"),
    (lambda path: zarr.create_array(path.with_suffix(".zarr"), data=np.ones((2, 3), complex)), 65,
     "no array of numbers"),
])
def test_faults_of_arrays(place, write, code, word):
    place.folder.mkdir()
    write(place.folder / "sub-01.npy")
    samples.write_table(place.folder / "trials.tsv", pd.DataFrame({"stimulus": ["a", "b"]}))
    (error,) = place.errors()
    assert error[0] == code and word in error[1]


def test_faults_of_others_are_warnings(place):
    samples.plain(place.folder)
    (place.folder / "sub-02_trials.tsv").unlink()
    place.set("execution", participant_label=("01",))
    assert any("sub-02" in finding.what for finding in place.plan().findings)
    place.set("execution", participant_label=("02",))
    assert (66, 1) in {(code, text.count("no table of trials")) for code, text in place.errors()}


@pytest.mark.parametrize("place_of", ["sub-03_trials.tsv", "sub-03/trials.tsv"])
def test_tables_without_responses_are_named(place, place_of):
    truth = samples.plain(place.folder, ("01",))
    assert place.plan()
    samples.write_table(place.folder / place_of, samples.table(truth["01"]))
    ((code, text),) = place.errors()
    assert code == 66 and "sub-03" in text and "no array sub-03*" in text
    place.set("execution", participant_label=("01",))
    assert any("no array sub-03*" in finding.why for finding in place.plan().findings)


def test_two_arrays_of_a_participant(place):
    samples.plain(place.folder, ("01",))
    np.save(place.folder / "sub-01_responses.npy", np.ones((24, 24)))
    assert {code for code, _ in place.errors()} == {65}


def test_unknown_folder_lists_what_is_understood(place):
    place.folder.mkdir()
    (place.folder / "notes.txt").write_text("hello")
    ((code, text),) = place.errors()
    assert code == 64 and "notes.txt" in text
    with pytest.raises(FindingsError) as caught:
        place.plan()
    assert "arrays (sub-<label>.npy" in caught.value.findings[0].fix


def test_absent_folder(place):
    ((code, text),) = place.errors()
    assert code == 66 and "there is no such folder" in text


def test_arrays_of_text_and_objects_beside_the_matrix(place, check_read):
    truth = samples.trials()
    place.folder.mkdir()
    objects = np.array([{"a": 1}, None], dtype=object)
    np.savez(place.folder / "sub-01.npz", matrix=truth.values, data=np.full((24, 2), "a"),
             labels=objects)
    samples.write_table(place.folder / "trials.csv", samples.table(truth))
    check_read(place.dataset().participants[0], truth)


def test_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
    np.savez(tmp_path / "sub-01.npz", betas=np.ones((2, 3)))

    def fail(*args, **kwargs):
        raise MemoryError("Unable to allocate 40 GiB")

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(InputError, match="not enough memory to read it: Unable") as caught:
        measure(Stored(tmp_path / "sub-01.npz", "betas"))
    assert "damaged" not in str(caught.value)


def test_names_with_the_same_label_are_refused(place):
    samples.plain(place.folder, ("01",))
    table = samples.table(samples.trials())
    table["session"] = table["session"].map({"1": "a_b", "2": "ab"})
    table["run"] = table["run"].map({"1": "1-1", "2": "11", "3": "3", "4": "4"})
    samples.write_table(place.folder / "sub-01_trials.tsv", table)
    ((code, text),) = place.errors()
    assert code == 65
    assert "session a_b and ab would be session ab" in text
    assert "run 1-1 and 11 would be run 11" in text


def test_whole_numbers_with_decimals(place):
    samples.plain(place.folder, ("01",))
    table = samples.table(samples.trials())
    table["run"] = table["run"].map({"1": "1.0", "2": "10", "3": "3.0", "4": "4"})
    samples.write_table(place.folder / "sub-01_trials.tsv", table)
    runs = place.dataset().participants[0].runs
    assert sorted(run.run for run in runs) == ["1", "10", "3", "4"]
