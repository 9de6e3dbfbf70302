"""The chapter "Add an analysis in an hour" works as it stands in the documentation."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corner_betas import write_dataset

from bids_decoder import analyses as package
from bids_decoder.analyses import registry
from bids_decoder.bids.writer import read_table
from bids_decoder.cli.parser import build_parser
from bids_decoder.cli.run import main

CHAPTER = Path(__file__).parents[2] / "docs" / "architecture.md"
BLOCK = re.compile(r"^`(position/\w+\.py)`:\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def position(tmp_path, monkeypatch):
    """Install the example: its folder, and one line in the registry."""
    for name, code in BLOCK.findall(CHAPTER.read_text(encoding="utf-8")):
        path = tmp_path / "rooms" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "rooms")])
    monkeypatch.setattr(registry, "NAMES", (*registry.NAMES, "position"))
    registry.analyses.cache_clear()
    yield
    for name in [name for name in sys.modules if "analyses.position" in name]:
        del sys.modules[name]
    registry.analyses.cache_clear()


def test_the_chapter_holds_a_whole_analysis():
    names = {name for name, _ in BLOCK.findall(CHAPTER.read_text(encoding="utf-8"))}
    assert {f"position/{part}.py" for part in (
        "__init__", "options", "plan", "interfaces", "workflow", "report", "methods",
    )} == names


def test_its_scores_are_right(position):
    from bids_decoder.analyses.position.interfaces import score_positions

    predictions = pd.DataFrame({
        "run_group": np.repeat(["a", "b"], 6), "trial": np.tile(np.arange(6), 2),
        "correct": [True, True, False, True, False, False] * 2,
    })
    table = score_positions(predictions, 3)
    assert table["n"].tolist() == [4, 4, 4]
    assert table["accuracy"].tolist() == [1, 0.5, 0]
    assert (table["ci_low"] < table["accuracy"] + 1e-9).all()


@pytest.mark.slow
def test_it_runs_from_option_to_report(position, tmp_path):
    assert any("--positions" in action.option_strings for action in build_parser()._actions)
    data, out = write_dataset(tmp_path / "data"), tmp_path / "out"
    words = [str(data), str(out), "participant", "--from-scratch", "--nprocs", "1", "--device",
             "cpu", "--skip-bids-validation", "--n-permutations", "3", "-d", f"betas={data}",
             "--target", "category"]
    assert main([*words, "--positions", "99"]) == 64
    assert main([*words, "--positions", "2"]) == 0
    (path,) = out.glob("sub-01/**/*_desc-position_metrics.tsv")
    assert read_table(path)["part"].tolist() == ["1", "2"]
    assert path.with_suffix(".json").is_file()
    assert "Position in the run" in (out / "sub-01.html").read_text(encoding="utf-8")
    assert "2 parts of every run" in (out / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "desc-position" in (out / "descriptions.tsv").read_text(encoding="utf-8")
    before = path.stat().st_mtime_ns
    assert main([*words, "--positions", "2"]) == 0
    assert path.stat().st_mtime_ns == before
    assert main(words) == 0
