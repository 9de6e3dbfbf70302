"""Pictures in HDF5 stacks, from the id in an events file to pixels."""

import numpy as np
import pytest
from PIL import Image

from bids_decoder.bids.stimulus_files import find_stimulus_files, list_images
from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.stacks import picture_arrays, read_stack, stack_row
from bids_decoder.stimuli.images import load_image, picture_digest
from bids_decoder.stimuli.signatures import PictureSignatures

h5py = pytest.importorskip("h5py")


@pytest.fixture
def stimuli(tmp_path):
    folder = tmp_path / "stimuli"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 9, 12, 3), dtype=np.uint8)
    with h5py.File(folder / "nsd_stimuli.hdf5", "w") as stack:
        stack["imgBrick"] = pixels
        stack["names"] = np.arange(6)
    return folder, pixels


@pytest.mark.parametrize("name", [
    "4", "nsd_stimuli.hdf5#4", "nsd_stimuli.hdf5/imgBrick/4", "nsd_stimuli.hdf5/4",
    "stimuli/nsd_stimuli.hdf5/imgBrick/4",
])
def test_row_is_found_and_read(stimuli, name):
    folder, pixels = stimuli
    found = find_stimulus_files(folder, [name])
    path = found.found[name]
    assert path == folder / "nsd_stimuli.hdf5" / "imgBrick" / "4"
    assert "6 pictures, rows counted from 0" in found.stacks[0]
    np.testing.assert_allclose(load_image(path) * 255, pixels[4], atol=1e-4)
    assert load_image(path, 8).shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["6", "x", "other.hdf5#1", "nsd_stimuli.hdf5/names/1", "1.5"])
def test_what_is_not_in_the_stack_is_absent(stimuli, name):
    assert find_stimulus_files(stimuli[0], [name]).absent == (name,)


def test_bare_rows_need_one_array_and_nothing_else(stimuli):
    folder, pixels = stimuli
    Image.fromarray(pixels[0]).save(folder / "a.png")
    found = find_stimulus_files(folder, ["2", "a", "nsd_stimuli.hdf5#2"])
    assert found.absent == ("2",) and set(found.found) == {"a", "nsd_stimuli.hdf5#2"}


def test_listing_gives_every_picture(stimuli):
    folder, pixels = stimuli
    Image.fromarray(pixels[0]).save(folder / "a.png")
    listed = list_images(folder)
    assert next(iter(listed)) == "a.png" and len(listed) == 7
    assert listed["nsd_stimuli.hdf5/imgBrick/5"] == folder / "nsd_stimuli.hdf5/imgBrick/5"


def test_digest_follows_the_pixels(stimuli):
    folder, pixels = stimuli
    rows = [folder / "nsd_stimuli.hdf5" / "imgBrick" / str(row) for row in range(6)]
    digests = [picture_digest(path) for path in rows]
    assert len(set(digests)) == 6
    pixels[3] = pixels[2]
    with h5py.File(folder / "nsd_stimuli.hdf5", "a") as stack:
        stack["imgBrick"][...] = pixels
    again = [picture_digest(path) for path in rows]
    assert again[3] == digests[2] and again[:3] == digests[:3]


@pytest.mark.parametrize(("pixels", "value"), [
    (np.full((2, 4, 4), 51, np.uint8), 0.2), (np.full((2, 4, 4, 1), 0.2, np.float32), 0.2),
    (np.full((2, 4, 4, 3), 13107, np.uint16), 0.2), (np.full((2, 4, 4, 4), 255, np.uint8), 1.0),
])
def test_kinds_of_pixels(tmp_path, pixels, value):
    with h5py.File(tmp_path / "a.h5", "w") as stack:
        stack["group/x"] = pixels
    assert picture_arrays(tmp_path / "a.h5") == {"group/x": 2}
    assert load_image(tmp_path / "a.h5" / "group" / "x" / "1") == pytest.approx(value, abs=2e-3)


def test_a_dark_picture_of_a_stack_of_16_bits_stays_dark(tmp_path):
    pixels = np.stack([np.full((4, 4), level, np.uint16) for level in (200, 52428)])
    with h5py.File(tmp_path / "a.h5", "w") as stack:
        stack["deep"], stack["flat"] = pixels, pixels[:1]
    assert load_image(tmp_path / "a.h5/deep/0").max() < 0.01
    assert load_image(tmp_path / "a.h5/deep/1") == pytest.approx(0.8, abs=2e-3)
    # Nothing in this array needs more than 8 bits.
    assert load_image(tmp_path / "a.h5/flat/0") == pytest.approx(200 / 255, abs=2e-3)


def test_errors_are_ours(stimuli):
    folder, _ = stimuli
    place = stack_row(folder / "nsd_stimuli.hdf5" / "imgBrick" / "9")
    with pytest.raises(InputError, match="6 pictures"):
        read_stack(place)
    with pytest.raises(MissingInputError, match="no array"):
        read_stack(stack_row(folder / "nsd_stimuli.hdf5" / "other" / "1"))
    (folder / "bad.h5").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="HDF5"):
        picture_arrays(folder / "bad.h5")
    notes = find_stimulus_files(folder, ["bad.h5#1"])
    assert notes.absent == ("bad.h5#1",) and "cannot be read as HDF5" in notes.stacks[0]
    assert stack_row(folder / "nsd_stimuli.hdf5") is None


def test_damaged_files_are_found_beside_good_rows_of_stacks(stimuli):
    folder, pixels = stimuli
    Image.fromarray(pixels[0]).resize((64, 64)).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-200])
    Image.fromarray(pixels[0]).save(folder / "good.png")
    damaged = PictureSignatures().damaged(list_images(folder))
    assert set(damaged) == {"cut.jpg"} and "truncated" in damaged["cut.jpg"]


def test_lack_of_memory_is_no_damage(stimuli, monkeypatch):
    def fail(*args):
        raise MemoryError("Unable to allocate 40 GiB")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", fail)
    for read in (lambda path: read_stack(stack_row(path)), load_image):
        with pytest.raises(MemoryError, match="Unable"):
            read(stimuli[0] / "nsd_stimuli.hdf5" / "imgBrick" / "4")


def test_truth_values_are_black_and_white(tmp_path):
    pixels = np.random.default_rng(0).random((2, 5, 5)) > 0.5
    with h5py.File(tmp_path / "a.h5", "w") as stack:
        stack["pictures"] = pixels
    assert picture_arrays(tmp_path / "a.h5") == {"pictures": 2}
    np.testing.assert_array_equal(load_image(tmp_path / "a.h5/pictures/1")[..., 0], pixels[1])
