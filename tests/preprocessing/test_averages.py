"""Averages of T1w images: brightness, coverage, one spoiled image of three."""

import numpy as np
import pytest
from epi_phantom import T1W_LEVELS

from bids_decoder.preprocessing import averages
from bids_decoder.preprocessing.averages import average_heads
from bids_decoder.preprocessing.registration import Picture


@pytest.fixture
def pictures(coarse_head, monkeypatch):
    """Three noisy images of one head in place; alignment has tests of its own."""
    monkeypatch.setattr(averages, "register_rigid", lambda *args: np.eye(4))
    rng = np.random.default_rng(0)
    clean, mask = coarse_head.intensity(T1W_LEVELS), coarse_head.brain > 0.5
    return clean, [
        Picture(
            (scale * (clean + 0.05 * rng.standard_normal(clean.shape))).astype(np.float32),
            coarse_head.affine, mask,
        ) for scale in (100, 900, 100)
    ]


def test_noise_falls_and_brightness_is_that_of_the_first(pictures):
    clean, images = pictures
    average, agreement = average_heads(images)
    error = (average / 100 - clean)[images[0].mask]
    assert error.std() < 0.04 and abs(error.mean()) < 0.01
    assert len(agreement) == 2 and min(agreement) > 0.9


def test_one_spoiled_image_of_three_counts_little(pictures):
    clean, images = pictures
    images[1].volume[::2] = 0
    average, agreement = average_heads(images)
    assert agreement[0] < 0.8 < agreement[1]
    assert np.median(np.abs(average / 100 - clean)[images[0].mask]) < 0.06


def test_where_an_image_ends_the_others_count(pictures):
    _, images = pictures
    half = images[1].volume.shape[2] // 2
    images[1] = Picture(
        images[1].volume[..., :half], images[1].affine, images[1].mask[..., :half]
    )
    average, _ = average_heads(images[:2])
    above = images[0].mask.copy()
    above[..., :half + 1] = False
    np.testing.assert_allclose(average[above], images[0].volume[above], rtol=1e-5)
