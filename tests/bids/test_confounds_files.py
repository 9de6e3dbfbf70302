"""Confounds as several programs write them."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.confounds_files import (
    find_confounds,
    read_confounds,
    read_regressors,
    standard_names,
)
from bids_decoder.bids.writer import save_table
from bids_decoder.errors import InputError
from bids_decoder.glm.confounds import MOTION, select_confounds

STEM = "sub-01_task-see_run-1"
VALUES = np.random.default_rng(0).normal(size=(12, 6))


def test_names_before_fmriprep_1_2(tmp_path):
    table = pd.DataFrame(VALUES, columns=["X", "Y", "Z", "RotX", "RotY", "RotZ"])
    table["aCompCor00"], table["NonSteadyStateOutlier00"] = 1.0, 0.0
    table["FramewiseDisplacement"] = 0.1
    path = save_table(tmp_path / f"{STEM}_bold_confounds.tsv", table)
    assert find_confounds(tmp_path, STEM) == path
    found = read_confounds(path)
    assert list(found)[:8] == [*MOTION, "a_comp_cor_00", "non_steady_state_outlier00"]
    chosen, _ = select_confounds(found, ("motion",), 12)
    np.testing.assert_allclose(chosen.to_numpy(), VALUES, rtol=1e-6)


def test_new_names_stay(tmp_path):
    columns = [*MOTION, "X", "trans_x_derivative1_power2", "csf"]
    table = pd.DataFrame(np.ones((3, len(columns))), columns=columns)
    path = save_table(tmp_path / f"{STEM}_desc-confounds_timeseries.tsv", table)
    assert list(read_confounds(path)) == columns


@pytest.mark.parametrize("name", [
    "rp_a{}_bold.txt", "{}_desc-preproc_bold_mcf.par", "{}_bold_volreg.1D",
])
def test_motion_parameters_of_another_run_are_not_taken(tmp_path, name):
    stem = "sub-01_task-see"
    (tmp_path / name.format(f"{stem}_acq-fast")).touch()
    assert find_confounds(tmp_path, stem) is None
    own = tmp_path / name.format(stem)
    own.touch()
    assert find_confounds(tmp_path, stem) == own


@pytest.mark.parametrize(("name", "order", "scale"), [
    (f"rp_{STEM}_bold.txt", [0, 1, 2, 3, 4, 5], 1.0),
    (f"{STEM}_bold_mcf.par", [3, 4, 5, 0, 1, 2], 1.0),
    (f"{STEM}_bold_volreg.1D", [5, 3, 4, 2, 0, 1], np.degrees(1.0)),
])
def test_motion_parameters_without_a_header(tmp_path, name, order, scale):
    """Columns in the order of SPM, FSL and AFNI, the last in degrees."""
    written = VALUES.copy()
    written[:, 3:] *= scale
    np.savetxt(tmp_path / name, written[:, order], header="3dvolreg" if "1D" in name else "")
    path = find_confounds(tmp_path, STEM)
    assert path == tmp_path / name
    np.testing.assert_allclose(read_confounds(path)[list(MOTION)].to_numpy(), VALUES)
    assert find_confounds(tmp_path, "sub-01_task-see_run-10") is None


def test_names_of_spm_and_afni_columns():
    assert standard_names(["x", "roll"]) == {"x": "trans_x", "roll": "rot_y"}
    assert standard_names(["roll", "dS"]) == {"roll": "rot_z", "dS": "trans_z"}


def test_fmriprep_comes_before_others(tmp_path):
    (tmp_path / f"rp_{STEM}_bold.txt").write_text("0 0 0 0 0 0\n")
    old = tmp_path / f"{STEM}_desc-confounds_regressors.tsv"
    old.write_text("trans_x\n1\n")
    assert find_confounds(tmp_path, STEM) == old


@pytest.mark.parametrize("content", ["0 0 0\n", "a b c d e f\n"])
def test_plain_file_of_another_kind(tmp_path, content):
    path = tmp_path / f"{STEM}_bold_mcf.par"
    path.write_text(content)
    with pytest.raises(InputError, match="--confounds none"):
        read_confounds(path)


def own_tables(toy, name="sub-{sub}_task-see_run-0{run}_desc-physio_timeseries.tsv"):
    for sub in ("01", "02"):
        for run in "123":
            rows = "heart\tbreath\n" + "0.1\t0.2\n" * 40
            toy.text("../physio/" + name.format(sub=sub, run=run), rows)
    return toy.root.parent / "physio"


def test_own_tables_are_found_by_their_names(toy):
    folder = own_tables(toy)
    dataset = toy.dataset(glm={"confounds": ("motion", str(folder))})
    assert not dataset.findings
    assert [run.regressors_file.name for run in dataset.participants[1].runs] == [
        f"sub-02_task-see_run-0{run}_desc-physio_timeseries.tsv" for run in "123"
    ]
    found = read_regressors(("/physio",), None, dataset.runs[0].regressors_file)
    assert list(found) == ["own_heart", "own_breath"] and len(found) == 40


def test_other_tables_beside_own_ones_are_left_out(toy):
    folder = own_tables(toy)
    for suffix in ("events", "channels", "desc-singletrial_trials"):
        (folder / f"sub-01_task-see_run-01_{suffix}.tsv").write_text("onset\n1\n")
    dataset = toy.dataset(glm={"confounds": (str(folder),)})
    assert not dataset.findings
    assert {run.regressors_file.name.split("_")[-1] for run in dataset.runs} == {"timeseries.tsv"}


@pytest.mark.parametrize("change", [
    lambda folder: next(iter(folder.iterdir())).unlink(),
    lambda folder: (folder / "sub-01_task-see_run-1_recording-x_physio.tsv").write_text("a\n1\n"),
])
def test_runs_without_one_own_table_are_named_at_once(toy, change):
    folder = own_tables(toy)
    change(folder)
    (found,) = toy.dataset(glm={"confounds": (str(folder),)}).findings
    assert found.why.startswith("1 run(s) have no table there, or several: sub-0")
    assert "desc-physio_timeseries.tsv" in found.fix


def test_tables_of_different_length_are_refused(tmp_path):
    path = save_table(tmp_path / "sub-01_desc-confounds_timeseries.tsv",
                      pd.DataFrame(VALUES, columns=list(MOTION)))
    own = save_table(tmp_path / "own.tsv", pd.DataFrame({"heart": [1.0, 2.0]}))
    with pytest.raises(InputError, match="2 rows, but .* has 12"):
        read_regressors(("motion", "/x"), path, own)


def test_components_of_one_tissue_have_names_of_their_own(tmp_path):
    """As in fMRIPrep 20.2, where only the sidecar tells them from those of both tissues."""
    table = pd.DataFrame(np.ones((3, 3)), columns=[f"a_comp_cor_0{k}" for k in range(3)])
    path = save_table(tmp_path / f"{STEM}_desc-confounds_timeseries.tsv", table, {
        "a_comp_cor_00": {"Mask": "combined"}, "a_comp_cor_01": {"Mask": "CSF"},
        "a_comp_cor_02": {"Mask": "WM"},
    })
    assert list(read_confounds(path)) == ["a_comp_cor_00", "c_comp_cor_01", "w_comp_cor_02"]
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        read_confounds(path)


def test_components_of_unknown_tissue_are_refused(tmp_path):
    path = tmp_path / "sub-01_task-a_desc-confounds_timeseries.tsv"
    names = [f"a_comp_cor_{k:02d}" for k in range(7)]
    table = pd.DataFrame(np.ones((3, 7)), columns=names)
    save_table(path, table)
    path.with_suffix(".json").unlink(missing_ok=True)
    assert len(read_regressors(["acompcor"], path, None).columns) == 7
    with pytest.raises(InputError, match=r"7 components.*no sidecar"):
        read_regressors(["compcor"], path, None)
    save_table(path, table[names[:6]])
    path.with_suffix(".json").unlink(missing_ok=True)
    read_regressors(["compcor"], path, None)
    masks = ["combined"] * 3 + ["CSF"] * 4
    save_table(path, table, {n: {"Mask": m} for n, m in zip(names, masks, strict=True)})
    found = read_regressors(["compcor"], path, None)
    assert sum(name.startswith("a_comp") for name in found) == 3
