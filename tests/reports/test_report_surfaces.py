"""Maps drawn on surfaces."""

import cifti_derivatives as cifti
import numpy as np
import pytest
import surface_derivatives as surface

from bids_decoder.bids.cifti import save_maps
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.surfaces import (
    hemisphere_names,
    save_hemispheres,
    save_surfaces,
    surface_names,
)
from bids_decoder.bids.writer import save_nifti
from bids_decoder.reports.figures_maps import why_no_map
from bids_decoder.reports.results import Results
from bids_decoder.reports.surfaces import row_pictures

POINTS, TRIANGLES = surface.sphere(1)
N = len(POINTS)


@pytest.fixture
def path(tmp_path):
    """A map of a part of the left hemisphere, beside its surface."""
    anat = tmp_path / "sub-01" / "anat"
    targets = tuple(
        anat / f"sub-01_hemi-{side}_space-fsnative_midthickness.surf.gii" for side in "LR"
    )
    save_surfaces(targets, np.concatenate([POINTS, POINTS]),
                  np.concatenate([TRIANGLES, TRIANGLES + N]), N)
    path = tmp_path / "sub-01/func/sub-01_task-see_space-fsnative_stat-troi_statmap.nii.gz"
    values = np.zeros((2 * N, 1, 1))
    values[:N, 0, 0] = np.maximum(POINTS[:, 2], 0)
    save_nifti(path, values.astype(np.float32), np.eye(4))
    return path


@pytest.mark.parametrize("signed", [True, False])
def test_a_map_is_drawn_on_both_sides(path, signed):
    (drawn,) = row_pictures(path, "map", "Importance", signed=signed)
    assert "Importance, on the surfaces" in drawn.caption
    assert f"{int((POINTS[:, 2] > 0).sum())} vertices" in drawn.alt


def test_nothing_is_drawn_without_values_or_surfaces(path):
    assert row_pictures(path, "map", "Importance", signed=False, threshold=99.0) == []
    surface_names(path)[1].unlink()
    assert row_pictures(path, "map", "Importance", signed=False) == []


def test_a_mask_without_its_surfaces_says_that_they_are_absent(tmp_path):
    path = derivative_path(tmp_path, "troi_mask", sub="01", task="see", space="fsnative")
    values = np.zeros((2 * N, 1, 1), np.uint8)
    save_nifti(path, values, np.eye(4))
    save_hemispheres(path, values, N, {})
    assert "empty" in why_no_map(Results(tmp_path, "01"))
    values[3] = 1
    save_nifti(path, values, np.eye(4))
    assert "midthickness" in why_no_map(Results(tmp_path, "01"))
    for side in hemisphere_names(path):
        side.unlink()
    assert "only a container" in why_no_map(Results(tmp_path, "01"))


@pytest.mark.parametrize(("space", "ground"), [
    ("fsLR_den-91k", "below the cortex, on the template MNI152NLin"),
    ("own", "below the cortex, on a black ground (no reference image is on disk)"),
])
def test_voxels_below_the_cortex_are_drawn_on_the_template(tmp_path, space, ground):
    models = cifti.brain_models()
    path = tmp_path / f"sub-01_task-see_space-{space}_stat-troi_statmap.nii.gz"
    values = np.linspace(1, 2, len(models))[:, None, None]
    save_nifti(path, values.astype(np.float32), np.eye(4))
    save_maps(path, values, models, {})
    (drawn,) = row_pictures(path, "map", "Importance", signed=False)
    assert ground in drawn.caption
