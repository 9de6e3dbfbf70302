"""Datasets that are not as the textbook has them: prepared right, or refused with the reason.

Every person answers to one of two conditions on the right side of the back of the brain. Whatever
the grid, the orientation and the sessions, the responses must be found there.
"""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from epi_phantom import (
    EPI_LEVELS,
    SMALL_AFFINE,
    SMALL_SHAPE,
    T1W_LEVELS,
    random_motion,
    sample,
)
from nibabel.affines import apply_affine
from nilearn.glm.first_level import spm_hrf
from nipype import config
from scipy import ndimage

from bids_decoder.analyses.build import init_bids_decoder_wf
from bids_decoder.bids.writer import read_table, save_nifti
from bids_decoder.cli.plan import make_plan, write_plan
from bids_decoder.config import Settings
from bids_decoder.errors import ExitCode, FindingsError
from bids_decoder.files import write_json, write_text
from bids_decoder.preprocessing.geometry import grid_centre, grid_points, rigid_matrix

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_bias")]

ONSETS = 13 + 9.0 * np.arange(6)
N_SECONDS = 72
BLOB_MM = np.array([32.0, -30.0, 8.0])
NEAR_MM = 4.0
GAIN = 0.08


def grid_of(shape, affine):
    """Centre a grid on the head."""
    affine = affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return shape, affine


FLIPPED = grid_of(SMALL_SHAPE, np.diag([6.0, 6.0, 6.0, 1.0]))
WIDER = grid_of(tuple(n + 2 for n in SMALL_SHAPE), np.diag([6.0, 6.0, 6.0, 1.0]))
ODD = grid_of((37, 27, 22), np.diag([-5.2, 7.3, 4.9, 1.0]))
OBLIQUE = grid_of(SMALL_SHAPE, rigid_matrix(
    np.r_[0, 0, 0, np.radians([22, -9, 12])], np.zeros(3)) @ SMALL_AFFINE)
USUAL = (SMALL_SHAPE, SMALL_AFFINE)


def write_run(folder, head, label, grid, *, session=None, run="1", t_r=2.0, n_dummy=0,
              place=None, seed=0):
    """Write one run with its sidecar and events; *place* puts the head elsewhere."""
    shape, affine = grid
    n_volumes = int(N_SECONDS / t_r)
    rng = np.random.default_rng(seed)
    motion = random_motion(rng, n_volumes, 0.6, 0.5) + (np.zeros(6) if place is None else place)
    names = ["a", "b"] * 3
    course = response(names, t_r, n_volumes)
    tissue = head.intensity(EPI_LEVELS)
    active = blob(head)
    series = np.empty((*shape, n_volumes), dtype=np.int16)
    for t in range(n_volumes):
        matrix = rigid_matrix(motion[t], grid_centre(shape, affine))
        image = tissue + GAIN * course[t] * active
        image = sample(image, head.affine, shape, affine, matrix, n_sub=1)
        bright = 1 + 0.6 * 0.7 ** t if t < n_dummy else 1
        series[..., t] = 1000 * (bright * image + 0.008 * rng.standard_normal(shape))
    entities = [f"sub-{label}", *([f"ses-{session}"] if session else []), "task-see", f"run-{run}"]
    place = folder / f"sub-{label}" / (f"ses-{session}" if session else "") / "func"
    stem = place / "_".join(entities)
    save_nifti(stem.with_name(stem.name + "_bold.nii.gz"), series, affine, t_r=t_r)
    write_json(stem.with_name(stem.name + "_bold.json"),
               {"RepetitionTime": t_r, "TaskName": "see"})
    events = pd.DataFrame({"onset": ONSETS, "duration": 3.0, "trial_type": names})
    write_text(stem.with_name(stem.name + "_events.tsv"), events.to_csv(sep="\t", index=False))


def blob(head):
    """Brightness of the part that answers."""
    tissue = head.intensity(EPI_LEVELS)
    distance = np.linalg.norm(grid_points(tissue.shape, head.affine) - BLOB_MM, axis=1)
    return tissue * np.exp(-0.5 * (distance.reshape(tissue.shape) / 11) ** 2).astype(np.float32)


def centre_mm(volume, affine):
    """Middle of the piece around the maximum that exceeds half of it, in millimetres."""
    pieces, _ = ndimage.label(volume > 0.5 * volume.max())
    weight = np.where(pieces == pieces.ravel()[volume.argmax()], volume, 0)
    middle = (np.argwhere(weight) * weight[weight > 0][:, None]).sum(axis=0) / weight.sum()
    return apply_affine(affine, middle[None])[0]


def response(names, t_r, n_volumes):
    """What the blob does: it answers to a, not to b."""
    fine = np.zeros(int(n_volumes * t_r * 10))
    for onset, name in zip(ONSETS, names, strict=True):
        fine[int(onset * 10):int((onset + 3) * 10)] = name == "a"
    kernel = spm_hrf(0.1, oversampling=1)
    course = np.convolve(fine, kernel / kernel.max())[:len(fine)] / 30
    return course[(np.arange(n_volumes) * t_r * 10).astype(int)]


def write_t1w(folder, head, label, name="", matrix=None):
    path = folder / f"sub-{label}/anat/sub-{label}{name}_T1w.nii.gz"
    affine = head.affine if matrix is None else matrix @ head.affine
    noise = 30 * np.random.default_rng(len(name)).standard_normal(head.shares.shape[:3])
    save_nifti(path, np.clip(1000 * head.intensity(T1W_LEVELS) + noise, 0, None), affine)


@pytest.fixture(scope="module")
def raw(small_head, coarse_head, tmp_path_factory):
    """Five people, each odd in its own way."""
    folder = tmp_path_factory.mktemp("odd") / "raw"
    write_json(folder / "dataset_description.json", {"Name": "odd", "BIDSVersion": "1.9.0"})
    for label, grid in (("flipped", FLIPPED), ("odd", ODD), ("oblique", OBLIQUE)):
        write_run(folder, small_head, label, grid)
    turned = np.r_[9.0, -7.0, 6.0, np.radians([6, -5, 8])]
    write_run(folder, small_head, "sessions", USUAL, session="a", t_r=2.0)
    write_run(folder, small_head, "sessions", WIDER, session="b", t_r=1.5, place=turned, seed=1)
    for name in ("dir-AP", "dir-PA"):
        save_nifti(folder / f"sub-sessions/ses-a/fmap/sub-sessions_ses-a_{name}_epi.nii.gz",
                   np.ones((4, 4, 4), np.int16), np.eye(4))
    write_run(folder, small_head, "anatomy", USUAL, n_dummy=6, seed=2)
    write_t1w(folder, coarse_head, "anatomy", "_run-1")
    away = rigid_matrix(np.r_[6.0, -5.0, 4.0, np.radians([4, -3, 5])], np.zeros(3))
    write_t1w(folder, coarse_head, "anatomy", "_run-2", away)
    return folder


def plan_of(raw, out, output_spaces=("func",)):
    settings = Settings().replaced(
        execution={"bids_dir": raw, "output_dir": out, "stage": ("prepare",)},
        preprocessing={"output_spaces": output_spaces},
    )
    return make_plan(settings, out / "work")


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    """Prepare all of them in one call; gives the plan and the derivatives."""
    config.set("execution", "stop_on_first_crash", "true")
    out = tmp_path_factory.mktemp("out")
    plan = plan_of(raw, out)
    write_plan(plan)
    workflow = init_bids_decoder_wf(plan.study.work, plan.jobs)
    workflow.config["execution"] = {"crashdump_dir": str(out)}
    workflow.run()
    return plan, out


def load(out, label, ending, session=None):
    folder = out / f"sub-{label}" / (f"ses-{session}" if session else "") / "func"
    found = sorted(folder.glob(f"*{ending}"))
    assert len(found) == 1, (ending, found)
    return found[0]


def error_mm(head, out, label, session=None):
    """How far from the truth the responses to a exceed those to b most."""
    image = nib.load(load(out, label, "betaseries.nii.gz", session))
    table = read_table(load(out, label, "desc-singletrial_trials.tsv", session))
    betas = np.nan_to_num(image.get_fdata())
    is_a = (table["label"] == "a").to_numpy()
    gap = betas[..., is_a].mean(axis=-1) - betas[..., ~is_a].mean(axis=-1)
    truth = centre_mm(blob(head), head.affine)
    return float(np.linalg.norm(centre_mm(gap, image.affine) - truth))


@pytest.mark.parametrize("label", ["flipped", "odd", "oblique", "anatomy"])
def test_responses_are_where_they_belong(prepared, raw, small_head, label):
    _, out = prepared
    assert error_mm(small_head, out, label) < NEAR_MM
    affines = [
        nib.load(load(top, label, ending)).affine
        for top, ending in ((raw, "_bold.nii.gz"), (out, "desc-preproc_bold.nii.gz"))
    ]
    np.testing.assert_allclose(*affines, atol=1e-3)


def test_sessions_lie_on_one_grid(prepared, small_head):
    """The second session has its own repetition time, position, shape and storage order."""
    _, out = prepared
    images = [nib.load(load(out, "sessions", "betaseries.nii.gz", s)) for s in "ab"]
    assert images[0].shape[:3] == images[1].shape[:3]
    np.testing.assert_allclose(images[0].affine, images[1].affine, atol=1e-4)
    for session in "ab":
        assert error_mm(small_head, out, "sessions", session) < NEAR_MM
    zooms = [nib.load(load(out, "sessions", "preproc_bold.nii.gz", s)).header.get_zooms()[3]
             for s in "ab"]
    assert zooms == pytest.approx([2.0, 1.5])


def test_without_a_t1w_everything_stays_in_the_functional_space(prepared):
    _, out = prepared
    assert not (out / "sub-flipped/anat").exists()
    confounds = read_table(load(out, "flipped", "desc-confounds_timeseries.tsv"))
    assert "white_matter" not in confounds


def test_two_t1w_are_averaged_and_it_is_said(prepared):
    _, out = prepared
    sidecar = json.loads((out / "sub-anatomy/anat/sub-anatomy_desc-preproc_T1w.json").read_text())
    assert "2 images aligned to the first, median" in sidecar["Description"]
    assert len(sidecar["Sources"]) == 2


def test_betas_do_not_depend_on_what_was_done_before(prepared, raw, tmp_path):
    """Preprocessing that is found done gives the same bytes as preprocessing just made."""
    _, out = prepared
    again = tmp_path / "out"
    shutil.copytree(out, again, ignore=shutil.ignore_patterns("bids_decoder*", "*singletrial*"))
    for marker in (again / "logs/done").glob("*_betas.json"):
        marker.unlink()
    plan = plan_of(raw, again)
    assert {step.stage for step in plan.steps if step.todo} == {"betas"}
    write_plan(plan)
    init_bids_decoder_wf(plan.study.work, plan.jobs).run()
    first = sorted(path.relative_to(out) for path in out.glob("sub-*/**/*betaseries.nii.gz"))
    assert len(first) == 6
    for path in first:
        assert (out / path).read_bytes() == (again / path).read_bytes(), path.name


def test_responses_lie_in_the_masks_of_both_sessions(prepared):
    _, out = prepared
    masks = [np.asarray(nib.load(load(out, "sessions", "desc-brain_mask.nii.gz", s)).dataobj) > 0
             for s in "ab"]
    used = np.asarray(nib.load(load(out, "sessions", "desc-singletrial_mask.nii.gz")).dataobj) > 0
    assert (masks[0] != masks[1]).any()
    np.testing.assert_array_equal(used, masks[0] & masks[1])


def test_dummy_scans_are_found_and_left_out(prepared):
    _, out = prepared
    table = read_table(load(out, "anatomy", "desc-confounds_timeseries.tsv"))
    outliers = [name for name in table if name.startswith("non_steady_state_outlier")]
    assert len(outliers) == 6
    others = read_table(load(out, "odd", "desc-confounds_timeseries.tsv"))
    assert not [name for name in others if name.startswith("non_steady_state_outlier")]


def test_fieldmaps_without_a_purpose_are_named_in_the_plan(prepared):
    plan, _ = prepared
    warning = next(f for f in plan.findings if "distortion is not corrected" in f.what)
    assert warning.severity == "warning" and "sub-sessions" in warning.what
    assert "IntendedFor" in warning.why and "IntendedFor" in warning.fix


def test_anatomical_space_without_a_t1w_is_refused(raw, tmp_path):
    with pytest.raises(FindingsError) as caught:
        plan_of(raw, tmp_path / "out", output_spaces=("func", "T1w"))
    found = {f.what: f for f in caught.value.findings if f.severity == "error"}
    assert "sub-flipped: --output-spaces T1w" in found
    assert not any("sub-anatomy" in what for what in found)
    assert all(f.code == ExitCode.MISSING_INPUT for f in found.values())
