"""Responses brought to the voxels of another image."""

import numpy as np
import pytest

from bids_decoder.preprocessing.geometry import rigid_matrix
from bids_decoder.preprocessing.transfer import transfer_responses
from bids_decoder.trials import VoxelGrid

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def ball(shape, radius=0.8):
    centred = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    return (np.square(centred / (np.array(shape) / 2)).sum(axis=-1)) < radius


def smooth(points):
    """Two patterns over space, at points in mm."""
    return np.stack([np.sin(points @ [0.05, 0.03, 0.02]), np.cos(points @ [0.02, 0.06, 0.04])])


def test_moved_heads_have_the_responses_of_the_same_places():
    """A wrong direction of the transform, or a wrong order of voxels, misses by far."""
    shape = (20, 18, 16)
    target = VoxelGrid(ball(shape, 0.6), AFFINE)
    centre = np.array([28.5, 25.5, 22.5])
    matrix = rigid_matrix(np.r_[[4.0, -3.0, 2.0], np.radians([3, -5, 4])], centre)
    source = VoxelGrid(ball(shape, 0.95), AFFINE)
    to_target = np.linalg.inv(matrix)
    there = source.coordinates @ to_target[:3, :3].T + to_target[:3, 3]
    values, covered = transfer_responses(smooth(there), source, target, matrix)
    assert covered.mean() > 0.9
    wanted = smooth(target.coordinates)
    assert np.abs(values - wanted)[:, covered].max() < 0.06
    assert np.isnan(values[:, ~covered]).all()
    stays = transfer_responses(smooth(there), source, target, np.eye(4))[0]
    assert np.nanmax(np.abs(stays - wanted)) > 0.2


def test_voxels_outside_of_the_mask_have_no_weight():
    """Interpolation towards zeros would halve responses at the edge."""
    mask = np.ones((8, 8, 8), bool)
    mask[:4] = False
    source = VoxelGrid(mask, AFFINE)
    target = VoxelGrid(np.ones((8, 8, 8), bool), AFFINE)
    shift = np.eye(4)
    shift[0, 3] = -1.0
    values, covered = transfer_responses(np.ones((1, source.n_voxels)), source, target, shift)
    assert values[0, covered] == pytest.approx(1)
    assert not covered.reshape(8, 8, 8)[:4].any()
    assert covered.reshape(8, 8, 8)[4:].all()


def test_same_grid_is_not_interpolated():
    rng = np.random.default_rng(0)
    source = VoxelGrid(rng.random((5, 4, 3)) < 0.7, AFFINE)
    target = VoxelGrid(rng.random((5, 4, 3)) < 0.7, AFFINE)
    volume = rng.standard_normal((5, 4, 3)).astype(np.float32)
    values, covered = transfer_responses(volume[source.mask][None], source, target)
    assert np.array_equal(covered, source.mask[target.mask])
    assert np.array_equal(values[0, covered], volume[source.mask & target.mask])
    with pytest.raises(ValueError, match="transform"):
        transfer_responses(volume[source.mask][None], source,
                           VoxelGrid(target.mask, AFFINE + 0.1))
