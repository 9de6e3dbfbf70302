import numpy as np
import pytest
from epi_phantom import SMALL_AFFINE, SMALL_SHAPE, sample
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from bids_decoder.preprocessing.geometry import grid_points, rigid_matrix
from bids_decoder.preprocessing.resampling import Grid, resample_series, resample_volume


def test_identity_changes_nothing():
    volume = np.random.default_rng(0).random((12, 9, 7)).astype(np.float32)
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    np.testing.assert_allclose(
        resample_volume(volume, affine, Grid(volume.shape, affine)), volume, atol=1e-5
    )


def test_agrees_with_scipy_inside():
    volume = np.random.default_rng(0).random((20, 20, 20)).astype(np.float32)
    matrix = rigid_matrix(np.array([0.7, -1.2, 0.4, 0.1, 0.05, -0.1]), np.full(3, 9.5))
    expected = ndimage.affine_transform(volume, matrix[:3, :3], matrix[:3, 3], order=3,
                                        mode="mirror")
    found = resample_volume(volume, np.eye(4), Grid(volume.shape, np.eye(4)), matrix)
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-4)


def test_two_movements_cost_one_interpolation(small_head):
    """A sharp image is not blurred twice: errors stay those of one interpolation."""
    rng = np.random.default_rng(0)
    sharp = rng.standard_normal((24, 24, 24)).astype(np.float32)
    grid = Grid(sharp.shape, np.eye(4))
    first = rigid_matrix(np.r_[0.5, 0.5, 0.5, 0, 0, 0], np.full(3, 11.5))
    second = np.linalg.inv(first)
    chained, _ = resample_series(sharp[..., None], np.eye(4), grid, (first @ second)[None])
    twice = resample_volume(resample_volume(sharp, np.eye(4), grid, first), np.eye(4), grid, second)
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(chained[inner][..., 0], sharp[inner], atol=1e-5)
    assert np.abs(twice - sharp)[inner].mean() > 0.1


def test_follows_the_head(small_head):
    tissue = small_head.intensity((0.0, 1.5, 1.0, 0.75, 0.25))
    smooth = ndimage.gaussian_filter(tissue, 2)
    matrix = rigid_matrix(np.array([5, -4, 3, 0.1, -0.05, 0.08]), np.zeros(3))
    still = sample(smooth, small_head.affine, SMALL_SHAPE, SMALL_AFFINE)
    moved = sample(smooth, small_head.affine, SMALL_SHAPE, SMALL_AFFINE, np.linalg.inv(matrix))
    grid = Grid(SMALL_SHAPE, SMALL_AFFINE)
    back, covered = resample_series(moved[..., None], SMALL_AFFINE, grid, matrix[None])
    inner = (still > 0.3) & covered
    assert np.abs(back[..., 0] - still)[inner].mean() < 0.01
    assert np.abs(moved - still)[inner].mean() > 0.05


def test_field_of_view_and_slabs():
    slab = np.random.default_rng(0).random((10, 8, 1, 3)).astype(np.float32)
    grid = Grid((10, 8, 1), np.eye(4))
    shift = np.eye(4)
    shift[0, 3] = 2.0
    matrices = np.stack([np.eye(4), shift, np.eye(4)])
    found, covered = resample_series(slab, np.eye(4), grid, matrices)
    np.testing.assert_allclose(found[..., 0], slab[..., 0], atol=1e-5)
    np.testing.assert_allclose(found[:8, :, :, 1], slab[2:, :, :, 1], atol=1e-5)
    assert not found[8:, :, :, 1].any()
    assert covered[:8].all()
    assert not covered[8:].any()


def test_points_take_the_place_of_the_grid():
    volume = np.random.default_rng(0).random((9, 9, 9)).astype(np.float32)
    grid = Grid((5, 5, 5), np.diag([2.0, 2.0, 2.0, 1.0]))
    points = grid_points(grid.shape, grid.affine)[::-1]
    found = resample_volume(volume, np.eye(4), grid, points=points, order=0)
    np.testing.assert_array_equal(found, volume[::2, ::2, ::2][::-1, ::-1, ::-1])


def test_voxel_sizes_are_those_of_the_parallel_axes():
    """Of a sagittal T1w image, the first axis is from left to right, or it is the last one."""
    bold = Grid((40, 40, 20), rigid_matrix(np.array([3, 4, 5, 0.2, 0.1, -0.3]), np.zeros(3))
                @ np.diag([-2.0, 2.5, 4.0, 1.0]))
    upright = Grid((90, 100, 80), np.diag([1.0, 1.0, 1.0, 1.0]))
    turned = Grid((100, 80, 90), upright.affine[:, [1, 2, 0, 3]])
    np.testing.assert_allclose(voxel_sizes(upright.as_fine_as(bold).affine), [2, 2.5, 4])
    found = turned.as_fine_as(bold)
    np.testing.assert_allclose(voxel_sizes(found.affine), [2.5, 4, 2])
    assert found.shape == (40, 20, 45)


@pytest.mark.parametrize("order", [0, 1])
def test_the_outer_face_has_the_value_of_the_last_voxel(order):
    volume = np.arange(1, 6, dtype=np.int16)[:, None, None] * np.ones((1, 3, 3), dtype=np.int16)
    faces = Grid((2, 3, 3), np.diag([5.0, 1.0, 1.0, 1.0]) + np.eye(4, k=3) * -0.5)
    found = resample_volume(volume, np.eye(4), faces, order=order)
    assert (found[0] == 1).all() and (found[1] == 5).all()


@pytest.mark.parametrize("sizes", [(2.0, 3.0, 5.0), (1.0, 1.1, 0.9)])
def test_other_voxel_sizes_keep_the_corner(sizes):
    affine = rigid_matrix(np.array([3, 4, 5, 0.2, 0.1, -0.3]), np.zeros(3)) @ np.diag(
        [-1.0, 1.5, 2.0, 1.0]
    )
    grid = Grid((30, 20, 11), affine).with_voxel_sizes(np.array(sizes))
    corners = [apply_affine(a, np.full((1, 3), -0.5))[0] for a in (affine, grid.affine)]
    np.testing.assert_allclose(*corners, atol=1e-9)
    assert (np.array(grid.shape) * sizes >= np.array([30, 30, 22]) - 1e-6).all()
