import numpy as np
import pytest
from epi_phantom import (
    EPI_AFFINE,
    EPI_LEVELS,
    EPI_SHAPE,
    SMALL_AFFINE,
    SMALL_SHAPE,
    T1W_LEVELS,
    brain_mask,
    dice,
    moving_series,
    random_motion,
    sample,
)
from nibabel.affines import apply_affine
from scipy import ndimage

from bids_decoder.preprocessing import registration
from bids_decoder.preprocessing.bias import correct_bias
from bids_decoder.preprocessing.geometry import displacement, grid_points, rigid_matrix
from bids_decoder.preprocessing.registration import Picture
from bids_decoder.preprocessing.resampling import Grid, resample_volume


def bold_picture(head, parameters=None, bias=False, shape=EPI_SHAPE, affine=EPI_AFFINE, seed=1):
    parameters = np.zeros((1, 6)) if parameters is None else parameters
    series, matrices = moving_series(head, parameters, shape, affine, bias=bias, seed=seed)
    mask = brain_mask(head, shape, affine)
    mask = resample_volume(
        mask.astype(np.uint8), affine, Grid(shape, affine), np.linalg.inv(matrices[0]), order=0
    )
    return Picture(series[..., 0], affine, mask > 0), matrices[0]


COARSE_SHAPE, COARSE_AFFINE = (48, 54, 34), np.diag([-4.0, 4.0, 4.0, 1.0])
COARSE_AFFINE[:3, 3] = -COARSE_AFFINE[:3, :3] @ (np.array(COARSE_SHAPE) - 1) / 2


def inner_points(picture):
    return grid_points(picture.volume.shape, picture.affine)[picture.mask.ravel()][::9]


@pytest.mark.parametrize(("mm", "degrees"), [(20, 20), (20, -20)])
def test_bold_to_t1w_from_afar(head, mm, degrees):
    bold, _ = bold_picture(head, shape=COARSE_SHAPE, affine=COARSE_AFFINE)
    away = rigid_matrix(np.r_[mm, -mm, mm, np.radians([degrees, degrees, -degrees])], np.zeros(3))
    t1w = Picture(head.intensity(T1W_LEVELS), away @ head.affine, head.brain > 0.5)
    found = registration.register_rigid(bold, t1w)
    assert displacement(found, away, inner_points(bold)) < 0.5


def test_bold_to_t1w_on_a_flipped_oblique_grid(head):
    affine = COARSE_AFFINE.copy()
    affine[0] *= -1
    affine = rigid_matrix(np.array([4, 5, 3, 0.3, 0.1, 0.2]), np.zeros(3)) @ affine
    bold, _ = bold_picture(head, shape=COARSE_SHAPE, affine=affine)
    t1w = Picture(head.intensity(T1W_LEVELS), head.affine, head.brain > 0.5)
    found = registration.register_rigid(bold, t1w)
    assert displacement(found, np.eye(4), inner_points(bold)) < 0.5


def test_bias_field_is_removed_before_alignment(head):
    shape, affine = (38, 43, 25), np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    biased, _ = bold_picture(head, bias=True, shape=shape, affine=affine)
    t1w = Picture(head.intensity(T1W_LEVELS), head.affine, head.brain > 0.5)
    even = Picture(correct_bias(np.clip(biased.volume, 0, None), affine), affine, biased.mask)
    found = registration.register_rigid(even, t1w)
    assert displacement(found, np.eye(4), inner_points(biased)) < 0.7


def test_runs_are_aligned_to_hundredths(head):
    person, _ = bold_picture(head, bias=True)
    moved = np.r_[12.0, -9.0, 7.0, np.radians([8, -6, 10])][None]
    run, truth = bold_picture(head, moved, bias=True, seed=2)
    found = registration.align_runs(person, run)
    assert displacement(found, truth, inner_points(person)) < 0.15


def test_slabs_are_left_where_they_are():
    slab = Picture(np.ones((9, 9, 1)), np.eye(4), np.ones((9, 9, 1), dtype=bool))
    np.testing.assert_array_equal(registration.align_runs(slab, slab), np.eye(4))


def test_same_bytes_twice(small_head):
    bold, _ = bold_picture(small_head, shape=SMALL_SHAPE, affine=SMALL_AFFINE)
    t1w = Picture(small_head.intensity(T1W_LEVELS), small_head.affine, small_head.brain > 0.5)
    first, second = (registration.register_rigid(bold, t1w).tobytes() for _ in range(2))
    assert first == second


def test_matrix_files_round_trip(tmp_path):
    matrix = rigid_matrix(random_motion(np.random.default_rng(0), 3, 20, 30)[2], np.zeros(3))
    path = registration.save_matrix(tmp_path / "from-a_to-b_xfm.txt", matrix)
    np.testing.assert_allclose(registration.read_matrix(path), matrix, atol=1e-9)
    grid = Grid((4, 5, 6), np.diag([-2.0, 3.0, 4.0, 1.0]))
    expected = apply_affine(matrix, grid_points(grid.shape, grid.affine))
    np.testing.assert_allclose(registration.warped_points(path, grid), expected, atol=1e-5)


def test_template_both_ways_and_repeatable(coarse_head, tmp_path):
    head = coarse_head
    shape, affine = head.shares.shape[:3], head.affine
    volume = head.intensity(T1W_LEVELS)
    template = Picture(volume, affine, head.brain > 0.5)
    rng = np.random.default_rng(0)
    bend = np.stack([ndimage.gaussian_filter(rng.standard_normal(shape), 4) for _ in range(3)], -1)
    bend *= 9.0 / np.abs(bend).max()
    points = grid_points(shape, affine)
    true = apply_affine(np.diag([1.1, 0.92, 1.08, 1.0]), points) + bend.reshape(-1, 3)
    grid = Grid(shape, affine)
    brain = resample_volume(head.brain, affine, grid, points=true, order=1)
    t1w = Picture(
        resample_volume(volume, affine, grid, points=true), affine, brain > 0.5
    )
    files = []
    for attempt in "ab":
        ways = tmp_path / f"{attempt}.h5", tmp_path / f"{attempt}i.h5"
        registration.register_template(t1w, template, *ways, seed=3)
        files.append(ways)
    forward, back = (registration.warped_points(path, grid) for path in files[0])
    again = registration.warped_points(files[1][0], grid)
    assert forward.tobytes() == again.tobytes()
    warped = resample_volume(t1w.mask.astype(np.uint8), affine, grid, points=forward, order=0) > 0
    returned = resample_volume(template.mask.astype(np.uint8), affine, grid, points=back, order=0)
    assert dice(t1w.mask, template.mask) < 0.95
    assert dice(warped, template.mask) > 0.97
    assert dice(returned > 0, t1w.mask) > 0.97


def test_sample_and_levels_agree_with_the_phantom(head):
    """The simulated EPI shows the head where the true mask says it is."""
    clean = sample(head.intensity(EPI_LEVELS), head.affine, EPI_SHAPE, EPI_AFFINE)
    mask = brain_mask(head)
    assert clean[mask].mean() > 3 * clean[~mask].mean()
