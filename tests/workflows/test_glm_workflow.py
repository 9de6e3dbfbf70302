import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.writer import save_table
from bids_decoder.config import Settings
from bids_decoder.errors import MissingInputError
from bids_decoder.preprocessing.templates import OutputSpace
from bids_decoder.trials import TRIAL_COLUMNS
from bids_decoder.workflows.glm import init_glm_wf, repetition_time, start_time

AFFINE = np.diag([3.0, 3, 3, 1])


def bold_run(label, **metadata):
    return BoldRun("01", "a", "see", label, "raw", {"space": "T1w"}, metadata)


@pytest.fixture
def person(tmp_path):
    rng = np.random.default_rng(0)
    files = {"bold": [], "trials": []}
    for run in "12":
        bold = (100 + rng.standard_normal((4, 4, 3, 80))).astype(np.float32)
        files["bold"].append(str(tmp_path / f"{run}.nii.gz"))
        nib.save(nib.Nifti1Image(bold, AFFINE), files["bold"][-1])
        table = pd.DataFrame({name: ["n/a"] * 8 for name in TRIAL_COLUMNS}).assign(
            trial=range(1, 9), onset=10.0 + 15 * np.arange(8), duration=2.0, session="a",
            run_group=f"ses-a_task-see_run-{run}", stimulus=list("abcdabcd"),
            label=["x", "y"] * 4, split="train", excluded=False,
        )
        files["trials"].append(str(save_table(tmp_path / f"{run}.tsv", table)))
    nib.save(nib.Nifti1Image(np.ones((4, 4, 3), np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    runs = (bold_run("1", RepetitionTime=2.0, StartTime=1.0), bold_run("2", RepetitionTime=2.0))
    return Participant("01", (), runs), files, tmp_path


def test_everything_lands_in_the_derivatives(person):
    participant, files, folder = person
    settings = Settings().replaced(glm={"confounds": ("none",), "contrasts": ("x - y",)})
    out = folder / "out"
    workflow = init_glm_wf(participant, settings, output_dir=out)
    workflow.base_dir = str(folder / "work")
    node = workflow.get_node("inputnode")
    node.inputs.bold_files, node.inputs.trials_files = files["bold"], files["trials"]
    node.inputs.bold_mask = str(folder / "mask.nii.gz")
    workflow.run()
    func = out / "sub-01/ses-a/func"
    found = sorted(p.name for p in func.iterdir() if p.suffix != ".json")
    stem = "sub-01_ses-a_task-see"
    assert found == sorted(
        [f"{stem}_run-{r}_space-T1w_desc-singletrial_betaseries.nii.gz" for r in "12"]
        + [f"{stem}_run-{r}_space-T1w_desc-singletrial_trials.tsv" for r in "12"]
        + [f"{stem}_space-T1w_desc-singletrial_mask.nii.gz"]
        + [f"{stem}_space-T1w_stat-{s}_statmap.nii.gz"
           for s in ("rsquare", "reliability", "noiseceiling", "responseratio")]
        + [f"{stem}_space-T1w_contrast-xMinusY_stat-{s}_statmap.nii.gz" for s in ("z", "effect")]
    )
    for path in func.iterdir():
        assert (func / (path.name.split(".")[0] + ".json")).exists()
    sidecars = [
        json.loads((func / f"{stem}_run-{r}_space-T1w_desc-singletrial_betaseries.json")
                   .read_text()) for r in "12"
    ]
    assert [s["StartTime"] for s in sidecars] == [1.0, 0.0]
    table = json.loads(
        (func / f"{stem}_run-1_space-T1w_desc-singletrial_trials.json").read_text()
    )
    assert list(table) == list(TRIAL_COLUMNS)


def test_nodes_declare_resources_and_start_times(person):
    _, files, folder = person
    runs = tuple(
        BoldRun("01", None, "see", str(n), "raw", {}, {"RepetitionTime": 2.0},
                bold_file=Path(path)) for n, path in enumerate(files["bold"])
    )
    settings = Settings().replaced(resources={"omp_nthreads": 3, "low_mem": True})
    workflow = init_glm_wf(
        Participant("01", (), runs), settings, output_dir=folder / "out",
        space=OutputSpace("MNI152NLin2009aSym", 4),
    )
    node = workflow.get_node("single_trial")
    assert node.n_procs == 3
    # Eighty volumes on the grid of the template, which is larger than the run's.
    assert node.mem_gb == pytest.approx(1 + 3 * 4 * 80 * 50 * 59 * 48 / 1e9, rel=0.05)
    assert node.inputs.chunk_voxels == 1000
    assert node.inputs.map_entities == {
        "sub": "01", "task": "see", "space": "MNI152NLin2009aSym", "res": "4",
    }
    assert workflow.get_node("inputnode").inputs.start_times == [0.0, 0.0]
    assert workflow.get_node("contrast") is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, 0.0), ({"StartTime": 0.7}, 0.7), ({"StartTime": 0}, 0.0),
        ({"SliceTimingCorrected": True}, 1.0),
        ({"SliceTimingCorrected": True, "SliceTimingReference": 0.25}, 0.5),
        ({"SliceTimingCorrected": False}, 0.0),
    ],
)
def test_start_time_follows_the_sidecar(metadata, expected):
    assert start_time(bold_run("1", RepetitionTime=2.0, **metadata)) == expected


def test_missing_repetition_time_is_named():
    with pytest.raises(MissingInputError, match="RepetitionTime"):
        repetition_time(bold_run("1"))
