"""Grey values of one volume per person."""

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from bids_decoder.preprocessing.standardise import standardise_volume


def test_it_is_standardisation_over_slices_then_scaling():
    """In-plane positions are features, slices are samples."""
    volume = np.random.default_rng(0).gamma(2.0, size=(5, 4, 9))
    features = StandardScaler().fit_transform(volume.reshape(20, 9).T)
    expected = MinMaxScaler().fit_transform(features.reshape(-1, 1)).reshape(9, 20).T
    found = standardise_volume(volume)
    assert found == pytest.approx(expected.reshape(5, 4, 9), abs=1e-6)
    assert (found.min(), found.max()) == (0, 1)


def test_global_scale_does_not_matter_and_frames_are_averaged():
    volume = np.random.default_rng(1).random((4, 4, 6))
    assert np.allclose(standardise_volume(volume), standardise_volume(30 * volume + 4), atol=1e-6)
    frames = np.stack([volume - 0.1, volume + 0.1], axis=3)
    assert np.allclose(standardise_volume(frames), standardise_volume(volume), atol=1e-6)


def test_empty_and_broken_voxels():
    assert not standardise_volume(np.ones((3, 3, 3))).any()
    volume = np.random.default_rng(2).random((4, 4, 6))
    volume[0, 0, 0], volume[1, 1, 1] = np.nan, np.inf
    assert np.isfinite(standardise_volume(volume)).all()
