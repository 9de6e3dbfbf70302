"""Regions: what the plan refuses, what results depend on, and a whole run with its outputs."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids import atlases
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError
from bids_decoder.files import read_json, write_json
from bids_decoder.preprocessing.registration import save_matrix

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
SHAPE, N_RUNS, LABELS = (6, 5, 4), 4, ("cat", "dog", "fox") * 5
SHIFT = np.array([30.0, -12.0, 6.0])
NAMES = {1: "loud", 2: "quiet", 3: "tiny", 4: "rest"}


def region_labels():
    """Four regions: one with signal, one without, one of few voxels, and the rest."""
    labels = np.full(SHAPE, 4)
    labels[:2, :3] = 1
    labels[2:4] = 2
    labels[5, 4] = 3
    return labels


def write_dataset(folder, shape=SHAPE, entities=""):
    """Beta series with patterns of three labels in the first region."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "parts", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    signal = region_labels() == 1
    patterns = {name: rng.normal(0, 1.5, SHAPE) for name in sorted(set(LABELS))}
    for run in range(1, N_RUNS + 1):
        stem = f"{folder}/sub-01/func/sub-01_task-see_run-{run}{entities}_desc-singletrial"
        labels = rng.permutation(LABELS)
        betas = rng.normal(size=(*SHAPE, len(labels)))
        for trial, label in enumerate(labels):
            betas[..., trial] += patterns[label] * signal
        betas = betas.reshape(*shape, -1).astype(np.float32)
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas, AFFINE)
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
            "stimulus": [f"{label}{run}" for label in labels], "label": labels,
        }))
    return folder


def write_labels(path, labels=None, affine=AFFINE, names=NAMES):
    save_nifti(path, (region_labels() if labels is None else labels).astype(np.int16), affine)
    if names:
        save_table(path.with_name(path.name.replace(".nii.gz", ".tsv")), pd.DataFrame(
            {"index": list(names), "name": list(names.values())}
        ))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("parts") / "data")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return write_labels(tmp_path_factory.mktemp("roi") / "parts.nii.gz")


def words_for(folder, out, *words):
    return [str(folder), str(out), "participant", "--from-scratch", "--skip-bids-validation",
            "--target", "category", "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}",
            *map(str, words)]


@pytest.fixture
def plan(data, tmp_path):
    def make(*words, folder=data):
        settings, _ = parse_args(words_for(folder, tmp_path / "out", *words))
        return make_plan(settings, tmp_path / "work")

    return make


def job_of(made):
    (job,) = [job for job in made.jobs if job.analysis == "regions"]
    return job


def refused(plan, *words, **kwargs):
    with pytest.raises(FindingsError) as caught:
        plan(*words, **kwargs)
    return [f for f in caught.value.findings if f.severity == "error"]


def test_it_runs_when_an_atlas_is_given(plan, parts):
    assert not [job for job in plan().jobs if job.analysis == "regions"]
    made = plan("--regions", parts)
    job = job_of(made)
    assert job.is_due
    assert job.spec.folds == (1, 2, 3, 4) and job.spec.n_permutations == 100
    (decision,) = [d for d in made.decisions if d.what == "regions"]
    assert "3 regions" in decision.reason and "left out: tiny" in decision.reason
    only = plan("--regions", parts, "--stage", "prepare", "regions")
    assert {step.stage for step in only.steps if step.todo} == {"betas", "regions"}


def test_the_participant_is_filled_into_paths(plan, tmp_path):
    write_labels(tmp_path / "sub-01_label-V1_mask.nii.gz", region_labels() == 1, names=None)
    job = job_of(plan("--regions", tmp_path / "sub-{participant}_label-V1_mask.nii.gz"))
    assert job.spec.placed[0].file.path.name == "sub-01_label-V1_mask.nii.gz"


@pytest.fixture
def no_atlases(monkeypatch):
    monkeypatch.setattr(atlases, "_all_images", lambda: (
        Path("tpl-MNIx_res-01_atlas-Coarse_dseg.nii.gz"),
    ))


def test_all_that_is_wrong_is_found_at_once(plan, tmp_path, no_atlases):
    (tmp_path / "text.nii.gz").write_text("text")
    shifted = AFFINE.copy()
    shifted[:3, 3] = 500
    cases = {
        "Corse": (64, "no atlas"), "Coarse": (64, "TemplateFlow has it in MNIx"),
        "aparcaseg": (66, "no anat/*_desc-aparcaseg"),
        str(tmp_path / "absent.nii.gz"): (66, "no such file"),
        str(tmp_path / "text.nii.gz"): (65, "readable"),
        str(write_labels(tmp_path / "share.nii.gz", names={"x": "y"})): (65, "no whole number"),
        str(write_labels(tmp_path / "space-MNIx_dseg.nii.gz")): (66, "no transform between"),
    }
    found = {f.what.rpartition(" ")[2]: (f.code, f.why) for f in refused(plan, "--regions", *cases)
             if "share" not in f.what}
    assert len(found) == len(cases) - 1
    for word, (code, part) in cases.items():
        if "share" not in word:
            assert found[word][0] == code, word
            assert part in found[word][1]
    (table,) = refused(plan, "--regions", tmp_path / "share.nii.gz")
    assert (table.code, "no whole number" in table.why) == (65, True)


def test_atlases_without_overlap_and_small_regions_are_refused(plan, tmp_path):
    away = AFFINE.copy()
    away[:3, 3] = 500
    (finding,) = refused(plan, "--regions", write_labels(tmp_path / "away.nii.gz", affine=away))
    assert finding.code == 65 and "none of its labels" in finding.why
    small = np.where(region_labels() == 3, 3, 0)
    (finding,) = refused(plan, "--regions", write_labels(tmp_path / "small.nii.gz", small))
    assert finding.code == 65 and "10 voxels" in finding.why


def test_a_stage_without_an_atlas_and_voxels_without_positions(plan, tmp_path, parts):
    (finding,) = refused(plan, "--stage", "regions")
    assert finding.code == 64
    folder = write_dataset(tmp_path / "flat", shape=(120, 1, 1))
    (finding,) = refused(plan, "--regions", parts, folder=folder)
    assert finding.code == 65 and "no positions" in finding.why


def test_labels_in_the_space_of_the_t1w_image_come_through_the_transform(plan, tmp_path):
    folder = write_dataset(tmp_path / "moved")
    anat, func = folder / "sub-01" / "anat", folder / "sub-01" / "func"
    moved = AFFINE.copy()
    moved[:3, 3] = SHIFT
    write_labels(anat / "sub-01_desc-aparcaseg_dseg.nii.gz", affine=moved, names=None)
    table = pd.DataFrame({"index": list(NAMES), "name": list(NAMES.values())})
    save_table(folder / "desc-aparcaseg_dseg.tsv", table)
    (finding,) = refused(plan, "--regions", "aparcaseg", folder=folder)
    assert finding.code == 66 and "no transform" in finding.why
    pull = np.eye(4)
    pull[:3, 3] = -SHIFT
    path = func / "sub-01_task-see_run-1_from-boldref_to-T1w_mode-image_desc-coreg_xfm.txt"
    save_matrix(path, pull)
    made = plan("--regions", "aparcaseg", folder=folder)
    (decision,) = [d for d in made.decisions if d.what == "regions"]
    assert "3 regions" in decision.reason and "left out: tiny" in decision.reason
    further = np.linalg.inv(pull)
    save_matrix(anat / "sub-01_from-MNIx_to-T1w_mode-image_xfm.h5", further)
    (roi := tmp_path / "roi").mkdir()
    words = ("--regions", write_labels(roi / "tpl-MNIx_dseg.nii.gz", affine=AFFINE))
    (finding,) = refused(plan, *words, folder=folder)
    assert "none of its labels" in finding.why
    write_labels(roi / "tpl-MNIx_dseg.nii.gz", affine=further @ further @ AFFINE)
    assert "3 regions" in str(plan(*words, folder=folder).decisions)
    path.write_text("no transform")
    (finding,) = refused(plan, "--regions", "aparcaseg", folder=folder)
    assert finding.code == 65 and "as transforms" in finding.why


@pytest.mark.parametrize(("words", "again"), [
    (("--nprocs", "2"), False), (("--troi", "all"), False), (("--random-seed", "5"), True),
    (("--n-permutations", "5"), True), (("--regions-estimator", "ridge"), True),
])
def test_what_it_depends_on(plan, parts, words, again):
    def key(*more):
        return job_of(plan("--regions", parts, *more)).key.key

    assert (key() != key(*words)) == again


def test_it_depends_on_labels_and_names_but_not_on_paths(plan, tmp_path):
    def key(path, *args, **kwargs):
        path.parent.mkdir(exist_ok=True)
        return job_of(plan("--regions", write_labels(path, *args, **kwargs))).key.key

    first = key(tmp_path / "a" / "x.nii.gz")
    assert first == key(tmp_path / "b" / "x.nii.gz")
    assert first != key(tmp_path / "c" / "x.nii.gz", names={**NAMES, 1: "other"})
    changed = np.where(region_labels() == 2, 4, region_labels())
    assert first != key(tmp_path / "d" / "x.nii.gz", changed)


@pytest.fixture(scope="module")
def run(data, parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    words = words_for(
        data, folder / "out", "-w", folder / "work", "--regions", parts, "--stage", "prepare",
        "regions", "--n-permutations", "39",
    )
    assert main(words) == 0
    return words, folder / "out"


@pytest.mark.slow
def test_the_region_with_signal_wins(run):
    (path,) = run[1].glob("sub-01/func/*_desc-regions_metrics.tsv")
    table = read_table(path).set_index("region")
    assert list(table.index) == ["loud", "quiet", "rest"]
    numbers = table[["value", "p", "p_max", "ci_low", "noise_ceiling", "chance"]].astype(float)
    assert numbers.loc["loud", "value"] > 0.8
    assert numbers.loc["loud", "p_max"] == pytest.approx(1 / 40)
    assert numbers.loc["loud", "ci_low"] > 1 / 3
    assert (numbers["p_max"] >= numbers["p"]).all()
    assert (numbers.drop("loud")["p_max"] > 0.05).all()
    assert numbers["noise_ceiling"].idxmax() == "loud"
    card = read_json(path.with_suffix(".json"))
    assert (card["LeftOut"], card["Folds"], card["Null"]) == (["tiny"], 4, "refitted")
    assert (card["Significant"], card["Labels"]) == (1, 3)
    (nulls,) = run[1].glob("sub-01/func/*_desc-regionsnull_metrics.tsv")
    null = read_table(nulls)
    assert len(null) == 39 * 3
    highest = null["value"].astype(float).groupby(null["permutation"]).max()
    assert (highest >= numbers.loc["quiet", "value"]).mean() == pytest.approx(
        (40 * numbers.loc["quiet", "p_max"] - 1) / 39, abs=0.03
    )


@pytest.mark.slow
def test_maps_report_and_methods(run):
    _, out = run
    paths = {parse_entities(p)["stat"]: p for p in out.glob("sub-01/func/*regions_statmap.nii.gz")}
    assert set(paths) == {"accuracy", "logpmax"}
    accuracy = np.asarray(nib.load(paths["accuracy"]).dataobj)
    assert (accuracy[region_labels() == 1] > 0.8).all()
    assert (accuracy[region_labels() == 3] == 0).all()
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "regions above chance" in page and "Left out" in page
    for kind in ("regions_figure.svg", "regionsmap_figure.png", "regionssignificant_figure.png"):
        assert list(out.glob(f"sub-01/figures/*desc-{kind}")), kind
    text = (out / "logs" / "CITATION.md").read_text(encoding="utf-8")
    for part in ("Each of 3 regions (parts)", "Ledoit", "39 times"):
        assert part in text


@pytest.mark.slow
def test_a_second_call_computes_nothing(run):
    words, out = run
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*regions*")}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*regions*_metrics.tsv")}.items() \
        <= times.items()


@pytest.mark.slow
def test_features_are_retrieved_from_each_region(data, parts, tmp_path):
    names = sorted({f"{label}{run}" for label in LABELS for run in range(1, N_RUNS + 1)})
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(len(names), 3)), columns=list("xyz"))
    save_table(tmp_path / "features.tsv", table.assign(id=names)[["id", *"xyz"]])
    words = [w if w != "category" else "features" for w in words_for(
        data, tmp_path / "out", "-w", tmp_path / "work", "--regions", parts, "--stage", "prepare",
        "regions", "--features", tmp_path / "features.tsv", "--test-runs", "4",
        "--n-permutations", "19",
    )]
    assert main(words) == 0
    (path,) = (tmp_path / "out").glob("sub-01/func/*_desc-regions_metrics.tsv")
    found = read_table(path)
    assert set(found["metric"]) == {"top1"} and len(found) == 3
    assert (found["n"].astype(int) == 3).all()
    assert float(found["chance"][0]) == pytest.approx(1 / 3)
    assert "was not tested" not in (tmp_path / "out" / "sub-01.html").read_text(encoding="utf-8")
