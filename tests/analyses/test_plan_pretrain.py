"""Plan of pretraining: source participants need trials to learn from when a run is held out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.errors import FindingsError
from bids_decoder.files import write_json

LABELS = ("cat", "dog", "fox", "elk")


def write_dataset(folder, people, space="", sizes=()):
    """Beta series of two runs with a trial of each label; *people* maps to numbers of labels."""
    entity, sizes = f"_space-{space}" if space else "", dict(sizes)
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "few", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    for person, n_labels in people.items():
        for run in (1, 2):
            stem = f"{folder}/sub-{person}/func/sub-{person}_task-see_run-{run}"
            labels = LABELS[:n_labels]
            betas = rng.normal(size=(5, 4, 3, n_labels)).astype(np.float32)
            size = sizes.get(person, 3.0)
            save_nifti(Path(f"{stem}{entity}_desc-singletrial_betaseries.nii.gz"), betas,
                       np.diag([size, size, size, 1.0]))
            save_table(Path(f"{stem}{entity}_desc-singletrial_trials.tsv"), pd.DataFrame({
                "stimulus": [f"{label}{run}" for label in labels], "label": labels,
            }))
    return folder


def plan(tmp_path, people, *words, **options):
    folder = write_dataset(tmp_path / "data", people, **options)
    settings, _ = parse_args([
        str(folder), str(tmp_path / "out"), "group", "--skip-bids-validation", "--target",
        "category", "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}", *words,
    ])
    return make_plan(settings, tmp_path / "work")


def test_too_few_trials_of_sources_are_found(tmp_path):
    with pytest.raises(FindingsError) as caught:
        plan(tmp_path, {"01": 3, "02": 4, "03": 3, "04": 3}, "--holdout-label", "04")
    (found,) = [f for f in caught.value.findings if f.what.startswith("pretraining on")]
    assert found.what == "pretraining on 2 participant(s): 01, 03"
    assert "fewer than 4 training trials are left" in found.why


def test_four_trials_in_the_other_run_are_enough(tmp_path):
    made = plan(tmp_path, {"01": 4, "02": 3}, "--holdout-label", "02")
    assert [job.spec.sources for job in made.jobs if job.analysis == "pretrain"] == [("01",)]


PEOPLE = {"01": 4, "02": 4, "03": 4, "04": 4}


def grids(made):
    return [found for found in made.findings if "grids of voxels" in found.what]


@pytest.mark.parametrize(("space", "sizes", "n"), [
    ("MNI152NLin6Asym", {"02": 2.0, "04": 1.5}, 1), ("MNI152NLin6Asym", {"04": 1.5}, 0),
    ("T1w", {"02": 2.0}, 0), ("MNI152NLin6Asym", {}, 0),
])
def test_source_participants_on_other_grids_are_said(tmp_path, space, sizes, n):
    found = grids(plan(tmp_path, PEOPLE, "--holdout-label", "04", space=space, sizes=sizes))
    assert len(found) == n
    for one in found:
        assert one.severity == "warning" and "2 grids" in one.what and space in one.what
        assert "voxels of 3 x 3 x 3 mm from (0, 0, 0) mm: 01, 03; " in one.why
        assert "voxels of 2 x 2 x 2 mm from (0, 0, 0) mm: 02. Maps" in one.why


def test_other_grids_do_not_matter_without_a_prior_of_the_group(tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[network]\ngroup_prior = false\n")
    made = plan(tmp_path, PEOPLE, "--holdout-label", "04", "--config-file", str(settings),
                space="MNI152NLin6Asym", sizes={"02": 2.0})
    assert not grids(made)
