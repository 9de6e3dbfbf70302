"""Sections with pictures: what they say must be in the tables on disk."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bids_decoder.analyses.assemble import build_participant_report
from bids_decoder.analyses.facts import collect_facts, collect_headings
from bids_decoder.analyses.gallery.report import sections as gallery_sections
from bids_decoder.analyses.reconstruct.report import sections
from bids_decoder.bids.writer import save_table
from bids_decoder.evaluation.reconstruction import CONTROLS, METRIC_COLUMNS
from bids_decoder.files import write_json
from bids_decoder.reports.boilerplate import render_methods
from bids_decoder.reports.reconstructions import verdict
from bids_decoder.reports.results import Results


def scores(ahead):
    rows = []
    for metric, features in (("pixcorr", "pixels"), ("two_way", "gabor")):
        for model in ("reconstruction", *CONTROLS):
            own = model == "reconstruction"
            rows.append({
                "model": model, "metric": metric, "features": features, "value": 0.4321,
                "chance": 0.5 if metric == "two_way" else None, "ci_low": 0.3, "ci_high": 0.6,
                "field_low": 0.35, "field_high": 0.55, "n": 8, "ahead": None if own else ahead,
                "ahead_low": None if own else ahead - 0.1, "ahead_high": None if own else 0.3,
                "ahead_p": None if own else 0.01,
            })
    return pd.DataFrame(rows)[list(METRIC_COLUMNS)]


def write_pictures(tree, method="ridge"):
    entities = {"sub": "01", "task": "see"}
    table = tree.path("reconstruction_metrics", **entities)
    save_table(table, scores(0.2), {"Method": method})
    Image.new("RGB", (30, 20), "red").save(tree.path("reconstruction_sheet", **entities))
    row, column = np.indices((4, 4)).reshape(2, 16)
    errors = pd.DataFrame({"row": row, "column": column, "error": 0.1, "spread": 0.25})
    save_table(tree.path("reconstruction_error", **entities), errors)
    names = {f"top{k}": "gallery/x.png" for k in range(1, 11)}
    listed = pd.DataFrame([
        {"stimulus": "im001.png", "n_trials": 2, "rank": rank, "similarity": 0.3,
         "pool_size": 10_008, **names} for rank in (1, 7, 30)
    ])
    save_table(tree.path("gallery", **entities), listed)
    Image.new("RGB", (30, 20), "blue").save(tree.path("gallery_sheet", **entities))


@pytest.mark.usefixtures("undrawn")
def test_nothing_on_disk_means_no_section(tree):
    results = Results(tree.out, "01")
    assert sections(results) == [] and gallery_sections(results) == []
    assert "Reconstruction" not in build_participant_report(tree.out, "01").read_text()


@pytest.mark.parametrize(("method", "words"), [("ridge", "hence the blur"),
                                               ("unclip", "comes from the generator")])
def test_page_shows_sheets_scores_and_controls(tree, method, words):
    write_pictures(tree, method)
    page = build_participant_report(tree.out, "01").read_text(encoding="utf-8")
    assert words in page and "0.432" in page
    assert "On 2 of 2 measures the reconstructions are ahead of all three controls" in page
    assert all(name in page for name in ("shuffled brains", "mean brain", "nearest training"))
    assert "Median rank 7 among 10,008 images." in page
    assert ("Mean error 0.100; of the mean training image 0.250." in page) == (method == "ridge")
    figures = {path.name for path in (tree.out / "sub-01" / "figures").iterdir()}
    assert ("sub-01_desc-reconstructionerror_figure.svg" in figures) == (method == "ridge")
    assert {"sub-01_desc-reconstructions_figure.png", "sub-01_desc-gallery_figure.png"} <= figures


def test_verdict_needs_whole_intervals_and_all_controls():
    assert verdict(scores(0.2)).tone == "good"
    assert verdict(scores(0.05)).tone == "warn"
    mixed = scores(0.2)
    mixed.loc[(mixed["model"] == CONTROLS[2]) & (mixed["metric"] == "pixcorr"), "ahead_low"] = -0.1
    assert "On 1 of 2" in verdict(mixed).text and verdict(mixed).tone == "plain"
    assert np.isnan(float(mixed["ahead"].iloc[0]))


def test_methods_text_follows_the_files(tree):
    write_pictures(tree)
    card = tree.path("decoder_model", sub="01").with_suffix(".json")
    write_json(card, {"decoder": "troi", "pretrained_on": [], "prior": {}})
    steps = collect_facts(tree.out, ["01"])["steps"]
    assert steps["gallery"] == {"pool_size": 10_008}
    assert steps["reconstruction-metrics"] == {"n": 8}
    assert {"reconstruction-ridge", "prior-diffusion"} <= set(steps)
    text = render_methods({"steps": steps, "headings": collect_headings()})
    assert "10,008 images" in text and "[@ssim]" in text and "8 test images" in text
