from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_decoder.simulate.fields import Smoother, smooth_field

SHAPE = (20, 16, 18)


@pytest.mark.parametrize("fwhm", [0, 2, 4])
def test_variance_is_one(fwhm):
    fields = Smoother(SHAPE, fwhm).draw(np.random.default_rng(0), 60)
    assert fields.dtype == np.float32
    assert fields.var() == pytest.approx(1, rel=0.08)


def test_same_as_gaussian_filter_up_to_scale():
    white = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    ours = Smoother(SHAPE, 3.0)(white)
    theirs = gaussian_filter(white, 3.0 / np.sqrt(8 * np.log(2)), mode="wrap", truncate=8)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9999


def test_width_is_full_width_at_half_maximum_of_the_kernel():
    white = np.zeros(SHAPE, np.float32)
    white[10, 8, 9] = 1
    kernel = Smoother(SHAPE, 4.0)(white)
    assert kernel[12, 8, 9] / kernel[10, 8, 9] == pytest.approx(0.5, abs=0.01)


def test_no_width_changes_nothing():
    white = np.ones(SHAPE, np.float32)
    assert Smoother(SHAPE, 0)(white) is white


def test_same_seed_same_field():
    one, other = (smooth_field(np.random.default_rng(4), SHAPE, 3) for _ in range(2))
    assert np.array_equal(one, other)
