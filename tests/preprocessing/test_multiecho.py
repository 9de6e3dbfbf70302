"""T2*, weights and combination of echoes, against known truth and tedana itself."""

import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest
from epi_phantom import SMALL_AFFINE, SMALL_SHAPE, moving_series, random_motion
from nipype import Workflow, config

from bids_decoder.bids.dataset import BoldRun, Echo, Participant
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import Settings
from bids_decoder.preprocessing import multiecho
from bids_decoder.preprocessing.multiecho import combine_echoes, fit_echoes
from bids_decoder.workflows.bold import init_bold_wf

pytest.importorskip("tedana")

TIMES = (0.012, 0.028, 0.044)
T2STAR = (0.1, 0.15, 0.05, 0.045, 0.03)
S0 = (0.0, 1.9, 1.7, 1.4, 0.6)


@pytest.fixture(scope="module")
def voxels():
    """Series of voxels with known decay; some have lost the signal of the last echo."""
    rng = np.random.default_rng(0)
    t2star, s0 = rng.uniform(0.02, 0.08, 2000), rng.uniform(500, 1000, 2000)
    signal = s0[:, None] * np.exp(-np.array(TIMES) / t2star[:, None])
    echoes = (signal[..., None] + rng.normal(0, 4, (2000, 3, 40))).astype(np.float32)
    echoes[:50, 2] *= 0.01
    return echoes, t2star, s0


def test_truth_is_found(voxels):
    echoes, t2star, s0 = voxels
    fit = fit_echoes(echoes, TIMES)
    whole = slice(50, None)
    assert np.corrcoef(fit.t2star[whole], t2star[whole])[0, 1] > 0.999
    assert np.median(np.abs(fit.t2star - t2star)[whole]) < 0.0005
    assert np.median(np.abs(fit.s0 / s0 - 1)[whole]) < 0.02
    wanted = np.array(TIMES) * np.exp(-np.array(TIMES) / t2star[:, None])
    wanted /= wanted.sum(axis=1, keepdims=True)
    full = fit.weights[:, 2] > 0
    assert np.corrcoef(fit.weights[full].ravel(), wanted[full].ravel())[0, 1] > 0.99


def test_lost_echoes_have_no_weight(voxels):
    fit = fit_echoes(voxels[0], TIMES)
    np.testing.assert_allclose(fit.weights.sum(axis=1), 1, atol=1e-6)
    assert (fit.weights[:50, 2] == 0).all() and (fit.weights[50:, 2] > 0).mean() > 0.9


def test_maps_and_combination_are_those_of_tedana(voxels, monkeypatch):
    from tedana import combine, decay, utils

    from bids_decoder.preprocessing import multiecho

    monkeypatch.setattr(multiecho, "_BLOCK", 3 * 40 * 300)
    echoes, milliseconds = voxels[0], 1000 * np.array(TIMES)
    _, good = utils.make_adaptive_mask(echoes)
    t2star, s0, *_ = decay.fit_decay(echoes, milliseconds, good, "loglin")
    t2star, s0, *_ = decay.modify_t2s_s0_maps(
        t2s=t2star, s0=s0, adaptive_mask=good, tes=milliseconds
    )
    wanted = combine.make_optcom(echoes, milliseconds, good, t2s=t2star)
    fit = fit_echoes(echoes, TIMES)
    np.testing.assert_allclose(fit.t2star, t2star / 1000, rtol=1e-5)
    np.testing.assert_allclose(fit.s0, s0, rtol=1e-5)
    np.testing.assert_allclose(combine_echoes(echoes, fit.weights), wanted, rtol=1e-5)


def test_volumes_before_the_steady_state_do_not_count(voxels):
    bright = voxels[0].copy()
    bright[:, 0, :3] *= 3
    fit = fit_echoes(bright, TIMES, n_dummy=3)
    np.testing.assert_array_equal(fit.t2star, fit_echoes(bright[..., 3:], TIMES).t2star)
    assert np.median(fit_echoes(bright, TIMES).t2star / fit.t2star) < 0.95


def test_voxels_without_signal_are_zero(voxels):
    echoes = voxels[0].copy()
    echoes[100:110] = 0
    fit = fit_echoes(echoes, TIMES)
    assert not fit.t2star[100:110].any() and not fit.weights[100:110].any()
    assert fit.t2star[110:].all()
    assert not fit_echoes(np.zeros((5, 3, 4), np.float32), TIMES).weights.any()


@pytest.fixture(scope="module")
def prepared(small_head, tmp_path_factory):
    """A moving head with three echoes, preprocessed; folder and true motion."""
    config.set("execution", "poll_sleep_duration", "0.05")
    folder = tmp_path_factory.mktemp("multiecho")
    parameters = random_motion(np.random.default_rng(3), 5, 2.0, 1.5)
    echoes = []
    for number, time in enumerate(TIMES, start=1):
        levels = tuple(s * np.exp(-time / t) for s, t in zip(S0, T2STAR, strict=True))
        series, _ = moving_series(
            small_head, parameters, SMALL_SHAPE, SMALL_AFFINE, noise=0.01, seed=number,
            bias=False, levels=levels,
        )
        path = folder / f"sub-01/func/sub-01_task-see_run-1_echo-{number}_bold.nii.gz"
        save_nifti(path, series.astype(np.int16), SMALL_AFFINE, t_r=2.0)
        echoes.append(Echo(path, time))
    still, _ = moving_series(
        small_head, np.zeros((1, 6)), SMALL_SHAPE, SMALL_AFFINE, noise=0.01, seed=9, bias=False
    )
    sbref = echoes[0].file.with_name("sub-01_task-see_run-1_echo-1_sbref.nii.gz")
    save_nifti(sbref, still[..., 0], SMALL_AFFINE)
    timing = [round(k * 2.0 / SMALL_SHAPE[2], 4) for k in range(SMALL_SHAPE[2])]
    run = BoldRun(
        "01", None, "see", "1", "raw", {}, {"RepetitionTime": 2.0, "SliceTiming": timing},
        echoes[0].file, echoes=tuple(echoes), sbref_file=sbref,
    )
    settings = Settings(sections={"multiecho": MultiEcho(output="echoes")}).replaced(
        execution={"bids_dir": folder}
    )
    workflow = Workflow("prepare", base_dir=str(folder / "work"))
    workflow.add_nodes([init_bold_wf(
        Participant("01", (), (run,)), settings, output_dir=folder / "out", has_t1w=False
    )])
    workflow.run("Linear")
    return folder / "out/sub-01/func", parameters


def values(folder, ending):
    return nib.load(folder / f"sub-01_task-see_run-1_{ending}.nii.gz").get_fdata()


def test_combined_run_has_maps_of_the_truth(prepared):
    func, _ = prepared
    brain = values(func, "desc-brain_mask") > 0
    assert brain.sum() > 2000
    t2star, weights = values(func, "T2starmap"), values(func, "desc-echoes_weights")
    assert 0.043 < np.percentile(t2star[brain], 20) < np.median(t2star[brain]) < 0.052
    np.testing.assert_allclose(weights[brain].sum(axis=1), 1, atol=1e-5)
    echoes = np.stack([values(func, f"echo-{n}_desc-preproc_bold")[brain] for n in "123"], axis=1)
    combined = values(func, "desc-preproc_bold")
    np.testing.assert_allclose(
        combined[brain], np.einsum("vet,ve->vt", echoes, weights[brain]), rtol=1e-4
    )
    assert not combined[~brain].any()
    assert values(func, "S0map")[brain].min() > echoes.mean(axis=2).max(axis=1).min()


def test_all_echoes_are_moved_as_the_first(prepared):
    """The same transforms: motion leaves no echo with more change than noise makes."""
    func, parameters = prepared
    brain = values(func, "desc-brain_mask") > 0
    for number in "123":
        echo = values(func, f"echo-{number}_desc-preproc_bold")[brain]
        assert np.median(echo.std(axis=1)) < 25
    text = (func / "sub-01_task-see_run-1_desc-confounds_timeseries.tsv").read_text()
    names, *rows = [line.split("\t") for line in text.splitlines()]
    found = np.array([float(row[names.index("trans_y")]) for row in rows])
    np.testing.assert_allclose(found, parameters[:, 1], atol=0.25)


def test_single_band_image_is_the_reference(prepared):
    func, _ = prepared
    brain = values(func, "desc-brain_mask") > 0
    given = nib.load(
        func.parents[2] / "sub-01/func/sub-01_task-see_run-1_echo-1_sbref.nii.gz"
    ).get_fdata()
    np.testing.assert_allclose(values(func, "boldref")[brain], given[brain], rtol=1e-3)


def test_sidecars_of_echoes(prepared):
    func, _ = prepared

    def card(ending):
        return json.loads((func / f"sub-01_task-see_run-1_{ending}.json").read_text())

    combined = card("desc-preproc_bold")
    assert combined["EchoTimes"] == list(TIMES) and "EchoTime" not in combined
    assert len(combined["Sources"]) == 3 and combined["SkullStripped"] is True
    assert not values(func, "desc-preproc_bold")[values(func, "desc-brain_mask") == 0].any()
    second = card("echo-2_desc-preproc_bold")
    assert second["EchoTime"] == TIMES[1] and "EchoTimes" not in second
    assert second["SkullStripped"] is False
    assert values(func, "echo-2_desc-preproc_bold")[values(func, "desc-brain_mask") == 0].any()
    assert second["Sources"] == [
        "bids:raw:sub-01/func/sub-01_task-see_run-1_echo-2_bold.nii.gz"
    ]
    assert card("T2starmap")["Units"] == "s"


def test_echoes_are_written_only_if_asked_for(tmp_path):
    echoes = tuple(Echo(tmp_path / f"{number}.nii.gz", time) for number, time in enumerate(TIMES))
    for echo in echoes:
        save_nifti(echo.file, np.ones((8, 8, 8, 4)), np.eye(4), t_r=2.0)
    run = BoldRun(
        "01", None, "see", "1", "raw", {}, {"RepetitionTime": 2.0}, echoes[0].file, echoes=echoes
    )
    workflow = init_bold_wf(
        Participant("01", (), (run,)), Settings(), output_dir=tmp_path, has_t1w=False
    )
    keys = [node.inputs.key for node in workflow._graph if node.name.startswith("sink_")]
    assert keys.count("preproc_bold") == 1 and "t2star" in keys
    assert "echo_mixing" not in keys
    settings = Settings(sections={"multiecho": MultiEcho(tedana=True)}).replaced(
        preprocessing={"output_spaces": ("MNI152NLin2009aSym:res-6", "func")}
    )
    workflow = init_bold_wf(
        Participant("01", (), (run,)), settings, output_dir=tmp_path, has_t1w=True
    )
    nodes = {node.name: node for node in workflow._graph}
    keys = [node.inputs.key for name, node in nodes.items() if name.startswith("sink_")]
    assert keys.count("preproc_bold") == 2 and keys.count("echo_mixing") == 1
    kept = [n for n in nodes.values() if getattr(n.inputs, "keep_echoes", False)]
    assert [node.name for node in kept] == ["resample_func_0"]
    single = dataclasses.replace(run, echoes=())
    workflow = init_bold_wf(
        Participant("01", (), (single,)), Settings(), output_dir=tmp_path, has_t1w=False
    )
    keys = [node.inputs.key for node in workflow._graph if node.name.startswith("sink_")]
    assert "t2star" not in keys


def test_blank_volumes_and_blocks_of_one_voxel(monkeypatch):
    times = [0.012, 0.028, 0.044]
    rng = np.random.default_rng(4)
    decay = 1000 * np.exp(-np.array(times) / 0.03)
    echoes = (decay[None, :, None] * rng.uniform(0.95, 1.05, (7, 1, 10))).astype(np.float32)
    whole = fit_echoes(echoes, times)
    monkeypatch.setattr(multiecho, "_BLOCK", 3 * 30)
    np.testing.assert_allclose(fit_echoes(echoes, times).t2star, whole.t2star, rtol=1e-5)
    with_blank = np.concatenate([echoes, np.zeros((7, 3, 1), np.float32)], axis=2)
    np.testing.assert_allclose(fit_echoes(with_blank, times).weights, whole.weights, rtol=1e-5)


def test_single_values_without_signal_lose_no_voxel(voxels):
    echoes = voxels[0][50:90].copy()
    whole = fit_echoes(echoes, TIMES)
    echoes[3, 0, 5], echoes[4, 1, 7], echoes[5, 2, :2] = 0.0, -3.0, -1.0
    echoes[6, 0] = -1.0
    fit = fit_echoes(echoes, TIMES)
    np.testing.assert_allclose(fit.t2star[3:6], whole.t2star[3:6], rtol=0.02)
    assert (fit.weights[3:6] > 0).all() and not fit.weights[6].any()
