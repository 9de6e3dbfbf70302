"""Whole workflows on small simulated people and on real data."""

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from epi_phantom import (
    SMALL_AFFINE,
    SMALL_SHAPE,
    T1W_LEVELS,
    moving_series,
    random_motion,
)
from nipype import Workflow, config

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import Settings
from bids_decoder.errors import MissingInputError
from bids_decoder.files import file_digest
from bids_decoder.interfaces.preprocessing_anat import AverageT1w
from bids_decoder.preprocessing.geometry import rigid_matrix
from bids_decoder.workflows.anat import init_anat_wf
from bids_decoder.workflows.bold import init_bold_wf

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
T_R = 2.0


@pytest.fixture(scope="module", autouse=True)
def quick_nipype():
    config.set("execution", "poll_sleep_duration", "0.05")
    config.set("execution", "stop_on_first_crash", "true")


def make_person(head, folder, n_runs=2, n_volumes=10, with_t1w=False, slices=None):
    """Write raw runs; the head lies elsewhere in the second one."""
    runs = []
    for i in range(n_runs):
        parameters = random_motion(np.random.default_rng(i), n_volumes, 1.5, 1.0)
        parameters += np.r_[8.0, -6.0, 5.0, np.radians([4, -3, 5])] * i
        series, _ = moving_series(
            head, parameters, SMALL_SHAPE, SMALL_AFFINE, noise=0.01, seed=i, bias=False
        )
        if slices is not None:
            series = series[:, :, slices]
        path = folder / f"sub-01/func/sub-01_task-see_run-{i + 1}_bold.nii.gz"
        save_nifti(path, series.astype(np.int16), SMALL_AFFINE, t_r=T_R)
        timing = [round(k * T_R / series.shape[2], 4) for k in range(series.shape[2])]
        metadata = {"RepetitionTime": T_R, "SliceTiming": timing}
        runs.append(BoldRun("01", None, "see", str(i + 1), "raw", {}, metadata, path))
    t1w_files = ()
    if with_t1w:
        t1w_files = (folder / "sub-01/anat/sub-01_T1w.nii.gz",)
        save_nifti(t1w_files[0], head.intensity(T1W_LEVELS) * 1000, head.affine)
    return Participant("01", t1w_files, tuple(runs))


def run(participant, folder, work, *, spaces=("func",), plugin="Linear", arguments=None):
    """Build and run both workflows as the whole program does; gives the files written."""
    settings = Settings().replaced(
        execution={"bids_dir": folder}, preprocessing={"output_spaces": spaces}
    )
    output_dir, has_t1w = work / "out", bool(participant.t1w_files)
    workflow = Workflow("prepare", base_dir=str(work / "work"))
    workflow.config["execution"] = {"crashdump_dir": str(work)}
    bold = init_bold_wf(participant, settings, output_dir=output_dir, has_t1w=has_t1w)
    workflow.add_nodes([bold])
    if has_t1w:
        anat = init_anat_wf(participant, settings, output_dir=output_dir)
        workflow.connect([(anat, bold, [
            (f"outputnode.{field}", f"inputnode.{field}")
            for field in ("t1w_brain", "t1w_mask", "t1w_dseg", "t1w_to_template",
                          "template_to_t1w")
        ])])
    graph = workflow.run(plugin, plugin_args=arguments or {})
    gathered = [node for node in graph.nodes if node.name == "gather_out_files"]
    return sorted(Path(path) for node in gathered for path in node.result.outputs.out)


def func_file(files, ending, run="1", space=False):
    found = [
        path for path in files
        if path.name.endswith(ending) and f"run-{run}_" in path.name
        and ("space-" in path.name) == space
    ]
    assert len(found) == 1, (ending, found)
    return found[0]


@pytest.fixture(scope="module")
def two_runs(small_head, tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return folder, make_person(small_head, folder)


@pytest.fixture(scope="module")
def prepared(two_runs, tmp_path_factory):
    folder, person = two_runs
    return run(person, folder, tmp_path_factory.mktemp("linear"))


def test_runs_lie_on_one_grid(prepared, two_runs):
    images = [nib.load(func_file(prepared, "desc-preproc_bold.nii.gz", i)) for i in "12"]
    np.testing.assert_allclose(images[0].affine, images[1].affine)
    masks = [
        np.asarray(nib.load(func_file(prepared, "desc-brain_mask.nii.gz", i)).dataobj) > 0
        for i in "12"
    ]
    both = masks[0] & masks[1]
    means = [image.get_fdata().mean(axis=3)[both] for image in images]
    raw = [nib.load(r.bold_file).get_fdata().mean(axis=3)[both] for r in two_runs[1].runs]
    assert np.corrcoef(*means)[0, 1] > 0.97
    assert np.corrcoef(*raw)[0, 1] < 0.8


def test_motion_is_gone_and_recorded(prepared, two_runs):
    bold = nib.load(func_file(prepared, "desc-preproc_bold.nii.gz"))
    mask = np.asarray(nib.load(func_file(prepared, "desc-brain_mask.nii.gz")).dataobj) > 0
    raw = nib.load(two_runs[1].runs[0].bold_file).get_fdata()
    before, after = raw[mask].std(axis=1).mean(), bold.get_fdata()[mask].std(axis=1).mean()
    assert after < 0.6 * before
    table = pd.read_csv(func_file(prepared, "desc-confounds_timeseries.tsv"), sep="\t",
                        na_values="n/a")
    assert len(table) == 10
    truth = random_motion(np.random.default_rng(0), 10, 1.5, 1.0)
    found = table[["trans_x", "trans_y", "trans_z"]].to_numpy()
    np.testing.assert_allclose(np.diff(found, axis=0), np.diff(truth[:, :3], axis=0), atol=0.25)


def test_sidecars(prepared):
    path = func_file(prepared, "desc-preproc_bold.nii.gz")
    metadata = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert metadata["RepetitionTime"] == T_R
    assert metadata["SkullStripped"] is False
    assert metadata["StartTime"] == pytest.approx(0.5 * T_R * 17 / 18, abs=1e-3)
    assert metadata["Sources"] == ["bids:raw:sub-01/func/sub-01_task-see_run-1_bold.nii.gz"]
    assert nib.load(path).header.get_zooms()[3] == T_R


def test_all_files_are_told(prepared):
    output_dir = prepared[0].parents[2]
    images = {p for p in output_dir.rglob("*") if p.is_file() and p.suffix != ".json"}
    assert set(prepared) == images
    names = [p.name for p in prepared]
    assert "sub-01_task-see_run-2_from-run_to-boldref_mode-image_xfm.txt" in names


def test_multiproc_gives_the_same_bytes(prepared, two_runs, tmp_path):
    folder, person = two_runs
    again = run(person, folder, tmp_path, plugin="MultiProc",
                arguments={"n_procs": 2, "memory_gb": 8})
    assert [p.name for p in again] == [p.name for p in prepared]
    for first, second in zip(prepared, again, strict=True):
        assert file_digest(first) == file_digest(second), first.name


@pytest.mark.usefixtures("quick_bias")
def test_person_with_t1w(coarse_head, tmp_path):
    person = make_person(coarse_head, tmp_path / "raw", n_runs=1, n_volumes=4, with_t1w=True)
    files = run(person, tmp_path / "raw", tmp_path, spaces=("func", "T1w"))
    names = {p.name for p in files}
    assert {"sub-01_desc-preproc_T1w.nii.gz", "sub-01_desc-brain_mask.nii.gz",
            "sub-01_from-boldref_to-T1w_mode-image_xfm.txt",
            "sub-01_from-T1w_to-boldref_mode-image_xfm.txt"} <= names
    bold = nib.load(func_file(files, "space-T1w_desc-preproc_bold.nii.gz", space=True))
    t1w = nib.load(tmp_path / "out/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    assert bold.header.get_zooms()[:3] == (6, 6, 6)
    np.testing.assert_allclose(bold.affine[:3, :3] / 6, t1w.affine[:3, :3] / 5, atol=1e-6)
    table = pd.read_csv(func_file(files, "desc-confounds_timeseries.tsv"), sep="\t")
    assert "white_matter" in table


def test_thin_slab_says_that_motion_was_not_estimated(small_head, tmp_path):
    person = make_person(small_head, tmp_path / "raw", n_runs=2, slices=slice(9, 10))
    files = run(person, tmp_path / "raw", tmp_path)
    path = func_file(files, "desc-preproc_bold.nii.gz", "2")
    metadata = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert "not estimated" in metadata["Notes"][0]
    table = pd.read_csv(func_file(files, "desc-confounds_timeseries.tsv"), sep="\t",
                        na_values="n/a")
    assert not table["framewise_displacement"][1:].any()


def test_run_without_repetition_time_is_refused(two_runs, tmp_path):
    path = save_nifti(tmp_path / "x_bold.nii.gz", np.ones((4, 4, 4, 3), np.int16), np.eye(4),
                      t_r=0.0)
    bare = dataclasses.replace(two_runs[1].runs[0], metadata={}, bold_file=path)
    person = dataclasses.replace(two_runs[1], runs=(bare,))
    with pytest.raises(MissingInputError, match="RepetitionTime"):
        init_bold_wf(person, Settings(), output_dir=tmp_path, has_t1w=False)


@pytest.mark.shared_data
def test_one_real_slice_in_two_runs(tmp_path):
    folder = DATA / "haxby-1slice"
    if not folder.exists():
        pytest.skip(f"no data at {folder}")
    runs = tuple(
        BoldRun("1", None, "objectviewing", label, "raw", {}, {"RepetitionTime": 2.5},
                folder / f"sub-1/func/sub-1_task-objectviewing_run-{label}_bold.nii.gz")
        for label in ("01", "02")
    )
    files = run(Participant("1", (), runs), folder, tmp_path)
    mask = np.asarray(nib.load(func_file(files, "desc-brain_mask.nii.gz", "02")).dataobj)
    assert mask.shape == (40, 20, 1)
    assert 450 < mask.sum() < 620


def test_several_t1w_are_aligned_and_averaged(coarse_head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    clean = coarse_head.intensity(T1W_LEVELS) * 1000
    away = rigid_matrix(np.r_[9.0, -7.0, 5.0, np.radians([5, -4, 6])], np.zeros(3))
    files = [
        save_nifti(tmp_path / f"{i}.nii.gz",
                   np.clip(clean + 60 * rng.standard_normal(clean.shape), 0, None),
                   matrix @ coarse_head.affine)
        for i, matrix in enumerate((np.eye(4), away))
    ]
    node = AverageT1w(in_files=[str(path) for path in files])
    outputs = node.run(cwd=str(tmp_path)).outputs
    assert 0.5 < outputs.metadata["CorrelationsWithFirst"][0] < 1
    image = nib.load(outputs.out_file)
    np.testing.assert_allclose(image.affine, coarse_head.affine, atol=1e-5)
    white = coarse_head.shares[..., 3] > 0.95
    single = nib.load(files[0]).get_fdata()[white].std()
    assert image.get_fdata()[white].std() < 0.85 * single
