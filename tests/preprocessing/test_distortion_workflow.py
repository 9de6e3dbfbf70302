"""Distortion correction in the whole workflow, on a small head with a known field."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from epi_phantom import (
    EPI_LEVELS,
    SMALL_AFFINE,
    SMALL_SHAPE,
    brain_mask,
    random_motion,
    sample,
)
from test_preprocessing_workflows import T_R, func_file, run

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.fieldmaps import FieldmapImage
from bids_decoder.bids.writer import save_nifti
from bids_decoder.preprocessing.geometry import grid_centre, rigid_matrix
from bids_decoder.simulate.distortion import distort, field_on_grid

READOUT = 0.05
PEAK_HZ = 50.0
WAYS = {"j-": -READOUT, "j": READOUT}
N_VOLUMES = 6


def save(path, volume):
    t_r = T_R if volume.ndim == 4 else None
    save_nifti(path, (1000 * volume).astype(np.int16), SMALL_AFFINE, t_r=t_r)
    return path


@pytest.fixture(scope="module")
def truth(small_head):
    """The head without distortion, and the field; a small field outside would not matter."""
    clean = sample(small_head.intensity(EPI_LEVELS), small_head.affine, SMALL_SHAPE, SMALL_AFFINE)
    return clean, field_on_grid(SMALL_SHAPE, SMALL_AFFINE, PEAK_HZ)


@pytest.fixture(scope="module")
def person(truth, small_head, tmp_path_factory):
    """One run with motion along the axis that is not encoded, and a pair of images."""
    folder = tmp_path_factory.mktemp("raw")
    clean, field = truth
    rng = np.random.default_rng(0)
    centre = grid_centre(SMALL_SHAPE, SMALL_AFFINE)
    volumes = []
    for row in random_motion(rng, N_VOLUMES, 1.0, 0.0) * np.r_[1, 0, 1, 0, 0, 0]:
        matrix = rigid_matrix(row, centre)
        moved = sample(small_head.intensity(EPI_LEVELS), small_head.affine, SMALL_SHAPE,
                       SMALL_AFFINE, matrix)
        volumes.append(distort(moved, field * WAYS["j-"], 1))
    series = np.stack(volumes, axis=-1)
    path = save(folder / "sub-01/func/sub-01_task-see_run-1_bold.nii.gz",
                series + 0.01 * rng.standard_normal(series.shape))
    metadata = {"RepetitionTime": T_R, "PhaseEncodingDirection": "j-", "TotalReadoutTime": READOUT}
    images = []
    for name, way in (("AP", "j-"), ("PA", "j")):
        image = distort(clean, field * WAYS[way], 1) + 0.01 * rng.standard_normal(SMALL_SHAPE)
        images.append(FieldmapImage(
            save(folder / f"sub-01/fmap/sub-01_dir-{name}_epi.nii.gz", image),
            {"PhaseEncodingDirection": way, "TotalReadoutTime": READOUT,
             "IntendedFor": "func/sub-01_task-see_run-1_bold.nii.gz"},
        ))
    runs = (BoldRun("01", None, "see", "1", "raw", {}, metadata, path),)
    return folder, Participant("01", (), runs, fieldmaps=tuple(images))


@pytest.fixture(scope="module")
def corrected(person, tmp_path_factory):
    folder, participant = person
    return run(participant, folder, tmp_path_factory.mktemp("corrected"))


@pytest.fixture(scope="module")
def distorted(person, tmp_path_factory):
    folder, participant = person
    return run(replace(participant, fieldmaps=()), folder, tmp_path_factory.mktemp("distorted"))


def agreement(files, truth, inside):
    mean = nib.load(func_file(files, "desc-preproc_bold.nii.gz")).get_fdata().mean(axis=3)
    return np.corrcoef(mean[inside], truth[inside])[0, 1]


def test_volumes_are_where_the_head_is(corrected, distorted, truth, small_head):
    clean, field = truth
    inside = brain_mask(small_head, SMALL_SHAPE, SMALL_AFFINE) & (np.abs(field * READOUT) > 0.3)
    assert agreement(corrected, clean, inside) > 0.9 > agreement(distorted, clean, inside)


def find(files, ending):
    (path,) = [path for path in files if path.name.endswith(ending)]
    return path


def test_field_and_shifts_are_written(corrected, truth, small_head):
    _, field = truth
    inside = brain_mask(small_head, SMALL_SHAPE, SMALL_AFFINE)
    hertz = nib.load(find(corrected, "fmapid-auto00000_desc-preproc_fieldmap.nii.gz")).get_fdata()
    assert np.median(np.abs(hertz - field)[inside]) * READOUT * 6.0 < 0.3
    path = find(corrected, "task-see_run-1_shiftmap.nii.gz")
    voxels = nib.load(path).get_fdata()
    strong = inside & (np.abs(field * READOUT) > 0.3)
    # Signs: j- moves signal with a positive offset to lower indices.
    assert np.median(np.abs(voxels + field * READOUT)[strong]) < 0.15
    sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert sidecar["PhaseEncodingDirection"] == "j-" and sidecar["LargestShiftMM"] > 4


def test_without_field_maps_nothing_is_written_about_distortion(distorted):
    assert not [path for path in distorted if path.parent.name == "fmap"]
