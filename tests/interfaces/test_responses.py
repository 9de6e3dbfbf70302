"""Joining the runs of a person."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import InputError
from bids_decoder.files import read_json
from bids_decoder.interfaces.responses import collect_responses, shared_space
from bids_decoder.trials import TRIAL_COLUMNS

AFFINE = np.diag([2.0, 2, 2, 1])


@pytest.fixture
def run(tmp_path):
    betas = np.random.default_rng(0).standard_normal((4, 5, 6, 8))
    table = pd.DataFrame({name: ["n/a"] * 8 for name in TRIAL_COLUMNS}).assign(
        trial=range(1, 9), excluded=False, fold=1,
    )
    stem = "sub-1_task-see_space-MNI152NLin6Asym_res-2_desc-singletrial_"
    return (
        [save_nifti(tmp_path / f"{stem}betaseries.nii.gz", betas, AFFINE)],
        [save_table(tmp_path / f"{stem}trials.tsv", table)],
    )


def mask_file(folder, shape=(4, 5, 6), shift=0.0):
    mask = np.zeros(shape)
    mask[:2] = 1
    affine = AFFINE.copy()
    affine[0, 3] = shift
    return save_nifti(folder / "mask.nii.gz", mask, affine)


def test_mask_bounds_the_voxels_and_the_space_is_kept(run, tmp_path):
    collect_responses(*run, [mask_file(tmp_path)], tmp_path)
    assert np.load(tmp_path / "betas.npy").shape == (8, 60)
    assert read_json(tmp_path / "space.json") == {"space": "MNI152NLin6Asym"}


@pytest.mark.parametrize("options", [{"shape": (4, 5, 7)}, {"shape": (6, 5, 4)}, {"shift": 1.0}])
def test_mask_on_another_grid_is_refused(run, tmp_path, options):
    with pytest.raises(InputError, match="(shape|affine) .* against .* of the data"):
        collect_responses(*run, [mask_file(tmp_path, **options)], tmp_path)


@pytest.mark.parametrize(("entities", "space"), [
    ({}, ""), ({"space": "T1w"}, ""), ({"space": "MNI152NLin6Asym", "res": "2"}, "MNI152NLin6Asym"),
    ({"space": "MNIInfant", "cohort": "1"}, "MNIInfant:cohort-1"),
])
def test_a_space_includes_its_cohort(entities, space):
    assert shared_space(entities) == space


def test_volumes_without_values_are_named(run, tmp_path):
    (path,), tables = run
    image = nib.load(path)
    betas = image.get_fdata(dtype=np.float32)
    betas[..., 6] = np.nan
    save_nifti(path, betas, image.affine)
    with pytest.raises(InputError, match=r"1 volume\(s\) have no finite value.*number 7, from 1"):
        collect_responses([path], tables, [mask_file(tmp_path)], tmp_path)
