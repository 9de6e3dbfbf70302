"""Methods text: what was done and nothing else, with the references it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bids_decoder.analyses.facts import collect_facts, collect_headings
from bids_decoder.files import read_json, write_json
from bids_decoder.reports.boilerplate import (
    load_references,
    methods_html,
    methods_tex,
    references_bib,
    render_methods,
    sources,
    write_citation,
)
from bids_decoder.training.selectors import BY_SHARE_PRIOR

ROOT = Path(__file__).resolve().parents[2]
HEADINGS = collect_headings()
PARTS = [step for group in HEADINGS.values() for step in group]


def part(step: str) -> str:
    return (sources() / f"{step}.md").read_text(encoding="utf-8")


def test_every_part_has_a_place_and_every_place_a_part():
    on_disk = {p.name.removesuffix(".md") for p in sources().iterdir() if p.name.endswith(".md")}
    assert on_disk - {"README"} == set(PARTS)
    assert len(PARTS) == len(set(PARTS))


def test_every_citation_is_known_and_every_reference_cited():
    used = {k for step in PARTS for k in re.findall(r"@([\w-]+)", part(step))}
    assert used == set(load_references())


def test_all_entries_of_the_bibliography_are_read():
    text = (sources() / "references.bib").read_text(encoding="utf-8")
    known = load_references()
    assert text.count("\n@") + 1 == len(known) == len({r.full for r in known.values()})
    for reference in known.values():
        assert {"author", "title"} <= set(reference.fields)
        assert reference.address and not re.search(r"[{}\\]", reference.full), reference.full


def test_references_read_well():
    known = load_references()
    assert known["troi"].short == "Wang et al. 2025" and known["troi"].address == "arXiv:2502.00412"
    assert known["mindeye2"].address == "arXiv:2403.11207"
    assert known["permutation"].short == "Phipson & Smyth 2010"
    assert known["himalaya"].full.startswith("Dupré la Tour, Eickenberg")


def test_only_steps_that_were_run_appear():
    text = render_methods({"steps": {"glm-lss": {}, "split-runs": {}}, "headings": HEADINGS})
    assert "[@lss]" in text and "cross-validated" in text
    assert "fMRIPrep" not in text and "[@troi]" not in text
    assert set(re.findall(r"^\* \[@([\w-]+)\]", text, re.MULTILINE)) == {"lss", "circular"}


def test_missing_fact_and_unknown_step_are_errors():
    with pytest.raises(ValueError, match="fd_threshold"):
        render_methods({"steps": {"confounds": {}}, "headings": HEADINGS})
    with pytest.raises(ValueError, match="magic"):
        render_methods({"steps": {"magic": {}}, "headings": HEADINGS})


def test_facts_cannot_smuggle_markup_or_citations():
    steps = {"targets-image": {"encoder": "<script>x</script> [@troi] {0} 5_%"}}
    facts = {"steps": steps, "headings": HEADINGS}
    assert "<script" not in methods_html(facts) and "#ref-troi" not in methods_html(facts)
    assert r"5\_\%" in methods_tex(facts) and r"\cite" not in methods_tex(facts)


def test_latex_knows_all_letters_of_the_texts():
    """What pdflatex knows beyond ASCII without packages; other letters are written as commands."""
    letters = {letter for step in PARTS for letter in part(step) if ord(letter) > 126} | {"≤"}
    found = methods_tex({
        "steps": {"x": {}}, "headings": {"Methods": ("x",)},
        "passages": {"x": f"p {''.join(sorted(letters))} .05"},
    })
    assert {letter for letter in found if ord(letter) > 126} <= set("×·…’–—éäöü")
    assert r"$\leq$" in found


def test_bibliography_holds_only_what_is_cited():
    facts = {"steps": {"overview": {"version": "1"}}, "headings": HEADINGS}
    keys = set(re.findall(r"^@\w+\{([\w-]+),", references_bib(facts), re.MULTILINE))
    assert keys == {"bids", "bidsapps", "pybids", "nipype"}
    cited = set(",".join(re.findall(r"\\cite\{([^}]*)\}", methods_tex(facts))).split(","))
    assert cited == keys


def test_what_is_only_prepared_has_no_split_and_no_target(tree):
    for path in [*tree.out.rglob("*_metrics.*"), *tree.out.rglob("*_model.*")]:
        path.unlink()
    steps = collect_facts(tree.out)["steps"]
    assert not [name for name in steps if name.startswith(("split-", "targets-"))]


def test_what_is_only_encoded_has_a_split_and_no_target_of_decoding(tree):
    for path in [*tree.out.rglob("*_metrics.*"), *tree.out.rglob("*_model.*")]:
        path.unlink()
    tree.path("encoder_metrics", sub=tree.people[0]).write_text("metric\n")
    steps = collect_facts(tree.out)["steps"]
    assert [name for name in steps if name.startswith(("split-", "targets-"))] == ["split-stimuli"]


def test_facts_follow_the_files(tree):
    steps = collect_facts(tree.out)["steps"]
    assert {
        "overview",
        "select-graded",
        "pretraining-contrastive",
        "retrieval",
        "retrieval-csls",
        "retrieval-sinkhorn",
        "pretraining",
        "baselines",
        "split-stimuli",
        "targets-image",
        "coregistration",
        "stage2-reinit",
    } <= set(steps)
    assert steps["retrieval"] == {"pools": "among 8 candidates in each of 30 pools"}
    assert steps["split-stimuli"]["n_test_stimuli"] == 8
    assert not {"glm-ridge", "motion", "scratch", "classification", "inputs-fmriprep"} & set(steps)
    assert not {"spatial-prior", "shared-noise"} & set(steps)
    card = tree.path("decoder_model", sub="02").with_suffix(".json")
    used = {
        "spatial_prior": True, "spatial_prior_fwhm_mm": 5.4, "spatial_prior_scores": [1.1, 1.23],
    }
    write_json(card, {**read_json(card), **used, "noise_share": 0.914})
    assert collect_facts(tree.out, ["02"])["steps"]["shared-noise"] == {"percent": "91"}
    assert collect_facts(tree.out, ["02"])["steps"]["spatial-prior"] == {
        "smooth": "smooth (Gaussian, 5.4 mm full width at half maximum)",
        "before": "1.100", "after": "1.230"}
    filtered = {"noise_filter": True, "noise_filter_power": 0.25, "noise_filter_fwhm_mm": 3.0,
                "noise_filter_evidence": 4.31}
    write_json(card, {**read_json(card), "spatial_prior": False, **filtered})
    assert collect_facts(tree.out, ["02"])["steps"]["noise-filter"] == {
        "power": "-0.25", "evidence": "4.3",
        "smooth": ", smoothed by a Gaussian of 3 mm full width at half maximum"}
    for path in tree.out.rglob("*TROI*"):
        path.unlink()
    card = tree.path("decoder_model", sub="02").with_suffix(".json")
    write_json(card, {"decoder": "troi", "pretrained_on": []})
    assert "select-graded" not in collect_facts(tree.out)["steps"]
    assert "scratch" in collect_facts(tree.out, ["02"])["steps"]
    assert "pretraining" not in collect_facts(tree.out, ["02"])["steps"]


def test_numbers_of_several_people_become_a_range(tree):
    for label, size in (("01", 120), ("02", 1080)):
        name = f"sub-{label}_task-see_label-TROI_mask.json"
        card = tree.path("troi_mask", sub=label, task="see").with_name(name)
        write_json(card, {"rule": "x", "n_voxels": size})
    assert collect_facts(tree.out, ["01"])["steps"]["select-budget"] == {"n_voxels": 120}
    assert "reads 120 to 1,080 voxels" in render_methods(collect_facts(tree.out))
    write_json(card, {"rule": BY_SHARE_PRIOR, "n_voxels": 1080})
    steps = collect_facts(tree.out, ["02"])["steps"]
    assert "select-graded-by-sources" in steps and "select-graded" not in steps


def test_own_responses_bring_the_text_of_their_estimator(tree):
    tree.path("betaseries", sub="01", task="see", run="1").write_bytes(b"x")
    steps = collect_facts(tree.out)["steps"]
    assert {"glm-ridge", "glm-model"} <= set(steps)
    assert steps["glm-model"]["high_pass_s"] == "128"
    render_methods({"steps": steps, "headings": HEADINGS})


def test_citation_files_are_written_once_and_equal(tree):
    facts = collect_facts(tree.out)
    paths = write_citation(tree.out, facts)
    assert [p.name for p in paths] == [f"CITATION.{e}" for e in ("md", "html", "tex", "bib")]
    before = [(p.stat().st_ino, p.read_bytes()) for p in paths]
    assert [(p.stat().st_ino, p.read_bytes()) for p in write_citation(tree.out, facts)] == before
    paths[0].unlink()
    paths[0].symlink_to(tree.out / "plan.json")
    plan = (tree.out / "plan.json").read_bytes()
    write_citation(tree.out, facts)
    assert not paths[0].is_symlink() and (tree.out / "plan.json").read_bytes() == plan


def test_no_stage_of_a_fresh_folder_is_claimed(tmp_path):
    text = render_methods(collect_facts(tmp_path))
    assert "registered" not in text and "trained" not in text


def test_wheel_carries_texts_and_template(tmp_path):
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("bids_decoder", "boilerplate"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    build = (
        "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=copy, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"bids_decoder/boilerplate/{step}.md" for step in PARTS}
    wanted |= {
        "bids_decoder/boilerplate/references.bib",
        "bids_decoder/data/report/report.html.j2",
        "bids_decoder/data/report/report.css",
        "bids_decoder/data/report/report.js",
        "bids_decoder/data/report/maps.js",
        "bids_decoder/data/report/slices.js",
        "bids_decoder/data/report/meshes.js",
    }
    assert wanted <= names


def test_a_text_encoder_is_named_in_place_of_a_table(tree):
    plan = read_json(tree.out / "plan.json")
    words = {"name": "MiniLM", "sha256": "0123456789abcdef" * 4}
    write_json(tree.out / "plan.json", {**plan, "target_kind": "features", "text_encoder": words})
    facts = collect_facts(tree.out)
    assert "targets-words" in facts["steps"] and "targets-features" not in facts["steps"]
    assert "“MiniLM” (SHA256 0123456789abcdef)" in render_methods(facts)
