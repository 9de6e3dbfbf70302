"""What the plan makes of copies: stops, one stimulus, or a line in plan.json and the report."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bids_decoder.analyses.prepare.report_overlap import overlap_section
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan, write_plan
from bids_decoder.errors import ExitCode, FindingsError
from bids_decoder.reports.results import Results
from bids_decoder.simulate.images import make_scene

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
N_RUNS, N_TRIALS, N_PICTURES = 4, 15, 20


def stem(sub, run):
    return f"sub-{sub}/func/sub-{sub}_task-see_run-{run}_desc-singletrial"


@pytest.fixture
def data(tmp_path):
    """Beta series of two people; 20 pictures, each trial with a file of its own."""
    folder = tmp_path / "data"
    (folder / "stimuli").mkdir(parents=True)
    (folder / "dataset_description.json").write_text(json.dumps({
        "Name": "toy", "BIDSVersion": "1.10.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    }))
    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(make_scene(seed, 48)) for seed in range(N_PICTURES)]
    for sub in ("01", "02"):
        (folder / f"sub-{sub}" / "func").mkdir(parents=True)
        for run in range(1, N_RUNS + 1):
            names = [f"sub{sub}-run{run}-{trial:02d}.png" for trial in range(N_TRIALS)]
            for trial, name in enumerate(names):
                number = (run * N_TRIALS + trial) % N_PICTURES
                scenes[number].save(folder / "stimuli" / name)
            write_run(folder, sub, run, rng.standard_normal((5, 5, 4, N_TRIALS)), names)
    return folder


def write_run(folder, sub, run, betas, names):
    image = nib.Nifti1Image(betas.astype(np.float32), np.diag([3.0, 3, 3, 1]))
    nib.save(image, folder / f"{stem(sub, run)}_betaseries.nii.gz")
    table = pd.DataFrame({"onset": np.arange(N_TRIALS) * 4.0, "duration": 2.0, "stimulus": names})
    table.to_csv(folder / f"{stem(sub, run)}_trials.tsv", sep="\t", index=False)


def betas_of(folder, sub, run):
    return np.asarray(nib.load(folder / f"{stem(sub, run)}_betaseries.nii.gz").dataobj).copy()


def change_betas(folder, sub, run, betas):
    names = pd.read_csv(folder / f"{stem(sub, run)}_trials.tsv", sep="\t")["stimulus"]
    write_run(folder, sub, run, betas, names)


def distinct(folder):
    """Make every picture another one."""
    for seed, path in enumerate(sorted((folder / "stimuli").iterdir())):
        Image.fromarray(make_scene(seed, 48)).save(path)


def plan(folder, *words):
    settings, _ = parse_args([
        str(folder), str(folder.parent / "out"), "participant", "-d", f"betas={folder}",
        "--from-scratch", "--device", "cpu", *map(str, words),
    ])
    return make_plan(settings, folder.parent / "work")


def gallery_of(made):
    (job,) = [job for job in made.jobs if job.analysis == "gallery"][:1]
    return job.spec.images


def errors(folder, *words):
    with pytest.raises(FindingsError) as caught:
        plan(folder, *words)
    return [f for f in caught.value.findings if f.severity == "error"]


def warnings(made):
    return [f.what for f in made.findings if f.severity == "warning"]


def test_one_picture_under_many_names_is_one_stimulus_before_the_split(data):
    made = plan(data)
    stimuli = made.study.trials.overlap.stimuli
    assert len(stimuli.merged) == N_PICTURES
    assert stimuli.n_merged == 2 * N_RUNS * N_TRIALS - N_PICTURES
    assert stimuli.n_pictures == 2 * N_RUNS * N_TRIALS
    assert (stimuli.n_seen, stimuli.near_duplicates) == (0, ())
    used = set()
    for table in made.study.tables.values():
        folds = table[table["split"] == "cv"].groupby("stimulus")["fold"].nunique()
        assert len(folds) and (folds == 1).all()
        used |= set(folds.index)
        counts = table.groupby("stimulus")["repeat"].max() + 1
        assert (counts == table["stimulus"].value_counts()[counts.index]).all()
    assert used <= set(stimuli.merged)
    (decision,) = [d for d in made.decisions if d.what == "stimuli under several names"]
    assert decision.value == f"{2 * N_RUNS * N_TRIALS} names of {N_PICTURES} stimuli"
    assert set(made.study.targets.images) == used


def test_names_that_are_kept_do_not_depend_on_the_format(data):
    path = data / "stimuli" / "sub01-run1-00.png"
    table = pd.read_csv(data / f"{stem('01', 1)}_trials.tsv", sep="\t")
    table.loc[0, "stimulus"] = "another.bmp"
    table.to_csv(data / f"{stem('01', 1)}_trials.tsv", sep="\t", index=False)
    with Image.open(path) as picture:
        picture.save(data / "stimuli" / "another.bmp")
    path.unlink()
    assert "another.bmp" in plan(data).study.trials.overlap.stimuli.merged


def test_identical_runs_stop_and_both_are_named(data):
    change_betas(data, "01", 4, betas_of(data, "01", 1))
    (found,) = [f for f in errors(data) if f.what == "identical runs"]
    assert found.code == ExitCode.BAD_DATA
    assert "sub-01 task-see_run-1 = sub-01 task-see_run-4" in found.why


def test_identical_runs_of_two_people_are_one_finding(data):
    for run in (1, 2, 3, 4):
        change_betas(data, "02", run, betas_of(data, "01", run))
    (found,) = [f for f in errors(data) if f.what == "identical runs"]
    assert "4 group(s)" in found.why and "and 1 more" in found.why
    assert "sub-01 task-see_run-1 = sub-02 task-see_run-1" in found.why


def test_copies_among_other_people_are_a_warning(data):
    shutil.copytree(data / "sub-02", data / "sub-03")
    for path in sorted((data / "sub-03" / "func").iterdir()):
        path.rename(path.with_name(path.name.replace("sub-02", "sub-03")))
    assert "identical runs" in warnings(plan(data, "--participant-label", "01"))
    assert "identical runs" in {f.what for f in errors(data, "--participant-label", "02")}


def split_trials(made, label):
    table = made.study.tables[label]
    for side in ("test", "train"):
        row = table[table["split"] == side].iloc[0]
        yield row["run_group"].split("run-")[1], int(row["trial"]) - 1


def test_identical_responses_across_the_split_stop(data):
    distinct(data)
    (test_run, test), (train_run, train) = split_trials(plan(data, "--test-runs", "4"), "01")
    assert test_run != train_run
    betas = betas_of(data, "01", test_run)
    betas[..., test] = betas_of(data, "01", train_run)[..., train]
    change_betas(data, "01", test_run, betas)
    (found,) = errors(data, "--test-runs", "4")
    assert found.what == "identical volumes of different runs across the split"
    assert f"run-{train_run} volume {train + 1}" in found.why
    assert f"run-{test_run} volume {test + 1}" in found.why


def test_identical_responses_on_one_side_are_reported(data):
    distinct(data)
    betas = betas_of(data, "01", 2)
    betas[..., 3] = betas_of(data, "01", 1)[..., 5]
    change_betas(data, "01", 2, betas)
    made = plan(data, "--test-runs", "4")
    assert made.study.trials.overlap.images.n_across == 0
    assert made.study.trials.overlap.images.identical_volumes == (
        ("sub-01 task-see_run-1 volume 6", "sub-01 task-see_run-2 volume 4"),)
    assert "identical volumes of different runs" in warnings(made)


@pytest.fixture
def near(data):
    """All pictures differ; one of the test run is a JPEG copy of one of the first run."""
    distinct(data)
    with Image.open(data / "stimuli" / "sub01-run1-03.png") as picture:
        picture.resize((36, 36), Image.Resampling.LANCZOS).save(
            data / "stimuli" / "sub01-run4-05.png")
    return data


NEAR = ("sub01-run1-03.png", "sub01-run4-05.png")


def test_near_duplicates_are_reported(near):
    made = plan(near, "--test-runs", "4")
    (pair,) = made.study.trials.overlap.stimuli.near_duplicates
    assert (pair.first, pair.second, pair.across) == (*NEAR, True)
    assert "stimuli nearly the same in training and test" in warnings(made)
    assert set(NEAR) <= set(made.study.trials.build.stimulus_files)


def test_near_duplicates_stop(near):
    (found,) = errors(near, "--test-runs", "4", "--near-duplicates", "stop")
    assert found.code == ExitCode.BAD_DATA and " ~ ".join(NEAR) in found.why
    assert plan(near, "--test-runs", "1", "4", "--near-duplicates", "stop")


def test_near_duplicates_are_merged(near):
    made = plan(near, "--test-runs", "4", "--near-duplicates", "merge")
    stimuli = made.study.trials.overlap.stimuli
    assert stimuli.merged == {NEAR[0]: (NEAR[1],)} and stimuli.near_duplicates == ()
    table = made.study.tables["01"]
    rows = table[table["stimulus"] == NEAR[0]]
    assert list(rows["split"].isna()) == [True, False]
    assert rows["reason"].iloc[0] == "its stimulus is a test stimulus"


def test_equal_feature_vectors_are_one_stimulus(data):
    distinct(data)
    names = sorted(path.name for path in (data / "stimuli").iterdir())
    vectors = np.random.default_rng(1).standard_normal((len(names), 20))
    vectors[7] = vectors[3]
    # The same number to a fraction of a percent.
    vectors[40] = vectors[50] + 0.003 * vectors[60]
    table = pd.DataFrame(vectors).astype(np.float32).add_prefix("f").assign(id=names)
    table = table[["id", *(f"f{k}" for k in range(20))]]
    table.to_csv(data.parent / "features.tsv", sep="\t", index=False)
    shutil.rmtree(data / "stimuli")
    stimuli = plan(data, "--features", data.parent / "features.tsv").study.trials.overlap.stimuli
    assert stimuli.merged == {names[3]: (names[7],)}
    assert (stimuli.n_pictures, stimuli.n_vectors) == (0, len(names))
    assert [(p.first, p.second) for p in stimuli.near_duplicates] == [(names[40], names[50])]


def test_gallery_leaves_out_test_stimuli_in_other_formats(data):
    distinct(data)
    made = plan(data, "--test-runs", "4")
    gallery = data.parent / "gallery"
    gallery.mkdir()
    with Image.open(data / "stimuli" / made.study.split.test_stimuli[0]) as picture:
        picture.save(gallery / "copy.bmp")
    for seed in range(3):
        Image.fromarray(make_scene(900 + seed, 48)).save(gallery / f"{seed}.png")
    made = plan(data, "--test-runs", "4", "--gallery", gallery)
    assert set(gallery_of(made)) == {f"gallery/{seed}.png" for seed in range(3)}


def test_plan_and_report_hold_the_numbers_also_when_they_are_zero(data):
    distinct(data)
    made = plan(data)
    write_plan(made)
    output = made.study.output_dir
    assert (output / "logs" / "pictures.npz").is_file()
    overlap = json.loads((output / "plan.json").read_text())["overlap"]
    for group, name in (("images", "n_identical_runs"), ("images", "n_identical_volumes"),
                        ("stimuli", "n_merged"), ("stimuli", "n_near_duplicates_across"),
                        ("stimuli", "n_seen")):
        assert overlap[group][name] == 0
    assert overlap["images"]["n_runs"] == 2 * N_RUNS
    (line,) = [d.value for d in made.decisions if d.what == "overlap of training and test"]
    assert line.startswith("0 identical runs, 0 identical volumes")
    (output / "sub-01").mkdir()
    section = overlap_section(Results(output, "01"))
    (table,) = [block for block in section.blocks if block.kind == "table"]
    found = {row[0]: row[1] for row in table.rows}
    assert found["identical runs"] == "0" and found["pairs of near-duplicates"] == "0"
    assert "no copies" in " ".join(b.text for b in section.blocks if b.kind == "text")


def test_report_lists_what_was_found(near):
    made = plan(near, "--test-runs", "4")
    write_plan(made)
    (made.study.output_dir / "sub-01").mkdir()
    blocks = overlap_section(Results(made.study.output_dir, "01")).blocks
    tones = {block.tone for block in blocks if block.kind == "text"}
    listed = [block for block in blocks if block.kind == "table" and block.caption ==
              "Near-duplicates"]
    assert "warn" in tones and listed[0].rows[0][:2] == list(NEAR)


@pytest.mark.shared_data
def test_run_copied_by_mistake_in_real_data_stops(tmp_path):
    source = SHARED / "haxby-1slice"
    if not source.is_dir():
        pytest.skip(f"{source} is not there")
    folder = tmp_path / "data"
    (folder / "sub-1" / "func").mkdir(parents=True)
    for name in ("dataset_description.json", "participants.tsv"):
        shutil.copyfile(source / name, folder / name)
    for number in range(1, 7):
        for ending in ("bold.nii.gz", "bold.json", "events.tsv"):
            name = "sub-1/func/sub-1_task-objectviewing_run-{:02d}_{}"
            shutil.copyfile(source / name.format(1 if number == 4 else number, ending),
                            folder / name.format(number, ending))
    settings, _ = parse_args([str(folder), str(tmp_path / "out"), "participant",
                              "--from-scratch", "--device", "cpu", "--skip-bids-validation"])
    with pytest.raises(FindingsError) as caught:
        make_plan(settings, tmp_path / "work")
    (found,) = [f for f in caught.value.findings if f.severity == "error"]
    assert found.what == "identical runs"
    assert "task-objectviewing_run-01 = sub-1 task-objectviewing_run-04" in found.why
