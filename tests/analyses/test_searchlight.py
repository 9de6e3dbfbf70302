"""Searchlights: what the plan refuses, what they depend on, and a whole run with its outputs."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from corner_betas import AFFINE, LABELS, N_RUNS, SHAPE, write_dataset

from bids_decoder.analyses.searchlight import methods, report
from bids_decoder.analyses.searchlight.plan import check
from bids_decoder.bids.names import derivative_path, sidecar_path
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError
from bids_decoder.files import read_json, write_json
from bids_decoder.reports.results import Results


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("corner") / "data")


def words_for(folder, out, *words):
    return [str(folder), str(out), "participant", "--from-scratch", "--skip-bids-validation",
            "--target", "category", "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}",
            *words]


@pytest.fixture
def plan(data, tmp_path):
    def make(*words, folder=data):
        settings, _ = parse_args(words_for(folder, tmp_path / "out", *words))
        return make_plan(settings, tmp_path / "work")

    return make


def refused(plan, *words, **kwargs):
    with pytest.raises(FindingsError) as caught:
        plan(*words, **kwargs)
    return [f for f in caught.value.findings if f.severity == "error"]


def test_it_runs_when_a_size_is_given(plan):
    assert not [job for job in plan().jobs if job.analysis == "searchlight"]
    made = plan("--searchlight", "5mm")
    (job,) = [job for job in made.jobs if job.analysis == "searchlight"]
    assert job.is_due
    assert job.spec.folds == (1, 2, 3, 4) and job.spec.n_permutations == 100
    assert "searchlight" in {d.what for d in made.decisions}
    only = plan("--searchlight", "5mm", "--stage", "prepare", "searchlight")
    assert {step.stage for step in only.steps if step.todo} == {"betas", "searchlight"}


@pytest.mark.parametrize(("words", "part"), [
    (("--searchlight", "2mm"), "no other voxel"),
    (("--searchlight", "500mm"), "more than 5000 voxels"),
    (("--searchlight", "121vox"), "120 voxels only"),
    (("--stage", "searchlight"), "no size"),
])
def test_sizes_that_make_no_sense_are_refused(plan, words, part):
    (finding,) = refused(plan, *words)
    assert part in finding.why
    assert finding.code == 64


def test_radius_of_one_voxel_is_the_smallest(plan):
    assert plan("--searchlight", "3mm").jobs


def test_targets_without_labels_are_refused_with_what_is_possible(plan, tmp_path, data):
    names = sorted({f"{label}{run}" for label in LABELS for run in range(1, N_RUNS + 1)})
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(len(names), 3)), columns=list("xyz"))
    save_table(tmp_path / "features.tsv", table.assign(id=names)[["id", *"xyz"]])
    found = refused(
        plan, "--searchlight", "1mm", "--target", "features", "--features",
        str(tmp_path / "features.tsv"), "--test-runs", "4",
    )
    mine = [finding for finding in found if "--searchlight" in finding.what]
    assert len(mine) == 2
    assert "--target category" in mine[0].fix
    assert "--encoder" in mine[0].fix
    assert "no other voxel" in mine[1].why


def test_voxels_without_positions_are_refused(plan, tmp_path):
    folder = write_dataset(tmp_path / "flat", shape=(120, 2, 2))
    for path in folder.rglob("*betaseries.nii.gz"):
        image = nib.load(path)
        save_nifti(path, np.asarray(image.dataobj).reshape(480, 1, 1, -1), AFFINE)
    (finding,) = refused(plan, "--searchlight", "8mm", folder=folder)
    assert "no positions" in finding.why
    assert finding.code == 65


def test_settings_of_a_file_are_checked_all_at_once(plan, tmp_path):
    config = tmp_path / "settings.toml"
    config.write_text("[searchlight]\nradius_mm = 4.0\nn_voxels = 1\nshrinkage = 2.0\n")
    whats = {finding.what for finding in refused(plan, "--config-file", str(config))}
    assert {"[searchlight] n_voxels", "[searchlight] shrinkage", "[searchlight]"} <= whats


def test_naive_bayes_needs_two_trials_of_each_label(plan, tmp_path):
    folder = write_dataset(tmp_path / "few")
    for path in folder.rglob("*_trials.tsv"):
        table = read_table(path)
        if "run-1" in path.name or "run-2" in path.name:
            table.loc[0, "label"] = "owl"
        save_table(path, table)
    (finding,) = refused(
        plan, "--searchlight", "5mm", "--searchlight-estimator", "gnb", folder=folder
    )
    assert "owl" in finding.why
    assert plan("--searchlight", "5mm", folder=folder).jobs


@pytest.mark.parametrize(("words", "again"), [
    ((), False), (("--nprocs", "2"), False), (("--troi", "all"), False),
    (("--random-seed", "5"), True), (("--n-permutations", "5"), True),
    (("--searchlight-estimator", "gnb"), True), (("--searchlight", "6mm"), True),
])
def test_what_it_depends_on(plan, words, again):
    def key(*more):
        made = plan("--searchlight", "5mm", *more)
        return next(job.key.key for job in made.jobs if job.analysis == "searchlight")

    assert (key() != key(*words)) == again


def test_check_is_silent_on_good_data(plan):
    from bids_decoder.analyses.jobs import Notes

    notes = Notes()
    check(plan("--searchlight", "20vox").study, notes)
    assert not notes.findings


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    words = words_for(
        data, folder / "out", "-w", str(folder / "work"), "--searchlight", "5mm",
        "--stage", "prepare", "searchlight", "--n-permutations", "19",
    )
    assert main(words) == 0
    return words, folder / "out"


def stat(out, name):
    (path,) = out.glob(f"sub-01/func/*_stat-{name}_desc-searchlight_statmap.nii.gz")
    return np.asarray(nib.load(path).dataobj), read_json(
        path.with_name(path.name.replace(".nii.gz", ".json"))
    )


def test_crossnobis_needs_two_labels_in_a_run(plan, tmp_path):
    folder = write_dataset(tmp_path / "alone")
    words = ("--searchlight", "5mm", "--searchlight-estimator", "crossnobis")
    assert plan(*words, folder=folder).jobs
    for number, path in enumerate(sorted(folder.rglob("*_trials.tsv"))):
        save_table(path, read_table(path).assign(label="cat" if number % 2 else "dog"))
    (finding,) = refused(plan, *words, folder=folder)
    assert "one label only" in finding.why


@pytest.mark.slow
def test_the_map_shows_the_corner(run):
    accuracy, card = stat(run[1], "accuracy")
    assert accuracy.shape == SHAPE
    assert accuracy[0, 0, 0] > 0.6
    assert accuracy[3:, 2:, 2:].mean() == pytest.approx(1 / 3, abs=0.08)
    assert card["Chance"] == pytest.approx(1 / 3)
    (mask,) = run[1].glob("sub-01/func/*_desc-searchlight_mask.nii.gz")
    assert np.asarray(nib.load(mask).dataobj).sum() == card["Spheres"]
    assert (card["Radius"], card["Estimator"], card["Folds"], card["Trials"]) == (5, "lda", 4, 60)
    assert card["ExchangedUnits"] == "trials within runs"
    assert card["Null"] == "refitted"
    assert (card["Permutations"], card["Labels"]) == (19, 3)
    assert 0 < min(card["Shrinkage"]) <= max(card["Shrinkage"]) <= 1


@pytest.mark.slow
def test_p_values_are_corrected(run):
    single, largest, clusters = (
        10 ** -stat(run[1], name)[0] for name in ("logp", "logpmax", "logptfce")
    )
    assert single[0, 0, 0] == pytest.approx(0.05)
    assert largest[0, 0, 0] == clusters[0, 0, 0] == pytest.approx(0.05)
    assert (largest >= single - 1e-6).all()
    assert (largest[4:, 3:, 3:] > 0.05).all()


@pytest.mark.slow
def test_peaks_report_and_methods(run):
    _, out = run
    (path,) = out.glob("sub-01/func/*_desc-searchlight_peaks.tsv")
    peaks = read_table(path).astype(float)
    assert (peaks.iloc[0][["x", "y", "z"]] <= 6).all()
    assert peaks["value"].is_monotonic_decreasing
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "spheres above chance" in page
    for name in ("searchlight", "searchlightsignificant"):
        assert list(out.glob(f"sub-01/figures/*desc-{name}_figure.png"))
    text = (out / "logs" / "CITATION.md").read_text(encoding="utf-8")
    for part in ("all voxels within 5 mm", "Kriegeskorte, Goebel", "Smith, Nichols", "Stelzer"):
        assert part in text


@pytest.mark.slow
def test_a_second_call_computes_nothing(run, capfd):
    words, out = run
    paths = {path: path.stat().st_mtime_ns for path in out.rglob("*searchlight*statmap.nii.gz")}
    assert len(paths) == 5
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in paths} == paths


@pytest.mark.slow
def test_distances_take_the_place_of_accuracies(run):
    words, out = run
    assert main([*words, "--searchlight-estimator", "crossnobis"]) == 0
    distance, card = stat(out, "crossnobis")
    assert (card["Measure"], card["Chance"]) == ("crossnobis distance", 0)
    assert distance[0, 0, 0] > 5 * np.abs(distance[4:, 3:, 3:]).max()
    assert 10 ** -stat(out, "logptfce")[0][0, 0, 0] == pytest.approx(0.05)
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "crossnobis distance" in page
    assert "balanced accuracy" not in page.split('id="searchlight"')[1].split("<section")[0].lower()


@pytest.mark.slow
def test_without_permutations_and_on_a_fixed_test_set(data, tmp_path):
    words = words_for(
        data, tmp_path / "out", "-w", str(tmp_path / "work"), "--searchlight", "12vox",
        "--searchlight-estimator", "gnb", "--stage", "prepare", "searchlight", "--test-runs", "4",
        "--n-permutations", "0",
    )
    assert main(words) == 0
    accuracy, card = stat(tmp_path / "out", "accuracy")
    assert accuracy[0, 0, 0] > 0.5
    assert (card["Folds"], card["Trials"], card["VoxelsPerSphere"]) == (1, 15, 12)
    assert "Shrinkage" not in card
    assert len(list((tmp_path / "out").rglob("*searchlight*statmap.nii.gz"))) == 1
    assert "not tested" in (tmp_path / "out" / "sub-01.html").read_text(encoding="utf-8")


def test_maps_of_an_earlier_version_are_said_and_not_described(tmp_path):
    names = {"sub": "01", "task": "see"}
    save_table(derivative_path(tmp_path, "search_peaks", **names), pd.DataFrame({"x": [1]}))
    write_json(derivative_path(tmp_path, "search_peaks", **names).with_suffix(".json"),
               {"Estimator": "lda"})
    path = derivative_path(tmp_path, "search_map", stat="accuracy", **names)
    save_nifti(path, np.ones((4, 4, 4), np.float32), np.eye(4))
    write_json(sidecar_path(path), {"Estimator": "lda", "Spheres": 64, "VoxelsPerSphere": 7})
    results = Results(tmp_path, "01")
    (section,) = report.sections(results)
    assert "Compute them again (--stage searchlight)" in section.blocks[0].text
    assert methods.steps(results) == {}
