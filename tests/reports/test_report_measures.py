"""Rows of a metrics table by measure: which come, in which order, with which tests."""

import json

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.decode import report
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.files import write_json
from bids_decoder.reports.measures import PairedTests, measures
from bids_decoder.reports.results import Results
from bids_decoder.reports.scores import compare

COLUMNS = ("model", "metric", "value", "pool_size")
ROWS = (
    ("ridge-all", "top1", 0.3, 12.0),
    ("without-low-pass", "top1", 0.9, 12.0),
    ("decoder", "top1", 0.5, 12.0),
    ("ridge-troi", "top1", 0.4, 12.0),
    ("mean", "top1", np.nan, 12.0),
    ("decoder", "top1", 0.1, 12.0),
    ("ridge-all", "median_rank", 4.0, 12.0),
    ("ridge-troi", "median_rank", 3.0, 12.0),
    ("decoder", "median_rank", 2.0, 12.0),
    ("decoder", "top5", np.nan, 12.0),
    ("ridge-all", "top5", 0.5, 12.0),
    ("ridge-all", "top2", 0.5, 12.0),
    ("decoder", "top1", 0.7, 300.0),
)


@pytest.fixture
def table():
    found = pd.DataFrame(ROWS, columns=COLUMNS)
    return found.assign(target="", direction="b2i", unit="single", similarity="csls", split="test")


def test_the_decoder_comes_first_and_baselines_from_best_to_worst(table):
    found = list(measures(table, "decoder"))
    named = [(rows["metric"][0], rows["pool_size"][0], list(rows["model"])) for rows, _ in found]
    assert named == [
        ("top1", 12.0, ["decoder", "ridge-troi", "ridge-all"]),
        ("median_rank", 12.0, ["decoder", "ridge-troi", "ridge-all"]),
        ("top1", 300.0, ["decoder"]),
    ]
    assert [rows["value"][0] for rows, _ in found] == [0.5, 2.0, 0.7]
    assert [list(ablations["model"]) for _, ablations in found] == [["without-low-pass"], [], []]


def test_ties_and_missing_pools_keep_their_order(table):
    tied = table.assign(value=1.0, pool_size=np.nan)
    rows, ablations = next(iter(measures(tied, "decoder")))
    assert list(rows["model"]) == ["decoder", "ridge-all", "ridge-troi", "mean"]
    assert list(ablations["model"]) == ["without-low-pass"]


def test_tests_are_those_of_the_same_measure_and_models(table):
    tested = table.rename(columns={"model": "second"}).assign(p=0.01)
    rows, _ = next(iter(measures(table, "decoder")))
    chosen = PairedTests(tested).of(rows)
    assert set(chosen["metric"]) == {"top1"} and set(chosen["pool_size"]) == {12.0}
    assert set(chosen["second"]) == {"decoder", "ridge-troi", "ridge-all"}
    assert PairedTests(tested.assign(unit="averaged")).of(rows).empty
    labels = rows.assign(similarity="", pool_size=np.nan)
    unnamed = tested.assign(unit=None, similarity=None, pool_size=None)
    assert set(PairedTests(unnamed).of(labels)["second"]) == {"decoder", "ridge-troi", "ridge-all"}


def test_tables_as_text_are_compared(table):
    first = compare(table.astype(str).replace("nan", None), {})[0]
    assert (first.model, first.metric, first.circumstances) == (
        "decoder", "top1", "single trials, CSLS (transductive), pool of 12",
    )
    assert first.tests.empty and first.best_baseline["model"] == "ridge-troi"


def test_a_table_of_metrics_of_another_target_is_said(make_tree):
    tree = make_tree(kind="image")
    results = Results(tree.out, "01")
    (path,) = results.files("metrics")
    save_table(path, read_table(path).replace({"model": {"troi": "decoder"}}))
    (line,) = report.lines(results)
    assert line.startswith("sub-01: top1 (b2i, single, cosine) = 0.45, chance 0.125")
    plan = tree.out / "plan.json"
    write_json(plan, json.loads(plan.read_text()) | {"target_kind": "category"})
    (line,) = report.lines(Results(tree.out, "01"))
    assert "is of another kind than 'category'" in line and "--stage decode" in line
