"""Derivatives as each version of fMRIPrep writes them: read, checked, and fitted."""

from dataclasses import asdict, replace

import nibabel as nib
import numpy as np
import pytest
from fmriprep_versions import VERSIONS, write

from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.events import build_dataset_trials
from bids_decoder.bids.preflight import check_dataset
from bids_decoder.bids.writer import save_table
from bids_decoder.errors import ExitCode
from bids_decoder.interfaces.glm import SingleTrialGLM
from bids_decoder.workflows.checks import check_steps
from bids_decoder.workflows.glm import repetition_time, start_time


def read(toy, **groups):
    """Collect and check; returns settings, dataset, trials and findings."""
    execution = {"derivatives": {"fmriprep": toy.root.parent / "fp"}}
    settings = toy.settings(execution=execution, **groups)
    dataset = collect_dataset(settings)
    build = build_dataset_trials(dataset, settings)
    tables = {
        label: table.assign(split="cv", fold=1) for label, table in build.tables.items()
    }
    found = [
        *check_dataset(dataset, build, dataset.participants, settings),
        *check_steps(dataset.participants, tables, settings)[1],
    ]
    return settings, dataset, tables, found


@pytest.mark.parametrize("name", VERSIONS)
def test_runs_of_a_version_are_read_and_fitted(toy, name, tmp_path):
    version = VERSIONS[name]
    write(toy, version)
    settings, dataset, tables, found = read(toy, glm={"confounds": ("acompcor",)})
    assert not [f for f in found if f.severity == "error"], found
    space = "T2w" if name == "nibabies" else "T1w"
    for run in dataset.runs:
        assert run.entities["space"] == space
        assert run.mask_file.name.endswith(f"space-{space}_desc-brain_mask.nii.gz")
        assert run.boldref_file.name.endswith(f"space-{space}_boldref.nii.gz")
        assert run.confounds_file.name.endswith("desc-confounds_timeseries.tsv")
        assert start_time(run) == version.sidecar.get("StartTime", 0.0)
    assert f"{version.program} {version.number}" in {d.value for d in dataset.decisions}
    assert dataset.participants[0].anat_mask is not None
    estimate(settings, dataset, tables["01"], tmp_path, 2 if name == "20.2" else 5)


def estimate(settings, dataset, table, folder, n_combined):
    """Fit the first participant as preparation does."""
    runs = dataset.participants[0].runs
    trials = [
        save_table(folder / f"{k}.tsv", table[table["run_group"] == run.run_group])
        for k, run in enumerate(runs)
    ]
    node = SingleTrialGLM(
        bold_files=[str(run.bold_file) for run in runs], mask_file=str(runs[0].mask_file),
        confounds_files=[str(run.confounds_file) for run in runs],
        trials_files=[str(path) for path in trials], t_r=[repetition_time(r) for r in runs],
        start_time=[start_time(r) for r in runs], settings=asdict(settings.glm),
    )
    outputs = node.run(cwd=str(folder)).outputs
    betas = nib.load(outputs.betaseries[0]).get_fdata()
    assert betas.shape == (4, 4, 3, 10) and np.isfinite(betas).all() and betas.std() > 0
    # The components of all tissues together, five at most; the sample of 20.2 has two.
    used = outputs.betaseries_metadata[0]["Confounds"]
    wanted = [f"a_comp_cor_{k:02d}" for k in range(n_combined)]
    assert [c for c in used if "comp_cor" in c] == wanted
    assert "non_steady_state_outlier00" in used


def test_standard_space_of_a_cohort_is_its_own(toy):
    write(toy, VERSIONS["nibabies"])
    _, dataset, _, found = read(toy, preprocessing={"output_spaces": ("MNIInfant",)})
    assert not [f for f in found if f.severity == "error"], found
    assert {d.value for d in dataset.decisions if d.what == "decoding space"} == {
        "MNIInfant:cohort-1:res-2"
    }
    assert {run.confounds_file is not None for run in dataset.runs} == {True}
    assert dataset.runs[0].name_entities["cohort"] == "1"


@pytest.mark.parametrize("name", ["23.2", "24.1", "25.2", "26"])
def test_minimal_level_says_what_to_rerun(toy, name):
    write(toy, VERSIONS[name], level="minimal")
    (found,) = [f for f in read(toy)[3] if f.severity == "error" and "fmriprep=" in f.what]
    assert found.code == ExitCode.MISSING_INPUT
    assert "--level full" in found.fix and "--derivatives" in found.fix


def test_resampling_level_lacks_confounds(toy):
    write(toy, VERSIONS["25.2"], level="resampling")
    found = [f for f in read(toy)[3] if f.severity == "error"]
    assert found and all("confounds table" in f.what and f.what.startswith("sub-") for f in found)
    assert "--level full" in found[0].fix
    assert not [f for f in read(toy, glm={"confounds": ("none",)})[3] if f.severity == "error"]


@pytest.mark.parametrize(("name", "native"), [("25.2", "desc-coreg"), ("26", "space-run")])
def test_reference_of_a_native_run(toy, name, native):
    version = replace(VERSIONS[name], spaces=("",))
    write(toy, version)
    for path in (toy.root.parent / "fp").rglob("*run-?_boldref.nii.gz"):
        path.unlink()
    _, dataset, _, found = read(toy)
    assert not [f for f in found if f.severity == "error"], found
    assert {native in run.boldref_file.name for run in dataset.runs} == {True}
