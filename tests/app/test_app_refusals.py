"""Exit codes, and what a person reads when something is wrong."""

import gzip
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from app_calls import betas_options, derivatives, digest, tree

from bids_decoder.bids.writer import read_table, save_nifti, save_table

NOT_COMPUTED = "stop this run; nothing was computed"


def well_shaped(text, *, several=True):
    """Check what, why and fix of every problem; give the text without line numbers."""
    body = text[text.index("bids_decoder: "):]
    assert "Traceback" not in body
    if several:
        assert NOT_COMPUTED in body
    problems = re.findall(r"^(?:\[\d+\]|bids_decoder:) .+\n    why: .+\n    fix: .+", body,
                          re.MULTILINE)
    count = re.search(r"(\d+) problem\(s\)", body)
    assert len(problems) == (int(count[1]) if count else 1), body
    return body


@pytest.fixture
def on_betas(main, betas, tmp_path):
    def run(*words, output=tmp_path / "out", data=betas.folder):
        return main(data, output, *words, *betas_options(data), "--device", "cpu", "--nprocs", 1)

    return run


@pytest.mark.parametrize(("words", "code", "what", "fix"), [
    (["participant", "--participant-label", "77"], 18, "--participant-label 77",
     "use one of: 01, 02, 03"),
    (["group", "--holdout-label", "77"], 18, "77", "use one of"),
    (["group", "--holdout-label", "01", "02", "03"], 18, "group", "hold out fewer participants"),
    (["analysis"], 17, "analysis level 'analysis'", "give one of: participant, group"),
    (["participant", "--particpant-label", "01"], 64, "--particpant-label",
     "did you mean --participant-label?"),
    (["participant", "--nprocs", "none"], 64, "--nprocs", "whole number"),
    (["participant", "--stage", "pretrain"], 64, "--stage pretrain", "level group"),
    (["participant", "--from-scratch", "--pretrained", "x"], 64, "--pretrained", "only one"),
    (["participant", "--pretrained", "/nowhere/m.safetensors"], 66, "m.safetensors", "model"),
    (["participant", "--pretrained", "/nowhere/m.pkl"], 66, "m.pkl", "safetensors"),
    (["participant", "--task-id", "rest"], 18, "the dataset has task: pictures", ""),
])
def test_wrong_options(on_betas, tmp_path, words, code, what, fix):
    done = on_betas(*words)
    assert done.code == code, done.text
    text = well_shaped(done.text, several=NOT_COMPUTED in done.text)
    assert what in text
    assert fix in text.split("fix: ")[-1]
    assert not (tmp_path / "out").exists()


def test_places(on_betas, main, betas, tmp_path):
    inside = on_betas("participant", output=betas.folder / "out")
    assert inside.code == 64
    assert "never written to" in well_shaped(inside.text)
    (tmp_path / "file").write_text("no folder")
    blocked = on_betas("participant", output=tmp_path / "file" / "out")
    assert blocked.code == 73
    assert "it is no folder" in well_shaped(blocked.text)
    absent = main(tmp_path / "nothing", tmp_path / "out", "participant", "--from-scratch")
    assert absent.code == 66
    assert "there is no such folder" in well_shaped(absent.text, several=False)
    assert tree(betas.folder) == betas.digests
    assert not (tmp_path / "out").exists()


def test_folder_of_another_program_is_left_alone(on_betas, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    description = {"Name": "x", "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    (output / "dataset_description.json").write_text(json.dumps(description))
    done = on_betas("participant", "--from-scratch")
    assert done.code == 73
    assert "it was made by fMRIPrep" in well_shaped(done.text)
    assert [path.name for path in output.iterdir()] == ["dataset_description.json"]


def test_cuda_without_gpu(main, betas, tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a usable GPU is there")
    done = main(betas.folder, tmp_path / "out", "participant", "-d", f"betas={betas.folder}",
                "--from-scratch", "--features", betas.folder / "features.tsv", "--device", "cuda")
    assert done.code == 64
    text = well_shaped(done.text, several=False)
    assert "--device cuda" in text
    assert "docker run --gpus all" in text
    assert "--device cpu" in text
    assert not (tmp_path / "out").exists()


@pytest.fixture
def pretrained(betas_run, tmp_path):
    """A model that saw sub-01 and sub-02, and results of nobody."""
    return betas_run.output / "group" / "desc-pretrained_model.safetensors"


def test_model_that_saw_the_person_is_refused(on_betas, pretrained, tmp_path):
    done = on_betas("participant", "--participant-label", "01", "03", "--pretrained", pretrained)
    assert done.code == 65
    text = well_shaped(done.text)
    assert "sub-01 with model" in text
    assert "sub-03 with model" not in text
    assert "it was pretrained on sub-01" in text
    assert "--allow-seen" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_model_that_saw_the_person_is_marked_when_allowed(on_betas, pretrained, tmp_path):
    done = on_betas("participant", "--participant-label", "01", "--pretrained", pretrained,
                    "--allow-seen")
    assert done.code == 0
    assert "it was pretrained on sub-01" in done.text
    folder = tmp_path / "out" / "sub-01"
    cards = [*folder.glob("model/*.json"), *folder.glob("func/*desc-decoder_metrics.json"),
             *folder.glob("func/*desc-decoder_predictions.json"),
             *folder.glob("func/*label-TROI_mask.json")]
    assert len(cards) == 4
    assert all(json.loads(path.read_text())["seen_in_pretraining"] is True for path in cards)
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert any("pretrained on sub-01" in warning["why"] for warning in plan["warnings"])
    page = (tmp_path / "out" / "sub-01.html").read_text()
    assert re.search(r"(saw|seen in|was pretrained on) (this|sub-01|pretraining)", page)


def test_model_of_the_group_that_saw_everybody_is_refused(on_betas, betas_run, tmp_path):
    output = betas_run.copy(tmp_path / "out")
    done = on_betas("participant", output=output)
    assert done.code == 65
    text = well_shaped(done.text)
    assert "it was pretrained on sub-01" in text
    assert "it was pretrained on sub-02" in text
    assert "sub-03" not in text


@pytest.mark.slow
def test_model_that_saw_test_stimuli_is_refused(on_betas, betas, main, tmp_path):
    """Pretrain under one split, decode under another in which its stimuli are tested."""
    group = on_betas("group", "--holdout-label", "03", "--test-runs", "4")
    assert group.code == 0, group.text
    done = on_betas("participant", "--participant-label", "03")
    assert done.code == 65
    assert re.search(r"it saw \d+ of the test stimuli", well_shaped(done.text))
    allowed = on_betas("participant", "--participant-label", "03", "--allow-seen")
    assert allowed.code == 0
    (card,) = (tmp_path / "out" / "sub-03" / "model").glob("*.json")
    assert json.loads(card.read_text())["test_stimuli_seen"] > 0
    page = (tmp_path / "out" / "sub-03.html").read_text()
    assert "test stimuli seen in pretraining" in page


def test_model_of_other_targets_is_refused_before_computing(category_run, pretrained, main,
                                                            tmp_path):
    data = category_run.data
    done = main(data.folder, tmp_path / "out", "participant", "--pretrained", pretrained,
                "--device", "cpu")
    assert done.code == 65
    assert "its target is 'features', here it is 'category'" in well_shaped(done.text)


@pytest.mark.parametrize("content", ["{", "{}", '{"participants": []}'])
def test_damaged_model_card(on_betas, pretrained, tmp_path, content):
    copy = tmp_path / "model" / pretrained.name
    copy.parent.mkdir()
    shutil.copy(pretrained, copy)
    copy.with_suffix(".json").write_text(content)
    done = on_betas("participant", "--participant-label", "03", "--pretrained", copy)
    assert done.code == 65
    assert "card of model" in well_shaped(done.text, several=False)


def test_damaged_model_is_refused_with_its_reason(on_betas, pretrained, tmp_path):
    copy = tmp_path / "model" / pretrained.name
    shutil.copytree(pretrained.parent, copy.parent)
    copy.write_bytes(copy.read_bytes()[:-4] + b"\0\1\2\3")
    done = on_betas("participant", "--participant-label", "03", "--pretrained", copy)
    assert done.code == 65
    assert "its SHA256 differs from the one in its card" in well_shaped(done.text)


def test_without_model_the_person_is_decoded_from_scratch(on_betas, tmp_path):
    done = on_betas("participant", "--participant-label", "01")
    assert done.code == 0, done.text
    assert "decoding: from scratch: 01 (no pretrained model is in the output folder" in done.text
    output = tmp_path / "out"
    assert list(output.glob("sub-01/func/*_desc-decoder_metrics.tsv"))
    page = (output / "sub-01.html").read_text()
    assert "trained from scratch on this participant" in page
    assert "no pretrained model is in the output folder" in page
    citation = (output / "logs" / "CITATION.md").read_text()
    assert "since there was no pretrained model" in citation
    done = on_betas("participant", "--participant-label", "01", "--pretrained", "required")
    assert done.code == 66 and "--pretrained required" in done.text


def test_corrupt_image_is_found_before_computing(categories, main, tmp_path):
    data = shutil.copytree(categories.folder, tmp_path / "data")
    broken = [next(data.glob(f"sub-01/func/*run-{n}_bold.nii.gz")) for n in (1, 3)]
    cut = broken[0].read_bytes()
    broken[0].write_bytes(cut[:len(cut) // 2])
    middle = bytearray(broken[1].read_bytes())
    middle[len(middle) // 2] ^= 0xFF
    broken[1].write_bytes(bytes(middle))
    done = main(data, tmp_path / "out", "participant", *categories.options)
    assert done.code == 65
    text = well_shaped(done.text)
    assert all(path.name in text for path in broken)
    assert not (tmp_path / "out").exists()


def test_several_problems_are_told_at_once(categories, main, tmp_path):
    data = shutil.copytree(categories.folder, tmp_path / "data")
    sidecar = next(data.glob("sub-01/func/*run-2_bold.json"))
    sidecar.write_text(json.dumps({"TaskName": "categories", "RepetitionTime": "2 seconds"}))
    path = next(data.glob("sub-01/func/*run-3_bold.nii.gz"))
    with gzip.open(path) as stream:
        content = stream.read()
    path.write_bytes(gzip.compress(content)[:-100])
    done = main(data, tmp_path / "out", "participant", *categories.options)
    text = well_shaped(done.text)
    assert done.code == 65
    assert "run-3" in text
    assert "the sidecar says '2 seconds'" in text


@pytest.mark.parametrize(("words", "code", "what"), [
    (["--hrf", "foo"], 64, "--hrf"),
    (["--nosuch", "1"], 64, "--nosuch 1"),
    (["--pretrained", "x"], 64, "--pretrained and --from-scratch"),
    (["-w", "DATA/work"], 64, "work folder"),
    (["--stimuli-dir", "/nowhere", "--target", "category"], 66, "--stimuli-dir"),
])
def test_wrong_options_and_folders_hide_no_problem_of_the_data(
    categories, main, tmp_path, words, code, what
):
    data = shutil.copytree(categories.folder, tmp_path / "data")
    before = tree(data)
    path = next(data.glob("sub-01/func/*run-3_bold.nii.gz"))
    path.write_bytes(path.read_bytes()[:-100])
    before[str(path.relative_to(data))] = digest(path)
    words = [word.replace("DATA", str(data)) for word in words]
    done = main(data, tmp_path / "out", "participant", *categories.options, *words)
    assert done.code == code
    assert what in done.text
    assert ("Ctrl+C ends this" in done.text) == (code == 64)
    assert f"{path}\n    why: damaged or truncated" in done.text
    assert len(re.findall(r"^    fix: ", done.text, re.MULTILINE)) == 2
    assert tree(data) == before
    assert not (tmp_path / "out").exists()


def test_wrong_options_alone_are_told_alone(categories, main, tmp_path):
    done = main(categories.folder, tmp_path / "out", "participant", *categories.options,
                "--hrf", "foo")
    assert done.code == 64
    assert "seen without these options" not in done.text
    assert "--hrf" in well_shaped(done.text, several=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", [[], ["--target", "image"]])
def test_absent_folder_of_stimuli_is_one_problem(images, main, tmp_path, target):
    done = main(images.folder, tmp_path / "out", "participant", *images.options,
                "--stimuli-dir", "/nowhere", *target)
    assert done.code == 66
    assert "1 problem(s)" in well_shaped(done.text)
    assert "--stimuli-dir /nowhere\n    why: there is no such folder" in done.text


@pytest.mark.slow
def test_one_participant_that_fails_does_not_stop_the_others(betas, main, tmp_path):
    """Voxels that are finite in one run only leave nothing common: found when runs are joined."""
    data = shutil.copytree(betas.folder, tmp_path / "data")
    shutil.rmtree(data / "sub-03")
    for path in sorted(data.glob("sub-01/func/*_betaseries.nii.gz")):
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        half = values.shape[0] // 2
        values[half:] = np.nan
        if "run-1" in path.name:
            values = values[::-1]
        save_nifti(path, values, image.affine)
    words = [data, tmp_path / "out", "participant", *betas_options(data), "--device",
             "cpu", "--nprocs", 1, "--from-scratch"]
    done = main(*words)
    assert done.code == 1, done.text
    assert "no voxel is finite and varies over trials" in done.text
    assert "failed: " in done.text
    assert "Traceback" not in done.text
    output = tmp_path / "out"
    assert {path.name for path in (output / "logs" / "done").glob("*_decode.json")} == {
        "sub-02_decode.json",
    }
    assert "sub-02: top1" in done.text
    assert "sub-01: top1" not in done.text
    assert list(output.glob("logs/*/crash-*.txt"))
    page = (output / "sub-01.html").read_text()
    assert "no voxel is finite and varies over trials" in page
    again = main(*words)
    assert again.code == 1
    assert set(again.todo()) == {
        ("sub-01", "decode"), ("sub-01", "controls"), ("group", "population"),
    }


@pytest.mark.slow
def test_stop_on_first_crash(betas, main, tmp_path):
    data = shutil.copytree(betas.folder, tmp_path / "data")
    for path in data.glob("sub-01/func/*_betaseries.nii.gz"):
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        half = values.shape[0] // 2
        values[half:] = np.nan
        if "run-1" in path.name:
            values = values[::-1]
        save_nifti(path, values, image.affine)
    done = main(data, tmp_path / "out", "participant", *betas_options(data), "--device", "cpu",
                "--nprocs", 1, "--from-scratch", "--stop-on-first-crash")
    assert done.code == 1
    assert "no voxel is finite and varies over trials" in done.text
    assert not list((tmp_path / "out").rglob("*desc-decoder_metrics.tsv"))


def test_features_that_lack_stimuli(betas, main, tmp_path):
    table = read_table(betas.folder / "features.tsv")
    save_table(tmp_path / "features.tsv", table.iloc[5:])
    done = main(betas.folder, tmp_path / "out", "participant", "-d", f"betas={betas.folder}",
                "--features", tmp_path / "features.tsv", "--from-scratch", "--nprocs", 1,
                "--device", "cpu")
    assert done.code == 66
    assert table["stimulus"].iloc[0] in well_shaped(done.text)
    assert not (tmp_path / "out").exists()


def test_results_stay_when_a_call_is_refused(on_betas, betas_run, tmp_path):
    output = betas_run.copy(tmp_path / "out")
    assert on_betas("participant").code == 65
    assert derivatives(output) == derivatives(betas_run.output)
    assert tree(output) == tree(betas_run.output)
