import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates

from bids_decoder.errors import InputError
from bids_decoder.preprocessing.slice_timing import (
    correct_slice_timing,
    reference_time,
    shift_in_time,
)

T_R = 2.0
TIMES = [0.0, 1.0, 0.5, 1.5]


def response(time):
    """A slow response to an event every 17 s, smooth in time."""
    return sum(np.exp(-0.5 * ((time - onset) / 2.2) ** 2) for onset in range(5, 130, 17))


def simulated(n_volumes=60, axis=2, times=TIMES):
    starts = np.arange(n_volumes) * T_R
    series = np.stack([response(starts + time) for time in times])[None, None]
    return np.moveaxis(np.tile(series, (3, 3, 1, 1)), 2, axis).astype(np.float32)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_response_is_moved_to_the_reference_time(fraction):
    series = simulated()
    corrected = correct_slice_timing(series, TIMES, T_R, slice_time_ref=fraction)
    truth = response(np.arange(60) * T_R + reference_time(TIMES, fraction))
    before = np.abs(series - truth)[..., 4:-4].max()
    after = np.abs(corrected - truth)[..., 4:-4].max()
    assert before > 0.2
    assert after < 0.02


def test_direction_and_axis():
    truth = response(np.arange(60) * T_R + 0.75)[4:-4]
    backwards = simulated(times=TIMES[::-1])
    corrected = correct_slice_timing(backwards, TIMES, T_R, direction="k-")
    np.testing.assert_allclose(corrected[0, 0, :, 4:-4], np.tile(truth, (4, 1)), atol=0.02)
    sideways = simulated(axis=1)
    corrected = correct_slice_timing(sideways, TIMES, T_R, direction="j")
    np.testing.assert_allclose(corrected[0, :, 0, 4:-4], np.tile(truth, (4, 1)), atol=0.02)


@pytest.mark.parametrize("shift", [-0.75, -0.2, 0.4, 1.0])
def test_agrees_with_scipy_splines(shift):
    values = response(np.arange(50) * T_R)
    expected = CubicSpline(np.arange(50), values)(np.arange(50) + shift)
    np.testing.assert_allclose(shift_in_time(values[None], shift)[0, 6:-6], expected[6:-6],
                               atol=1e-4)


@pytest.mark.parametrize("n_volumes", [2, 3, 4, 7])
@pytest.mark.parametrize("shift", [-1.0, -0.4, 0.7])
def test_short_runs_are_corrected_too(n_volumes, shift):
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0])[:n_volumes]
    expected = map_coordinates(values, [np.arange(n_volumes) + shift], order=3, mode="mirror")
    np.testing.assert_allclose(shift_in_time(values[None], shift)[0], expected, atol=1e-5)
    series = np.tile(values, (2, 2, 4, 1))
    corrected = correct_slice_timing(series, TIMES, T_R)
    assert (np.ptp(corrected[0, 0], axis=0) > 0).any()
    np.testing.assert_array_equal(correct_slice_timing(series[..., :1], TIMES, T_R),
                                  series[..., :1])


def test_bright_first_volumes_do_not_ring():
    series = simulated() + 10
    bright = series.copy()
    bright[..., :3] *= 4
    corrected = correct_slice_timing(bright, TIMES, T_R, n_skip=3)
    np.testing.assert_array_equal(corrected[..., :3], bright[..., :3])
    plain = correct_slice_timing(series, TIMES, T_R, n_skip=3)
    np.testing.assert_array_equal(corrected[..., 3:], plain[..., 3:])


def test_times_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="3 times for 4 slices"):
        correct_slice_timing(simulated(), TIMES[:3], T_R)
    with pytest.raises(InputError, match="milliseconds"):
        correct_slice_timing(simulated(), [t * 1000 for t in TIMES], T_R)
