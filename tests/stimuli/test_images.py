from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bids_decoder.errors import BidsDecoderError, ExitCode, InputError, MissingInputError
from bids_decoder.stimuli.images import BACKGROUND, ImageFiles, load_image


@pytest.fixture
def ramp():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_rgb_comes_back_as_written(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    assert image.dtype == np.float32
    np.testing.assert_allclose(image * 255, ramp, atol=1e-4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_any_mode_becomes_rgb(tmp_path, ramp, mode):
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    Image.fromarray(ramp).convert(mode).save(path)
    image = load_image(path, 32)
    assert image.shape == (32, 32, 3)
    assert 0 <= image.min() < image.max() <= 1


def test_cmyk_keeps_colours(tmp_path):
    Image.new("RGB", (8, 8), (255, 0, 0)).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert load_image(tmp_path / "a.jpg").mean((0, 1)) == pytest.approx([1, 0, 0], abs=0.02)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_grey(tmp_path, mode):
    layer = Image.new("RGBA", (10, 10), (255, 255, 255, 0))
    layer.paste((255, 255, 255, 255), (0, 0, 5, 10))
    layer.convert(mode).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    assert np.all(image[:, :5] == 1)
    np.testing.assert_allclose(image[:, 5:], BACKGROUND / 255, atol=1e-6)


def test_palette_transparency(tmp_path):
    picture = Image.new("P", (6, 6), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.gif", transparency=0)
    np.testing.assert_allclose(load_image(tmp_path / "a.gif"), BACKGROUND / 255, atol=1e-6)


def test_sixteen_bit_uses_the_whole_range(tmp_path):
    values = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    np.testing.assert_allclose(image[..., 1], values / 65535, atol=1 / 255)


def test_float_tiff(tmp_path):
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_allclose(load_image(tmp_path / "a.tif")[..., 0], values, atol=1 / 255)
    Image.fromarray(values * 300).save(tmp_path / "b.tif")
    with pytest.raises(InputError, match="outside 0 to 1"):
        load_image(tmp_path / "b.tif")


def test_cut_from_the_middle(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", 20).min() == 1


def test_exif_orientation(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    image = load_image(tmp_path / "a.png")
    assert image.shape == (40, 20, 3)
    assert image[:18].min() == 1
    assert image[22:].max() == 0


def test_bad_files_are_named(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "annexed.png").symlink_to("../.git/annex/objects/x")
    bad, missing = ExitCode.BAD_DATA, ExitCode.MISSING_INPUT
    expected = {"cut.png": bad, "text.png": bad, "empty.jpg": bad, "annexed.png": missing,
                "absent.png": missing}
    found = {}
    for name in expected:
        with pytest.raises(BidsDecoderError) as caught:
            load_image(tmp_path / name, 16)
        found[name] = caught.value.finding
    assert {name: finding.code for name, finding in found.items()} == expected
    assert all(name in finding.what for name, finding in found.items())
    assert "datalad get" in found["annexed.png"].fix


def test_bomb_is_refused(tmp_path, monkeypatch):
    Image.new("1", (400, 400)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError):
        load_image(tmp_path / "a.png")


def test_missing_file(tmp_path):
    with pytest.raises(MissingInputError):
        load_image(tmp_path / "a.png")


def test_files_are_read_when_they_are_asked_for(tmp_path, ramp):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    files = ImageFiles(paths, 16)  # nothing is there yet
    Image.fromarray(ramp).save(paths[1])
    np.testing.assert_array_equal(files[1], load_image(paths[1], 16))
    assert len(files) == 3 and len(files[1:]) == 2
    np.testing.assert_array_equal(files[1:][0], files[1])
    with pytest.raises(MissingInputError):
        files[2]
