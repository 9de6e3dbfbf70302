"""Shifts from fields: signs, readout times, intensities, and one interpolation with motion."""

import numpy as np
import pytest
from epi_phantom import EPI_LEVELS, SMALL_AFFINE, SMALL_SHAPE, brain_mask, sample

from bids_decoder.preprocessing.distortion import (
    PhaseEncoding,
    ShiftMap,
    fill_field,
    read_direction,
    read_phase_encoding,
    read_readout,
    shift_map,
)
from bids_decoder.preprocessing.geometry import grid_points, rigid_matrix
from bids_decoder.preprocessing.resampling import Grid, resample_series, resample_volume
from bids_decoder.simulate.distortion import distort, field_on_grid

GRID = Grid(SMALL_SHAPE, SMALL_AFFINE)


@pytest.fixture(scope="module")
def clean(coarse_head):
    return sample(coarse_head.intensity(EPI_LEVELS), coarse_head.affine, SMALL_SHAPE, SMALL_AFFINE)


@pytest.fixture(scope="module")
def field():
    return field_on_grid(SMALL_SHAPE, SMALL_AFFINE, 60.0)


def error(volume, clean, inside):
    return float(np.sqrt(((volume - clean)[inside] ** 2).mean()))


@pytest.mark.parametrize(("text", "expected"), [
    ("i", (0, 1)), ("i-", (0, -1)), ("j", (1, 1)), ("j-", (1, -1)), ("k-", (2, -1)),
    ("y", None), ("", None), ("ij", None), (None, None), (1, None), ("j--", None),
])
def test_direction(text, expected):
    assert read_direction({"PhaseEncodingDirection": text}) == expected


def test_readout_time():
    spacing = {"PhaseEncodingDirection": "j-", "EffectiveEchoSpacing": 0.0005}
    assert read_readout({"TotalReadoutTime": 0.04, **spacing}, (64, 72, 30)) == 0.04
    assert read_readout(spacing, (64, 72, 30)) == pytest.approx(0.0005 * 71)
    estimated = {"PhaseEncodingDirection": "i", "EstimatedEffectiveEchoSpacing": 0.0005}
    assert read_readout(estimated, (64, 72, 30)) == pytest.approx(0.0005 * 63)
    assert read_readout({"EstimatedTotalReadoutTime": 0.03}, (64, 72, 30)) == 0.03
    assert read_readout({"TotalReadoutTime": 40}, (64, 72, 30)) is None
    assert read_phase_encoding({"TotalReadoutTime": 0.03}, (64, 72, 30)) is None


def test_a_positive_offset_moves_signal_along_the_direction():
    # BIDS: with j, spins of higher frequency appear at higher j.
    bump = np.exp(-(np.arange(40) - 19.5) ** 2 / 18)
    volume = np.broadcast_to(bump[:, None], (5, 40, 5)).astype(np.float32)
    field = np.full(volume.shape, 100.0)
    for text, place in (("j", 23.5), ("j-", 15.5)):
        way = read_phase_encoding(
            {"PhaseEncodingDirection": text, "TotalReadoutTime": 0.04}, volume.shape
        )
        moved = distort(volume, field * way.voxels_per_hz, 1)
        assert moved[2, :, 2] @ np.arange(40) / moved[2, :, 2].sum() == pytest.approx(place)
        shifts = shift_map(field, np.eye(4), way, Grid(volume.shape, np.eye(4)), np.eye(4))
        np.testing.assert_allclose(shifts.correct(moved)[2, 10:30, 2], bump[10:30], atol=0.02)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_distortion_is_undone(clean, field, coarse_head, axis, sign):
    way = PhaseEncoding(axis, sign, 0.04)
    distorted = distort(clean, field * way.voxels_per_hz, axis)
    inside = brain_mask(coarse_head, SMALL_SHAPE, SMALL_AFFINE)
    inside &= np.abs(field * 0.04) > 0.3
    shifts = shift_map(field, SMALL_AFFINE, way, GRID, np.eye(4))
    before = error(distorted, clean, inside)
    assert error(shifts.correct(distorted), clean, inside) < 0.5 * before
    wrong = ShiftMap(-shifts.voxels, SMALL_AFFINE, axis)
    assert error(wrong.correct(distorted), clean, inside) > before


def test_signal_is_preserved(clean, field):
    way = PhaseEncoding(1, 1, 0.04)
    distorted = distort(clean, field * way.voxels_per_hz, 1)
    assert distorted.sum() == pytest.approx(clean.sum(), rel=1e-3)
    corrected = shift_map(field, SMALL_AFFINE, way, GRID, np.eye(4)).correct(distorted)
    assert corrected.sum() == pytest.approx(clean.sum(), rel=0.01)


def test_the_field_is_brought_to_the_run(field):
    matrix = rigid_matrix(np.r_[12.0, 6.0, -6.0, 0, 0, 0], np.zeros(3))
    way = PhaseEncoding(1, 1, 0.04)
    moved = shift_map(field, SMALL_AFFINE, way, GRID, matrix).voxels
    # A voxel of 6 mm: along i the affine is flipped.
    np.testing.assert_allclose(moved[5:25, 5:25, 5:15], 0.04 * field[3:23, 6:26, 4:14], rtol=1e-5)


def test_distortion_moves_with_the_head_in_one_interpolation(clean, field):
    way = PhaseEncoding(1, -1, 0.04)
    shifts = ShiftMap((field * way.voxels_per_hz).astype(np.float32), SMALL_AFFINE, 1)
    # Along j by one voxel: what the distorted head looks like there is known exactly.
    distorted = distort(clean, shifts.voxels, 1)
    series = np.stack([distorted, np.roll(distorted, 1, axis=1)], axis=-1)
    step = np.eye(4)
    step[1, 3] = 6.0
    points = grid_points(SMALL_SHAPE, SMALL_AFFINE)
    found, _ = resample_series(
        series, SMALL_AFFINE, GRID, np.stack([np.eye(4), step]), shift=shifts.at(points)
    )
    inner = (slice(4, -4), slice(4, -4), slice(2, -2))
    np.testing.assert_allclose(found[inner][..., 0], found[inner][..., 1], atol=1e-3)
    one = resample_volume(distorted, SMALL_AFFINE, GRID, shift=shifts.at(points))
    np.testing.assert_allclose(found[..., 0], one, atol=1e-4)


def test_fields_are_continued_outside_the_head(field, coarse_head):
    inside = brain_mask(coarse_head, SMALL_SHAPE, SMALL_AFFINE)
    noisy = field + np.random.default_rng(0).normal(0, 3, field.shape)
    noisy[~inside] = 500
    filled = fill_field(noisy, inside, SMALL_AFFINE)
    assert np.abs(filled - field)[inside].mean() < 3
    assert filled.max() < noisy[inside].max() and filled.min() > noisy[inside].min()
    slope = np.gradient(filled * 0.04, axis=1)
    assert slope.min() > -0.9, "the continued field folds the image"
