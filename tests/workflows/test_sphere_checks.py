"""Sizes of searchlights on surfaces that the plan refuses."""

import numpy as np
import pytest
from surface_derivatives import RADIUS, save_series, save_surface, sphere

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.errors import ExitCode
from bids_decoder.preprocessing.templates import FUNC
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.workflows.sphere_checks import MOST_VOXELS, check_grid, densities_of

POINTS, TRIANGLES = sphere(3)


@pytest.fixture(scope="module")
def participant(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surfaces")
    meshes = tuple(folder / f"sub-01_hemi-{side}_midthickness.surf.gii" for side in "LR")
    for side, mesh in zip("LR", meshes, strict=True):
        save_surface(mesh, POINTS, TRIANGLES)
        save_series(folder / f"sub-01_task-see_hemi-{side}_space-fsnative_bold.func.gii",
                    np.ones((len(POINTS), 2)))
    bold = folder / "sub-01_task-see_hemi-L_space-fsnative_bold.func.gii"
    run = BoldRun("01", None, "see", "1", "fmriprep", bold_file=bold)
    return Participant("01", (), (run,), meshes=meshes)


def why(participant, **size):
    found = check_grid("01", densities_of(participant, FUNC), Searchlight(**size))
    assert all(one.code == ExitCode.USAGE for one in found)
    return [f"{one.why}; {one.fix}" for one in found]


def test_radii_are_those_of_discs(participant):
    (density,) = densities_of(participant, FUNC)
    area = 2 * 4 * np.pi * RADIUS**2
    assert density.unit == pytest.approx(area / density.n_voxels, rel=0.02)
    assert density.count_within(density.radius_of(50)) == pytest.approx(50)
    assert not why(participant, radius_mm=15.0) and not why(participant, n_voxels=30)
    (small,) = why(participant, radius_mm=1.0)
    assert "reaches no other voxel: there are vertices that are" in small
    (large,) = why(participant, radius_mm=1000.0)
    assert f"more than {MOST_VOXELS} vertices" in large and "give a radius from" in large
    (many,) = why(participant, n_voxels=2000)
    assert f"{2 * len(POINTS)} vertices only" in many


def test_vertices_without_meshes_have_nothing_around_them(participant):
    bare = Participant("01", (), participant.runs)
    (found,) = check_grid("01", densities_of(bare, FUNC), Searchlight(radius_mm=8.0))
    assert "no surface is known" in found.why
