"""Files of bdpy: design, regions, positions, several files, faults."""

import sys

import h5py
import numpy as np
import pytest
import samples

from bids_decoder.bids.label_files import describe_file
from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.interfaces.regions import PlacedLabels, collect_regions
from bids_decoder.released import bdpy_files


@pytest.mark.parametrize(("name", "old"), [
    ("Subject3.h5", False), ("Subject3.h5", True), ("Subject3.mat", True),
])
def test_generic_object_decoding(place, check_read, name, old):
    truth, mask = samples.trials(), samples.mask_of(24)
    places = samples.bdpy(place.folder / name, truth, mask, old)
    dataset = place.dataset()
    (person,) = dataset.participants
    assert person.label == "3"
    truth.stimuli = [f"n01518878_{int(name[-1]) + 42}" for name in truth.stimuli]
    check_read(person, truth)
    grid = person.runs[0].released.responses.grid
    np.testing.assert_allclose(grid.coordinates, places)
    tables = [run.released.table for run in person.runs]
    assert [set(table["split"]) for table in tables] == [{"train"}] * 3 + [{"test"}]
    assert any("regions in the files: V1, VC" in d.value for d in dataset.decisions)


@pytest.mark.parametrize("name", ["Subject3.h5", "Subject3.mat"])
def test_regions_of_a_file_are_label_files(place, name):
    truth = samples.trials()
    places = samples.bdpy(place.folder / name, truth, old_names=name.endswith("mat"))
    grid = place.dataset().participants[0].runs[0].released.responses.grid
    file = describe_file(place.folder / name / "ROI_V1")
    (region,) = collect_regions([PlacedLabels(file)], grid)
    assert (region.name, file.stored_in) == ("ROI_V1", (place.folder / name,))
    np.testing.assert_allclose(grid.coordinates[region.voxels], places[:10])
    with pytest.raises(InputError, match="no such region; regions: ROI_V1, ROI_VC"):
        collect_regions([PlacedLabels(describe_file(place.folder / name / "ROI_V9"))], grid)


def test_region_of_another_file_is_refused(tmp_path):
    h5py.File(tmp_path / "other.h5", "w").create_dataset("x", data=[1.0]).file.close()
    with pytest.raises(InputError, match="holds no dataset and metadata"):
        bdpy_files.read_region(tmp_path / "other.h5", "ROI_V1")


def test_positions_off_a_grid_are_left_out(place):
    samples.bdpy(place.folder / "S1.h5", samples.trials())
    with h5py.File(place.folder / "S1.h5", "a") as file:
        keys = [key.decode() for key in file["metadata/key"][()]]
        file["metadata/value"][keys.index("voxel_x"), 7:9] += 0.37
    dataset = place.dataset()
    assert not dataset.participants[0].runs[0].released.responses.grid.has_geometry
    assert any("voxels have no positions" in d.value for d in dataset.decisions)


def test_text_of_numbers(place):
    samples.bdpy(place.folder / "sub-01_Training.h5", samples.trials())
    with h5py.File(place.folder / "sub-01_Training.h5", "a") as file:
        keys = [b"stimulus_name" if key == b"Label" else key for key in file["metadata/key"][()]]
        del file["metadata/key"]
        file["metadata/key"] = keys
        labels = np.unique(file["dataset"][:, 3])
        for label in labels:
            file[f"vmap/stimulus_name/{label}"] = f"a picture of {label:.6f}"
    names = place.dataset().participants[0].runs[0].released.table["stimulus"]
    assert set(names) == {f"a picture of {label:.6f}" for label in labels}


def test_several_files_are_tasks(place):
    samples.bdpy(place.folder / "sub-01_perceptionTraining.h5", samples.trials())
    samples.bdpy(place.folder / "sub-01_perceptionTest.h5", samples.trials(1))
    runs = place.dataset().participants[0].runs
    assert {run.task for run in runs} == {"perceptionTraining", "perceptionTest"}
    assert any("several tasks" in text for _, text in place.errors())
    place.set("execution", task_id=("perceptionTraining", "perceptionTest"))
    assert len(place.plan().study.tables["01"]) == 48


def test_faults(place):
    for subject in (1, 2, 3):
        samples.bdpy(place.folder / f"Subject{subject}.h5", samples.trials())
    with h5py.File(place.folder / "Subject1.h5", "a") as file:
        values = file["metadata/value"][()]
        del file["metadata/value"]
        file["metadata/value"] = values[:, :-1]
    for subject, old, new in ((2, b"VoxelData", b"Voxels"), (3, b"Label", b"Other")):
        with h5py.File(place.folder / f"Subject{subject}.h5", "a") as file:
            keys = [new if key == old else key for key in file["metadata/key"][()]]
            del file["metadata/key"]
            file["metadata/key"] = keys
    errors = place.errors()
    for subject, word in ((1, "28 columns"), (2, "no column is marked VoxelData"),
                          (3, "no key names the stimulus")):
        (found,) = [error for error in errors if f"Subject{subject}" in error[1]]
        assert found[0] == 65 and word in found[1]


def test_files_that_are_cut_off_are_named(place):
    for subject in (1, 2):
        samples.bdpy(place.folder / f"Subject{subject}.h5", samples.trials())
    path = place.folder / "Subject2.h5"
    path.write_bytes(path.read_bytes()[:-200])
    ((code, text),) = place.errors()
    assert code == 65 and "Subject2.h5" in text and "damaged or truncated" in text
    (place.folder / "Subject1.h5").unlink()
    ((code, text),) = place.errors()
    assert code == 65 and "these files cannot be read: Subject2.h5" in text


def test_trials_without_a_type_are_of_no_split(place):
    samples.bdpy(place.folder / "S1.h5", samples.trials())
    with h5py.File(place.folder / "S1.h5", "a") as file:
        file["dataset"][:3, 0] = np.nan
    runs = place.dataset().participants[0].runs
    split = [side for run in runs for side in run.released.table["split"]]
    assert split == [None] * 3 + ["train"] * 15 + ["test"] * 6


def test_absence_of_h5py_is_named(place, monkeypatch):
    samples.bdpy(place.folder / "S1.h5", samples.trials())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingInputError, match="h5py, which is not installed"):
        bdpy_files.recognise(place.folder)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + b"0" * 100, bytes(200)])
@pytest.mark.parametrize("extension", ["h5", "mat"])
def test_other_files_are_not_recognised(tmp_path, content, extension):
    (tmp_path / f"S1.{extension}").write_bytes(content)
    assert not bdpy_files.recognise(tmp_path)
