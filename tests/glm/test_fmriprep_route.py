"""The whole app over derivatives as fMRIPrep 25 lays them out, made from simulated raw data."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.run import main
from bids_decoder.files import write_json
from bids_decoder.simulate.dataset import write_category_dataset

TASK, T_R, STANDARD = "categories", 2.0, "space-MNI152NLin2009cAsym_res-2"
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
LACKING = "3"


def confounds(n_scans, rng):
    """A table as wide as fMRIPrep's, with n/a where a derivative has no value."""
    table = {"csf": rng.normal(500, 5, n_scans), "global_signal": rng.normal(400, 5, n_scans)}
    for name in MOTION:
        course = np.cumsum(rng.normal(0, 0.01, n_scans))
        change = np.r_[np.nan, np.diff(course)]
        table |= {name: course, f"{name}_derivative1": change, f"{name}_power2": course**2,
                  f"{name}_derivative1_power2": change**2}
    table |= {f"a_comp_cor_{k:02d}": rng.normal(0, 0.1, n_scans) for k in range(40)}
    table |= {f"cosine{k:02d}": np.cos(np.linspace(0, (k + 1) * np.pi, n_scans)) for k in range(3)}
    table["framewise_displacement"] = np.r_[np.nan, np.abs(rng.normal(0, 0.1, n_scans - 1))]
    table["std_dvars"] = np.r_[np.nan, rng.normal(1, 0.1, n_scans - 1)]
    table["non_steady_state_outlier00"] = np.r_[1.0, np.zeros(n_scans - 1)]
    return pd.DataFrame(table)


def write_run(func, stem, raw, rng):
    """One run in two spaces; the standard one has a coarser grid of its own."""
    data = np.asarray(raw.dataobj).astype(np.float32)
    metadata = {"RepetitionTime": T_R, "StartTime": 0.5 * T_R, "SliceTimingCorrected": True,
                "SkullStripped": False, "TaskName": TASK}
    coarse = raw.affine @ np.diag([2, 2, 2, 1])
    for space, volumes, affine in (
        ("space-T1w", data, raw.affine), (STANDARD, data[::2, ::2, ::2], coarse),
    ):
        base = func / f"{stem}_{space}"
        mean = volumes.mean(axis=-1)
        save_nifti(base.with_name(f"{base.name}_desc-preproc_bold.nii.gz"), volumes, affine,
                   t_r=T_R, metadata=metadata)
        save_nifti(base.with_name(f"{base.name}_boldref.nii.gz"), mean, affine)
        save_nifti(base.with_name(f"{base.name}_desc-brain_mask.nii.gz"),
                   mean > 0.4 * np.percentile(mean, 98), affine, metadata={"Type": "Brain"})
    # In the space of the run itself there are references and a mask, but no BOLD.
    for name in ("desc-hmc_boldref", "desc-coreg_boldref", "desc-brain_mask"):
        save_nifti(func / f"{stem}_{name}.nii.gz", data.mean(axis=-1) > 50, raw.affine)
    save_table(func / f"{stem}_desc-confounds_timeseries.tsv",
               confounds(data.shape[-1], rng), {"csf": {"Method": "Mean"}})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("route")
    raw = write_category_dataset(folder / "raw", n_participants=1, n_runs=4, n_blocks=1)
    prep = folder / "prep"
    write_json(prep / "dataset_description.json", {
        "Name": "fMRIPrep - fMRI PREProcessing workflow", "BIDSVersion": "1.4.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "fMRIPrep", "Version": "25.2.5"}],
    })
    rng = np.random.default_rng(0)
    for path in sorted((raw / "sub-01" / "func").glob("*_bold.nii.gz")):
        stem = path.name.removesuffix("_bold.nii.gz")
        if f"run-{LACKING}" not in stem:
            write_run(prep / "sub-01" / "func", stem, nib.load(path), rng)
    return folder


def prepare(folder, name, *options):
    out = folder / name
    code = main([
        str(folder / "raw"), str(out), "participant", "--stage", "prepare", "--nprocs", "1",
        "-d", f"fmriprep={folder / 'prep'}", *options,
    ])
    return code, out


@pytest.fixture(scope="module")
def prepared(dataset):
    return prepare(dataset, "out", "--contrasts", "face - house")


def series(out, space):
    return sorted((out / "sub-01" / "func").glob(f"*{space}_desc-singletrial_betaseries.nii.gz"))


def test_one_grid_per_person_is_the_space_of_choice(dataset, prepared):
    code, out = prepared
    assert code == 0
    found = series(out, "space-T1w")
    assert [p.name.split("_")[2] for p in found] == ["run-1", "run-2", "run-4"]
    given = nib.load(next((dataset / "prep").rglob("*run-1_space-T1w_desc-preproc_bold.nii.gz")))
    image = nib.load(found[0])
    assert image.shape[:3] == given.shape[:3]
    assert np.allclose(image.affine, given.affine)
    decisions = {d["what"]: d for d in json.loads((out / "plan.json").read_text())["decisions"]}
    assert decisions["decoding space"]["value"] == "T1w"
    assert decisions["source of responses"]["value"] == "fmriprep"
    # Nothing was preprocessed again.
    assert not list(out.rglob("*desc-preproc_bold.nii.gz"))


def test_start_time_and_confounds_enter_the_model(prepared):
    for path in series(prepared[1], "space-T1w"):
        sidecar = json.loads((path.parent / path.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["StartTime"] == 0.5 * T_R
        assert sidecar["RepetitionTime"] == T_R
        names = sidecar["Confounds"]
        assert set(MOTION) | {"non_steady_state_outlier00"} <= set(names)
        assert not {"csf", "global_signal", "a_comp_cor_00", "cosine00"} & set(names)


def test_the_run_that_the_derivatives_lack_is_reported(prepared):
    warnings = json.loads((prepared[1] / "plan.json").read_text())["warnings"]
    about = [w for w in warnings if f"run-{LACKING}" in w["what"] + w["why"]]
    assert about, warnings
    assert "derivatives" in about[0]["what"] + about[0]["why"]


def test_responses_tell_the_categories_apart(dataset, prepared):
    """Onsets are read against StartTime: responses in the true region follow the labels."""
    truth = dataset / "raw" / "derivatives" / "truth" / "sub-01" / "func"
    region = nib.load(next(truth.glob("*label-responsive_mask.nii.gz"))).get_fdata() > 0
    betas, labels = [], []
    for path in series(prepared[1], "space-T1w"):
        image, stem = nib.load(path).get_fdata(), path.name.split("_desc-")[0]
        table = read_table(path.parent / f"{stem}_desc-singletrial_trials.tsv")
        betas.append(image[region].T)
        labels += table["label"].tolist()
    patterns, labels = np.concatenate(betas), np.array(labels)
    patterns = patterns - patterns.mean(axis=0)
    likeness = np.corrcoef(patterns)
    same = labels[:, None] == labels
    np.fill_diagonal(likeness, np.nan)
    assert np.nanmean(likeness[same]) > np.nanmean(likeness[~same]) + 0.2


def test_wide_confounds_of_another_choice_and_another_space(dataset):
    code, out = prepare(
        dataset, "standard", "--output-spaces", "MNI152NLin2009cAsym:res-2",
        "--confounds", "acompcor",
    )
    assert code == 0
    found = series(out, STANDARD)
    assert len(found) == 3 and not series(out, "space-T1w")
    sidecar = json.loads((found[0].parent / found[0].name.replace(".nii.gz", ".json")).read_text())
    assert {"a_comp_cor_00", "a_comp_cor_04"} <= set(sidecar["Confounds"])
    assert "a_comp_cor_05" not in sidecar["Confounds"]
    decisions = {d["what"]: d for d in json.loads((out / "plan.json").read_text())["decisions"]}
    assert decisions["maker of the derivatives"]["value"] == "fMRIPrep 25.2.5"
