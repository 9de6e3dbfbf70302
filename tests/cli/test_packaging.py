"""What is said twice must be said alike: versions, options, exit codes, locks."""

import json
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bids_decoder import __version__
from bids_decoder.analyses.registry import section_kinds
from bids_decoder.cli.parser import build_parser
from bids_decoder.config import default_settings
from bids_decoder.errors import ExitCode

ROOT = Path(__file__).parents[2]
DESCRIPTOR = json.loads(
    (ROOT / "boilerplate" / "bids_decoder.boutiques.json").read_text(encoding="utf-8")
)
NOT_IN_DESCRIPTOR = {"--help", "--version", "--demo"}


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def locked(name):
    lines = text_of(name).replace(" \\\n", " ").splitlines()
    lines = [line.split()[0] for line in lines if line and not line.startswith("#")]
    return {key.lower().replace("_", "-"): value for key, value in
            (line.split("==") for line in lines)}


@pytest.mark.parametrize(("name", "pattern"), [
    ("Dockerfile", r"^ARG VERSION=(\S+)$"),
    ("singularity.def", r"image\.version (\S+)$"),
    ("singularity.def", r"label-schema\.version (\S+)$"),
    ("CITATION.cff", r"^version: (\S+)$"),
    ("CHANGES.md", r"^## (\S+)"),
    ("boilerplate/bids_decoder.boutiques.json", r'"tool-version": "(\S+)"'),
])
def test_every_file_gives_the_same_version(name, pattern):
    assert re.findall(pattern, text_of(name), re.MULTILINE)[:1] == [__version__]


def test_messages_name_options_that_exist():
    of_others = {
        "--user", "--memory", "--gpus", "--nv", "--mem", "--index-url", "--format", "--level",
    }
    known = {word for action in build_parser()._actions for word in action.option_strings}
    named = {
        (path.name, word) for path in (ROOT / "bids_decoder").rglob("*.py")
        for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", path.read_text(encoding="utf-8"))
        if path.name != "parser.py"
    }
    assert {pair for pair in named if pair[1] not in known | of_others} == set()


def test_recipes_set_the_same_environment():
    names = r"\b([A-Z][A-Z_]+)=(\S+)"
    blocks = text_of("Dockerfile").split("ENV ")
    block = next(block for block in blocks if "HF_HUB_OFFLINE" in block)
    docker = dict(re.findall(names, block.split("ARG")[0]))
    definition = text_of("singularity.def").split("%environment")[1].split("%runscript")[0]
    assert docker == dict(re.findall(names, definition))


def test_recipes_start_the_same_program():
    start = '["/opt/bids_decoder/bin/python", "-I", "-m", "bids_decoder"]'
    assert f"ENTRYPOINT {start}\n" in text_of("Dockerfile")
    assert f"exec {' '.join(json.loads(start))} \"$@\"\n" in text_of("singularity.def")


def test_descriptor_has_every_option_and_no_other():
    actions = build_parser()._actions
    first = {
        next(flag for flag in action.option_strings if flag.startswith("--"))
        for action in actions if action.option_strings
    }
    described = {
        entry["command-line-flag"] for entry in DESCRIPTOR["inputs"]
        if "command-line-flag" in entry
    }
    assert described == first - NOT_IN_DESCRIPTOR


def test_descriptor_allows_the_same_words():
    by_flag = {
        flag: action for action in build_parser()._actions for flag in action.option_strings
    }
    for entry in DESCRIPTOR["inputs"]:
        action = by_flag.get(entry.get("command-line-flag"))
        if action is None:
            continue
        assert entry.get("value-choices") == (list(action.choices) if action.choices else None)
        assert entry.get("list", False) == (action.nargs == "+")
        assert (entry["type"] == "Flag") == (action.nargs == 0)


def test_descriptor_passes_its_own_checker():
    program = shutil.which("bosh")
    if program is None:
        pytest.skip("bosh (pip install boutiques) is not installed")
    path = ROOT / "boilerplate" / "bids_decoder.boutiques.json"
    subprocess.run([program, "validate", path], check=True)


def test_descriptor_lists_every_exit_code():
    codes = {entry["code"] for entry in DESCRIPTOR["error-codes"]}
    assert codes == {int(code) for code in ExitCode} - {0}


@pytest.mark.parametrize("name", ["README.md", "docs/usage.md"])
def test_documents_list_every_exit_code(name):
    for code in ExitCode:
        assert f"| {int(code)} |" in text_of(name)


def test_usage_lists_every_setting_with_its_default():
    text = text_of("docs/usage.md")
    block = tomllib.loads(text.split("```toml")[1].split("```")[0])
    expected = default_settings(section_kinds()).to_dict()
    del expected["execution"]["bids_dir"], expected["execution"]["output_dir"]
    assert block == expected


def test_lock_has_every_direct_requirement_in_the_version_installed():
    lock = locked("requirements.lock")
    for line in requires("bids_decoder"):
        requirement = Requirement(line)
        if requirement.marker is None:
            pinned = lock[requirement.name.lower()]
            assert requirement.specifier.contains(pinned), requirement


def test_image_is_built_from_the_same_versions_with_hashes():
    """After a change of requirements.lock: python scripts/lock_hashes.py."""
    name = "requirements.hashes.lock"
    wanted = locked("requirements.lock")
    del wanted["torch"]
    assert locked(name) == wanted
    entries = [line for line in text_of(name).replace("\\\n", "").splitlines() if "==" in line]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_what_the_image_needs_is_sent_to_the_build():
    """The .dockerignore names what is sent; the definition file names its files itself."""
    copied = set()
    for line in text_of("Dockerfile").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= set(line.split()[1:-1])
    allowed = {line[1:] for line in text_of(".dockerignore").splitlines() if line[:1] == "!"}
    assert copied == allowed
    files = text_of("singularity.def").split("%files")[1].split("%post")[0]
    assert {line.split()[0] for line in files.splitlines() if line.strip()} == copied


def test_locks_do_not_contradict_each_other():
    assert not locked("requirements.lock").keys() & locked("requirements-test.lock").keys()
