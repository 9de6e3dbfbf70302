"""Pages: complete, honest, escaped, self-contained, the same for the same results."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from report_tree import EVIL, Tree

from bids_decoder.analyses.assemble import (
    build_group_report,
    build_participant_report,
    summary_section,
)
from bids_decoder.analyses.decode.group import people_section
from bids_decoder.analyses.decode.outputs import describe_mask
from bids_decoder.analyses.decode.report import decoding_section, troi_section
from bids_decoder.analyses.prepare.report import _cross_validation, _motion
from bids_decoder.analyses.prepare.report_overlap import overlap_section
from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.errors import MissingInputError
from bids_decoder.evaluation.overlap import ImageOverlap, Overlap
from bids_decoder.files import read_json, write_json
from bids_decoder.reports.results import Results

SECTIONS = [
    "summary",
    "inputs",
    "preprocessing",
    "responses",
    "split",
    "overlap",
    "troi",
    "learning",
    "decoding",
    "decisions",
    "methods",
    "timings",
    "about",
    "errors",
    "files",
]


class Page(HTMLParser):
    """Collects what a browser would make of a page."""

    VOID = ("meta", "link", "img", "br", "hr")

    def __init__(self, path) -> None:
        super().__init__()
        self.tags, self.loads, self.links, self.ids, self.stack = [], [], [], [], []
        self.text = self.script = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.loads += [v for k, v in found.items() if k in ("src", "srcset", "data", "action")]
        if tag in ("a", "link"):
            self.links.append(found["href"])
        self.ids += [found["id"]] if "id" in found else []
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "script":
            self.script += data
        else:
            self.text += data


def verdict(tree, label="01"):
    return summary_section(Results(tree.out, label)).blocks[0]


def texts(section, tone=None) -> str:
    return " ".join(
        b.text for b in section.blocks if b.kind == "text" and (tone is None or b.tone == tone)
    )


@pytest.fixture(scope="module")
def page_and_tree(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("page")).write()
    tree.write_log("20250302-090000_bb", crash="Node sub-01 failed <b>badly</b>\nValueError: x")
    path = build_participant_report(tree.out, "01", stimuli_dir=tree.stimuli)
    return Page(path), tree


def test_all_sections_are_there_and_linked(page_and_tree):
    page, _ = page_and_tree
    assert [i for i in page.ids if i in SECTIONS] == SECTIONS
    assert {f"#{s}" for s in SECTIONS} <= set(page.links)
    assert len(page.ids) == len(set(page.ids))
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert inner <= set(page.ids)


def test_page_loads_nothing_from_elsewhere(page_and_tree):
    page, tree = page_and_tree
    source = (tree.out / "sub-01.html").read_text(encoding="utf-8")
    assert page.loads and all(v.startswith("data:image/") for v in page.loads)
    outside = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert outside and all((tree.out / link).is_file() for link in outside)
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style
    assert page.tags.count("script") == 1
    assert not re.search(r"fetch\(|XMLHttp|import[ (]|https?:(?!//www.w3.org/)", page.script)


def test_names_from_the_dataset_are_escaped(page_and_tree):
    page, tree = page_and_tree
    source = (tree.out / "sub-01.html").read_text(encoding="utf-8")
    assert source.count("<script") == 1 and "<b>badly" not in source
    assert EVIL in page.text and "<b>badly</b>" in page.text


@pytest.mark.usefixtures("undrawn")
def test_ids_are_escaped_where_no_images_are_given(make_tree):
    tree = make_tree(images=False)
    page = Page(build_participant_report(tree.out, "01"))
    assert page.tags.count("script") == 1 and EVIL in page.text and "top 5" in page.text


def test_figures_are_written_beside_the_page(page_and_tree):
    _, tree = page_and_tree
    names = {
        p.name.split("desc-")[1].split("_")[0] for p in (tree.out / "sub-01/figures").iterdir()
    }
    assert names == {
        "timeline",
        "motion",
        "registration",
        "quality",
        "contrast1",
        "troimask1",
        "troimap1",
        "learning",
        "metrics",
        "retrieval",
    }
    for path in (tree.out / "sub-01/figures").glob("*.svg"):
        assert "<dc:date>" not in path.read_text(encoding="utf-8")


def test_numbers_are_beside_the_page(page_and_tree):
    page, tree = page_and_tree
    found = read_json(tree.out / "sub-01_report.json")
    assert "sub-01_report.json" in page.links
    assert found["verdict"]["answers"][0]["state"] == "yes"
    sections = {section["key"]: section for section in found["sections"]}
    assert list(sections) == SECTIONS
    (headline,) = sections["summary"]["headlines"]
    assert (headline["value"], headline["against"]["chance"]) == (0.45, 0.125)
    table = next(t for t in sections["decoding"]["tables"] if "best baseline" in t["columns"])
    first = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert first["decoder"] == 0.45 and first["best baseline"].startswith("ridge")
    assert {p.name for p in (tree.out / "sub-01").rglob("*.tsv")} == {
        path.rsplit("/", 1)[-1] for path in found["tables"]
    }
    assert all((tree.out / path).is_file() for path in found["tables"])


def test_what_the_run_recorded_is_shown(page_and_tree):
    page, _ = page_and_tree
    assert "bids_decoder /data /out participant" in page.text
    assert "2025-03-01T12:00:00+00:00" in page.text
    assert "ValueError: x" in page.text and "crash-001.txt" in page.text
    assert "ends after the last volume" in page.text


def test_same_results_same_bytes(make_tree):
    first, second = make_tree("a", people=("01",)), make_tree("b", people=("01",))
    for tree in (first, second):
        build_participant_report(tree.out, "01", stimuli_dir=tree.stimuli)
        build_group_report(tree.out)
    made = {p.relative_to(first.out) for p in first.out.rglob("*_figure.*")}
    made |= {(first.out / n).relative_to(first.out) for n in ("sub-01.html", "group.html")}
    assert len(made) > 10
    for name in sorted(made):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes(), name


def test_matplotlib_state_is_left_alone(tree):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    build_group_report(tree.out)
    assert dict(mpl.rcParams) == before


@pytest.mark.usefixtures("undrawn")
def test_summary_says_when_a_baseline_wins(make_tree):
    tree = make_tree()
    tree.write_metrics("01", decoder=0.30, best=0.41)
    said = texts(summary_section(Results(tree.out, "01")), "warn")
    assert "does not beat its best baseline" in said and "41.0" in said and "“ridge”" in said


def test_summary_gives_value_chance_interval_and_p(tree):
    said = verdict(tree).answers[0].text.replace("\N{NO-BREAK SPACE}", " ")
    assert "45.0 %, brain → image" in said and "chance 12.5 %" in said
    assert "39.0 % to 51.0 %" in said and "p = 0.001" in said


@pytest.mark.usefixtures("undrawn")
def test_model_that_saw_the_participant_is_marked(tree):
    card = tree.path("decoder_model", sub="01").with_suffix(".json")
    write_json(card, {**read_json(card), "pretrained_on": ["01", "03"]})
    (seen,) = (w for w in verdict(tree).worries if "Seen in pretraining" in w.text)
    assert seen.tone == "bad" and verdict(tree).answers[0].state == "yes"
    page = build_group_report(tree.out).read_text(encoding="utf-8")
    assert 'data-filter="participant=sub-01"' in page
    people = people_section(Results(tree.out))[0].blocks[0]
    assert people.header[-1] == "seen in pretraining"
    assert [(row[0].striptags(), row[-1]) for row in people.rows] == [
        ("sub-01", "yes"), ("sub-02", "no"),
    ]


def test_split_holds_in_a_sound_dataset(tree):
    section = overlap_section(Results(tree.out, "01"))
    assert not texts(section, "bad")
    good = texts(section, "good")
    assert "0 stimuli in both training and test" in good
    assert "0 test stimuli seen in pretraining" in good
    assert "0 training trials among the scored predictions" in good


def test_split_reports_a_leaked_stimulus(tree):
    path = tree.path("trials", sub="01", task="see", run="2")
    table = read_table(path)
    sides = [table.index[table["split"] == side][0] for side in ("train", "test")]
    table.loc[sides[0], "stimulus"] = table.loc[sides[1], "stimulus"]
    save_table(path, table)
    results = Results(tree.out, "01")
    assert "1 stimuli in both training and test" in texts(overlap_section(results), "bad")
    box = verdict(tree)
    assert box.answers[0].state == "invalid"
    assert any(w.invalidates and w.section == "overlap" for w in box.worries)


def test_split_reports_a_test_stimulus_seen_in_pretraining(tree):
    card = tree.path("pretrained_model").with_suffix(".json")
    write_json(card, {**read_json(card), "stimuli_seen": [tree.stimulus(3)]})
    assert "1 test stimuli seen in pretraining" in texts(
        overlap_section(Results(tree.out, "01")), "bad"
    )


def write_copies(tree, *names):
    """Say in the plan that two runs are the same."""
    plan = read_json(tree.out / "plan.json")
    found = Overlap(ImageOverlap(n_runs=8, identical_runs=(names,)))
    write_json(tree.out / "plan.json", {**plan, "overlap": found.to_dict()})


@pytest.mark.usefixtures("undrawn")
def test_copies_make_the_scores_of_their_participants_invalid_only(tree):
    write_copies(tree, "sub-02 task-see_run-1", "sub-02 task-see_run-2")
    assert verdict(tree, "02").answers[0].state == "invalid"
    assert verdict(tree, "01").answers[0].state == "yes"
    said = texts(overlap_section(Results(tree.out, "01")), "warn")
    assert "1 groups of copies are in the data of other participants only" in said
    group = Page(build_group_report(tree.out)).text
    assert "1 of 2 decoded participants above chance" in group
    assert "not valid and do not count as above chance: sub-02" in group
    assert "no valid answer" in group


def test_copies_between_participants_concern_both(tree):
    write_copies(tree, "sub-01 task-see_run-1", "sub-02 task-see_run-1")
    assert [verdict(tree, label).answers[0].state for label in ("01", "02")] == ["invalid"] * 2
    write_copies(tree, "sub-011 task-see_run-1", "sub-02 task-see_run-1")
    assert verdict(tree).answers[0].state == "yes"


def test_split_reports_a_run_in_two_folds(make_tree):
    tree = make_tree(kind="category")
    assert not texts(overlap_section(Results(tree.out, "01")), "bad")
    path = tree.path("trials", sub="01", task="see", run="2")
    table = read_table(path)
    table.loc[0, "fold"] = "1"
    save_table(path, table)
    assert "more or fewer than one fold" in texts(overlap_section(Results(tree.out, "01")), "bad")


@pytest.mark.usefixtures("undrawn")
def test_labels_bring_a_confusion_matrix_and_no_retrieval(make_tree):
    tree = make_tree(kind="category", images=False)
    section = decoding_section(Results(tree.out, "01", tree.stimuli))
    assert [p.name for p in section.pictures] == ["metrics", "confusion"]


def test_split_by_run_reports_a_shared_run(tree):
    plan = read_json(tree.out / "plan.json")
    plan["split"]["kind"] = "heldout-runs"
    write_json(tree.out / "plan.json", plan)
    section = overlap_section(Results(tree.out, "01"))
    assert "runs in both training and test" in texts(section, "bad")


def test_container_grid_is_said_not_drawn(make_tree):
    tree = make_tree()
    path = tree.path("troi_mask", sub="01", task="see")
    save_nifti(path, np.ones((50, 1, 1), bool), np.eye(4))
    section = troi_section(Results(tree.out, "01"))
    assert "50 × 1 × 1" in texts(section) and "positions" in texts(section)
    assert not [p for p in section.pictures if p.name.startswith("troimask")]


def test_thin_slab_is_drawn(tree):
    path = tree.path("troi_mask", sub="01", task="see")
    image = nib.load(path)
    save_nifti(path, np.asanyarray(image.dataobj)[:, :, 4:5] > 0, image.affine)
    assert troi_section(Results(tree.out, "01")).pictures[0].name == "troimask1"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("model", [
    {}, {"noise_filter": True}, {"spatial_prior": True}, {"members": [{}, {"spatial_prior": True}]},
])
def test_a_filtered_decoder_also_reads_around_its_voxels(tree, model):
    path = sidecar_path(tree.path("troi_mask", sub="01", task="see"))
    said = describe_mask({"noise_filter": False, **model})
    assert ("around" in said["Description"]) == bool(model)
    write_json(path, {**read_json(path), **said})
    told = "also reads voxels around these" in texts(troi_section(Results(tree.out, "01")))
    assert told == bool(model)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kept", ["nothing", "trials", "betas only"])
def test_every_section_says_why_it_is_empty(make_tree, kept):
    tree = make_tree()
    for path in sorted(tree.out.rglob("*")):
        if path.is_file() and not (kept != "nothing" and "trials" in path.name):
            path.unlink()
    if kept == "betas only":
        shutil.copytree(tree.out / "sub-01", tree.out / "sub-07")
    page = Page(build_participant_report(tree.out, "01"))
    assert [i for i in page.ids if i in SECTIONS] == SECTIONS
    assert page.text.count("is not shown:") >= 6
    assert "not decoded" in page.text
    assert "No participant was decoded" in Page(build_group_report(tree.out)).text


def test_absent_participant_is_an_error(tree):
    with pytest.raises(MissingInputError, match="99"):
        build_participant_report(tree.out, "99")


@pytest.mark.usefixtures("undrawn")
def test_crashes_of_others_are_not_shown(tree):
    tree.write_log("20250302-090000_bb", crash="Node of sub-02 failed")
    assert Results(tree.out, "01").crashes() == []
    assert len(Results(tree.out, "02").crashes()) == 1


@pytest.mark.usefixtures("undrawn")
def test_group_page(tree):
    for label in tree.people:
        (tree.out / f"sub-{label}.html").write_text("made before", encoding="utf-8")
    page = Page(build_group_report(tree.out))
    assert {"sub-01.html", "sub-02.html"} <= set(page.links)
    assert "None of 2 held-out participants is among the 3" in page.text
    assert all(v.startswith("data:image/") for v in page.loads) and len(page.loads) == 1
    assert "sub-02, ridge: 38.0" in page.text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.usefixtures("undrawn")
def test_group_page_reports_a_held_out_participant_in_pretraining(tree):
    card = tree.path("pretrained_model").with_suffix(".json")
    write_json(card, {**read_json(card), "participants": ["01", "03"]})
    assert "held out at once: 01" in Page(build_group_report(tree.out)).text


def test_the_curve_of_the_budget_says_how_it_was_chosen(tree):
    path = sidecar_path(tree.path("troi_mask", sub="01", task="see"))
    card = read_json(path)
    write_json(path, {
        **card, "budget_rule": "voxels that likely carry signal",
        "budget_scores": {"60": 0.2, str(card["n_voxels"]): 0.3},
    })
    section = troi_section(Results(tree.out, "01"))
    (curve,) = (p for p in section.pictures if p.name == "budget1")
    assert "voxels that likely carry signal" in curve.caption
    assert "budget scores" not in texts(section)


@pytest.mark.parametrize(("source", "why"), [
    ("fmriprep", "preprocessed by fMRIPrep"), ("betas", "ready-made beta series"),
    ("raw", "preparing did not finish"),
])
def test_why_motion_is_not_shown_follows_from_the_source(tmp_path, source, why):
    write_json(tmp_path / "plan.json", {"source": source})
    (block,) = _motion(Results(tmp_path, "01"))
    assert why in block.text


@pytest.mark.parametrize(("split", "kind", "said"), [
    ("test", "stimuli", ""), ("cv", "runs", "each run is test once"),
    ("cv", "stimulus-folds", "each stimulus is test once"),
])
def test_cross_validation_is_spoken_of_where_there_is_one(tmp_path, split, kind, said):
    write_json(tmp_path / "plan.json", {"split": {"kind": kind}})
    text = _cross_validation(Results(tmp_path), {"run": pd.DataFrame({"split": ["train", split]})})
    assert said in text and bool(said) == bool(text)
