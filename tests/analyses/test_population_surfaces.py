"""Maps over participants on a standard surface."""

import nibabel as nib
import numpy as np
import pytest
import surface_derivatives as surface

from bids_decoder.analyses.population.figures import map_pictures
from bids_decoder.analyses.population.interfaces import SummarisePeople
from bids_decoder.analyses.population.maps import read_maps
from bids_decoder.bids.surfaces import hemisphere_names, surface_names
from bids_decoder.grids.surface import Mesh
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.markers import StageKey, write_marker
from bids_decoder.reports.results import Results
from bids_decoder.trials import VoxelGrid

PEOPLE = [f"0{k}" for k in range(1, 7)]
POINTS, TRIANGLES = surface.sphere(2)
N = len(POINTS)
GRID = VoxelGrid(
    np.ones((2 * N, 1, 1), bool), np.eye(4),
    Mesh(np.concatenate([POINTS, POINTS]), np.concatenate([TRIANGLES, TRIANGLES + N]), N),
)
PATCH = np.flatnonzero(surface.patch_of(POINTS, 30))


def write_search(folder, space):
    rng = np.random.default_rng(0)
    for label in PEOPLE:
        values = rng.normal(0.5, 0.05, 2 * N)
        values[PATCH] += 0.3
        outputs = PersonOutputs(folder, {"sub": label, "task": "see", "space": space}, {})
        outputs.image("search_map", GRID.to_volume(values.astype(np.float32)), GRID,
                      {"Chance": 0.5}, stat="accuracy")
        outputs.image("search_mask", GRID.mask.astype(np.uint8), GRID, {"Type": "ROI"})
        write_marker(folder, StageKey("searchlight", f"sub-{label}", {}), outputs.written)


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    out = tmp_path_factory.mktemp("group")
    write_search(out, "fsaverage5")
    found = SummarisePeople(output_dir=str(out), people=PEOPLE, seed=0).run().outputs.out_files
    return out, found


def test_vertices_are_tested_over_participants_and_maps_are_gifti(group):
    out, written = group
    name = "space-fsaverage5_label-searchlight_stat-accuracylogp_desc-group_statmap.nii.gz"
    path = out / "group" / name
    log_p = nib.load(path).get_fdata().ravel()
    assert (log_p[PATCH] > -np.log10(0.05)).mean() > 0.7
    assert (np.delete(log_p, PATCH) > -np.log10(0.05)).mean() < 0.05
    enhanced = nib.load(str(path).replace("logp", "logptfce")).get_fdata().ravel()
    assert (enhanced[PATCH] > -np.log10(0.05)).mean() > 0.9
    halves = [nib.load(side).darrays[0].data for side in hemisphere_names(path)]
    np.testing.assert_allclose(np.concatenate(halves), log_p, rtol=1e-6)
    for side in (*hemisphere_names(path), *surface_names(path)):
        assert str(side) in written and side.parent.name == "group"


def test_maps_are_drawn_on_the_surface(group):
    drawn = map_pictures(Results(group[0]))
    assert len(drawn) == 5 and all("on the surfaces" in pic.caption for pic in drawn)


def test_surfaces_of_single_participants_are_not_joined(tmp_path):
    write_search(tmp_path, "fsnative")
    maps, notes = read_maps(tmp_path, PEOPLE)
    assert not maps and "own space" in notes[0]
