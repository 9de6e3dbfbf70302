"""Single trials in reports: confusions, pictures, motion."""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_tree import EVIL, Tree

from bids_decoder.analyses.decode.report_trials import say_motion, trial_blocks, with_motion
from bids_decoder.bids.names import derivative_path, sidecar_path
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.files import write_json
from bids_decoder.reports.drawings import confusion_counts, confusion_drawing
from bids_decoder.reports.results import Results
from bids_decoder.reports.thumbnails import read_thumbnails
from bids_decoder.stimuli.images import BACKGROUND


def test_labels_taken_for_each_other_are_side_by_side():
    pairs = [("a", "c"), ("c", "a"), ("b", "d"), ("d", "b"), *[(n, n) for n in "abcd"]]
    shown, decoded = (pd.Series(side) for side in zip(*pairs, strict=True))
    counts = confusion_counts(shown, decoded)
    order = list(counts.index)
    assert order == list(counts.columns) and sorted(order) == list("abcd")
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset("ac"), frozenset("bd")}
    assert counts.loc["a", "c"] == 1 and counts.loc["a", "b"] == 0
    assert counts.to_numpy().sum() == len(pairs)


def test_cells_say_counts_and_names_are_escaped():
    shown, decoded = pd.Series([EVIL, EVIL, "b"]), pd.Series([EVIL, "b", "b"])
    drawn = str(confusion_drawing(confusion_counts(shown, decoded)))
    assert "<script" not in drawn and "decoded b: 1 (50 % of &lt;script" in drawn
    many = pd.Series([f"label{n}" for n in range(41)])
    assert confusion_drawing(confusion_counts(many, many)) is None


def test_each_picture_is_in_the_page_once(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    pictures = read_thumbnails(tmp_path, ["a", "b", "a"])
    assert pictures.sprite.count("<symbol") == 1 and len(pictures.sprite) < 3000
    assert pictures.cell("a").endswith("</svg>a") and pictures.cell("b") == "b"
    assert "<script" not in read_thumbnails(None, [EVIL]).cell(EVIL)


def test_pictures_are_those_that_are_decoded(tmp_path):
    """Of 16 bits, transparent, and named as stimuli are: by another folder, without extension."""
    (tmp_path / "set").mkdir()
    Image.fromarray(np.full((60, 60), 25700, np.uint16)).save(tmp_path / "set" / "deep.png")
    Image.new("RGBA", (60, 60), (255, 0, 0, 0)).save(tmp_path / "set" / "clear.png")
    pictures = read_thumbnails(tmp_path, ["stimuli/set/deep.png", "clear", "../set/deep.png"])
    assert list(pictures.places) == ["stimuli/set/deep.png", "clear"]
    found = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(part.split('"')[0]))).convert("RGB"))
        for part in str(pictures.sprite).split("base64,")[1:]
    ]
    assert [abs(picture.mean() - level) < 4 for picture, level in
            zip(found, (100, BACKGROUND), strict=True)] == [True, True]


def test_wrong_trials_come_first():
    table = pd.DataFrame({
        "run_group": "r", "stimulus": ["s1", "s2", "s3"], "label": ["a", "b", "a"],
        "predicted_label": ["a", "a", "a"], "correct": [True, False, True],
        "displacement": [0.1, np.nan, 0.3],
    })
    _, block = trial_blocks(table, None)
    assert "1 of 3 were decoded wrongly" in block.caption
    cells = dict(zip(block.header, block.rows[0], strict=True))
    assert (cells["shown"], cells["decoded"], cells["correct"]) == ("b", "a", "no")
    assert cells["motion (mm)"] == "n/a"


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("moved"), people=("01",), images=False)
    tree.write_trials("01")
    tree.write_confounds("01")
    sidecar = tree.path("preproc_bold", sub="01", task="see", run="1")
    write_json(sidecar.with_name(sidecar.name.replace(".nii.gz", ".json")),
               {"RepetitionTime": 2.0})
    trials = read_table(tree.path("trials", sub="01", task="see", run="1"))
    return tree, with_motion(trials.assign(correct="True"), Results(tree.out, "01"))


def test_motion_of_a_trial_is_the_largest_until_its_response_is_over(moved):
    tree, table = moved
    confounds = read_table(tree.path("confounds", sub="01", task="see", run="1"))
    steps = confounds["framewise_displacement"].astype(float).to_numpy()
    assert table["correct"].all() and len(table) == 20
    # Trial 2 begins at 10 s, lasts 3 s, and counts until 21 s: volumes 5 to 10.
    assert table["displacement"][1] == pytest.approx(steps[5:11].max())
    assert steps[41] == table["displacement"].max() == 0.9


def test_each_run_has_its_own_repetition_time(tmp_path):
    for run, t_r in (("1", 2.0), ("2", 1.0)):
        names = {"sub": "01", "task": "see", "run": run}
        write_json(sidecar_path(derivative_path(tmp_path, "preproc_bold", **names)),
                   {"RepetitionTime": t_r})
        save_table(derivative_path(tmp_path, "trials", **names), pd.DataFrame(
            {"run_group": f"run-{run}", "trial": [1], "onset": [0.0], "duration": [2.0]}
        ))
        save_table(derivative_path(tmp_path, "confounds", **names), pd.DataFrame(
            {"framewise_displacement": np.arange(40.0)}
        ))
    table = pd.DataFrame({"run_group": ["run-1", "run-2"], "trial": "1", "correct": "True"})
    # 10 s are 5 and 10 volumes.
    assert with_motion(table, Results(tmp_path, "01"))["displacement"].tolist() == [5, 10]


def test_motion_is_unknown_without_trial_tables(tmp_path):
    (tmp_path / "sub-01").mkdir()
    table = pd.DataFrame({"run_group": "r", "trial": ["1"], "correct": ["True"]})
    assert with_motion(table, Results(tmp_path, "01"))["displacement"].isna().all()


def test_motion_of_wrong_trials_is_compared():
    table = pd.DataFrame({"correct": [True] * 9 + [False] * 9,
                          "displacement": [*np.linspace(0.1, 0.2, 9), *np.linspace(0.5, 0.9, 9)]})
    said = say_motion(table)
    assert "median 0.70 mm in 9 trials that were decoded wrongly, 0.15 mm in 9" in said
    assert "p = 0.00041" in said
    assert "All 9" in say_motion(table.head(9))
