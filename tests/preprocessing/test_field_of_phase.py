"""Fields in Hz from phases as scanners store them."""

import numpy as np
import pytest
from epi_phantom import SMALL_AFFINE, SMALL_SHAPE, brain_mask

from bids_decoder.preprocessing.fieldmaps import (
    HZ_PER_UNIT,
    field_of_phase,
    phase_difference,
    phase_to_radians,
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


@pytest.mark.parametrize(("low", "high"), [(-4096, 4094), (0, 4095), (-np.pi, np.pi),
                                           (-3142, 3142), (-2048, 2047)])
def test_scaling_of_stored_phases(low, high):
    phase = np.linspace(-np.pi, np.pi, 1001)
    stored = low + (phase + np.pi) / (2 * np.pi) * (high - low)
    stored = stored if high < 4 else np.rint(stored)
    np.testing.assert_allclose(phase_to_radians(stored), phase, atol=5e-3)


def test_field_from_a_phase_difference(truth, inside):
    assert np.abs(truth[inside]).max() * GAP > 0.5, "nothing to unwrap"
    noise = np.random.default_rng(0).normal(0, 0.03, truth.shape)
    phase = wrapped(2 * np.pi * GAP * truth + noise)
    stored = np.rint(phase / np.pi * 4096).clip(-4096, 4094)
    found = field_of_phase(phase_to_radians(stored), inside, GAP, SMALL_AFFINE)
    # At 60 ms, a tenth of a voxel are 1.7 Hz.
    assert np.median(np.abs(found - truth)[inside]) < 3.0
    swapped = field_of_phase(-phase_to_radians(stored), inside, GAP, SMALL_AFFINE)
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
