"""A second call: nothing again that is done, and only what depends on a change."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from app_calls import betas_options, derivatives, times, tree

from bids_decoder.bids.writer import save_nifti


def change(path):
    """Put other responses into a beta series."""
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    noise = np.random.default_rng(0).normal(size=data.shape) * data.std()
    save_nifti(path, (data + noise).astype(np.float32), image.affine)


HELD = ("--holdout-label", "03")
ALL = {("sub-01", "betas"), ("sub-02", "betas"), ("sub-03", "betas"), ("group", "pretrain"),
       ("sub-03", "decode"), ("sub-03", "controls")}


@pytest.fixture
def done(betas_run, tmp_path):
    """Results of a finished call, to be spoilt."""
    assert betas_run.done.code == 0
    return betas_run.copy(tmp_path / "out")


@pytest.fixture
def again(main, betas_run):
    def run(output, *options, data=betas_run.data.folder, **how):
        given = [*betas_options(data), "--device", "cpu", "--nprocs", 1, *HELD]
        return main(data, output, "group", "participant", *given, *options, **how)

    return run


def test_nothing_is_computed_twice(done, again):
    before, dates = tree(done), times(done)
    result = again(done)
    assert result.code == 0
    assert "nothing to compute: everything requested is done" in result.text
    assert (result.todo(), result.skipped()) == ({}, ALL)
    assert times(done) == dates
    after = tree(done)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("logs/") for name in set(after) - set(before))


def test_dataset_at_another_path_changes_nothing(done, again, betas, tmp_path):
    moved = shutil.copytree(betas.folder, tmp_path / "other place" / "moved")
    result = again(done, data=moved)
    assert (result.code, result.todo()) == (0, {})


def test_output_at_another_path_changes_nothing(done, again, tmp_path):
    done.rename(tmp_path / "elsewhere")
    result = again(tmp_path / "elsewhere")
    assert (result.code, result.todo()) == (0, {})


def test_dates_of_inputs_do_not_count(done, again, betas, tmp_path):
    copy = shutil.copytree(betas.folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert again(done, data=copy).todo() == {}


@pytest.mark.slow
def test_without_work_folder_nothing_is_computed(betas_run, again, tmp_path):
    output, work = tmp_path / "out", tmp_path / "work"
    shutil.copytree(betas_run.output, output)
    (output / "sub-03" / "model").rename(tmp_path / "model")
    assert again(output, "-w", work, pages=False).todo()
    assert work.is_dir()
    shutil.rmtree(work)
    assert again(output, "-w", work).todo() == {}
    assert derivatives(output) == derivatives(betas_run.output)


@pytest.mark.parametrize(("options", "stages"), [
    (("--budget", "60vox"), {("sub-03", "decode"): "changed: troi.budget_voxels"}),
    (("--trunk", "residual"), {
        ("group", "pretrain"): "changed: network.trunk",
        ("sub-03", "decode"): "changed: network.trunk, pretrained",
    }),
    (("--random-seed", "7"), {
        ("sub-01", "betas"): "changed: seed", ("sub-02", "betas"): "changed: seed",
        ("sub-03", "betas"): "changed: seed", ("group", "pretrain"): "changed: people.01",
        ("sub-03", "decode"): "changed: betas", ("sub-03", "controls"): "changed: betas",
    }),
])
def test_only_what_depends_on_a_setting_is_to_do(done, again, options, stages):
    result = again(done, *options, "--dry-run")
    assert result.code == 0
    found = result.todo()
    assert set(found) == set(stages)
    for step, why in stages.items():
        assert found[step].startswith(why)


def test_changed_input_is_noticed(done, again, betas, tmp_path):
    data = shutil.copytree(betas.folder, tmp_path / "changed")
    change(next(data.glob("sub-02/func/*run-2*_betaseries.nii.gz")))
    found = again(done, "--dry-run", data=data).todo()
    assert set(found) == {("sub-02", "betas"), ("group", "pretrain"), ("sub-03", "decode")}
    assert found["sub-02", "betas"] == "changed: upstream.runs.task-pictures_run-2.betas"
    assert found["group", "pretrain"] == "changed: people.02"


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "step"), [
    ("sub-02/func/sub-02_task-pictures_run-2_desc-singletrial_trials.tsv", ("sub-02", "betas")),
    ("sub-03/func/sub-03_task-pictures_desc-decoder_predictions.tsv", ("sub-03", "decode")),
    ("group/desc-pretrained_model.safetensors", ("group", "pretrain")),
])
def test_a_lost_output_is_made_again(done, again, betas_run, lost, step):
    (done / lost).unlink()
    result = again(done, pages=False)
    assert result.code == 0
    assert result.todo() == {step: f"{lost} is missing"}
    assert derivatives(done) == derivatives(betas_run.output)


@pytest.mark.slow
def test_a_cut_output_is_made_again_with_its_work_folder_kept(done, again, betas_run, tmp_path):
    lost = done / "sub-03/func/sub-03_task-pictures_desc-decoder_metrics.tsv"
    for _ in range(2):
        lost.write_text(lost.read_text()[:-5])
        result = again(done, "-w", tmp_path / "work", pages=False)
        assert result.todo() == {
            ("sub-03", "decode"): f"{lost.relative_to(done)} has another size",
        }
        assert derivatives(done) == derivatives(betas_run.output)


@pytest.mark.slow
def test_kept_work_folder_never_gives_old_results(betas, again, betas_run, tmp_path):
    """Nodes that read a folder must notice when other responses lie in it."""
    data = shutil.copytree(betas.folder, tmp_path / "data")
    output, work = betas_run.copy(tmp_path / "out"), tmp_path / "work"
    for stage in ("betas", "decode", "controls"):
        (output / "logs" / "done" / f"sub-03_{stage}.json").unlink()
    assert again(output, "-w", work, data=data, pages=False).code == 0
    assert derivatives(output) == derivatives(betas_run.output)
    change(next(data.glob("sub-03/func/*run-1*_betaseries.nii.gz")))
    assert set(again(output, "-w", work, data=data, pages=False).todo()) == {
        ("sub-03", "betas"), ("sub-03", "decode"), ("sub-03", "controls"),
    }
    fresh = betas_run.copy(tmp_path / "fresh")
    assert again(fresh, data=data, pages=False).code == 0
    assert derivatives(output) == derivatives(fresh)
    assert derivatives(output) != derivatives(betas_run.output)


def test_damaged_marker_is_not_trusted(done, again):
    (done / "logs" / "done" / "group_pretrain.json").write_text("{")
    assert again(done, "--dry-run").todo() == {("group", "pretrain"): "its marker is damaged"}


def test_other_version_is_not_trusted(done, again):
    path = done / "logs" / "done" / "sub-03_decode.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": "0.0.1"}))
    assert again(done, "--dry-run").todo() == {("sub-03", "decode"): "made by version 0.0.1"}


def test_missing_report_is_written_again(done, again):
    before = times(done)
    (done / "sub-03.html").unlink()
    result = again(done)
    assert result.todo() == {}
    assert (done / "sub-03.html").is_file()
    now = times(done)
    changed = {name for name, stamp in now.items() if before.get(name) != stamp}
    assert all(name.endswith((".html", "_report.json")) or "figures" in name for name in changed)


@pytest.mark.slow
def test_preprocessed_file_that_is_lost_is_made_again(category_run, compute, tmp_path):
    output = category_run.copy(tmp_path / "out")
    lost = "sub-01/func/sub-01_task-categories_run-2_desc-preproc_bold.nii.gz"
    (output / lost).unlink()
    data = category_run.data
    result = compute(data.folder, output, "participant", *data.options, "--nprocs", 1)
    assert result.code == 0
    assert result.todo() == {("sub-01", "preprocess"): f"{lost} is missing"}
    assert derivatives(output) == derivatives(category_run.output)


@pytest.mark.parametrize(("options", "stages"), [
    (("--dummy-scans", "2"), ("preprocess", "betas", "decode", "controls")),
    (("--hrf", "glover"), ("betas", "decode", "controls")),
    (("--troi", "univariate"), ("decode",)),
])
def test_stages_of_raw_data_that_depend_on_a_setting(category_run, main, options, stages):
    data = category_run.data
    result = main(data.folder, category_run.output, "participant", *data.options, *options,
                  "--dry-run")
    assert set(result.todo()) == {("sub-01", stage) for stage in stages}
    assert tree(data.folder) == data.digests
