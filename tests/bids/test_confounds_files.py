"""Confounds as several programs write them."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.confounds_files import find_confounds, read_confounds, standard_names
from bids_decoder.bids.writer import save_table
from bids_decoder.errors import InputError
from bids_decoder.glm.design import MOTION, select_confounds

STEM = "sub-01_task-see_run-1"
VALUES = np.random.default_rng(0).normal(size=(12, 6))


def test_names_before_fmriprep_1_2(tmp_path):
    table = pd.DataFrame(VALUES, columns=["X", "Y", "Z", "RotX", "RotY", "RotZ"])
    table["aCompCor00"], table["NonSteadyStateOutlier00"] = 1.0, 0.0
    table["FramewiseDisplacement"] = 0.1
    path = save_table(tmp_path / f"{STEM}_bold_confounds.tsv", table)
    assert find_confounds(tmp_path, STEM) == path
    found = read_confounds(path)
    assert list(found) == [*MOTION, "a_comp_cor_00", "non_steady_state_outlier00"]
    chosen, _ = select_confounds(found, "motion", 12)
    np.testing.assert_allclose(chosen.to_numpy(), VALUES, rtol=1e-6)


def test_new_names_stay(tmp_path):
    columns = [*MOTION, "X", "trans_x_derivative1_power2", "csf"]
    table = pd.DataFrame(np.ones((3, len(columns))), columns=columns)
    path = save_table(tmp_path / f"{STEM}_desc-confounds_timeseries.tsv", table)
    assert list(read_confounds(path)) == [*MOTION, "trans_x_derivative1_power2"]


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
