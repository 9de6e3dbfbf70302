"""Decay of simulated heads over echo times."""

import numpy as np
import pytest

from bids_decoder.simulate.decay import change_at, decay_rate, signal_at
from bids_decoder.simulate.heads import make_phantom


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(4)


def at(phantom, point):
    voxel = np.linalg.inv(phantom.affine) @ [*point, 1]
    return tuple(np.rint(voxel[:3]).astype(int))


def test_signal_decays_with_the_rate(phantom):
    signals = [signal_at(phantom, time) for time in (0.012, 0.03, 0.044)]
    assert signals[1] is phantom.t2star
    bright = phantom.t2star > 100
    rate = np.log(signals[0][bright] / signals[2][bright]) / 0.032
    np.testing.assert_allclose(rate, decay_rate(phantom)[bright], rtol=1e-3)


def test_decay_is_fast_beside_air_and_slow_in_fluid(phantom):
    t2star = 1 / decay_rate(phantom)
    assert t2star[at(phantom, (0, 38, -18))] < 0.025
    assert 0.045 < t2star[at(phantom, (-26, -60, 40))] < 0.06
    assert t2star[phantom.csf > 0.99].max() > 0.1


def test_responses_grow_with_the_echo_time_and_fluctuations_less():
    one, none = np.ones(2), np.zeros(2)
    np.testing.assert_allclose(change_at(none, one, 0.06), 2)
    np.testing.assert_allclose(change_at(one, none, 0.06), 1.5)
    np.testing.assert_array_equal(change_at(one, one, 0.03), 2)
