"""A decoder applied to new data: what the plan refuses, and trials with and without labels."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from corner_betas import AFFINE, LABELS, SHAPE, SIGNAL, write_dataset
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node
from PIL import Image

from bids_decoder import load_decoder
from bids_decoder.analyses.apply import galleries, workflow
from bids_decoder.analyses.apply.options import Apply
from bids_decoder.analyses.apply.outputs import ANSWERS, METRICS, NULLS, RELIABILITY, SHIFT
from bids_decoder.analyses.apply.plan import _other_responses
from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.config import Settings, TrialRules
from bids_decoder.errors import FindingsError
from bids_decoder.files import read_json, write_json
from bids_decoder.markers import StageKey
from bids_decoder.reports.results import Results
from bids_decoder.stimuli.encoders import choose_encoder
from bids_decoder.stimuli.signatures import PictureSignatures
from bids_decoder.training.fitted import ENTRY

N_NEW = 3


def write_new(folder, labels_of=lambda label: label, affine=AFFINE, person="01", name="later"):
    """Further runs of the person of :func:`corner_betas.write_dataset`; returns the true labels."""
    same, rng = np.random.default_rng(0), np.random.default_rng(9)
    patterns = {label: same.normal(0, 1.5, SHAPE) for label in sorted(set(LABELS))}
    write_json(folder / "dataset_description.json", {
        "Name": name, "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    true = []
    for run in range(1, N_NEW + 1):
        stem = f"{folder}/sub-{person}/func/sub-{person}_task-dream_run-{run}_desc-singletrial"
        labels = rng.permutation(LABELS)
        betas = rng.normal(size=(*SHAPE, len(labels)))
        for trial, label in enumerate(labels):
            betas[(*SIGNAL, trial)] += patterns[label][SIGNAL]
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), affine)
        table = pd.DataFrame({"onset": np.arange(len(labels)) * 5.0, "duration": 1.0})
        given = [labels_of(label) for label in labels]
        if any(given):
            table["label"] = given
        save_table(Path(f"{stem}_trials.tsv"), table)
        true += labels.tolist()
    return np.array(true)


def words_for(data, out, *words):
    return [str(data), str(out), "participant", "--skip-bids-validation", "--device", "cpu",
            "--nprocs", "1", "-d", f"betas={data}", *map(str, words)]


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    return tmp_path_factory.mktemp("apply")


@pytest.fixture(scope="module")
def decoded(top):
    data = write_dataset(top / "data")
    assert main(words_for(data, top / "fitted", "--from-scratch", "--target", "category",
                          "--n-permutations", "0")) == 0
    return top / "fitted"


@pytest.fixture(scope="module")
def unlabelled(top, decoded):
    """The decoder, in a copy of its folder, applied to trials without labels."""
    shutil.copytree(decoded / "sub-01" / "model", top / "copied" / "model")
    true = write_new(top / "new", lambda label: None)
    assert main(words_for(top / "new", top / "applied", "--apply", top / "copied")) == 0
    return Results(top / "applied", "01"), true


def test_trials_without_labels_are_decoded(unlabelled):
    results, true = unlabelled
    table = results.table(ANSWERS)
    assert len(table) == len(true)
    assert (table["top1"] == true).mean() > 0.8
    assert table[["label", "stimulus", "correct"]].isna().all(axis=None)
    chances = table[[f"probability_{name}" for name in sorted(set(LABELS))]].astype(float)
    assert chances.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
    assert chances.max(axis=1).to_numpy() == pytest.approx(table["probability"].astype(float))
    described = read_json(results.files(ANSWERS)[0].with_suffix(".json"))
    assert set(table.columns) <= set(described)
    assert described["CoveredShare"] == 1 and not described["Aligned"]


def test_python_says_the_same(unlabelled, top):
    results, _ = unlabelled
    decoder = load_decoder(top / "copied" / "model")
    chances = decoder.predict_proba(sorted((top / "new").rglob("*betaseries.nii.gz")))
    table = results.table(ANSWERS)
    written = table[[f"probability_{name}" for name in decoder.classes_]].astype(float)
    # Tables hold six digits.
    np.testing.assert_allclose(written, chances, rtol=1e-4, atol=1e-6)
    assert decoder.classes_[chances.argmax(axis=1)].tolist() == table["top1"].tolist()


def test_without_labels_there_is_no_score_but_calibration_and_distance(unlabelled):
    results, _ = unlabelled
    assert results.table(METRICS) is None
    assert set(results.table(RELIABILITY)["trials"]) == {"training"}
    shift = results.table(SHIFT)
    assert shift["run_group"].nunique() == N_NEW
    card = results.card(SHIFT)
    assert card["Judged"] == N_NEW and card["TrainingRuns"] == 4
    page = (results.output_dir / "sub-01.html").read_text(encoding="utf-8")
    for title in ("Decoder applied to new data", "Probabilities", "Distance from the training"):
        assert title in page
    methods = (results.output_dir / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "temperature scaling" in methods


def test_known_labels_are_scored_and_unknown_ones_kept(top, decoded):
    folder = top / "mixed"
    true = write_new(folder, lambda label: "owl" if label == "fox" else label)
    assert main(words_for(folder, top / "scored", "--apply", decoded)) == 0
    results = Results(top / "scored", "01")
    table = results.table(ANSWERS)
    assert set(table.loc[table["is_known"] == "False", "label"]) == {"owl"}
    scored = table[table["is_known"] == "True"]
    right = scored["top1"] == scored["label"]
    assert (scored["correct"] == "True").tolist() == right.tolist()
    metrics = results.table(METRICS).set_index("metric")
    assert float(metrics.loc["accuracy", "value"]) == pytest.approx(right.mean())
    assert float(metrics.loc["balanced_accuracy", "p"]) < 0.01
    assert metrics.loc["balanced_accuracy", "null"] == "fixed"
    assert len(results.table(NULLS)) > 1000
    assert "new" in set(results.table(RELIABILITY)["trials"])
    assert 0 <= results.card(RELIABILITY)["ExpectedCalibrationError"]["new"] < 0.5
    assert len(true) == len(table)


@pytest.fixture
def refused(tmp_path):
    def plan(data, *words, out=None, **glm):
        settings, _ = parse_args(words_for(data, out or tmp_path / "out", *words))
        settings = replace(settings, glm=replace(settings.glm, **glm))
        with pytest.raises(FindingsError) as caught:
            make_plan(settings, tmp_path / "work")
        return [f for f in caught.value.findings if f.severity == "error"]

    return plan


def test_other_grids_are_named(refused, decoded, tmp_path):
    write_new(tmp_path / "d", affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    (found,) = refused(tmp_path / "d", "--apply", decoded)
    assert "6 x 5 x 4 voxels with affine [3 0 0 0;" in found.why
    assert "[2 0 0 0;" in found.why and found.code == 65


def test_decoders_of_other_people_and_absent_ones_are_refused(refused, decoded, tmp_path):
    write_new(tmp_path / "d", person="02")
    (absent,) = refused(tmp_path / "d", "--apply", decoded)
    assert "no decoder of sub-02" in absent.why and absent.code == 66
    (path,) = (decoded / "sub-01" / "model").glob("*.safetensors")
    (other,) = refused(tmp_path / "d", "--apply", path)
    assert "decoder of sub-01" in other.why and other.code == 65


def test_training_runs_are_refused(refused, decoded, top):
    (found,) = refused(top / "data", "--apply", decoded)
    assert "4 of these runs are training runs" in found.why


def test_copies_of_training_runs_under_other_names_are_refused(refused, decoded, top, tmp_path):
    write_new(tmp_path / "d")
    (source,) = (top / "data").rglob("*run-2*_betaseries.nii.gz")
    (target,) = (tmp_path / "d").rglob("*run-3*_betaseries.nii.gz")
    image = nib.load(source)
    # Other compression, header and data type than the training run.
    nib.save(nib.Nifti1Image(image.get_fdata(), image.affine), target)
    (found,) = refused(tmp_path / "d", "--apply", decoded)
    assert "1 of these runs are training runs of it: task-dream_run-3 (a copy of " in found.why
    assert "run-2)" in found.why


def test_wrong_folders_scales_and_analyses_are_refused(refused, decoded, top, tmp_path):
    write_new(tmp_path / "d")
    (found,) = refused(tmp_path / "d", "--apply", decoded, out=decoded)
    assert "output folder" in found.why
    (found,) = refused(tmp_path / "d", "--apply", decoded, normalise="run")
    assert "normalise was session, here it is run" in found.why
    (found,) = refused(tmp_path / "d", "--apply", decoded, "--encoder", "ridge")
    assert found.code == 64 and "encode" in found.what
    (found,) = refused(tmp_path / "d", "--apply", decoded, "--trial-unit", "volume")
    assert "holds no volumes" in found.why
    (found,) = refused(tmp_path / "d", "--trial-unit", "volume")
    assert found.code == 64 and "--apply" in found.fix
    (found,) = refused(tmp_path / "d", "--apply", decoded, "--apply-gallery", tmp_path / "none")
    assert "it decodes category, not images" in found.why
    (found,) = refused(top / "data", "--apply-gallery", tmp_path)
    assert found.code == 64 and "--apply-gallery" in found.what and "--apply PATH" in found.fix
    (found,) = refused(top / "data", "--stage", "prepare", "apply")
    assert found.code == 64 and "--apply PATH" in found.fix


@pytest.mark.parametrize(("stored", "here", "differ"), [
    (["motion", "/a/physioA"], ("motion", "/b/physioB"), False), ("motion", ("motion",), False),
    (["motion", "/a/physioA"], ("motion",), True), (["motion"], ("acompcor",), True),
    ("none", ("none",), False), (None, ("none",), True),
])
def test_own_tables_may_be_elsewhere_for_new_data(stored, here, differ):
    settings = Settings()
    settings = replace(settings, glm=replace(settings.glm, confounds=here))
    study = SimpleNamespace(
        settings=settings,
        trials=SimpleNamespace(build=SimpleNamespace(trial_unit=settings.trials.trial_unit)),
    )
    glm = {name: list(value) if isinstance(value, tuple) else value
           for name, value in asdict(settings.glm).items()}
    card = {ENTRY: {"glm": {**glm, "confounds": stored}}}
    found = [why for why, _ in _other_responses(study, SimpleNamespace(source="raw"), card)]
    assert len(found) == differ and all("confounds was" in why for why in found)


def test_galleries_are_checked(tmp_path):
    settings = replace(Settings(), trials=replace(TrialRules(), image_encoder="gabor"))
    settings = replace(settings, sections={"apply": Apply(gallery=tmp_path)})
    study = SimpleNamespace(settings=settings)
    told = {"targets": {"kind": "image"}, "encoder": {"name": "clip", "version": "x"}}
    empty, other = (why for why, _ in galleries.why_no_gallery(study, told))
    assert "no image in it" in empty and "'clip'" in other and "gabor" in other
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    told["encoder"] = dict(choose_encoder("gabor").identity)
    assert list(galleries.why_no_gallery(study, told)) == []
    study.trials = SimpleNamespace(pictures=PictureSignatures())
    assert list(galleries.damaged_images(study, told)) == []
    (tmp_path / "b.png").write_bytes(b"no image")
    (found,) = galleries.damaged_images(study, told)
    assert found.severity == "warning" and found.participant is None
    assert "1 of its 2 images cannot be read and are left out: b.png (" in found.why
    assert list(galleries.damaged_images(study, {"targets": {"kind": "category"}})) == []
    (tmp_path / "a.png").unlink()
    (found,) = galleries.damaged_images(study, told)
    assert found.severity == "error" and found.code == 65


def test_labels_that_nobody_gave_have_a_name_that_is_not_written(unlabelled):
    results, _ = unlabelled
    assert UNLABELLED not in results.files(ANSWERS)[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(("unit", "expected"), [("volume", True), ("event", False)])
def test_node_knows_whether_trials_are_volumes(tmp_path, unit, expected):
    settings = replace(Settings(), trials=replace(TrialRules(), trial_unit=unit))
    work = SimpleNamespace(settings=settings, output_dir=tmp_path, n_threads=1)
    person = SimpleNamespace(label="01")
    (tmp_path / "m.safetensors").touch()
    spec = SimpleNamespace(
        person=person, card={}, model=tmp_path / "m.safetensors", aligns=False, painting=None,
        pictures=galleries.Pictures(),
    )
    with patch.multiple(
        workflow, person_entities=lambda _: {}, response_gb=lambda _: 1, n_threads=lambda _: 1,
        mark_node=lambda *_: Node(IdentityInterface(["out_files"]), "mark"),
    ):
        made = workflow.init_apply_wf(work, spec, StageKey("apply", "sub-01", {}), "apply_wf")
    assert made.get_node("decode").inputs.are_volumes is expected
