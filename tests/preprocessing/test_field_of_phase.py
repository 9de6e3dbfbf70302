"""Fields in Hz from phases as scanners store them."""

import numpy as np
import pytest
from epi_phantom import SMALL_AFFINE, SMALL_SHAPE, brain_mask

from bids_decoder.preprocessing.fieldmaps import (
    HZ_PER_UNIT,
    field_of_phase,
    find_phase_scale,
    phase_difference,
)
from bids_decoder.simulate.distortion import field_on_grid

GAP = 0.00246


@pytest.fixture(scope="module")
def truth():
    return field_on_grid(SMALL_SHAPE, SMALL_AFFINE, 330.0) + 40.0


@pytest.fixture(scope="module")
def inside(coarse_head):
    return brain_mask(coarse_head, SMALL_SHAPE, SMALL_AFFINE)


def wrapped(phase):
    return np.angle(np.exp(1j * phase))


def scaled(stored):
    return find_phase_scale(stored).to_radians(stored)


@pytest.mark.parametrize(("low", "high"), [
    (-4096, 4094), (0, 4095), (-np.pi, np.pi), (-3142, 3142), (-2048, 2047), (-180, 180),
    (0, 65535), (-3.0, 4095), (-32768, 32767),
])
def test_scaling_of_stored_phases(low, high):
    phase = np.linspace(-np.pi, np.pi, 1001)
    stored = low + (phase + np.pi) / (2 * np.pi) * (high - low)
    stored = stored if high < 4 or low == -3 else np.rint(stored)
    scale = find_phase_scale(stored)
    assert scale.is_certain
    np.testing.assert_allclose(scale.to_radians(stored), phase, atol=1e-2)


@pytest.mark.parametrize(("high", "radians"), [(2 * np.pi, 1.0), (6283, 1e-3), (360, np.pi / 180)])
def test_zero_of_unsigned_angles_is_zero(high, radians):
    stored = np.array([0.0, 0.25, 0.5, 1.0]) * high
    np.testing.assert_allclose(scaled(stored), stored * radians, rtol=1e-3)


@pytest.mark.parametrize(("low", "high", "turn"), [
    (0, 3700, 4096), (-2500, 2600, 2000 * np.pi), (-150, 140, 360), (-2.0, 2.5, 2 * np.pi),
])
def test_a_part_of_a_turn_is_uncertain(low, high, turn):
    scale = find_phase_scale(np.array([low, high]))
    assert scale.turn == pytest.approx(turn)
    assert scale.is_certain == (high == 3700)


def test_two_phases_have_one_scale():
    first, second = np.array([0, 1000]), np.array([500, 4095])
    assert find_phase_scale(first, second) == find_phase_scale(np.r_[first, second])


def test_field_from_a_phase_difference(truth, inside):
    assert np.abs(truth[inside]).max() * GAP > 0.5, "nothing to unwrap"
    noise = np.random.default_rng(0).normal(0, 0.03, truth.shape)
    phase = wrapped(2 * np.pi * GAP * truth + noise)
    stored = np.rint(phase / np.pi * 4096).clip(-4096, 4094)
    found = field_of_phase(scaled(stored), inside, GAP, SMALL_AFFINE)
    # At 60 ms, a tenth of a voxel are 1.7 Hz.
    assert np.median(np.abs(found - truth)[inside]) < 3.0
    swapped = field_of_phase(-scaled(stored), inside, GAP, SMALL_AFFINE)
    assert np.median(np.abs(swapped - truth)[inside]) > 50


def test_field_from_two_phases(truth, inside):
    times = 0.00492, 0.00738
    rest = np.random.default_rng(1).uniform(-1, 1)
    first, second = (wrapped(2 * np.pi * t * truth + rest) for t in times)
    difference = phase_difference(first, second)
    found = field_of_phase(difference, inside, times[1] - times[0], SMALL_AFFINE)
    assert np.median(np.abs(found - truth)[inside]) < 3.0


def test_apart_from_the_largest_part_nothing_counts(truth, inside):
    more = inside.copy()
    more[0, 0, 0] = True
    phase = wrapped(2 * np.pi * GAP * truth)
    np.testing.assert_array_equal(
        field_of_phase(phase, more, GAP, SMALL_AFFINE),
        field_of_phase(phase, inside, GAP, SMALL_AFFINE),
    )


def test_units():
    assert HZ_PER_UNIT["rad/s"] * 2 * np.pi == pytest.approx(1)
    assert HZ_PER_UNIT["T"] * 1e-6 == pytest.approx(42.577, abs=1e-3)
