"""What is said twice must be said alike: versions, options, exit codes, locks."""

import json
import re
import shutil
import subprocess
import tomllib
from argparse import ArgumentParser
from importlib.machinery import SourceFileLoader
from importlib.metadata import requires
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bids_decoder import __version__
from bids_decoder.analyses.registry import section_kinds
from bids_decoder.cli.parser import build_parser
from bids_decoder.config import default_settings
from bids_decoder.options import option

ROOT = Path(__file__).parents[2]


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
        "--use-aroma", "--cifti-output",
    }
    known = {word for action in build_parser()._actions for word in action.option_strings}
    named = {
        (path.name, word) for path in (ROOT / "bids_decoder").rglob("*.py")
        for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", path.read_text(encoding="utf-8"))
        if path.name not in ("parser.py", "collecting_parser.py")
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


@pytest.fixture(scope="module")
def generator():
    loader = SourceFileLoader("generate_docs", str(ROOT / "scripts" / "generate_docs.py"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_documents_and_descriptors_repeat_the_command_line(generator):
    """After a change of options or exit codes: python scripts/generate_docs.py."""
    assert [path.name for path in generator.outdated()] == []


def test_table_of_options_follows_the_help_text(generator):
    parser = ArgumentParser()
    option(parser, "-x", "--extra", dest="extra", default="`b`", help="either `a` or `b|c`")
    table = generator.option_table(generator.options(parser)[1:])
    assert table.splitlines()[2:] == [
        r"| `-x`, `--extra` | Either `a` or `b\|c`. Default: `b`. |"
    ]


def test_new_group_gets_a_chapter_and_a_stale_one_is_refused(generator):
    text = text_of("docs/usage.md")
    start = text.index("\n## Performance")
    without = text[:start] + text[text.index("\n## A subset of the work"):]
    again = generator.usage(without)
    assert "\n## To handle performance\n" not in text
    assert again.count("| `--nprocs`, `--nthreads`, `--n-cpus` |") == 1
    with pytest.raises(ValueError, match="gone"):
        generator.usage(text.replace("<!-- options: Other", "<!-- options: Gone -->\n<!-- end -->"
                                     "\n<!-- options: Other"))


def test_descriptor_passes_its_own_checker():
    program = shutil.which("bosh")
    if program is None:
        pytest.skip("bosh (pip install boutiques) is not installed")
    path = ROOT / "boilerplate" / "bids_decoder.boutiques.json"
    subprocess.run([program, "validate", path], check=True)


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
