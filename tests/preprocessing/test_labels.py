"""Regions from images of labels."""

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import resample_to_img
from scipy.spatial.transform import Rotation

from bids_decoder.preprocessing.labels import (
    MIN_VOXELS,
    Region,
    find_regions,
    name_regions,
    resample_labels,
    split_regions,
)
from bids_decoder.preprocessing.registration import Pull, chained_points, save_matrix
from bids_decoder.preprocessing.resampling import Grid
from bids_decoder.trials import VoxelGrid

rng = np.random.default_rng(0)
AFFINE = nib.affines.from_matvec(np.diag([2.0, 2.0, 2.0]), [-11.3, -9.7, -8.1])
LABELS = np.kron(rng.integers(0, 5, (3, 3, 2)) * 1007, np.ones((4, 4, 4), dtype=int))
# nilearn leaves out the outer half of the outer voxels.
LABELS = np.pad(LABELS[1:-1, 1:-1, 1:-1], 1)
GRID = Grid((7, 8, 5), nib.affines.from_matvec(np.diag([-3.1, 2.9, 3.0]), [9.2, -10.1, -9.4]))


def moved(angles, shift):
    return nib.affines.from_matvec(
        Rotation.from_euler("xyz", angles, degrees=True).as_matrix(), shift
    )


def nearest(matrix):
    """What nilearn finds when the labels are moved by the inverse of the transform of points."""
    image = nib.Nifti1Image(LABELS.astype(np.int32), np.linalg.inv(matrix) @ AFFINE)
    like = nib.Nifti1Image(np.zeros(GRID.shape, dtype=np.int32), GRID.affine)
    found = resample_to_img(
        image, like, interpolation="nearest", force_resample=True, copy_header=True
    )
    return np.asarray(found.dataobj)


def test_names_are_unique_even_of_equal_files():
    voxels = np.arange(3)
    same = [Region("V1", "V1", 1, voxels), Region("V1", "V1", 1, voxels),
            Region("V2", "V1", 2, voxels)]
    names = [region.name for region in name_regions(same)]
    assert len(set(names)) == 3 and names[2] == "V2"


def test_labels_are_those_of_nilearn():
    found = resample_labels(LABELS, AFFINE, GRID)
    assert len(np.unique(found)) == 5
    np.testing.assert_array_equal(found, nearest(np.eye(4)))


def test_labels_through_two_transforms_are_those_of_nilearn(tmp_path):
    first, second = moved((4, -7, 3), (1.2, -0.7, 0.4)), moved((-2, 3, 9), (-0.6, 1.9, 0.3))
    pulls = [
        Pull(save_matrix(tmp_path / "first.txt", np.linalg.inv(first)), is_inverted=True),
        Pull(save_matrix(tmp_path / "second.txt", second)),
    ]
    points = chained_points(pulls, GRID)
    np.testing.assert_allclose(
        points[5], (second @ first @ GRID.affine @ (0, 1, 0, 1))[:3], atol=1e-6
    )
    found = resample_labels(LABELS, AFFINE, GRID, points)
    expected = nearest(second @ first)
    assert (found != resample_labels(LABELS, AFFINE, GRID)).mean() > 0.1
    np.testing.assert_array_equal(found, expected)


def test_large_numbers_of_labels_are_exact():
    labels = np.zeros((2, 2, 2), dtype=np.int64)
    labels[0, 0, 0], labels[1, 1, 1] = 2**24 + 1, 2**24 + 3
    grid = Grid(labels.shape, np.eye(4))
    np.testing.assert_array_equal(resample_labels(labels, np.eye(4), grid), labels)


def test_regions_are_voxel_numbers_of_the_mask():
    labels = np.zeros((4, 3, 2), dtype=int)
    labels[:2] = 7
    labels[3] = 3
    mask = np.ones(labels.shape, dtype=bool)
    mask[0, 0] = mask[2] = False
    grid = VoxelGrid(mask, np.eye(4))
    first, second = find_regions(labels, {7: "seven"}, "atlas", grid)
    assert (first.name, first.label, second.name) == ("3", 3, "seven")
    np.testing.assert_array_equal(second.voxels, np.flatnonzero(labels[mask] == 7))
    assert grid.to_volume(np.ones(grid.n_voxels))[tuple(grid.indices[first.voxels].T)].all()


def test_a_label_outside_the_mask_is_no_region():
    labels = np.arange(8).reshape(2, 2, 2)
    mask = labels == 0
    assert find_regions(labels, {}, "atlas", VoxelGrid(mask, np.eye(4))) == []


@pytest.mark.parametrize(("given", "expected"), [
    ([("V1", "a", 1), ("V1", "b", 1)], ["V1 (a)", "V1 (b)"]),
    ([("V1", "a", 1), ("V1", "a", 2), ("V2", "a", 3)], ["V1 (a) 1", "V1 (a) 2", "V2"]),
])
def test_names_are_unique(given, expected):
    regions = [Region(*words, np.arange(3)) for words in given]
    assert [region.name for region in name_regions(regions)] == expected


def test_small_regions_are_left_out():
    regions = [Region(str(n), "a", n, np.arange(n)) for n in (MIN_VOXELS - 1, MIN_VOXELS)]
    large, small = split_regions(regions)
    assert (large, small) == (regions[1:], regions[:1])
