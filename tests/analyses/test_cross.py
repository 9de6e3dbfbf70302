"""Cross-decoding: what the plan refuses, and a whole run on senses with and without shared code."""

import numpy as np
import pandas as pd
import pytest
from sense_data import SENSES, rows_of, words_for, write_dataset

from bids_decoder.analyses.cross.outputs import CROSS, NULLS, PREDICTIONS, correct_cells
from bids_decoder.analyses.cross.report import lines, sections, summary
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError
from bids_decoder.evaluation.folds import is_crossed
from bids_decoder.evaluation.kinds import Sides, number_folds
from bids_decoder.reports.results import Results, sidecar_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("senses") / "data")


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


SIDES = ("--train-filter", "sense=seen", "--test-filter", "sense=heard")


def test_it_runs_only_when_kinds_are_given(plan):
    before = plan()
    assert not [job for job in before.jobs if job.analysis == "cross"]
    made = plan(*SIDES)
    assert list(rows_of(made)) == ["sense=seen"]
    assert "cross-decoding" in {decision.what for decision in made.decisions}
    only = plan(*SIDES, "--stage", "prepare", "cross")
    assert {step.stage for step in only.steps if step.todo} == {"betas", "cross"}


def test_other_stages_do_not_depend_on_the_kinds(plan):
    def keys(*words):
        return {s.key.stage: s.key.key for job in plan(*words).jobs for s in job.stages}

    before, after = keys(), keys(*SIDES)
    assert before == {stage: key for stage, key in after.items() if stage != "cross"}
    other = keys("--train-filter", "sense=seen", "--test-filter", "sense=felt")
    assert other["cross"] != after["cross"] != keys(*SIDES, "--both-directions")["cross"]
    assert keys(*SIDES, "--nprocs", "2")["cross"] == after["cross"]


def test_both_directions_and_the_matrix(plan):
    both = rows_of(plan(*SIDES, "--both-directions"))
    assert {name: row.tests for name, row in both.items()} == {
        "sense=seen": ["sense=heard"], "sense=heard": ["sense=seen"],
    }
    matrix = rows_of(plan("--generalise-over", "sense"))
    assert list(matrix) == list(SENSES)
    assert matrix["heard"].tests == ["heard", "felt", "seen"]


def test_cells_that_cannot_be_significant_after_correction_are_warned_about(plan):
    def warned(*words):
        found = plan("--generalise-over", "sense", *words).findings
        return [f for f in found if "smallest possible p-value" in f.what]

    # One of 40 is below .05; 9 of 40 are not.
    (warning,) = warned("--n-permutations", "39")
    assert "9 of 9 cells" in warning.why and "corrected" in warning.why
    assert not [f for f in warned("--n-permutations", "999") if "9 of 9" in f.why]


def test_levels_of_one_run_each_have_no_diagonal(plan):
    made = plan("--generalise-over", "run")
    assert all(not row.crosses_own for row in rows_of(made).values())
    assert any("these cells of the matrix stay empty" in f.why for f in made.findings)
    assert all(row.crosses_own for row in rows_of(plan("--generalise-over", "half")).values())


def test_rules_are_those_before_relabelling(plan):
    words = ("--label-column", "kind", "--relabel", "seen_cat|heard_cat|felt_cat=cat",
             "seen_dog|heard_dog|felt_dog=dog")
    rows = rows_of(plan(*words, "--train-filter", "kind=seen_cat|seen_dog", "--test-filter",
                        "kind=heard_cat|heard_dog"))
    (row,) = rows.values()
    assert row.classes == ["cat", "dog"]


@pytest.mark.parametrize(("words", "part", "code"), [
    (("--train-filter", "sense=seen"), "--test-filter is not given", 64),
    (("--both-directions",), "--train-filter and --test-filter", 64),
    (("--stage", "cross"), "no kinds", 64),
    (("--train-filter", "sense=seen", "--test-filter", "half=1"), "12 trials", 64),
    (("--train-filter", "sense=seen", "--test-filter", "sense=tasted"), "tasted", 64),
    (("--train-filter", "sense=seen", "--test-filter", "sens=heard"), "has such a column", 64),
    (("--generalise-over", "sens"), "has such a column", 64),
    (("--generalise-over", "session"), "0 value(s)", 65),
    (("--generalise-over", "label"), "0 label(s)", 65),
    (("--generalise-over", "stimulus"), "values; a matrix may have", 64),
    (("--train-filter", "sense=seen", "--test-filter", "sense=heard", "label=cat"),
     "not on both sides: dog", 65),
    (("--train-filter", "sense=seen", "label=cat", "--test-filter", "sense=heard", "label=cat"),
     "all trials have the label cat", 65),
    (("--train-filter", "sense=seen", "half=1", "number>3", "--test-filter", "sense=heard"),
     "no usable trial", 65),
    (("--train-filter", "sense=seen", "run=1", "--test-filter", "sense=heard", "run=1"),
     "fewer than 2 training trials", 65),
    ((*SIDES, "--train-filter", "sense"), "is not a rule", 64),
])
def test_kinds_that_allow_no_comparison_are_refused(plan, words, part, code):
    found = refused(plan, *words)
    assert any(part in f"{f.why} {f.what}" and f.code == code for f in found), found


def test_all_problems_are_found_at_once(plan):
    found = refused(plan, "--train-filter", "sens=seen", "--test-filter", "sense=tasted",
                    "--generalise-over", "halves")
    assert len(found) == 3
    assert "sense" in found[0].fix


def test_holm_counts_the_cells_of_each_measure():
    table = pd.DataFrame({
        "model": "decoder", "metric": ["a", "a", "b"], "p": ["0.01", "0.04", "0.04"],
    })
    table = table.assign(train="x", test=["y", "z", "y"])
    assert correct_cells(table)["p_holm"].tolist() == [0.02, 0.04, 0.04]


def test_holm_does_not_count_the_pools_of_a_cell():
    """Pools of 300 and of all tested stimuli, of which the cells have different numbers."""
    table = pd.DataFrame({
        "train": "x", "test": ["y", "y", "z", "z"], "model": "decoder", "metric": "top1",
        "pool_size": [300, 412, 300, 350], "p": [0.01, 0.02, 0.04, 0.03],
    })
    assert correct_cells(table)["p_holm"].tolist() == [0.02, 0.04, 0.04, 0.04]


def test_trials_that_no_fit_tests_have_no_fold():
    test = np.array([False, True, False, True])
    (first, second) = Sides(~test, test), Sides(test, np.array([True, False, False, False]))
    trials = pd.DataFrame({"fold": number_folds([first], 4), "split": "train"})
    assert trials["fold"].fillna(0).tolist() == [0, 1, 0, 1]
    assert not is_crossed(trials[first.train])
    assert number_folds([first, second], 4).fillna(0).tolist() == [2, 1, 0, 1]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    words = words_for(
        data, folder / "out", "-w", str(folder / "work"), "--generalise-over", "sense",
        "--stage", "prepare", "cross", "--n-permutations", "3",
    )
    assert main(words) == 0
    return words, Results(folder / "out", "01")


@pytest.mark.slow
def test_senses_with_one_code_generalise_and_the_other_does_not(run):
    table = run[1].table(CROSS)
    table = table[(table["model"] == "decoder") & (table["metric"] == "balanced_accuracy")]
    value = {(a, b): float(v) for a, b, v in zip(table["train"], table["test"], table["value"],
                                                 strict=True)}
    assert len(value) == 9
    assert min(value[sense, sense] for sense in SENSES) > 0.8
    assert min(value["seen", "heard"], value["heard", "seen"]) > 0.8
    across = [value[pair] for pair in value if "felt" in pair and pair != ("felt", "felt")]
    assert 0.25 < np.mean(across) < 0.75
    null = dict(zip(table["test"] == table["train"], table["null"], strict=True))
    assert null == {True: "refitted", False: "fixed"}
    assert set(table["n_fits"]) == {"4"} and set(table["n_train"]) == {"18"}
    named = pd.to_numeric(table["p_names"], errors="coerce")
    assert named.isna().tolist() == (table["test"] == table["train"]).tolist()
    assert named.dropna().isin([0.5, 1.0]).all()  # two labels


@pytest.mark.slow
def test_tables_nulls_report_and_second_call(run):
    words, results = run
    nulls, predictions = results.table(NULLS), results.table(PREDICTIONS)
    assert len(nulls) == 9 * 3 and len(predictions) == 9 * 24
    assert sidecar_of(results.files(CROSS)[0])["GeneraliseOver"] == "sense"
    models = set(results.table(CROSS)["model"])
    assert {"decoder", "ridge-all", "ridge-random", "svm-all"} <= models
    (section,) = sections(results)
    assert section.pictures and "generalise" in summary(results)[0].text
    assert "cross-decoding" in lines(results)[0]
    page = (results.output_dir / "sub-01.html").read_text(encoding="utf-8")
    assert "Cross-decoding" in page and "Kaplan" in page
    before = results.files(CROSS)[0].stat().st_mtime_ns
    assert main(words) == 0
    assert results.files(CROSS)[0].stat().st_mtime_ns == before
