import numpy as np
import pandas as pd
import pytest
from nipype.algorithms.confounds import FramewiseDisplacement, compute_dvars

from bids_decoder.bids.writer import save_nifti
from bids_decoder.preprocessing import confounds
from bids_decoder.preprocessing.motion import MOTION_COLUMNS


@pytest.fixture
def parameters():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((40, 6)), axis=0) * np.r_[[0.1] * 3, [0.002] * 3]
    return pd.DataFrame(walk, columns=list(MOTION_COLUMNS))


@pytest.fixture
def bold():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((10, 10, 8, 40))
    for t in range(1, 40):
        noise[..., t] += 0.4 * noise[..., t - 1]
    return (1000 + 15 * noise).astype(np.float32)


def test_framewise_displacement_is_nipypes(parameters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fsl = parameters[["rot_x", "rot_y", "rot_z", "trans_x", "trans_y", "trans_z"]].to_numpy()
    np.savetxt("motion.par", fsl)
    node = FramewiseDisplacement(
        in_file=str(tmp_path / "motion.par"), parameter_source="FSL", save_plot=False
    )
    expected = np.loadtxt(node.run().outputs.out_file, skiprows=1)
    found = confounds.framewise_displacement(parameters)
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], expected, rtol=1e-5)


def test_dvars_is_nipypes(bold, tmp_path):
    pytest.importorskip("nitime", reason="nipype's DVARS needs nitime")
    mask = np.zeros(bold.shape[:3], dtype=bool)
    mask[1:9, 1:9, 1:7] = True
    in_file = save_nifti(tmp_path / "bold.nii.gz", bold, np.eye(4))
    in_mask = save_nifti(tmp_path / "mask.nii.gz", mask, np.eye(4))
    standard, plain, _ = compute_dvars(
        str(in_file), str(in_mask), remove_zerovariance=True, intensity_normalization=1000
    )
    found, found_standard = confounds.dvars(bold[mask].T)
    np.testing.assert_allclose(found[1:], plain, rtol=1e-3)
    np.testing.assert_allclose(found_standard[1:], standard, rtol=2e-2)


def test_dvars_without_change_is_missing():
    assert all(np.isnan(values).all() for values in confounds.dvars(np.ones((5, 4))))


def test_motion_is_expanded_to_24(parameters):
    table = confounds.expand(parameters)
    assert table.shape == (40, 24)
    slope = np.diff(parameters["rot_y"])
    assert np.isnan(table["rot_y_derivative1"][0])
    np.testing.assert_allclose(table["rot_y_derivative1_power2"][1:], slope**2)
    np.testing.assert_allclose(table["rot_y_power2"], parameters["rot_y"] ** 2)


def test_components_find_what_the_voxels_share():
    rng = np.random.default_rng(2)
    source = rng.standard_normal(60)
    voxels = np.outer(source, rng.uniform(0.5, 2, 80)) + 0.3 * rng.standard_normal((60, 80))
    drifts = confounds.cosine_drifts(60, 2.0).to_numpy()
    table, shares = confounds.anatomical_components(voxels, drifts, n_skip=2)
    assert list(table)[:2] == ["a_comp_cor_00", "a_comp_cor_01"]
    assert not table.iloc[:2].to_numpy().any()
    assert abs(np.corrcoef(table["a_comp_cor_00"][2:], source[2:])[0, 1]) > 0.9
    assert shares[0] > 0.8
    np.testing.assert_allclose(table.to_numpy().T @ table.to_numpy(), np.eye(10), atol=1e-10)


def test_table_has_fmripreps_columns(bold, parameters):
    brain = np.ones(bold.shape[:3], dtype=bool)
    tissues = {"csf": brain & False, "white_matter": brain & False}
    tissues["csf"][:3], tissues["white_matter"][6:] = True, True
    bold[..., 20] *= 1.2
    parameters.loc[10:, "trans_x"] += 3
    table, metadata = confounds.confounds_table(
        bold, brain, parameters, 2.0, n_dummy=2, tissues=tissues
    )
    for name in ("global_signal", "csf", "white_matter", "dvars", "std_dvars", "a_comp_cor_09",
                 "framewise_displacement", "cosine00", "non_steady_state_outlier01",
                 "motion_outlier00"):
        assert name in table, name
    assert "non_steady_state_outlier02" not in table
    flagged = np.flatnonzero(table.filter(like="motion_outlier").sum(axis=1))
    assert {10, 20, 21} <= set(flagged)
    assert set(metadata) <= set(table)
    np.testing.assert_allclose(table["csf"], bold[:3].mean(axis=(0, 1, 2)), rtol=1e-5)


def test_table_without_tissues(bold, parameters):
    brain = np.ones(bold.shape[:3], dtype=bool)
    table, _ = confounds.confounds_table(bold, brain, parameters, 2.0)
    assert "csf" not in table
    assert not table.filter(like="a_comp_cor").shape[1]


def test_tissue_masks_keep_their_distance():
    dseg = np.zeros((30, 30, 30), dtype=np.uint8)
    dseg[2:28, 2:28, 2:28] = 2
    dseg[6:24, 6:24, 6:24] = 3
    dseg[12:18, 12:18, 12:18] = 1
    masks = confounds.tissue_masks(dseg, dseg > 0, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert masks["csf"].sum() == 6**3
    assert not masks["white_matter"][6].any()
    assert masks["white_matter"][8, 10, 10]
    assert not (masks["white_matter"] & (dseg != 3)).any()
