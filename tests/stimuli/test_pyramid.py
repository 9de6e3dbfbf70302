from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from skimage.filters import gabor

from bids_decoder.errors import FindingsError, UsageError
from bids_decoder.stimuli import encoders
from bids_decoder.stimuli.pyramid import FAMILIES, SIZE, GaborPyramid, filter_bank, pool


@pytest.fixture(scope="module")
def encoder():
    return GaborPyramid()


def grating(wavelength: float, direction: float, amplitude: float = 0.3) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    phase = 2 * np.pi * (x * np.cos(direction) + y * np.sin(direction)) / wavelength
    return np.repeat((0.5 + amplitude * np.sin(phase))[..., None], 3, axis=2).astype(np.float32)


def gabor_part(vector: np.ndarray) -> np.ndarray:
    return vector[:384].reshape(4, 6, 16)


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("orientation", range(6))
def test_a_grating_peaks_in_its_own_channel(encoder, level, orientation):
    image = grating(4.0 * 2**level, orientation * np.pi / 6)
    energy = gabor_part(encoder.encode_array(image)).mean(axis=2)
    assert np.unravel_index(energy.argmax(), energy.shape) == (level, orientation)


def test_amplitude_is_that_of_the_grating(encoder):
    part = encoder._log_amplitudes(grating(8.0, 0.0, amplitude=0.3)[..., 0])
    centre = np.exp(part[1, 0])[1:3, 1:3]
    np.testing.assert_allclose(centre, 0.3, rtol=0.03)


def test_energy_does_not_depend_on_phase(encoder):
    one = encoder.encode_array(grating(8.0, 0.5))
    other = encoder.encode_array(np.roll(grating(8.0, 0.5), 3, axis=1))
    np.testing.assert_allclose(gabor_part(one)[1], gabor_part(other)[1], atol=0.25)


def test_orientation_preference_agrees_with_scikit_image(encoder):
    rng = np.random.default_rng(3)
    noise = np.cumsum(rng.standard_normal((SIZE, SIZE)), axis=1)  # structure along one axis
    grey = ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)
    ours = np.exp(encoder._log_amplitudes(grey))[1].mean(axis=(1, 2))
    theirs = []
    for direction in range(6):
        real, imaginary = gabor(grey - grey.mean(), 1 / 8, theta=direction * np.pi / 6, bandwidth=1)
        theirs.append(np.sqrt((real**2 + imaginary**2).mean()))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95


def test_position_shows_in_the_cells(encoder):
    image = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    image[:32, 96:] = grating(4.0, 0.0)[:32, 96:]
    energy = gabor_part(encoder.encode_array(image))[0, 0].reshape(4, 4)
    assert np.unravel_index(energy.argmax(), energy.shape) == (0, 3)


def test_colour_goes_into_the_colour_features_only(encoder):
    red = np.zeros((SIZE, SIZE, 3), np.float32) + np.array([0.9, 0.2, 0.2], np.float32)
    green = red[..., [1, 0, 2]]
    difference = encoder.encode_array(red) - encoder.encode_array(green)
    assert abs(difference[:384]).max() < 0.05
    assert difference[-32:-16].min() > 1  # a* runs from green to red


def test_flat_picture_is_finite(encoder):
    assert np.isfinite(encoder.encode_array(np.zeros((SIZE, SIZE, 3), np.float32))).all()


def test_filters_pass_one_half_plane_and_no_mean():
    bank = filter_bank(64)
    assert np.all(bank[:, 0, 0] == 0)
    mirrored = np.roll(bank[:, ::-1, ::-1], 1, axis=(1, 2))
    assert (bank * mirrored).sum() < 0.02 * (bank**2).sum()


def test_pool_averages():
    maps = np.arange(64.0).reshape(8, 8)
    assert pool(maps)[0, 0] == maps[:2, :2].mean()
    assert pool(maps)[3, 1] == maps[6:, 2:4].mean()


def test_shares_make_up_the_whole():
    assert sum(family.share for family in FAMILIES.values()) == pytest.approx(1)


def test_encode_repeats_bit_for_bit_and_keeps_order(tmp_path, encoder):
    rng = np.random.default_rng(0)
    paths = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    vectors = encoder.encode(paths)
    assert vectors.shape == (3, encoder.n_dims)
    assert vectors.dtype == np.float32
    assert np.array_equal(GaborPyramid().encode(paths[::-1])[::-1], vectors)


def test_encode_names_every_bad_picture(tmp_path, encoder):
    with pytest.raises(FindingsError) as caught:
        encoder.encode([tmp_path / "a.png", tmp_path / "b.png"])
    assert len(caught.value.findings) == 2


def test_registry(monkeypatch):
    encoder = encoders.load_encoder("gabor")
    assert isinstance(encoder, encoders.ImageEncoder)
    assert encoder.name == "gabor"
    with pytest.raises(UsageError, match="gabor"):
        encoders.load_encoder("gabro")


def test_registry_imports_lazily():
    code = (
        "import sys, bids_decoder.stimuli.encoders as e; "
        "assert 'skimage' not in sys.modules; e.load_encoder('gabor'); "
        "assert 'skimage' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
