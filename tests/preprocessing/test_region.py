import nibabel as nib
import numpy as np
import pytest
from epi_phantom import dice

from bids_decoder.bids.writer import save_nifti
from bids_decoder.errors import InputError
from bids_decoder.interfaces.preprocessing import OccipitalRegion
from bids_decoder.preprocessing import region
from bids_decoder.preprocessing.geometry import rigid_matrix
from bids_decoder.preprocessing.registration import Picture, save_matrix
from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.preprocessing.templates import PACKAGED, OutputSpace, load_template

BACK_MM = np.array([[0, -90, 5], [-35, -80, 0], [30, -60, -15]], dtype=float)
ELSEWHERE_MM = np.array([[0, 40, 10], [-50, -20, 10], [30, 0, 50], [0, -50, 70]], dtype=float)


@pytest.fixture(scope="module")
def template():
    return load_template(OutputSpace(PACKAGED))


@pytest.fixture(scope="module")
def person(template):
    """A smaller brain that lies tilted, in the contrast of a BOLD reference, at 4 mm."""
    matrix = rigid_matrix(np.r_[6.0, -9.0, 4.0, np.radians([12, -5, 8])], np.zeros(3))
    matrix = matrix @ np.diag([1.07, 1.1, 1.05, 1.0])
    grid = Grid((48, 54, 46), np.array([[-4.0, 0, 0, 92], [0, 4, 0, -122], [0, 0, 4, -84],
                                        [0, 0, 0, 1]]))
    mask = resample_volume(template.mask.astype(np.uint8), template.affine, grid, matrix, order=0)
    t1w = resample_volume(template.volume, template.affine, grid, matrix)
    noise = 0.02 * np.random.default_rng(0).standard_normal(grid.shape)
    volume = np.where(mask > 0, np.clip(1.3 - t1w, 0, None) + noise, 0).astype(np.float32)
    return Picture(volume, grid.affine, mask > 0), matrix


def places(mask, grid, points):
    indices = np.rint((points - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T)
    return mask[tuple(indices.astype(int).T)]


def test_region_in_template_space_holds_the_back_of_the_brain(template):
    grid = Grid(template.mask.shape, template.affine)
    mask = region.occipital_mask(grid, template)
    assert places(mask, grid, BACK_MM).all()
    assert not places(mask, grid, ELSEWHERE_MM).any()
    assert 0.1 < (mask & template.mask).sum() / template.mask.sum() < 0.3
    assert mask.sum() < 1.25 * (mask & template.mask).sum()


def test_region_of_a_person_is_the_region_of_the_template(person, template, tmp_path):
    brain, truth = person
    grid = Grid(brain.mask.shape, brain.affine)
    files = {
        "in_file": save_nifti(tmp_path / "boldref.nii.gz", brain.volume, brain.affine),
        "mask_file": save_nifti(tmp_path / "mask.nii.gz", brain.mask, brain.affine),
    }
    node = OccipitalRegion(grid_file=str(files["in_file"]), **{k: str(v) for k, v in files.items()})
    image = nib.load(node.run(cwd=str(tmp_path)).outputs.out_file)
    expected = region.occipital_mask(grid, template, truth)
    assert image.shape == grid.shape
    assert dice(np.asarray(image.dataobj) > 0, expected) > 0.93


def test_region_of_a_slab_comes_through_the_t1w(person, template, tmp_path):
    brain, truth = person
    away = rigid_matrix(np.r_[-7.0, 5.0, 9.0, np.radians([-6, 4, 10])], np.zeros(3))
    affine = away @ brain.affine
    affine[:3, 3] += affine[:3, 2] * 20
    slab = Grid((48, 54, 3), affine)
    node = OccipitalRegion(
        grid_file=str(save_nifti(tmp_path / "betas.nii.gz", np.ones(slab.shape), slab.affine)),
        in_file=str(save_nifti(tmp_path / "T1w.nii.gz", brain.volume, brain.affine)),
        mask_file=str(save_nifti(tmp_path / "mask.nii.gz", brain.mask, brain.affine)),
        to_file=str(save_matrix(tmp_path / "xfm.txt", np.linalg.inv(away))),
    )
    found = np.asarray(nib.load(node.run(cwd=str(tmp_path)).outputs.out_file).dataobj) > 0
    assert dice(found, region.occipital_mask(slab, template, truth @ np.linalg.inv(away))) > 0.9


@pytest.mark.parametrize(
    ("shape", "space", "has_boldref", "has_t1w", "message"),
    [
        ((1000, 1, 1), "MNI152NLin2009cAsym", True, True, "without positions"),
        ((40, 20, 1), "", True, False, "fewer than 6 slices"),
        ((64, 64, 35), "T1w", False, False, "neither a BOLD reference nor a T1w"),
        ((40, 20, 1), "MNI152NLin2009cAsym", False, False, None),
        ((40, 20, 1), "", True, True, None),
        ((64, 64, 35), "", True, False, None),
    ],
)
def test_grids_without_a_place_are_refused(shape, space, has_boldref, has_t1w, message):
    if message is None:
        region.check_grid(shape, space, has_boldref=has_boldref, has_t1w=has_t1w)
        return
    with pytest.raises(InputError, match=message):
        region.check_grid(shape, space, has_boldref=has_boldref, has_t1w=has_t1w)


def test_a_part_of_the_brain_is_refused(person, template):
    brain, _ = person
    half = Picture(brain.volume[..., :14], brain.affine, brain.mask[..., :14])
    with pytest.raises(InputError, match="Dice"):
        region.to_template(half, template)


def test_images_of_the_front_are_refused(template):
    front = Grid((20, 20, 20), np.array([[2.0, 0, 0, -20], [0, 2, 0, 10], [0, 0, 2, 0],
                                         [0, 0, 0, 1]]))
    with pytest.raises(InputError, match="back of the brain"):
        region.occipital_mask(front, template)
