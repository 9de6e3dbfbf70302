import numpy as np
import pytest
from epi_phantom import SMALL_AFFINE, SMALL_SHAPE, moving_series, random_motion
from nipype.algorithms.confounds import is_outlier

from bids_decoder.preprocessing.reference import (
    count_non_steady_state,
    given_reference,
    robust_reference,
)


@pytest.mark.parametrize("n_bright", [0, 1, 3])
def test_counts_as_nipype_does(n_bright):
    rng = np.random.default_rng(n_bright)
    series = 100 + rng.standard_normal((6, 6, 4, 60))
    series[..., :n_bright] += 30
    means = series[..., :50].mean(axis=(0, 1, 2))
    assert count_non_steady_state(series) == is_outlier(means) == n_bright


def test_constant_series_has_no_bright_volumes():
    assert count_non_steady_state(np.ones((3, 3, 3, 20))) == 0


def test_reference_is_sharp_although_the_head_moved(small_head):
    parameters = random_motion(np.random.default_rng(1), 24, 6.0, 4.0)
    series, _ = moving_series(small_head, parameters, SMALL_SHAPE, SMALL_AFFINE, noise=0.05)
    series[..., 0] *= 3
    still, _ = moving_series(
        small_head, np.zeros((1, 6)), SMALL_SHAPE, SMALL_AFFINE, noise=0.0
    )
    found = robust_reference(series, SMALL_AFFINE)
    assert found.n_dummy == 1
    clean, _ = moving_series(
        small_head, parameters[[found.anchor]], SMALL_SHAPE, SMALL_AFFINE, noise=0.0
    )
    inner = still[..., 0] > 400
    ours = np.abs(found.image - clean[..., 0])[inner].mean()
    plain = np.abs(np.median(series[..., 1:], axis=3) - clean[..., 0])[inner].mean()
    assert ours < 0.6 * plain


def test_given_reference_is_taken_as_it_is(small_head):
    series, _ = moving_series(small_head, np.zeros((12, 6)), SMALL_SHAPE, SMALL_AFFINE)
    series[..., :2] *= 3
    image = 2 * series[..., 5]
    found = given_reference(image, series, SMALL_AFFINE)
    np.testing.assert_array_equal(found.image, image)
    assert (found.n_dummy, found.anchor) == (2, None)
    assert given_reference(image[..., None], series, SMALL_AFFINE, n_dummy=1).n_dummy == 1
    several = given_reference(series[..., 4:9], series, SMALL_AFFINE)
    assert several.image.shape == SMALL_SHAPE
    assert several.image.std() < series[..., 4].std() * 1.01
