"""Confounds: what the plan refuses, and a whole run on labels that follow reaction time."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from app_calls import call_here

from bids_decoder.analyses.controls.outputs import CONTROLS
from bids_decoder.analyses.controls.report import sections
from bids_decoder.analyses.controls.verdict import worries
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.errors import FindingsError
from bids_decoder.files import read_json, write_json
from bids_decoder.reports.results import Results

SHAPE, N_RUNS, LABELS = (5, 4, 3), 4, ("cat", "dog") * 8


def write_dataset(folder, **columns):
    """Beta series that follow reaction time, which follows the label; nothing else differs."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "slow", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    pattern = rng.normal(size=SHAPE)
    for run in range(1, N_RUNS + 1):
        stem = f"{folder}/sub-01/func/sub-01_task-see_run-{run}_desc-singletrial"
        labels = rng.permutation(LABELS)
        slow = np.where(labels == "dog", 1.0, 0.6) + rng.normal(0, 0.2, len(labels))
        betas = rng.normal(size=(*SHAPE, len(labels))) + 4 * pattern[..., None] * slow
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), np.eye(4) * 3)
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
            "stimulus": [f"{label}{run}" for label in labels], "label": labels,
            "response_time": slow, "hand": rng.permutation(["left", "right"] * 8), "one": 1, **{
                name: make(rng, len(labels)) for name, make in columns.items()
            },
        }))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(
        tmp_path_factory.mktemp("slow") / "data",
        holes=lambda rng, n: np.where(np.arange(n) == 2, np.nan, rng.normal(size=n)),
    )


def words_for(folder, out, *words):
    return [str(folder), str(out), "participant", "--from-scratch", "--skip-bids-validation",
            "--target", "category", "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}",
            "--n-permutations", "2", *words]


@pytest.fixture
def plan(data, tmp_path):
    def make(*words):
        settings, _ = parse_args(words_for(data, tmp_path / "out", *words))
        return make_plan(settings, tmp_path / "work")

    return make


def refused(plan, *words):
    with pytest.raises(FindingsError) as caught:
        plan(*words)
    return [f for f in caught.value.findings if f.severity == "error"]


def test_participants_without_trials_are_not_matched(data, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    for path in (data / "sub-01" / "func").iterdir():
        other = folder / "sub-02" / "func" / path.name.replace("sub-01", "sub-02")
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other)
        if path.name.endswith("_trials.tsv"):
            save_table(other, read_table(path).assign(label=None))
    words = words_for(folder, tmp_path / "out", "--control", "response_time",
                      "--confound-removal", "counterbalance")
    found = refused(lambda: make_plan(parse_args(words)[0], tmp_path / "work"))
    assert any(one.what == "sub-02: no trials" for one in found)
    assert not any("counterbalance" in one.what for one in found)


def names_of(made):
    (job,) = [job for job in made.jobs if job.analysis == "controls"]
    return job.spec.names


def test_order_signal_and_reaction_time_are_always_looked_at(plan):
    assert names_of(plan()) == ("trial_order", "mean_signal", "response_time")
    asked = names_of(plan("--control", "hand", "response_time"))
    assert asked == ("hand", "response_time", "trial_order", "mean_signal")


def test_the_headline_is_in_the_plan(plan):
    made = plan()
    assert made.record["headline_score"] == {"metric": "balanced_accuracy"}
    assert "headline score" in {decision.what for decision in made.decisions}


def test_absent_columns_are_refused_with_the_nearest_names(plan):
    found = refused(plan, "--control", "respons_time", "hnad")
    assert [finding.code for finding in found] == [64, 64]
    assert "response_time" in found[0].fix
    assert "hand" in found[1].fix


@pytest.mark.parametrize(("words", "part", "code"), [
    (("--control", "one"), "in all trials", 65),
    (("--control", "holes"), "4 of 64 trials", 65),
    (("--control", "label"), "what is decoded", 64),
    (("--control", "framewise_displacement"), "no motion parameters", 66),
    (("--confound-removal", "regress"), "no confound", 64),
    (("--confound-removal", "counterbalance"), "no confound", 64),
    (("--control", "mean_signal", "--confound-removal", "counterbalance"), "known only when", 64),
    (("--control", "holes", "--confound-removal", "counterbalance"), "4 of 64 trials", 65),
])
def test_columns_that_explain_nothing_are_refused(plan, words, part, code):
    (finding,) = refused(plan, *words)
    assert part in finding.why
    assert finding.code == code


def test_all_problems_are_found_at_once(plan):
    found = refused(plan, "--control", "one", "holes", "label")
    assert len(found) == 3


def test_removal_changes_what_is_fitted_but_not_the_betas(plan):
    def keys(*words):
        jobs = plan(*words).jobs
        return {stage.key.stage: stage.key.key for job in jobs for stage in job.stages}

    before, after = keys("--control", "hand"), keys(
        "--control", "hand", "--confound-removal", "regress"
    )
    assert before["betas"] == after["betas"] == keys()["betas"]
    assert before["decode"] == keys()["decode"] != after["decode"]
    assert before["controls"] != keys()["controls"]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    found = {}
    for name, more in {"kept": (), "removed": ("--confound-removal", "regress"),
                       "balanced": ("--confound-removal", "counterbalance")}.items():
        out = tmp_path_factory.mktemp(name) / "out"
        words = ("--control", "response_time", "--troi", "all", *more)
        assert call_here(*words_for(data, out, *words)).code == 0
        found[name] = Results(out, "01")
    return found


def accuracy(table, model):
    rows = table[(table["model"] == model) & (table["metric"] == "balanced_accuracy")]
    return float(rows["value"].iloc[0])


def test_the_confound_alone_decodes_and_its_removal_leaves_chance(runs):
    kept, removed = runs["kept"], runs["removed"]
    assert accuracy(kept.table("metrics"), "decoder") > 0.65
    assert accuracy(removed.table("metrics"), "decoder") < 0.65
    assert accuracy(removed.table("metrics"), "ridge-all") < 0.65
    for results in (kept, removed):
        controls = results.table(CONTROLS)
        assert accuracy(controls, "response_time") > 0.65
        assert accuracy(controls, "trial_order") < 0.75


def test_counterbalancing_leaves_matched_trials_and_chance(runs):
    balanced = runs["balanced"]
    assert accuracy(balanced.table("metrics"), "ridge-all") < 0.65
    assert accuracy(balanced.table(CONTROLS), "response_time") < 0.65
    kept = pd.concat(read_table(path) for path in balanced.files("trials"))
    left_out = kept[kept["reason"].astype(str).str.contains("counterbalance")]
    assert 0 < len(left_out) < 56 and (left_out["excluded"] == "True").all()
    used = kept[kept["excluded"] == "False"]
    assert used["label"].value_counts().nunique() == 1
    (section,) = sections(balanced)
    assert any("Trials were left out until" in str(block) for block in section.blocks)


def test_tables_have_sidecars_and_refitted_nulls(runs):
    (path,) = runs["removed"].files(CONTROLS)
    table, card = read_table(path), read_json(path.with_suffix(".json"))
    assert set(table) <= set(card)
    assert card["Removed"] == ["response_time"]
    assert set(table["null"]) == {"refitted"}
    assert set(table["n_null"]) == {"2"}


def test_the_report_says_what_confounds_decode(runs):
    (section,) = sections(runs["removed"])
    text = " ".join(block.text for block in section.blocks if block.kind == "text")
    assert "“response_time” alone decodes" in text
    assert "Regressed out" in text
    (table,) = [block for block in section.blocks if block.kind == "table"]
    assert table.rows[0][0] == "responses: the decoder"
    assert len(table.rows) == 4
    # With two permutations no p-value is small.
    assert worries(runs["removed"]) == []


def test_other_scores_carry_corrected_p_values(runs):
    table = runs["kept"].table("metrics")
    own = table[table["model"] == "decoder"].set_index("metric")
    assert own.loc["balanced_accuracy", "p_holm"] is None
    others = own.drop(index="balanced_accuracy")[["p", "p_holm"]].astype(float)
    assert (others["p_holm"] >= others["p"]).all()
    assert (runs["kept"].output_dir / "sub-01.html").read_text().count("fixed in the plan") == 1
