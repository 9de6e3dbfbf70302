"""The part of the report on susceptibility distortion."""

import numpy as np
import pandas as pd
import pytest
from report_tree import AFFINE, SHAPE

from bids_decoder.analyses.prepare.methods import steps
from bids_decoder.analyses.prepare.report_distortion import distortion_blocks
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import write_json
from bids_decoder.reports.results import Results

RUN = {"sub": "01", "task": "see", "run": "1"}


@pytest.fixture
def results(tmp_path):
    volume = np.zeros(SHAPE, np.float32)
    volume[4:-4, 4:-4, 2:-2] = 100
    for key in ("boldref", "distorted_boldref", "preproc_bold"):
        save_nifti(derivative_path(tmp_path, key, **RUN), volume, AFFINE)
    return Results(tmp_path, "01")


def add_shifts(results, method):
    path = derivative_path(results.output_dir, "shiftmap", **RUN)
    save_nifti(path, np.ones(SHAPE, np.float32), AFFINE)
    write_json(path.with_name(path.name.replace(".nii.gz", ".json")), {
        "Method": method, "PhaseEncodingDirection": "j-", "MedianShiftMM": 0.91,
        "LargestShiftMM": 7.26,
    })
    table = pd.DataFrame({
        "image": ["distorted", "corrected"], "contrast": [4.0, 9.876], "share": [0.6, 0.75],
        "n_points": [100, 110],
    })
    save_table(derivative_path(results.output_dir, "distortion_metrics", sub="01"), table)


@pytest.mark.usefixtures("undrawn")
def test_shifts_pictures_and_boundary(results):
    add_shifts(results, "two images with opposite phase encoding")
    blocks = distortion_blocks(results)
    assert [block.kind for block in blocks] == ["table", "figure", "figure", "table"]
    assert blocks[0].rows[0][1:] == [
        "two images with opposite phase encoding", "j-", "0.9", "7.3",
    ]
    assert "before (top) and after" in blocks[1].picture.caption
    assert [row[1] for row in blocks[3].rows] == ["4.00", "9.88"]


def test_it_is_said_that_nothing_was_corrected(results):
    (block,) = distortion_blocks(results)
    assert "not corrected" in block.text and "--ignore fieldmaps" in block.text


def test_derivatives_say_nothing_about_distortion(tmp_path):
    assert distortion_blocks(Results(tmp_path, "01")) == []


@pytest.mark.parametrize(("method", "texts"), [
    ("two images with opposite phase encoding", {"distortion-pair", "distortion-use"}),
    ("a phase-difference image", {"distortion-phases", "distortion-use"}),
    ("a measured field map", {"distortion-direct", "distortion-use"}),
    ("registration to the T1w image", {"distortion-t1w", "distortion-use"}),
])
def test_methods_text(results, method, texts):
    add_shifts(results, method)
    found = {name for name in steps(results) if name.startswith("distortion")}
    assert found == texts
