"""Coefficients of pictures."""

import numpy as np
import pytest

from bids_decoder.training.picture_basis import N_COLOUR, N_LIGHTNESS, PictureBasis


def test_small_pictures_come_back_and_lengths_are_kept():
    pictures = np.random.default_rng(0).random((5, 8, 8, 3))
    basis = PictureBasis(8)
    found = basis.transform(pictures)
    assert found.shape == (5, 8 * 8 * 3)
    assert basis.inverse(found) == pytest.approx(pictures)
    assert np.square(found).sum() == pytest.approx(np.square(pictures).sum())


def test_fine_detail_is_left_out():
    basis = PictureBasis(64)
    n = N_LIGHTNESS**2 + 2 * N_COLOUR**2
    assert basis.kept.sum() == n == len(basis.smoothness)
    stripes = np.where(np.arange(64) % 2, 1.0, 0.0)[None, None, :, None] * np.ones((1, 64, 64, 3))
    assert basis.inverse(basis.transform(stripes)).std() < 0.1 < stripes.std()
    coarse = basis.inverse(np.random.default_rng(1).standard_normal((2, n)))
    assert basis.inverse(basis.transform(coarse)) == pytest.approx(coarse)


def test_spectra_depend_on_frequency_and_channel_alone():
    rng, basis = np.random.default_rng(2), PictureBasis(16)
    flat = basis.spectrum(2 * rng.standard_normal((200, len(basis.smoothness))))
    assert flat == pytest.approx(4.0, rel=0.4)
    falling = basis.spectrum(rng.standard_normal((200, len(flat))) * basis.smoothness)
    assert np.corrcoef(np.log(falling[:256]), np.log(basis.smoothness[:256]))[0, 1] > 0.9
    grey = np.repeat(rng.random((50, 16, 16, 1)), 3, axis=3)
    spectrum = basis.spectrum(basis.transform(grey))
    assert spectrum[:256].min() > 0 and spectrum[256:].max() < 1e-12
