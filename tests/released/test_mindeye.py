"""Files of MindEye2: betas, indices of trials in tars, pictures, faults."""

import tarfile

import h5py
import numpy as np
import pytest
import samples

from bids_decoder.released.blocks import read_runs
from bids_decoder.stacks import read_stack, stack_row


@pytest.mark.parametrize("sets", [("train", "new_test"), ("train", "test")])
def test_trials_and_betas(place, sets):
    betas, rows = samples.mindeye(place.folder, 5, sets=sets)
    (person,) = place.dataset().participants
    assert person.label == "05"
    assert [run.run_group for run in person.runs] == [
        f"ses-nsd{session:02d}_task-nsdcore_run-{run:02d}" for session in (1, 2) for run in (1, 2)
    ]
    runs = [run.released for run in person.runs]
    values = np.concatenate([values for _, values in read_runs(runs)])
    np.testing.assert_array_equal(values, betas)
    stimuli = [name for run in runs for name in run.table["stimulus"]]
    assert stimuli == [str(picture) for picture in rows[:, 0]]
    split = [side for run in runs for side in run.table["split"]]
    assert split == ["test" if row % 4 == 0 else "train" for row in range(24)]
    times = [time for run in runs for time in run.table["rt"]]
    assert times == [str(time) if time > 0 else None for time in rows[:, 9]]


def test_new_test_is_preferred_and_holds_out(place):
    samples.mindeye(place.folder, 1, sets=("train", "new_test"))
    old = place.folder / "wds/subj01/test"
    old.mkdir()
    (old / "0.tar").write_bytes(b"never opened")
    whole = place.folder / "wds/subj01/new_test/0.tar"
    (place.folder / "wds/subj01/train/9.tar").write_bytes(whole.read_bytes())
    runs = [run.released for run in place.dataset().participants[0].runs]
    assert sum(side == "test" for run in runs for side in run.table["split"]) == 6


def test_the_renormalised_betas_are_taken(place):
    betas, _ = samples.mindeye(place.folder, 1)
    with h5py.File(place.folder / "betas_all_subj01_fp32.hdf5", "w") as file:
        file["betas"] = 2 * betas
    file = place.dataset().participants[0].runs[0].image_file
    assert file.name == "betas_all_subj01_fp32_renorm.hdf5"


def test_pictures_with_channels_first(place):
    samples.mindeye(place.folder, 1)
    pictures = np.random.default_rng(0).random((6, 3, 8, 9)).astype(np.float16)
    with h5py.File(place.folder / "coco_images_224_float16.hdf5", "w") as file:
        file["images"] = pictures
    assert place.dataset().stimuli_dir == place.folder
    found = read_stack(stack_row(place.folder / "coco_images_224_float16.hdf5/images/4"))
    np.testing.assert_array_equal(found, pictures[4].transpose(1, 2, 0))


def test_faults(place):
    for subject in (1, 2, 3, 4):
        samples.mindeye(place.folder, subject)
    folder = place.folder
    betas = "betas_all_subj{:02d}_fp32_renorm.hdf5"
    path = folder / betas.format(1)
    path.write_bytes(path.read_bytes()[:-100])
    with h5py.File(folder / betas.format(2), "w") as file:
        file["betas"] = np.ones((10, 24), np.float32)
    tar = folder / "wds/subj03/train/0.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    for path in (folder / "wds/subj04").rglob("*.tar"):
        path.unlink()
    errors = place.errors()
    for label, word in (
        ("01", "damaged or truncated"), ("02", "seems to be transposed (24 columns)"),
        ("03", "damaged or truncated"), ("04", "hold no trial"),
    ):
        (found,) = [error for error in errors if f"subj{label}" in error[1]]
        assert found[0] == 65 and word in found[1]


def test_indices_are_needed(place):
    samples.mindeye(place.folder, 1)
    (place.folder / "wds").rename(place.folder / "other")
    ((code, text),) = place.errors()
    assert code == 66 and "indices of trials" in text


@pytest.mark.parametrize(("array", "word"), [
    (np.array(3.0), "shape ()"), (np.ones((0, 17)), "shape (0, 17)"), (np.ones((1, 9)), "(1, 9)"),
    (np.full((1, 17), "a"), "expected numbers"),
    (np.where(np.arange(17) == 5, np.nan, 1.0)[None], "no finite number for row of the betas"),
])
def test_faults_of_behaviour(place, array, word):
    samples.mindeye(place.folder)
    with tarfile.open(place.folder / "wds/subj01/train/0.tar", "a") as archive:
        samples.add_member(archive, "sample9.behav.npy", array)
    ((code, text),) = place.errors()
    assert code == 65 and word in text and "0.tar/sample9.behav.npy" in text
