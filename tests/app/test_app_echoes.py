"""A whole call on a small distorted multi-echo dataset with a T1w: truth, report, texts."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids.writer import save_nifti
from bids_decoder.files import write_json
from bids_decoder.preprocessing.registration import read_matrix
from bids_decoder.simulate.dataset import write_echo_dataset
from bids_decoder.simulate.distortion import distort, field_on_grid

pytest.importorskip("tedana")

PEAK_HZ, READOUT, ECHO_GAP = 60.0, 0.03, 0.00246


def add_distortion(data):
    """Distort all echoes along j, and add the phase difference from which the field is found."""
    paths = sorted((data / "sub-01/func").glob("*_bold.nii.gz"))
    first = nib.load(paths[0])
    field = field_on_grid(first.shape[:3], first.affine, PEAK_HZ)
    phase = np.angle(np.exp(2j * np.pi * ECHO_GAP * field))
    stored = np.rint(2048 * (1 + phase / np.pi)).clip(0, 4095).astype(np.int16)
    fmap = data / "sub-01/fmap/sub-01_phasediff.nii.gz"
    save_nifti(fmap, stored, first.affine, metadata={
        "EchoTime1": 0.00492, "EchoTime2": 0.00492 + ECHO_GAP, "B0FieldIdentifier": "gre",
    })
    save_nifti(fmap.with_name("sub-01_magnitude1.nii.gz"), first.dataobj[..., 0], first.affine)
    write_json(data / "task-categories_bold.json", {
        "PhaseEncodingDirection": "j", "TotalReadoutTime": READOUT, "B0FieldSource": "gre",
    })
    # Distortion is linear: each plane of the image is spread over the same voxels at all times.
    planes = np.eye(first.shape[1], dtype=np.float32)[:, None, :, None]
    spread = [
        distort(np.broadcast_to(plane, field.shape), field * READOUT, axis=1) for plane in planes
    ]
    for path in paths:
        image = nib.load(path)
        moved = np.einsum("nijk,inkt->ijkt", spread, np.asarray(image.dataobj, np.float32))
        nib.save(nib.Nifti1Image(np.rint(moved).astype(np.int16), image.affine, image.header), path)
    return field


@pytest.fixture(scope="module")
def run(main, tmp_path_factory):
    folder = tmp_path_factory.mktemp("echoes")
    data = write_echo_dataset(folder / "data", n_runs=3, anatomical=True)
    add_distortion(data)
    first = data / "sub-01/func/sub-01_task-categories_run-1_echo-1_bold.nii.gz"
    image = nib.load(first)
    nib.save(image.slicer[..., 5], str(first).replace("_bold", "_sbref"))
    done = main(
        data, folder / "out", "participant", "--from-scratch", "--n-permutations", 0,
        "--device", "cpu", "--nprocs", 1,
    )
    return data, folder / "out", done


def values(folder, name):
    path = f"sub-01/func/sub-01_task-categories_{name}.nii.gz"
    return nib.load(folder / path).get_fdata()


def test_echoes_are_combined_and_decoded(run):
    _, out, done = run
    assert done.code == 0, done.text
    assert "3 run(s) with echo times of 12, 28, 44 ms" in done.text
    func = out / "sub-01/func"
    assert len(list(func.glob("*_run-*_desc-preproc_bold.nii.gz"))) == 3
    assert list(func.glob("*_desc-singletrial_betaseries.nii.gz"))
    assert list(func.glob("*_desc-decoder_metrics.tsv"))


def test_t2star_is_the_truth(run):
    data, out, _ = run
    truth = values(data / "derivatives/truth", "T2starmap")
    brain = values(out, "run-1_desc-brain_mask") > 0
    found = values(out, "run-1_T2starmap")[brain]
    assert np.corrcoef(found, truth[brain])[0, 1] > 0.8
    assert np.median(np.abs(found / truth[brain] - 1)) < 0.1


def test_report_and_methods_name_the_echoes(run):
    _, out, _ = run
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "median T2* (ms)" in page and "12, 28, 44" in page
    assert "Weight of the echo of task-categories run-1 at 28 ms" in page
    text = (out / "logs/CITATION.md").read_text(encoding="utf-8")
    assert "3 echoes (echo times 12, 28, 44 ms)" in text and "tedana" in text
    assert "the single-band reference image, or else the median" in text


def test_distortion_of_all_echoes_is_corrected(run):
    _, out, done = run
    assert "a phase-difference image" in done.text
    image = nib.load(out / "sub-01/fmap/sub-01_task-categories_run-1_shiftmap.nii.gz")
    truth = READOUT * field_on_grid(image.shape, image.affine, PEAK_HZ)
    strong = (values(out, "run-1_desc-brain_mask") > 0) & (np.abs(truth) > 0.3)
    assert strong.sum() > 100
    assert np.median(np.abs(image.get_fdata() - truth)[strong]) < 0.05
    (card,) = (out / "sub-01/fmap").glob("*_desc-preproc_fieldmap.json")
    assert json.loads(card.read_text())["PhaseUnits"] == "4096 steps per turn"
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "Correction of susceptibility distortion" in page
    text = (out / "logs/CITATION.md").read_text(encoding="utf-8")
    assert "unwrapped by reliability" in text


def test_undistorted_reference_is_aligned_to_the_t1w(run):
    data, out, _ = run
    (found,) = out.rglob("sub-01_*from-T1w_to-boldref_mode-image_xfm.txt")
    card = data / "derivatives/truth/sub-01/sub-01_from-T1w_to-boldref_xfm.json"
    truth = np.linalg.inv(json.loads(card.read_text())["Matrix"])
    mask = nib.load(out / "sub-01/func/sub-01_task-categories_run-1_desc-brain_mask.nii.gz")
    points = nib.affines.apply_affine(mask.affine, np.argwhere(mask.get_fdata() > 0))
    aligned, expected = (
        nib.affines.apply_affine(matrix, points) for matrix in (read_matrix(found), truth)
    )
    assert np.median(np.linalg.norm(aligned - expected, axis=1)) < 2  # a third of a voxel


def test_sbref_is_the_reference_where_there_is_one(run):
    _, out, _ = run
    func = out / "sub-01/func"
    first, second = (
        json.loads((func / f"sub-01_task-categories_run-{n}_boldref.json").read_text())["Sources"]
        for n in "12"
    )
    stem = "bids:raw:sub-01/func/sub-01_task-categories_run-"
    assert first == [f"{stem}1_echo-1_sbref.nii.gz"]
    assert second == [f"{stem}2_echo-1_bold.nii.gz"]


def test_writing_echoes_recomputes_no_responses(run, main, tmp_path):
    data, out, _ = run
    again = shutil.copytree(out, tmp_path / "out", copy_function=shutil.copy2)
    done = main(
        data, again, "participant", "--from-scratch", "--n-permutations", 0, "--device", "cpu",
        "--me-output", "echoes", "--dry-run",
    )
    assert set(done.todo()) == {("sub-01", "preprocess")}


def test_without_the_library_the_plan_refuses(run, main, monkeypatch, tmp_path):
    from bids_decoder.bids import echoes

    monkeypatch.setattr(echoes, "find_spec", lambda name: None)
    done = main(run[0], tmp_path / "out", "participant", "--from-scratch", "--dry-run")
    assert done.code == 66 and "bids_decoder[multiecho]" in done.text
