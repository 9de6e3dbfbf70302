"""Plans of small datasets of responses: who takes part, which model, what is left, and why."""

import hashlib
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from bids_decoder.bids.pretrained_files import pretrained_path
from bids_decoder.bids.signatures import source_signatures
from bids_decoder.bids.writer import read_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan, write_plan
from bids_decoder.errors import FindingsError, InputError
from bids_decoder.files import write_json
from bids_decoder.markers import write_marker
from bids_decoder.simulate.betas import write_betas_dataset
from bids_decoder.simulate.layout import PictureDesign
from bids_decoder.simulate.world import ResponseSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    small = ResponseSettings(
        shape=(6, 6, 6), voxel_size=3.0, n_roi=30, median_ncsnr=1.0, n_features=8,
        n_embedding=8, own=0.1, roi_fwhm=5.0,
    )
    return write_betas_dataset(
        tmp_path_factory.mktemp("plan") / "data", PictureDesign(n_train=40), settings=small
    )


@pytest.fixture
def plan(data, tmp_path):
    def make(*words, output=tmp_path / "out", folder=data):
        settings, _ = parse_args([
            str(folder), str(output), *map(str, words), "-d", f"betas={folder}", "--features",
            str(folder / "features.tsv"), "--device", "cpu",
        ])
        return make_plan(settings, tmp_path / "work")

    return make


def steps(made):
    return [(step.unit, step.stage, step.todo) for step in made.steps]


def due(made, analysis):
    """Jobs of an analysis that are to be done, by participant or model."""
    jobs = [job for job in made.jobs if job.analysis == analysis and job.is_due]
    return {job.gives.partition("/")[2]: job for job in jobs}


def decoded(made):
    return {label: job.spec for label, job in due(made, "decode").items()}


def pretrained(made):
    return list(due(made, "pretrain").values())


def card(path, **content):
    """Put a model of sub-01 and sub-02 there, card only: the plan reads no weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weights": np.zeros(2, np.float32)}, path)
    return write_json(path.with_suffix(".json"), {
        "stage_key": "k", "dataset": "Simulated single-trial responses", "decoder": "troi",
        "participants": ["01", "02"], "targets": {"kind": "features", "n_dims": 8, "labels": []},
        "stimuli_seen": [], **content,
    })


def problems(plan, *words, **options):
    with pytest.raises(FindingsError) as caught:
        plan(*words, **options)
    return [f for f in caught.value.findings if f.severity == "error"]


def test_nothing_is_written_by_planning(plan, data, tmp_path):
    plan("group", "participant", "--holdout-label", "03")
    assert list(tmp_path.iterdir()) == []


def test_group_leaves_out_who_is_held_out(plan):
    made = plan("group", "--holdout-label", "02")
    assert steps(made) == [("sub-01", "betas", True), ("sub-03", "betas", True),
                           ("group", "pretrain", True)]
    (pretrain,) = pretrained(made)
    assert pretrain.spec.sources == ("01", "03")


def test_both_levels_decode_who_is_held_out(plan):
    made = plan("group", "participant", "--holdout-label", "02")
    assert list(decoded(made)) == ["02"]
    (pretrain,) = pretrained(made)
    assert decoded(made)["02"].pretrained == pretrain.spec.path
    assert decoded(made)["02"].card["pretrained_key"] == pretrain.key.key
    assert decoded(made)["02"].card["seen_in_pretraining"] is False


def test_participants_asked_for_are_no_sources(plan):
    made = plan("group", "participant", "--participant-label", "01")
    assert pretrained(made)[0].spec.sources == ("02", "03")
    assert list(decoded(made)) == ["01"]


def test_leave_one_out_makes_a_model_for_each(plan, tmp_path):
    made = plan("group", "participant", "--leave-one-out")
    assert {p.spec.path: p.spec.sources for p in pretrained(made)} == {
        pretrained_path(tmp_path / "out", label): tuple(sorted({"01", "02", "03"} - {label}))
        for label in ("01", "02", "03")
    }
    assert {label: spec.pretrained for label, spec in decoded(made).items()} == {
        label: pretrained_path(tmp_path / "out", label) for label in ("01", "02", "03")
    }


def test_own_model_comes_before_the_common_one(plan, tmp_path):
    output = tmp_path / "out"
    card(pretrained_path(output, None), stage_key="common")
    card(pretrained_path(output, "03"), stage_key="own")
    made = plan("participant", "--participant-label", "03")
    assert decoded(made)["03"].card["pretrained_key"] == "own"
    card(tmp_path / "given.safetensors", stage_key="given")
    made = plan("participant", "--participant-label", "03", "--pretrained",
                tmp_path / "given.safetensors")
    assert decoded(made)["03"].card["pretrained_key"] == "given"
    scratch = plan("participant", "--participant-label", "03", "--from-scratch")
    assert decoded(scratch)["03"].pretrained is None
    assert "seen_in_pretraining" not in decoded(scratch)["03"].card


def test_without_a_model_decoding_is_from_scratch_until_there_is_one(plan, tmp_path):
    made = plan("participant")
    assert ("sub-03", "decode", True) in steps(made)
    assert all(spec.pretrained is None for spec in decoded(made).values())
    (said,) = [d for d in made.decisions if d.what == "decoding"]
    assert said.value == "from scratch: 01, 02, 03" and "due again" in said.reason
    assert decoded(made)["01"].card["from_scratch"].startswith("no pretrained model")
    finish(made)
    assert plan("participant").is_empty
    card(pretrained_path(tmp_path / "out", None), participants=["09"])
    again = plan("participant")
    assert ("sub-03", "decode", True) in steps(again) and "betas" not in {
        stage for _, stage, todo in steps(again) if todo
    }
    assert not any(d.what == "decoding" for d in again.decisions)


def test_asked_for_from_scratch_is_no_news(plan):
    made = plan("participant", "--from-scratch")
    assert not any(d.what == "decoding" for d in made.decisions)
    assert decoded(made)["01"].card["from_scratch"] == "--from-scratch"


def test_required_model_that_is_not_there_stops(plan, tmp_path):
    found = problems(plan, "participant", "--pretrained", "required")
    assert [(f.participant, int(f.code)) for f in found] == [("01", 66), ("02", 66), ("03", 66)]
    card(pretrained_path(tmp_path / "out", None), participants=["09"])
    made = plan("participant", "--pretrained", "required")
    assert all(spec.pretrained is not None for spec in decoded(made).values())


def decoded_from(made):
    return {label: spec.pretrained for label, spec in decoded(made).items()}


def test_folder_of_results_is_a_pretrained_model(plan, tmp_path):
    results = tmp_path / "earlier"
    common, own = pretrained_path(results, None), pretrained_path(results, "03")
    card(common, participants=["09"])
    card(own, participants=["01", "02"])
    for place in (results, results / "group"):
        made = plan("participant", "--pretrained", place)
        assert decoded_from(made) == {"01": common, "02": common, "03": own}


def test_folder_without_a_fitting_model_is_explained(plan, tmp_path):
    (tmp_path / "empty").mkdir()
    found = problems(plan, "participant", "--pretrained", tmp_path / "empty")
    assert [int(f.code) for f in found] == [66] and "there is no desc-pre" in found[0].why
    for label in ("03", "04"):
        card(pretrained_path(tmp_path / "other", label))
    found = problems(plan, "participant", "--pretrained", tmp_path / "other")
    assert [f.participant for f in found] == ["01", "02"]
    assert {int(f.code) for f in found} == {64}
    assert "group/label-without03_desc-pretrained_model.safetensors, group" in found[0].why


@pytest.mark.parametrize(("words", "sources", "labels"), [
    (("--participant-label", "01", "02", "03", "--holdout-label", "03"), ("01", "02"), ["03"]),
    (("--participant-label", "01", "--holdout-label", "03"), ("01",), ["03"]),
    (("--participant-label", "03", "--holdout-label", "03"), ("01", "02"), ["03"]),
    (("--participant-label", "03"), ("01", "02"), ["03"]),
    (("--holdout-label", "03"), ("01", "02"), ["03"]),
    (("--holdout-label", "02", "03", "--participant-label", "03", "01"), ("01",), ["03"]),
])
def test_who_takes_part_at_both_levels(plan, words, sources, labels):
    made = plan("group", "participant", *words)
    (pretrain,) = pretrained(made)
    assert pretrain.spec.sources == sources and list(decoded(made)) == labels


def test_model_that_saw_the_person(plan, tmp_path):
    card(pretrained_path(tmp_path / "out", None))
    found = problems(plan, "participant")
    assert [f.participant for f in found] == ["01", "02"]
    assert all(f.code == 65 and "--allow-seen" in f.fix for f in found)
    made = plan("participant", "--allow-seen")
    seen = {
        label: spec.card["seen_in_pretraining"] for label, spec in decoded(made).items()
    }
    assert seen == {"01": True, "02": True, "03": False}
    assert [f.severity for f in made.findings if f.participant == "01"] == ["warning"]


def test_model_of_another_dataset_saw_other_people(plan, tmp_path):
    card(pretrained_path(tmp_path / "out", None), dataset="Another")
    made = plan("participant", "--participant-label", "01")
    assert next(iter(decoded(made).values())).card["seen_in_pretraining"] is False


def test_model_that_saw_the_person_under_another_name(plan, data, tmp_path):
    runs = plan("participant", "--from-scratch").study.people["01"].participant.runs
    card(pretrained_path(tmp_path / "out", None), dataset="Another",
         signatures=source_signatures({"77": runs}))
    (found,) = problems(plan, "participant")
    assert found.participant == "01" and found.code == 65
    assert f"pretrained on {len(runs)} of these runs under other names" in found.why
    assert f"{runs[0].run_group} is a copy of sub-77 {runs[0].run_group}" in found.why
    made = plan("participant", "--allow-seen")
    seen = {label: spec.card["seen_in_pretraining"] for label, spec in decoded(made).items()}
    assert seen == {"01": True, "02": False, "03": False}


def test_model_that_saw_test_stimuli(plan, tmp_path):
    card(pretrained_path(tmp_path / "out", None), stimuli_seen=["shared-00000", "shared-00001"])
    (found,) = problems(plan, "participant", "--participant-label", "03")
    assert "it saw 2 of the test stimuli" in found.why
    made = plan("participant", "--participant-label", "03", "--allow-seen")
    assert next(iter(decoded(made).values())).card["test_stimuli_seen"] == 2


@pytest.mark.parametrize(("content", "why"), [
    ({"targets": {"kind": "image", "n_dims": 8, "labels": []}}, "its target is 'image'"),
    ({"decoder": "other"}, "its decoder is 'other'"),
    ({"targets": {"kind": "features", "n_dims": 8, "labels": [], "sketched": 20_000}},
     "its number of feature dimensions is '20000, kept as sketches of 8', here it is '8'"),
])
def test_model_that_does_not_fit(plan, tmp_path, content, why):
    card(pretrained_path(tmp_path / "out", None), **content)
    (found,) = problems(plan, "participant", "--participant-label", "03")
    assert why in found.why
    assert "--from-scratch" in found.fix


def test_model_with_maps_of_another_space_is_said(plan, tmp_path):
    common = {"space": "MNI152NLin6Asym", "fwhm_mm": 6.0, "mistrust": 0.5}
    card(pretrained_path(tmp_path / "out", None), common=common)
    made = plan("participant", "--participant-label", "03")
    (found,) = [f for f in made.findings if f.participant == "03"]
    assert "in the space MNI152NLin6Asym, the responses in func" in found.why
    assert found.severity == "warning"


def test_damaged_model_is_found_before_computing(plan, tmp_path):
    path = tmp_path / "model.safetensors"
    card(path, participants=["03"], sha256="0" * 64)
    found = problems(plan, "participant", "--participant-label", "01", "--pretrained", path)
    assert [(f.code, "SHA256 differs" in f.why) for f in found] == [(65, True)]
    card(path, participants=["03"], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert plan("participant", "--participant-label", "01", "--pretrained", path)


def test_all_problems_of_models_are_told_together(plan, tmp_path):
    card(pretrained_path(tmp_path / "out", None), decoder="other", stimuli_seen=["shared-00000"])
    assert len(problems(plan, "participant")) == 6


def test_split_is_in_every_table_and_the_same(plan):
    made = plan("group", "participant", "--holdout-label", "03")
    assert set(made.study.split.test_stimuli) == {f"shared-{n:05d}" for n in range(12)}
    for table in made.study.tables.values():
        is_test = table["stimulus"].str.startswith("shared").to_numpy()
        assert ((table["split"] == "test").to_numpy() == is_test).all()


def test_plan_file_is_the_same_for_every_call(plan, tmp_path):
    words = ("group", "participant", "--holdout-label", "03")
    first = plan(*words)
    write_plan(first)
    path = tmp_path / "out" / "plan.json"
    before = path.read_bytes(), path.stat().st_mtime_ns
    write_plan(plan(*words))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    content = json.loads(before[0])
    assert content["split"]["test_stimuli"] == list(first.study.split.test_stimuli)
    assert {"what", "value", "reason"} == set(content["decisions"][0])
    assert all(decision["reason"] for decision in content["decisions"])
    assert str(tmp_path) not in json.dumps(content["fingerprint"])


def test_planned_tables_are_written_by_run(plan):
    made = plan("participant", "--participant-label", "02", "--from-scratch")
    write_plan(made)
    (person,) = made.study.people.values()
    assert list(person.trials) == [f"task-pictures_run-{n}" for n in (1, 2, 3, 4)]
    joined = pd.concat([read_table(path) for path in person.trials.values()])
    table = made.study.tables["02"]
    assert list(joined["stimulus"]) == list(table["stimulus"])
    assert list(joined["split"]) == list(table["split"])


def finish(made):
    """Mark every stage of a plan as done, with one output each."""
    folder = made.study.output_dir
    for job in made.jobs:
        for key in (stage.key for stage in job.stages):
            output = folder / f"{key.unit}_{key.stage}.txt"
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text("x")
            if job.analysis == "pretrain":
                output = job.spec.path
                card(output, **job.card)
            write_marker(folder, key, [output])


WORDS = ("group", "participant", "--holdout-label", "03")


def test_what_is_done_is_not_planned(plan):
    finish(plan(*WORDS))
    made = plan(*WORDS)
    assert made.is_empty
    assert all(step.why == "done" for step in made.steps)
    assert not any(job.is_due for job in made.jobs)


@pytest.mark.parametrize(("words", "todo"), [
    (["--nprocs", "1"], []),
    (["--mem", "4G", "--low-mem"], []),
    (["-v", "--stop-on-first-crash"], []),
    (["--budget", "9vox"], ["decode"]),
    (["--trunk", "residual"], ["pretrain", "decode"]),
    (["--random-seed", "1"], ["betas", "pretrain", "decode", "controls"]),
    (["--test-runs", "1"], ["betas", "pretrain", "decode", "controls"]),
])
def test_settings_and_the_stages_that_depend_on_them(plan, words, todo):
    finish(plan(*WORDS))
    made = plan(*WORDS, *words)
    found = [stage for _, stage, needed in steps(made) if needed]
    assert list(dict.fromkeys(found)) == todo


def test_changed_feature_table(plan, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "copy")
    finish(plan(*WORDS, folder=copy))
    path = copy / "features.tsv"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    made = plan(*WORDS, folder=copy)
    assert {(u, s): step.why for u, s, step in
            ((st.unit, st.stage, st) for st in made.steps) if step.todo} == {
        ("group", "pretrain"): "changed: targets.file",
        ("sub-03", "decode"): "changed: pretrained, targets.file",
        ("sub-03", "controls"): "changed: targets.file",
    }


def test_stage_that_needs_an_earlier_one(plan):
    (first, second) = problems(plan, "group", "--holdout-label", "03", "--stage", "pretrain")
    assert {first.participant, second.participant} == {"01", "02"}
    assert first.code == 66
    assert "--stage prepare" in first.fix


def test_nobody_to_learn_from(plan):
    (found,) = problems(plan, "group", "--holdout-label", "01", "02", "03")
    assert found.code == 18


def test_no_run_is_selected(plan):
    codes = [f.code for f in problems(plan, "participant", "--task-id", "rest")]
    assert codes[0] == 18


def test_stimuli_without_vector(plan, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "copy")
    lines = (copy / "features.tsv").read_text().splitlines(keepends=True)
    (copy / "features.tsv").write_text("".join(lines[:-3]))
    found = problems(plan, *WORDS, folder=copy)
    assert [f.code for f in found] == [66]
    assert "features.tsv" in found[0].what
    made = plan("participant", "--stage", "prepare", folder=copy)
    assert [stage for _, stage, _ in steps(made)] == ["betas"] * 3


@pytest.fixture
def raw(tmp_path):
    """One person, four runs of pictures of two kinds."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "raw" / "sub-01" / "func"
    folder.mkdir(parents=True)
    write_json(tmp_path / "raw" / "dataset_description.json", {"Name": "raw"})
    write_json(tmp_path / "raw" / "task-see_bold.json", {"RepetitionTime": 2.0})
    rows = [f"{2 + 7 * i}\t1\t{'face' if i % 2 else 'house'}\n" for i in range(10)]
    for run in "1234":
        image = nib.Nifti1Image(rng.normal(100, 10, (4, 4, 3, 40)).astype("f4"), np.eye(4))
        nib.save(image, folder / f"sub-01_task-see_run-{run}_bold.nii.gz")
        path = folder / f"sub-01_task-see_run-{run}_events.tsv"
        path.write_text("onset\tduration\ttrial_type\n" + "".join(rows))
    return tmp_path / "raw"


@pytest.fixture
def plan_raw(raw, tmp_path):
    def make(*words):
        settings, _ = parse_args([
            str(raw), str(tmp_path / "out"), "participant", "--from-scratch",
            "--skip-bids-validation", *map(str, words),
        ])
        return make_plan(settings, tmp_path / "work")

    return make


def test_contrasts_are_checked_before_computing(plan_raw):
    (found,) = problems(plan_raw, "--contrasts", "face - hous", "face - house")
    assert (found.code, "'hous' is no label" in found.why) == (64, True)
    (other,) = problems(plan_raw, "--contrasts", "face - hous", "--stage", "decode")
    assert "single-trial responses" in other.why


def test_without_trials_all_that_is_seen_without_them_is_told(plan_raw):
    found = problems(
        plan_raw, "--stimulus-column", "nope", "--output-spaces", "MNI99", "--tedana", "--regions",
        "/none.nii.gz", "Schafer2018", "/roi/{participant}.nii.gz", "--participant-label", "77",
    )
    assert [finding.what for finding in found] == [
        "stimulus column", "sub-01: --output-spaces MNI99", "--participant-label 77",
        "--output-spaces MNI99", "--tedana", "/none.nii.gz", "--regions Schafer2018",
    ]


def test_what_ends_the_reading_of_a_dataset_is_told_beside_other_problems(plan_raw):
    found = problems(plan_raw, "--region", "nowhere", "--bids-filter-file", "/none.json")
    assert [finding.what for finding in found][:1] == ["--region nowhere"] and len(found) == 2


def test_options_and_data_that_are_wrong_are_told_together(plan_raw, raw, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("a usable GPU is there")
    path = next(raw.rglob("*run-2_bold.nii.gz"))
    path.write_bytes(path.read_bytes()[:-100])
    found = problems(plan_raw, "--device", "cuda", "--features", tmp_path / "absent.tsv")
    assert {finding.what.split()[0] for finding in found} == {str(path), "--device", "--features"}


def test_unknown_names_of_a_settings_file_hide_nothing(plan_raw, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('[glm]\nhrf = "x"\nestimator = "y"\n[troi]\nselector = "z"\n'
                    '[network]\ndecoder = "v"\n')
    found = problems(plan_raw, "--config-file", file, "--region", "nowhere")
    assert len(found) == 5 and found[-1].what == "--region nowhere"


def test_a_run_that_was_cut_short_is_one_problem(plan_raw, raw):
    path = next(raw.rglob("*run-2_bold.nii.gz"))
    nib.save(nib.load(path).slicer[..., :20], path)
    (found,) = problems(plan_raw)
    assert "run-2: events outside of the recording" in found.what


def test_labels_in_one_run_are_one_problem(plan_raw, raw):
    for path in raw.rglob("*run-[234]_*"):
        path.unlink()
    (found,) = problems(plan_raw)
    assert found.what == "participant 01" and "there is one run" in found.why


def test_one_run_left_of_several_follows_from_events_that_cannot_be_read(plan_raw, raw):
    for path in raw.rglob("*run-[234]_events.tsv"):
        path.write_text("Onset\tduration\ttrial_type\n1\t1\tface\n")
    assert all("has no column onset" in found.why for found in problems(plan_raw))


def test_derivatives_in_the_place_of_the_dataset_are_recognised(plan_raw, raw):
    for path in raw.rglob("*_events.tsv"):
        path.unlink()
    write_json(raw / "dataset_description.json", {"Name": "x", "DatasetType": "derivative"})
    (found,) = problems(plan_raw)
    assert found.code == 66 and f"add -d fmriprep={raw}" in found.fix


def test_two_equal_signs_are_one(plan_raw):
    (found,) = problems(plan_raw, "--trial-filter", "trial_typ==face")
    assert (found.code, found.fix) == (64, "did you mean trial_type?")


def test_run_without_trials_is_not_planned(plan_raw, raw):
    next(raw.rglob("*run-2_events.tsv")).write_text("onset\tduration\ttrial_type\n")
    (person,) = plan_raw().study.people.values()
    assert list(person.trials) == [f"task-see_run-{run}" for run in "134"]


def test_own_tables_of_confounds_leave_preprocessing_as_it_is(plan_raw, raw, tmp_path):
    def keys():
        (person,) = plan_raw("--confounds", f"{tmp_path}/own").study.people.values()
        return person.preprocess.key, person.betas.key

    tables = []
    for image in sorted(raw.rglob("*_bold.nii.gz")):
        tables.append(tmp_path / "own" / image.name.replace("_bold.nii.gz", "_regressors.tsv"))
        values = np.random.default_rng(len(tables)).normal(size=nib.load(image).shape[3])
        tables[-1].parent.mkdir(exist_ok=True)
        pd.DataFrame({"breath": values}).to_csv(tables[-1], sep="\t", index=False)
    before = keys()
    pd.read_csv(tables[0], sep="\t").mul(2).to_csv(tables[0], sep="\t", index=False)
    after = keys()
    assert after[0] == before[0] and after[1] != before[1]


def test_paths_of_models():
    output = Path("out")
    assert pretrained_path(output, None).name == "desc-pretrained_model.safetensors"
    own = pretrained_path(output, "01")
    assert own.name == "label-without01_desc-pretrained_model.safetensors"
    assert own.parent == output / "group"


def test_swapped_folders_are_recognised(raw, tmp_path):
    settings, _ = parse_args([str(tmp_path / "out"), str(raw), "participant"])
    with pytest.raises(FindingsError) as found:
        make_plan(settings, tmp_path / "work")
    assert found.value.code == 64
    assert f"bids_decoder {raw} {tmp_path / 'out'} participant" in found.value.findings[-1].fix


def test_results_of_an_earlier_call_are_not_taken_for_the_dataset(raw, tmp_path):
    write_json(raw / "dataset_description.json", {"Name": "x", "DatasetType": "derivative"})
    settings, _ = parse_args([str(tmp_path / "out"), str(raw), "participant"])
    with pytest.raises(FindingsError, match="there is no such folder") as found:
        make_plan(settings, tmp_path / "work")
    assert found.value.code == 66


def test_nearest_templates_are_named(plan_raw, tmp_path, monkeypatch):
    (tmp_path / "templates" / "tpl-MNI152NLin2009cAsym").mkdir(parents=True)
    monkeypatch.setattr("templateflow.conf.TF_HOME", tmp_path / "templates")
    found = problems(plan_raw, "--output-spaces", "MNI152NLin2009")
    assert any("did you mean MNI152NLin2009cAsym?" in finding.fix for finding in found)


def test_unknown_participants_are_named_with_their_option(plan):
    (found,) = problems(plan, "group", "participant", "--holdout-label", "99")
    assert (found.what, found.code) == ("--holdout-label 99", 18)
    (found,) = problems(plan, "participant", "--participant-label", "99")
    assert (found.what, found.code) == ("--participant-label 99", 18)


def test_contrasts_of_beta_series_are_refused(plan):
    (found,) = problems(plan, "participant", "--from-scratch", "--contrasts", "a - b")
    assert found.what == "--contrasts 'a - b'" and "beta series" in found.why and found.code == 64


def test_a_file_that_stops_a_check_hides_no_other_problem(plan, monkeypatch):
    def fail(study, notes):
        raise InputError("bold.nii.gz", "its content is not here", "fetch it")

    monkeypatch.setattr("bids_decoder.analyses.decode.plan.check_decoder", fail)
    found = problems(plan, "participant", "--from-scratch", "--contrasts", "a - b",
                     "--rsa", "label")
    assert {"--contrasts 'a - b'", "bold.nii.gz", "--rsa label"} <= {f.what for f in found}


def test_pictures_that_are_absent_are_the_only_problem(plan):
    """That no trial is left to split and to learn from follows from it."""
    with pytest.raises(FindingsError) as caught:
        plan("participant", "--target", "image", "--from-scratch")
    found = [f for f in caught.value.findings if f.severity == "error"]
    assert len(found) == 1 and "stimulus image(s) absent" in found[0].what
    assert "--target category" in found[0].fix
