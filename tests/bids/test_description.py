import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bidsschematools.schema import load_schema

from bids_decoder import __version__
from bids_decoder.analyses.registry import all_descriptions
from bids_decoder.bids import description
from bids_decoder.bids.description import DESCRIPTIONS, check_folder, write_dataset_files
from bids_decoder.bids.names import NAMES, derivative_path, sidecar_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import ExitCode, FindingsError
from bids_decoder.files import write_json, write_text

VALIDATOR = shutil.which("bids-validator-deno", path=Path(sys.executable).parent)
FILES = {"dataset_description.json", "descriptions.tsv", "descriptions.json", ".bidsignore",
         "README.md"}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_results_of_another_dataset_are_said(toy, tmp_path):
    def name(text):
        toy.json("dataset_description.json", {"BIDSVersion": "1.10.0", **text})
        return toy.dataset()

    write_dataset_files(tmp_path, name({"Name": "another study"}), {})
    # The name of a folder is none of the dataset.
    assert check_folder(tmp_path, name({})) == []
    dataset = name({"Name": "toy"})
    (found,) = check_folder(tmp_path, dataset)
    assert found.severity == "warning" and "another study" in found.why
    write_dataset_files(tmp_path, dataset, {})
    title = json.loads((tmp_path / "dataset_description.json").read_text())["Name"]
    assert title == "bids_decoder: toy"
    assert check_folder(tmp_path, dataset) == []


def test_files_are_written_once_with_the_same_bytes(toy, tmp_path):
    dataset = toy.dataset()
    assert check_folder(tmp_path / "a", dataset) == []
    write_dataset_files(tmp_path / "a", dataset, {})
    write_dataset_files(tmp_path / "b", dataset, {})
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert set(content(tmp_path / "a")) == FILES
    (tmp_path / "a/README.md").write_text("mine")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").iterdir()}
    write_dataset_files(tmp_path / "a", dataset, {})
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").iterdir()} == before


def test_description_says_where_all_comes_from(toy, tmp_path):
    toy.json("dataset_description.json", {
        "Name": "toy", "BIDSVersion": "1.10.0", "License": "CC0", "DatasetDOI": "https://doi.org/10.1/x",
    })
    (tmp_path / "fp").mkdir()
    toy.json("../fp/dataset_description.json", {})
    dataset = toy.dataset(execution={"derivatives": {"fmriprep": tmp_path / "fp"}})
    write_dataset_files(tmp_path / "out", dataset, {"BIDS_DECODER_DOCKER_TAG": "lab/x:1"})
    found = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert found["GeneratedBy"][0]["Version"] == __version__
    assert found["GeneratedBy"][0]["Container"] == {"Type": "docker", "Tag": "lab/x:1"}
    assert found["BIDSVersion"].split(".")[:2] == load_schema().bids_version.split(".")[:2]
    assert found["License"] == "CC0" and found["SourceDatasets"] == [{"DOI": "https://doi.org/10.1/x"}]
    assert found["DatasetLinks"] == {
        "raw": "doi:10.1/x", "fmriprep": (tmp_path / "fp").as_uri(),
    }


def test_container_has_its_digest():
    digest = "lab/x@sha256:ab"
    assert description.container_of({}) == {}
    assert description.container_of({"APPTAINER_NAME": "x.sif", "BIDS_DECODER_IMAGE": digest}) == {
        "Type": "apptainer", "Tag": "x.sif", "URI": f"docker://{digest}",
    }
    assert description.container_of({
        "BIDS_DECODER_DOCKER_TAG": "x:1", "BIDS_DECODER_IMAGE": "oras://lab/x",
    }) == {"Type": "docker", "Tag": "x:1", "URI": "oras://lab/x"}


def test_nested_output_links_are_relative(toy):
    dataset = toy.dataset()
    place = toy.root / "derivatives" / "bids_decoder"
    assert check_folder(place, dataset) == []
    write_dataset_files(place, dataset, {})
    found = json.loads((place / "dataset_description.json").read_text())
    assert found["DatasetLinks"] == {"raw": "../.."} and "License" not in found
    other = toy.root / "derivatives" / "other"
    (finding,) = check_folder(other, dataset)
    assert finding.severity == "warning"
    write_dataset_files(other, dataset, {})
    # What the user adds stays, also in a folder with this name.
    write_json(other / "dataset_description.json", {
        **json.loads((other / "dataset_description.json").read_text()), "Authors": ["me"],
    })
    write_dataset_files(other, dataset, {})
    assert "Authors" in json.loads((other / "dataset_description.json").read_text())


def test_another_version_is_said_and_overwritten(toy, tmp_path, monkeypatch):
    write_dataset_files(tmp_path / "out", toy.dataset(), {})
    monkeypatch.setattr(description, "__version__", "99.0")
    (finding,) = check_folder(tmp_path / "out", toy.dataset())
    assert finding.severity == "warning" and __version__ in finding.why and "99.0" in finding.why
    write_dataset_files(tmp_path / "out", toy.dataset(), {})
    assert check_folder(tmp_path / "out", toy.dataset()) == []


def test_folder_of_another_program_is_left_alone(toy, tmp_path):
    place = tmp_path / "fp"
    write_json(place / "dataset_description.json", {"GeneratedBy": [{"Name": "fMRIPrep"}]})
    before = content(place)
    with pytest.raises(FindingsError, match="made by fMRIPrep") as caught:
        write_dataset_files(place, toy.dataset(), {})
    assert caught.value.code == ExitCode.CANNOT_CREATE
    assert content(place) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"GeneratedBy": []}'])
def test_damaged_description_is_written_anew(toy, tmp_path, text):
    write_text(tmp_path / "dataset_description.json", text)
    write_dataset_files(tmp_path, toy.dataset(), {})
    assert json.loads((tmp_path / "dataset_description.json").read_text())["Name"]


def test_links_are_replaced_not_followed(toy, tmp_path):
    (tmp_path / "out").mkdir()
    target = tmp_path / "precious.json"
    for name in FILES:
        (tmp_path / "out" / name).symlink_to(target)
    target.write_text("{}")
    write_dataset_files(tmp_path / "out", toy.dataset(), {})
    assert target.read_text() == "{}"
    assert not (tmp_path / "out/dataset_description.json").is_symlink()
    target.unlink()
    write_dataset_files(tmp_path / "out", toy.dataset(), {})
    assert not target.exists() and not (tmp_path / "out/README.md").is_symlink()


def test_all_desc_labels_are_described():
    used = {name.entities["desc"] for name in NAMES.values() if "desc" in name.entities}
    assert used <= {*DESCRIPTIONS, *all_descriptions()}


def write_one_of_each(out):
    special = {"anat_xfm": {"from_": "T1w", "to": "MNI152NLin2009cAsym"},
               "bold_xfm": {"from_": "boldref", "to": "T1w"}, "probseg": {"label": "GM"},
               "statmap": {"stat": "reliability"}, "midthickness": {"hemi": "L"},
               "fieldmap": {"fmapid": "pair"}, "fieldmap_reference": {"fmapid": "pair"}}
    for key, name in NAMES.items():
        entities = dict(special.get(key, {}))
        if name.folder != "group":
            entities["sub"] = "01"
        if name.folder == "func":
            entities |= {"task": "see", "run": "1"}
        path = derivative_path(out, key, **entities)
        if name.extension == ".nii.gz":
            shape = (3, 3, 3, 4) if name.suffix in ("bold", "betaseries") else (3, 3, 3)
            save_nifti(path, np.zeros(shape), np.eye(4), t_r=2.0 if len(shape) == 4 else None,
                       metadata={"SkullStripped": False, "RepetitionTime": 2.0, "TaskName": "see"})
        elif name.extension == ".tsv":
            save_table(path, pd.DataFrame({"trial": [1]}), {"trial": {"Description": "x"}})
        else:
            write_text(path, "x")
            write_json(sidecar_path(path), {})
    for name in ("sub-01.html", "group.html", "plan.json", "prov/prov-1_act.json",
                 "logs/CITATION.md", "logs/done/a.json",
                 "sub-01/func/sub-01_task-see_hemi-L_space-fsnative_label-TROI_mask.func.gii",
                 "sub-01/figures/sub-01_task-see.svg",
                 "sub-01/func/sub-01_task-see_desc-reconstruction/1.png"):
        write_text(out / name, "{}")


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
def test_validator_accepts_one_output_of_each_kind(toy, tmp_path):
    out = tmp_path / "out"
    write_one_of_each(out)
    write_dataset_files(out, toy.dataset(), {})
    done = subprocess.run([VALIDATOR, out, "--format", "json"], capture_output=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [i for i in issues if i["severity"] == "error"] == []
