"""The App of brainlife: the command it makes, and what it tells of results."""

import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "brainlife"
COLUMNS = ("model", "metric", "direction", "value", "chance", "p", "n")
STAND_IN = """
import sys
from pathlib import Path
out = Path(sys.argv[2])
for name, text in {"sub-01.html": "one", "group.html": "all",
                   "sub-01/func/sub-01_label-TROI_mask.nii.gz": "mask",
                   "sub-01/func/sub-01_task-x_desc-decoder_metrics.tsv": TABLE}.items():
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text(text)
"""


def load(name):
    loader = SourceFileLoader(f"brainlife_{Path(name).stem}", str(FOLDER / name))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def table(*rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in (COLUMNS, *rows))


@pytest.fixture
def app(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    return load("main")


@pytest.fixture
def product():
    return load("product.py")


def test_example_becomes_a_call_of_the_container(app, tmp_path):
    from bids_decoder.cli.parser import parse_args

    config = json.loads((FOLDER / "config.json.example").read_text())
    words = app.command(config)
    assert words[:3] == ["singularity", "run", "--cleanenv"] and "--nv" in words
    assert "/data/my_dataset:/data/my_dataset:ro" in words
    settings, _ = parse_args(words[words.index(app.IMAGE) + 1:])
    assert settings.execution.participant_label == ("01",)
    assert settings.execution.from_scratch
    assert settings.execution.output_dir == tmp_path / "out"


def test_derivatives_are_bound_and_named(app):
    words = app.command({"bids": "/d", "fmriprep": "/fp", "device": "cpu", "betas": "",
                         "more_options": "--troi univariate"})
    assert "/fp:/fp:ro" in words and "fmriprep=/fp" in words and "--nv" not in words
    assert "--from-scratch" not in words and words[-3:] != [] and "univariate" in words


def test_options_with_several_values_or_none_and_paths(app, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    config = {"bids": "/d", "contrasts": "'face - house' 'a - b'", "leave_one_out": True,
              "low_mem": False, "encoder_weights": str(weights), "hrf": ""}
    words = app.command(config)
    at = words.index("--contrasts")
    assert words[at + 1:at + 3] == ["face - house", "a - b"]
    assert "--leave-one-out" in words and "--low-mem" not in words and "--hrf" not in words
    assert f"{weights}:{weights}:ro" in words


@pytest.mark.parametrize("as_list", [False, True])
def test_several_confounds_and_a_folder_of_own_tables(app, tmp_path, as_list):
    from bids_decoder.cli.parser import parse_args

    own = tmp_path / "physio"
    own.mkdir()
    given = ["simple", "cosine*", str(own)]
    words = app.command({"bids": "/d", "confounds": given if as_list else " ".join(given)})
    settings, _ = parse_args(words[words.index(app.IMAGE) + 1:])
    assert settings.glm.confounds == tuple(given)
    assert f"{own}:{own}:ro" in words


def test_options_of_several_values_are_lists_in_the_example():
    """The app splits their values by it; participants are split in any case."""
    from bids_decoder.cli.parser import build_parser

    example = json.loads((FOLDER / "config.json.example").read_text())
    several = {
        word.removeprefix("--").replace("-", "_")
        for action in build_parser()._actions for word in action.option_strings
        if action.nargs in ("+", "*")
    }
    texts = {name for name in several & set(example) if not isinstance(example[name], list)}
    assert texts == {"participant_label"}


@pytest.mark.parametrize("fails", [False, True])
def test_whole_app_with_a_stand_in(tmp_path, fails):
    (tmp_path / "config.json").write_text(json.dumps({"bids": str(tmp_path)}))
    text = table(("decoder", "top1", "i2b", 0.2, 0.1, 0.2, 24),
                 ("decoder", "top1", "b2i", 0.5, 0.1, 0.001, 24),
                 ("ridge-all", "top1", "b2i", 0.625, 0.1, 0.001, 24))
    code = "raise SystemExit(65)" if fails else f"TABLE = {text!r}\n{STAND_IN}"
    (tmp_path / "stand_in.py").write_text(code)
    done = subprocess.run(
        [sys.executable, FOLDER / "main"], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"BIDS_DECODER_COMMAND": f"{sys.executable} {tmp_path / 'stand_in.py'}"},
    )
    if fails:
        assert done.returncode == 1 and "exit code 65" in done.stderr
        assert not (tmp_path / "product.json").exists()
        return
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "index.html").read_text() == "all"
    assert (tmp_path / "mask" / "mask.nii.gz").read_text() == "mask"
    content = json.loads((tmp_path / "product.json").read_text())
    message, graph = content["brainlife"]
    assert message["type"] == "success"
    assert message["msg"] == ("sub-01: top1 0.500 (chance 0.100, p = 0.001, n = 24). "
                              "The baseline ridge-all reaches 0.625.")
    assert [bar["y"] for bar in graph["data"]] == [[0.5], [0.625]]
    assert content["bids_decoder"]["sub-01"]["decoder"]["value"] == 0.5


def test_result_at_chance_and_no_result(product, tmp_path):
    assert product.of(tmp_path)["brainlife"][0]["type"] == "warning"
    path = tmp_path / "sub-02" / "ses-1" / "func" / "sub-02_desc-decoder_metrics.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(table(("decoder", "balanced_accuracy", "n/a", 0.3, 0.25, 0.31, 40)))
    message = product.of(tmp_path)["brainlife"][0]
    assert message["type"] == "warning" and "baseline" not in message["msg"]
