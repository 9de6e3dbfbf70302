"""Maps drawn on surfaces."""

import numpy as np
import pytest
import surface_derivatives as surface

from bids_decoder.bids.surfaces import hemisphere_names, save_hemispheres, save_surfaces
from bids_decoder.reports.surfaces import surface_pictures

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
    save_hemispheres(path, values, N)
    return path


@pytest.mark.parametrize("signed", [True, False])
def test_a_map_is_drawn_on_both_sides(path, signed):
    (drawn,) = surface_pictures(path, "map", "Importance", signed=signed)
    assert "Importance, on the surfaces" in drawn.caption
    assert f"{int((POINTS[:, 2] > 0).sum())} vertices" in drawn.alt


def test_nothing_is_drawn_without_values_or_surfaces(path):
    assert surface_pictures(path, "map", "Importance", signed=False, threshold=99.0) == []
    hemisphere_names(path)[1].unlink()
    assert surface_pictures(path, "map", "Importance", signed=False) == []
