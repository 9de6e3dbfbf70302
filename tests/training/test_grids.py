"""Voxels of any grid to volumes and back."""

import numpy as np
import pytest

from bids_decoder.errors import InputError
from bids_decoder.training.grids import Frame, common_frame, sampling, to_volumes, to_voxels
from bids_decoder.trials import VoxelGrid

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2.0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]])


def make_grid(rng, shape=(9, 8, 5), affine=AFFINE):
    return VoxelGrid(rng.random(shape) < 0.7, affine)


def test_axes_run_right_front_and_up():
    rng = np.random.default_rng(0)
    grid = make_grid(rng)
    frame = common_frame([grid])
    assert np.allclose(frame.affine[:3, :3], np.diag([2, 2, 3]))
    volumes = to_volumes(grid.coordinates.T.astype(np.float32), grid, frame)
    places = np.indices(frame.shape).reshape(3, -1).T @ frame.affine[:3, :3].T
    places = (places + frame.affine[:3, 3]).T.reshape(3, *frame.shape)
    weights = np.asarray(sampling(grid, frame).sum(axis=1)).reshape(frame.shape)
    known = weights > 0.5
    assert np.allclose(volumes[:, known], places[:, known])


def test_coinciding_grids_lose_nothing_and_keep_sums():
    rng = np.random.default_rng(1)
    grid = make_grid(rng)
    frame = common_frame([grid])
    betas = rng.standard_normal((4, grid.n_voxels)).astype(np.float32)
    volumes = to_volumes(betas, grid, frame)
    assert np.array_equal(to_voxels(volumes, grid, frame), betas)
    assert (sampling(grid, frame).data == 1).all()


def test_frame_is_the_box_of_all_people():
    first, second = np.zeros((9, 8, 5), bool), np.zeros((9, 8, 5), bool)
    first[2:4, 3, 1] = second[6, 5:7, 2] = True
    grids = [VoxelGrid(mask, np.diag([2.0, 2, 2, 1])) for mask in (first, second)]
    frame = common_frame(grids)
    assert frame.shape == (5, 4, 2)
    assert np.allclose(frame.affine[:3, 3], [4, 6, 2])


def test_smooth_fields_survive_another_grid():
    """A field known in millimetres is met at half-way voxels by interpolation."""
    grid = VoxelGrid(np.ones((12, 12, 12), bool), np.diag([2.0, 2, 2, 1]))
    shifted = np.diag([2.0, 2, 2, 1])
    shifted[:3, 3] = [5, 5, 5]
    frame = Frame((4, 4, 4), shifted)
    field = grid.coordinates.sum(axis=1)[None].astype(np.float32)
    found = to_volumes(field, grid, frame)[0]
    expected = 15 + 2 * np.indices((4, 4, 4)).sum(axis=0)
    assert np.allclose(found, expected)
    maps = np.random.default_rng(0).standard_normal((1, 4, 4, 4))
    assert to_voxels(maps, grid, frame).sum() == pytest.approx(maps.sum(), rel=1e-4)


def test_containers_without_places_are_refused():
    with pytest.raises(InputError, match="no positions"):
        common_frame([VoxelGrid(np.ones((50, 1, 1), bool), np.eye(4))])
