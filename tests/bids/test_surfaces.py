"""BOLD on surfaces: names, shapes, meshes, and files of hemispheres."""

import json

import nibabel as nib
import numpy as np
import pytest
import surface_derivatives as surface

from bids_decoder.bids.images import read_first_volumes, read_header
from bids_decoder.bids.signatures import read_volumes
from bids_decoder.bids.surfaces import (
    find_meshes,
    hemisphere_names,
    hemispheres,
    load_series,
    read_meshes,
    save_hemispheres,
    save_surfaces,
)
from bids_decoder.errors import ExitCode, InputError, MissingInputError

POINTS, TRIANGLES = surface.sphere(1)
N = len(POINTS)


@pytest.fixture
def derived(toy):
    """Surfaces of one participant in two spaces, beside the raw dataset."""
    toy.json("../fp/dataset_description.json", {"Name": "fp", "BIDSVersion": "1.4.0"})
    top = toy.root.parent / "fp"
    for run in "123":
        for space in ("fsnative", "fsaverage5"):
            write(toy, top, run, space)
        toy.text(f"../fp/sub-01/func/sub-01_task-see_run-{run}_desc-confounds_timeseries.tsv",
                 "trans_x\n0\n")
    for side in "LR":
        surface.save_surface(top / f"sub-01/anat/sub-01_hemi-{side}_white.surf.gii",
                             POINTS - 1, TRIANGLES)
        surface.save_surface(top / f"sub-01/anat/sub-01_hemi-{side}_pial.surf.gii",
                             POINTS + 3, TRIANGLES)
    return top


def write(toy, top, run, space, old=False):
    for side in "LR":
        middle = f"space-{space}_hemi-{side}" if old else f"hemi-{side}_space-{space}"
        stem = top / f"sub-01/func/sub-01_task-see_run-{run}_{middle}_bold"
        surface.save_series(stem.with_suffix(".func.gii"),
                            toy.rng.normal(100, 1, (N + (side == "R"), 40)))
        toy.json(f"../fp/sub-01/func/{stem.name}.json", {"RepetitionTime": 2.0})


def read(toy, spaces=("func",), **execution):
    return toy.dataset(
        execution={"derivatives": {"fmriprep": toy.root.parent / "fp"}, **execution},
        preprocessing={"output_spaces": spaces},
    )


@pytest.mark.parametrize(("spaces", "space"), [
    (("func",), "fsaverage5"), (("fsnative",), "fsnative"), (("T1w",), "fsaverage5"),
])
def test_surfaces_are_read_where_there_are_no_volumes(toy, derived, spaces, space):
    dataset = read(toy, spaces)
    assert [f for f in dataset.findings if f.severity == "error"] == []
    assert not any("not in the derivatives" in f.what for f in dataset.findings
                   if "3 run(s)" not in f.what)
    (person,) = dataset.participants
    assert [run.entities for run in person.runs] == [{"space": space}] * 3
    assert all(run.confounds_file is not None for run in person.runs)
    assert person.runs[0].header.shape == (2 * N + 1, 1, 1, 40)
    assert person.runs[0].t_r(person.runs[0].header) == 2.0


def test_volumes_come_first_unless_surfaces_are_asked_for(toy, derived):
    for run in "123":
        toy.image(f"../fp/sub-01/func/sub-01_task-see_run-{run}_space-T1w_desc-preproc_bold.nii.gz")
    assert {run.entities["space"] for run in read(toy).runs} == {"T1w"}
    assert {run.entities["space"] for run in read(toy, ("fsnative",)).runs} == {"fsnative"}


def test_names_of_20_2(toy, derived):
    for path in derived.rglob("*_bold.*"):
        path.unlink()
    write(toy, derived, "1", "fsaverage5", old=True)
    (run,) = read(toy).runs
    assert run.run == "1" and run.header.shape[0] == 2 * N + 1 and run.confounds_file


def test_series_of_both_hemispheres_are_joined(toy, derived):
    path = next(derived.rglob("*run-1_hemi-L_space-fsnative_bold.func.gii"))
    left, right = (nib.load(side) for side in hemispheres(path))
    joined = np.asarray(load_series(path).dataobj)
    assert joined.shape == read_header(path).shape == (2 * N + 1, 1, 1, 40)
    np.testing.assert_array_equal(joined[:N, 0, 0, 7], left.darrays[7].data)
    np.testing.assert_array_equal(joined[N:, 0, 0, 7], right.darrays[7].data)
    np.testing.assert_array_equal(read_first_volumes(path, 3), joined[:, 0, 0, :3])


def test_faults_of_surfaces_are_named(toy, derived):
    path = next(derived.rglob("*run-1_hemi-L_space-fsnative_bold.func.gii"))
    right = hemispheres(path)[1]
    surface.save_series(right, np.ones((N, 39)))
    with pytest.raises(InputError, match="40 volumes, but 39"):
        read_header(path)
    right.unlink()
    with pytest.raises(MissingInputError, match="both hemispheres") as caught:
        read_header(path)
    assert caught.value.finding.code == ExitCode.MISSING_INPUT
    path.write_text("<GIFTI>")
    surface.save_series(right, np.ones((N, 40)))
    with pytest.raises(InputError, match="no series"):
        read_header(path)


def test_meshes_of_a_participant_are_means_of_white_and_pial(toy, derived):
    path = next(derived.rglob("*run-1_hemi-L_space-fsnative_bold.func.gii"))
    files = find_meshes(derived, path)
    assert [file.name.split("_")[-1] for file in files] == ["white.surf.gii", "pial.surf.gii"] * 2
    points, triangles, n_left = read_meshes(files)
    np.testing.assert_allclose(points, np.concatenate([POINTS, POINTS]) + 1, atol=1e-4)
    assert n_left == N and triangles[len(TRIANGLES):].min() == N


def test_meshes_of_fsaverage5_are_those_of_nilearn(derived):
    path = next(derived.rglob("*run-1_hemi-L_space-fsaverage5_bold.func.gii"))
    points, triangles, n_left = read_meshes(find_meshes(derived, path))
    assert n_left == 10242 and points.shape == (20484, 3)
    assert points[:n_left, 0].mean() < 0 < points[n_left:, 0].mean()
    assert triangles.max() == 20483


def test_files_of_hemispheres_hold_the_maps(tmp_path):
    path = tmp_path / "sub-01_task-see_space-fsnative_stat-z_statmap.nii.gz"
    values = np.arange(2.0 * (2 * N + 1)).reshape(2 * N + 1, 1, 1, 2)
    written = save_hemispheres(path, values, N, {"Space": "fsnative"})
    assert tuple(written[::2]) == hemisphere_names(path)
    assert json.loads(written[3].read_text()) == {"Space": "fsnative"}
    left, right = (nib.load(file) for file in hemisphere_names(path))
    np.testing.assert_array_equal(left.darrays[1].data, values[:N, 0, 0, 1])
    np.testing.assert_array_equal(right.darrays[0].data, values[N:, 0, 0, 0])
    assert right.meta["AnatomicalStructurePrimary"] == "CortexRight"


def test_surfaces_survive_writing(tmp_path):
    targets = (tmp_path / "L.surf.gii", tmp_path / "R.surf.gii")
    both = np.concatenate([POINTS, POINTS + 9]), np.concatenate([TRIANGLES, TRIANGLES + N])
    save_surfaces(targets, *both, N)
    points, triangles, n_left = read_meshes(targets)
    np.testing.assert_allclose(points, both[0], atol=1e-4)
    np.testing.assert_array_equal(triangles, both[1])
    assert n_left == N


@pytest.mark.parametrize("n_volumes", [None, 40])
def test_copies_of_runs_are_recognised(derived, n_volumes):
    path = next(derived.rglob("*run-1*hemi-L_space-fsnative_bold.func.gii"))
    signatures = read_volumes(path, n_volumes)
    assert signatures.shape[0] == 40 and np.isfinite(signatures).all()
