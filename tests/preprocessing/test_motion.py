import numpy as np
import pandas as pd
import pytest
from epi_phantom import (
    EPI_AFFINE,
    EPI_SHAPE,
    SMALL_AFFINE,
    SMALL_SHAPE,
    brain_mask,
    moving_series,
    random_motion,
)

from bids_decoder.errors import InputError
from bids_decoder.preprocessing.geometry import displacement, grid_points, rigid_matrix
from bids_decoder.preprocessing.motion import estimate_motion, motion_parameters


def errors(head, parameters, shape=EPI_SHAPE, affine=EPI_AFFINE, change=None):
    series, truth = moving_series(head, parameters, shape, affine)
    if change is not None:
        series = change(series)
    mask = brain_mask(head, shape, affine)
    found = estimate_motion(series, affine, series[..., 0], mask).matrices
    points = grid_points(shape, affine)[mask.ravel()][::11]
    return np.array([displacement(a, b, points) for a, b in zip(found, truth, strict=True)])


def test_ordinary_motion(head):
    parameters = random_motion(np.random.default_rng(3), 6, 2.5, 1.5)
    assert errors(head, parameters)[1:].mean() < 0.06


def test_large_motion(head):
    parameters = random_motion(np.random.default_rng(4), 6, 6.0, 6.0)
    assert errors(head, parameters)[1:].mean() < 0.12


def test_brightness_changes_do_not_matter(head):
    parameters = random_motion(np.random.default_rng(5), 4, 2.0, 1.5)

    def change(series):
        gains = np.array([1.0, 1.3, 0.6, 0.9], dtype=np.float32)
        return series * gains + np.array([0, 40, -10, 5], dtype=np.float32)

    assert errors(head, parameters, change=change)[1:].mean() < 0.08


def test_a_bright_spot_does_not_pull_the_head(head):
    parameters = np.zeros((2, 6))

    def change(series):
        series[30:36, 12:18, 14:20, 1] *= 1.6
        return series

    assert errors(head, parameters, change=change)[1] < 0.06


@pytest.mark.parametrize("kind", ["flipped", "oblique", "odd"])
def test_any_grid(head, kind):
    shape, affine = (44, 54, 32), np.diag([4.0, 4.0, 4.0, 1.0])
    if kind == "odd":
        shape, affine = (57, 47, 26), np.diag([3.1, 4.3, 5.2, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    if kind == "flipped":
        affine[0] *= -1
    if kind == "oblique":
        affine = rigid_matrix(np.array([3, 5, -2, 0.35, -0.2, 0.15]), np.zeros(3)) @ affine
    parameters = random_motion(np.random.default_rng(6), 3, 3.0, 2.5)
    assert errors(head, parameters, shape, affine)[1:].mean() < 0.12


def test_parameters_are_those_of_the_simulation(head):
    parameters = random_motion(np.random.default_rng(3), 3, 2.5, 1.5)
    series, _ = moving_series(head, parameters)
    mask = brain_mask(head)
    found = estimate_motion(series, EPI_AFFINE, series[..., 0], mask).matrices
    table = motion_parameters(found, EPI_SHAPE, EPI_AFFINE)
    assert list(table) == ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    np.testing.assert_allclose(table.to_numpy()[:, :3], parameters[:, :3], atol=0.08)
    np.testing.assert_allclose(table.to_numpy()[:, 3:], parameters[:, 3:], atol=0.002)


def test_same_bytes_twice(small_head):
    parameters = random_motion(np.random.default_rng(3), 2, 2.5, 1.5)
    series, _ = moving_series(small_head, parameters, SMALL_SHAPE, SMALL_AFFINE)
    mask = brain_mask(small_head, SMALL_SHAPE, SMALL_AFFINE)
    first, second = (
        estimate_motion(series, SMALL_AFFINE, series[..., 0], mask).matrices for _ in range(2)
    )
    assert np.abs(first[1] - np.eye(4)).max() > 0.1
    assert first.tobytes() == second.tobytes()


def test_empty_mask_is_refused():
    series = np.ones((8, 8, 8, 2), dtype=np.float32)
    with pytest.raises(InputError, match="mask"):
        estimate_motion(series, np.eye(4), series[..., 0], np.zeros((8, 8, 8), dtype=bool))


def test_thin_slab_stays_and_says_so():
    series = np.random.default_rng(0).random((40, 20, 1, 5)).astype(np.float32)
    found = estimate_motion(series, np.eye(4), series[..., 0], series[..., 0] > 0.5)
    assert "not estimated" in found.notes[0]
    parameters = motion_parameters(found.matrices, (40, 20, 1), np.eye(4))
    pd.testing.assert_frame_equal(parameters, parameters * 0)
