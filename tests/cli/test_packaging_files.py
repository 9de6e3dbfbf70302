"""Files for package indexes, archives and platforms: held to setup.cfg and the command line."""

import configparser
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bids_decoder import __version__
from bids_decoder.cli.parser import parse_args

ROOT = Path(__file__).parents[2]
PYTHONS = ["3.11", "3.12", "3.13"]
CONDA = {"MarkupSafe": "markupsafe", "Pillow": "pillow", "PyYAML": "pyyaml", "torch": "pytorch",
         "SimpleITK": "simpleitk", "matplotlib": "matplotlib-base"}


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def setup():
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg")
    return parsed


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load(text_of("CITATION.cff"))


def requirements(setup):
    return setup["options"]["install_requires"].split("\n")[1:]


def recipe():
    text = text_of("packaging/conda/meta.yaml")
    assert re.search(r'version = "(.*)"', text)[1] == __version__
    text = re.sub(r"{%.*%}", "", text).replace("{{ version }}", __version__)
    return yaml.safe_load(text.replace("{{ PYTHON }}", "python"))


def test_metadata_agree(setup, citation):
    codemeta = json.loads(text_of("packaging/codemeta.json"))
    zenodo = json.loads(text_of("packaging/zenodo.json"))
    authors = [author["name"] for author in citation["authors"]]
    assert setup["metadata"]["author"] in authors
    assert [author["name"] for author in codemeta["author"]] == authors
    assert [creator["name"] for creator in zenodo["creators"]] == authors
    assert zenodo["title"] == citation["title"]
    assert codemeta["keywords"] == zenodo["keywords"] == citation["keywords"]
    assert codemeta["version"] == zenodo["version"] == citation["version"] == __version__
    assert zenodo["license"] == citation["license"] == setup["metadata"]["license"]
    assert codemeta["license"].endswith(f"/{citation['license']}")
    assert codemeta["softwareRequirements"] == requirements(setup)


def test_recipe_of_conda_has_the_same_requirements(setup):
    found = recipe()
    expected = {}
    for line in requirements(setup):
        name, _, versions = line.partition(" ")
        expected[CONDA.get(name, name.lower())] = versions.replace(" ", "")
    run = dict(line.partition(" ")[::2] for line in found["requirements"]["run"])
    assert run.pop("python") == setup["options"]["python_requires"].replace(" ", "")
    assert run == expected
    start = setup["options.entry_points"]["console_scripts"].strip()
    assert found["build"]["entry_points"] == [start]
    assert found["about"]["summary"] == setup["metadata"]["description"]


def test_everything_names_the_same_pythons(setup):
    classifiers = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert classifiers == PYTHONS
    jobs = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]
    assert jobs["demo"]["strategy"]["matrix"]["python"] == PYTHONS
    assert f"versions=({' '.join(PYTHONS)})" in text_of("scripts/pythons.sh")
    codemeta = json.loads(text_of("packaging/codemeta.json"))
    assert codemeta["runtimePlatform"] == [f"Python {version}" for version in PYTHONS]
    assert ", ".join(PYTHONS[:-1]) + f" or {PYTHONS[-1]}" in text_of("README.md")


def test_scripts_that_ci_runs_exist():
    for job in yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"].values():
        for step in job["steps"]:
            for script in re.findall(r"scripts/\S+\.sh", step.get("run", "")):
                assert (ROOT / script).is_file(), script


def test_pythons_that_are_absent_are_said(tmp_path):
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "pythons.sh", "9.9"], capture_output=True, text=True,
        check=False, env={**os.environ, "FOLDER": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "python9.9: not found, skipped" in done.stdout and "none of these" in done.stderr


def test_call_that_babs_makes_is_understood():
    config = yaml.safe_load(text_of("packaging/babs.yaml"))
    words = ["/inputs/data/BIDS", "/outputs/bids_decoder", "participant"]
    for flag, value in config["bids_app_args"].items():
        if flag == "$SUBJECT_SELECTION_FLAG":
            words += [value, "sub-01"]
        else:
            words += [flag, *value.replace("$BABS_TMPDIR", "/scratch").split()]
    settings, actions = parse_args(words)
    assert settings.execution.participant_label == ("01",)
    assert settings.execution.from_scratch and actions.log_format == "json"
    assert settings.resources.nprocs == 4 and settings.resources.mem_gb == 16
    cluster = config["cluster_resources"]["customized_text"]
    assert f"--cpus-per-task={settings.resources.nprocs}" in cluster
    assert list(config["zip_foldernames"]) == ["bids_decoder"]
    assert config["zip_foldernames"]["bids_decoder"] == __version__.replace(".", "-")


def test_messages_that_babs_looks_for_are_in_the_program():
    texts = "".join(path.read_text(encoding="utf-8")
                    for path in (ROOT / "bids_decoder").rglob("*.py"))
    config = yaml.safe_load(text_of("packaging/babs.yaml"))
    for message in config["alert_log_messages"]["stderr"]:
        assert message in texts
