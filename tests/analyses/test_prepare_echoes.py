"""Report and methods text of multi-echo runs and of single-band references."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.prepare import methods
from bids_decoder.analyses.prepare.report_echoes import echo_blocks
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.reports import figures
from bids_decoder.reports.blocks import Figure, Table
from bids_decoder.reports.results import Results

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
TIMES = [0.012, 0.028, 0.044]


def write(output, key, data, run, **metadata):
    path = derivative_path(output, key, sub="01", task="see", run=run)
    save_nifti(path, data, AFFINE, metadata=metadata)


@pytest.fixture
def output(tmp_path):
    """Two runs; in the second one half of the brain has lost the last echo."""
    brain = np.zeros((8, 9, 6), bool)
    brain[2:6, 2:7, 1:5] = True
    for run, t2star in (("1", 0.04), ("2", 0.03)):
        weights = np.where(brain[..., None], [0.2, 0.3, 0.5], 0)
        if run == "2":
            weights[4:, ..., 2] = 0
        write(tmp_path, "t2star", np.where(brain, t2star, 0), run, EchoTimes=TIMES, Units="s")
        write(tmp_path, "echo_weights", weights, run, EchoTimes=TIMES)
        write(tmp_path, "preproc_bold", np.ones((8, 9, 6, 3)), run, RepetitionTime=2.0)
    return tmp_path


def references(output, *names):
    for run, name in enumerate(names, start=1):
        write(output, "boldref", np.ones((8, 9, 6)), str(run), Sources=[f"bids:raw:{name}"])


def test_table_and_maps_of_echoes(output, monkeypatch):
    monkeypatch.setattr(figures, "render", lambda figure, kind="svg": b"")
    table, *drawn = echo_blocks(Results(output, "01"))
    assert isinstance(table, Table)
    assert [list(row) for row in table.rows] == [
        ["task-see run-1", "12, 28, 44", "40.0", "0.20 0.30 0.50", "100%"],
        ["task-see run-2", "12, 28, 44", "30.0", "0.20 0.30 0.25", "50%"],
    ]
    assert len(drawn) == 4 and all(isinstance(block, Figure) for block in drawn)
    captions = [block.picture.caption for block in drawn]
    assert captions[0].startswith("T2* of task-see run-1 in seconds")
    assert captions[2].startswith("Weight of the echo of task-see run-1 at 28 ms")


def test_runs_of_one_echo_have_no_section(tmp_path):
    write(tmp_path, "preproc_bold", np.ones((8, 9, 6, 3)), "1", RepetitionTime=2.0)
    assert echo_blocks(Results(tmp_path, "01")) == []
    assert "echoes" not in methods.steps(Results(tmp_path, "01"))


@pytest.mark.parametrize(("names", "words"), [
    (("a_echo-1_bold.nii.gz", "b_echo-1_bold.nii.gz"), "the median of aligned volumes"),
    (("a_echo-1_sbref.nii.gz", "b_echo-1_sbref.nii.gz"), "the single-band reference image"),
    (("a_echo-1_sbref.nii.gz", "b_echo-1_bold.nii.gz"),
     "the single-band reference image, or else the median of aligned volumes,"),
])
def test_methods_name_echoes_and_reference(output, names, words):
    references(output, *names)
    steps = methods.steps(Results(output, "01"))
    assert steps["echoes"] == {"n_echoes": 3, "echo_times": "12, 28, 44"}
    runs = " References of runs were aligned rigidly to that of the first run."
    assert steps["motion"] == {"reference": words, "runs": runs}


def test_components_are_counted(output):
    assert "tedana" not in methods.steps(Results(output, "01"))
    path = derivative_path(output, "echo_metrics", sub="01", task="see", run="1")
    save_table(path, pd.DataFrame({
        "Component": ["ICA_0", "ICA_1", "ICA_2"], "variance explained": [60.0, 25.0, 5.5],
        "classification": ["accepted", "rejected", "rejected"],
    }))
    table = echo_blocks(Results(output, "01"))[1]
    assert [list(row) for row in table.rows] == [["task-see run-1", "1", "2", "30.5"]]
    assert "tedana" in methods.steps(Results(output, "01"))
