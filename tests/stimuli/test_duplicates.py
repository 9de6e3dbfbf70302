from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bids_decoder.simulate.images import make_scene
from bids_decoder.stimuli import signatures as module
from bids_decoder.stimuli.duplicates import (
    MIN_FEATURE_DIMS,
    equal_pictures,
    equal_vectors,
    near_pictures,
    near_vectors,
)
from bids_decoder.stimuli.signatures import PictureSignatures


def scene(seed):
    return Image.fromarray(make_scene(seed, 96))


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        scene(seed).save(tmp_path / f"s{seed}.png")
    return tmp_path


def paths_of(folder):
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}


def equal_in(folder):
    return equal_pictures(PictureSignatures().of(paths_of(folder)))


def near_in(folder):
    paths = paths_of(folder)
    return [(p.first, p.second) for p in near_pictures(PictureSignatures().of(paths), paths)]


def test_formats_without_loss_hold_the_same_picture(folder):
    for name, options in (("b.bmp", {}), ("c.tif", {}), ("d.webp", {"lossless": True}),
                          ("e.png", {"compress_level": 0})):
        scene(0).save(folder / name, **options)
    with_alpha = scene(0).convert("RGBA")
    with_alpha.save(folder / "f.png")
    assert equal_in(folder) == [("b.bmp", "c.tif", "d.webp", "e.png", "f.png", "s0.png")]


def test_picture_saved_from_a_jpeg_is_the_same(folder):
    scene(1).save(folder / "a.jpg")
    Image.open(folder / "a.jpg").save(folder / "a.png")
    assert equal_in(folder) == [("a.jpg", "a.png")]


def test_one_pixel_makes_another_picture(folder):
    pixels = make_scene(0, 96).copy()
    pixels[5, 5] ^= 1
    Image.fromarray(pixels).save(folder / "t.png")
    assert equal_in(folder) == []


def test_same_bytes_in_another_shape_are_another_picture(tmp_path):
    values = np.arange(8 * 4 * 3, dtype=np.uint8)
    Image.fromarray(values.reshape(8, 4, 3)).save(tmp_path / "a.png")
    Image.fromarray(values.reshape(4, 8, 3)).save(tmp_path / "b.png")
    assert equal_in(tmp_path) == []


def test_rows_of_stacks_are_compared_with_each_other_and_with_files(folder):
    h5py = pytest.importorskip("h5py")
    rows = np.stack([make_scene(7, 96), make_scene(0, 96), make_scene(7, 96)])
    with h5py.File(folder / "stack.h5", "w") as stack:
        stack["pictures"] = rows
        stack["floats"] = rows[:1].astype(np.float64) / 255
    stack = folder / "stack.h5"
    paths = {f"row-{k}": stack / "pictures" / str(k) for k in range(3)}
    paths |= {"float": stack / "floats" / "0", "file": folder / "s0.png"}
    found = equal_pictures(PictureSignatures().of(paths))
    assert found == [("file", "row-1"), ("float", "row-0", "row-2")]


@pytest.mark.parametrize("kind", ["jpeg", "half", "double", "scaled jpeg", "gif"])
def test_rescaled_and_reencoded_copies_are_nearly_the_same(folder, kind):
    copy = scene(2)
    if kind == "jpeg":
        copy.save(folder / "z.jpg", quality=60)
    elif kind == "gif":
        copy.save(folder / "z.gif")
    elif kind == "scaled jpeg":
        copy.resize((67, 67), Image.Resampling.LANCZOS).save(folder / "z.jpg", quality=80)
    else:
        edge = {"half": 48, "double": 192}[kind]
        copy.resize((edge, edge), Image.Resampling.BICUBIC).save(folder / "z.png")
    ((first, second),) = near_in(folder)
    assert (first, second[0]) == ("s2.png", "z")


def test_different_scenes_are_not_nearly_the_same(tmp_path):
    for seed in range(60):
        scene(seed).save(tmp_path / f"{seed}.png")
    assert near_in(tmp_path) == []


def test_gratings_that_differ_in_phase_angle_or_contrast_are_not_nearly_the_same(tmp_path):
    y, x = (np.mgrid[:96, :96] - 48) / 96
    for phase in (0, np.pi / 2, np.pi):
        for angle, height in ((0, 100), (20, 100), (40, 100), (0, 50)):
            along = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle))
            wave = np.cos(2 * np.pi * 4 * along + phase) * np.exp(-(x**2 + y**2) / 0.05)
            picture = Image.fromarray(np.uint8(128 + height * wave))
            picture.save(tmp_path / f"{angle}-{phase:.0f}-{height}.png")
    assert near_in(tmp_path) == []


def test_plain_pictures_are_compared_exactly_only(tmp_path):
    for level in (0, 1, 128, 255):
        Image.new("RGB", (20, 20), (level,) * 3).save(tmp_path / f"{level}.png")
    Image.new("L", (20, 20), 128).save(tmp_path / "grey.bmp")
    assert equal_in(tmp_path) == [("128.png", "grey.bmp")]
    paths = {k: v for k, v in paths_of(tmp_path).items() if k != "grey.bmp"}
    assert near_pictures(PictureSignatures().of(paths), paths) == []


def test_tiny_pictures_and_none_are_no_problem(tmp_path):
    assert near_pictures({}, {}) == []
    for name, size in (("a", (1, 1)), ("b", (2, 3)), ("c", (5, 1))):
        values = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size) * 40
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    Image.fromarray(np.array([[0, 41], [80, 120], [160, 200]], np.uint8)).save(tmp_path / "d.png")
    near_in(tmp_path)
    assert equal_in(tmp_path) == []


def test_second_look_decodes_nothing(folder, tmp_path_factory, monkeypatch):
    file = tmp_path_factory.mktemp("cache") / "logs" / "pictures.npz"
    first = PictureSignatures(file)
    known = first.of(paths_of(folder))
    first.save()
    monkeypatch.setattr(module, "load_picture", None)
    again = PictureSignatures(file).of(paths_of(folder))
    assert again.keys() == known.keys()
    for name, signature in again.items():
        assert (signature.pixels, signature.phash) == (known[name].pixels, known[name].phash)
        assert signature.edge == 96
        np.testing.assert_array_equal(signature.thumbnail, known[name].thumbnail)


def test_changed_file_is_looked_at_again(folder, tmp_path_factory):
    file = tmp_path_factory.mktemp("cache") / "pictures.npz"
    first = PictureSignatures(file)
    before = first.of(paths_of(folder))["s0.png"].pixels
    first.save()
    scene(9).save(folder / "s0.png")
    assert PictureSignatures(file).of(paths_of(folder))["s0.png"].pixels != before


@pytest.mark.parametrize("content", [b"", b"PK no zip", None])
def test_damaged_memory_counts_as_absent(folder, tmp_path_factory, content):
    file = tmp_path_factory.mktemp("cache") / "pictures.npz"
    if content is None:
        np.savez(file, digests=np.zeros(3))
    else:
        file.write_bytes(content)
    again = PictureSignatures(file)
    assert len(again.of(paths_of(folder))) == 4
    again.save()
    assert len(PictureSignatures(file)._known) == 4


def test_damaged_and_missing_pictures_are_told(folder):
    (folder / "cut.png").write_bytes((folder / "s0.png").read_bytes()[:300])
    (folder / "dead.png").symlink_to("../.git/annex/objects/x")
    paths = {**paths_of(folder), "dead.png": folder / "dead.png", "no.png": folder / "no.png"}
    pictures = PictureSignatures()
    damaged = pictures.damaged(paths)
    assert set(damaged) == {"cut.png", "dead.png", "no.png"}
    assert "link" in damaged["dead.png"] and "no such file" in damaged["no.png"]
    assert set(pictures.of(paths)) == {f"s{k}.png" for k in range(4)}


def test_equal_vectors_are_found_whatever_their_zeros():
    vectors = np.array([[0.0, 1], [-0.0, 1], [1, 0], [0, 1.0000001], [1, 0]], np.float32)
    assert equal_vectors("abcde", vectors) == [("a", "b"), ("c", "e")]


def test_vectors_with_little_noise_are_nearly_the_same():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, 64)).astype(np.float32)
    copies = vectors[:20] * 1.0 + 0.005 * rng.standard_normal((20, 64)).astype(np.float32)
    ids = [f"v{k:03d}" for k in range(500)] + [f"w{k:03d}" for k in range(20)]
    found = near_vectors(ids, np.concatenate([vectors, copies]))
    assert [(p.first, p.second) for p in found] == [(f"v{k:03d}", f"w{k:03d}") for k in range(20)]


def test_short_vectors_are_close_by_chance_and_not_reported():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, MIN_FEATURE_DIMS - 1)).astype(np.float32)
    vectors[-1] = vectors[0]
    assert near_vectors([str(k) for k in range(500)], vectors) == []
