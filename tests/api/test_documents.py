"""The page on Python and the examples in docstrings run as they are printed."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated import make_trials

import bids_decoder
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import write_json

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def write_output(folder):
    """Results of two participants, as the app names them."""
    write_json(folder / "dataset_description.json", {"GeneratedBy": [{"Name": "bids_decoder"}]})
    X, y, runs = make_trials()
    decoder = bids_decoder.TROIDecoder(calibration_folds=0).fit(X, y, groups=runs)
    for label in ("01", "02"):
        table = pd.DataFrame({"model": ["decoder"], "value": [0.7]})
        for key in ("metrics", "predictions", "nulls", "comparisons"):
            save_table(derivative_path(folder, key, sub=label), table)
        save_nifti(derivative_path(folder, "troi_mask", sub=label), np.ones((2, 2, 2), bool),
                   np.eye(4))
        save_nifti(derivative_path(folder, "statmap", sub=label, stat="pattern"),
                   np.ones((2, 2, 2)), np.eye(4))
        decoder.save(derivative_path(folder, "decoder_model", sub=label))


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Everything that the page defines, when all of its blocks were run in order."""
    folder = tmp_path_factory.mktemp("page")
    write_output(folder / "derivatives" / "bids_decoder")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 7
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), found)
        found["folder"] = sorted(path.name for path in folder.iterdir())
    return found


def test_page_runs_and_says_what_happens(names):
    assert names["betas"].shape == (90, 60)
    assert names["accuracy"].mean() > 0.9
    assert names["loaded"].classes_.tolist() == ["face", "house"]
    assert names["loaded"].score(names["betas"], names["labels"]) > 0.9
    hits = names["zero_shot"].score(
        names["people"][2][~names["known"]], names["pictures"][~names["known"]]
    )
    assert hits > 0.2
    assert names["search"].scores_[:20].mean() > 0.8
    assert names["results"].participants == ["01", "02"]
    assert names["folder"] == ["decoder.json", "decoder.safetensors", "derivatives"]


def test_page_names_everything():
    text = PAGE.read_text(encoding="utf-8")
    assert [n for n in bids_decoder.__all__ if n not in text and not n.startswith(
        ("DecodingResults", "LoadedDecoder"))] == []


@pytest.mark.parametrize("module", sorted(set(bids_decoder._MODULES.values())))
def test_examples_of_docstrings(module):
    found = doctest.testmod(
        import_module(f"bids_decoder.api.{module}"), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert found.attempted
    assert not found.failed
