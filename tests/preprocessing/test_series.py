import numpy as np

from bids_decoder.preprocessing.series import usable_values


def test_values_that_ran_over_are_put_back():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 45000, (12, 12, 6, 5)).astype(np.uint16)
    values, notes = usable_values(truth.view(np.int16).copy())
    np.testing.assert_array_equal(values, truth)
    assert "unsigned" in notes[0]


def test_sound_and_signed_data_are_left_alone():
    rng = np.random.default_rng(0)
    for stored in (
        rng.integers(0, 32767, (9, 9, 9)).astype(np.int16),
        rng.integers(-32768, 32767, (9, 9, 9)).astype(np.int16),
        rng.integers(-300, 300, (9, 9, 9)).astype(np.int16),
    ):
        values, notes = usable_values(stored)
        np.testing.assert_array_equal(values, stored)
        assert notes == ()


def test_values_that_are_no_numbers_become_zero_and_are_counted():
    values, notes = usable_values(np.array([[[1.0, np.nan, np.inf]]]))
    assert values.tolist() == [[[1.0, 0.0, 0.0]]]
    assert notes[0].startswith("2 voxel values")
