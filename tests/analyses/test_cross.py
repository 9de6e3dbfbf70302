"""Cross-decoding: what the plan refuses, and a whole run on senses with and without shared code."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.cross.outputs import CROSS, NULLS, PREDICTIONS, correct_cells
from bids_decoder.analyses.cross.report import lines, sections, summary
from bids_decoder.analyses.cross.rows import _smallest_p
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError
from bids_decoder.evaluation.folds import is_crossed
from bids_decoder.evaluation.kinds import Sides, number_folds
from bids_decoder.files import write_json
from bids_decoder.reports.results import Results, sidecar_of
from bids_decoder.stimuli.duplicates import NearPair
from bids_decoder.trials import rule_columns

SHAPE, N_RUNS, SENSES, LABELS = (5, 4, 3), 4, ("felt", "heard", "seen"), ("cat", "dog")


def write_dataset(folder):
    """Beta series in which what is seen and heard share a code; what is felt has one of its own."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "senses", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    shared, own = np.linalg.qr(rng.normal(size=(np.prod(SHAPE), 2)))[0].T.reshape(2, *SHAPE)
    codes = {"seen": shared, "heard": shared, "felt": own}
    for run in range(1, N_RUNS + 1):
        stem = f"{folder}/sub-01/func/sub-01_task-feel_run-{run}_desc-singletrial"
        trials = [(sense, label) for sense in SENSES for label in LABELS] * 3
        trials = [trials[k] for k in rng.permutation(len(trials))]
        betas = rng.normal(size=(*SHAPE, len(trials)))
        for number, (sense, label) in enumerate(trials):
            betas[..., number] += 5 * codes[sense] * (1 if label == "dog" else -1)
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), np.eye(4) * 3)
        senses, labels = map(list, zip(*trials, strict=True))
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
            "stimulus": [f"{label}{k}" for k, label in enumerate(labels)],
            "label": labels, "sense": senses, "half": 1 + (run > N_RUNS // 2),
            "kind": [f"{sense}_{label}" for sense, label in trials], "number": np.arange(18) / 7,
        }))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("senses") / "data")


def words_for(folder, out, *words):
    return [str(folder), str(out), "participant", "--from-scratch", "--skip-bids-validation",
            "--target", "category", "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}",
            *words]


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


def rows_of(made):
    (job,) = [job for job in made.jobs if job.analysis == "cross"]
    return {row.train: row for row in job.spec.rows}


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
    assert all(not row.tests_own for row in rows_of(made).values())
    assert any("these cells of the matrix stay empty" in f.why for f in made.findings)
    assert all(row.tests_own for row in rows_of(plan("--generalise-over", "half")).values())


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


def test_smallest_p_of_stimuli_counts_what_is_exchanged():
    """Six stimuli, two in each run: pairs change places, 2 ** 3 arrangements."""
    table = pd.DataFrame({
        "stimulus": list("abcdef"), "run_group": list("xxyyzz"), "kind": "seen",
    })
    row = SimpleNamespace(
        by_stimulus=True, fits=lambda table: [Sides(np.zeros(6, bool), np.ones(6, bool))],
        members=lambda table, kind: np.ones(6, bool),
    )
    assert _smallest_p(table, row, "seen", 999) == pytest.approx(1 / 8)
    mixed = table.assign(run_group="x")
    assert _smallest_p(mixed, row, "seen", 99) == pytest.approx(1 / 100)
    assert _smallest_p(mixed, row, "seen", 9999) == pytest.approx(1 / 720)


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


# ---------------------------------------------------------------------------------------- stimuli

N_SEEN, N_IMAGINED = 24, 8


def write_pictures(folder):
    """Features of stimuli that are seen and imagined with one code; what is heard has another."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "pictures", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    names = [f"p{k:02d}" for k in range(N_SEEN)]
    vectors = rng.normal(size=(N_SEEN, 3))
    seen, heard = rng.normal(size=(2, 3, np.prod(SHAPE)))
    codes = {"seen": seen, "imagined": seen, "heard": heard}
    shown = [("seen", k) for k in range(N_SEEN)]
    shown += [(sense, k) for sense in ("imagined", "heard") for k in range(N_IMAGINED)]
    for run in range(1, N_RUNS + 1):
        stem = folder / "sub-01" / "func" / f"sub-01_task-see_run-{run}_desc-singletrial"
        trials = [shown[k] for k in rng.permutation(len(shown))]
        betas = np.stack([vectors[k] @ codes[sense] for sense, k in trials], axis=1)
        betas = (betas + rng.normal(size=betas.shape)).reshape(*SHAPE, -1)
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), np.eye(4) * 3)
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
            "stimulus": [names[k] for _, k in trials], "sense": [sense for sense, _ in trials],
            "role": ["test" if k >= N_SEEN - 4 else "train" for _, k in trials],
        }))
    table = pd.DataFrame(vectors, names, list("xyz")).rename_axis("stimulus").reset_index()
    save_table(folder.parent / "features.tsv", table)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data")


def stimulus_words(folder, out, *words):
    return [*words_for(folder, out), "--target", "features", "--features",
            str(folder.parent / "features.tsv"), "--split-column", "role", *words]


IMAGERY = ("--train-filter", "sense=seen", "--test-filter", "sense=imagined")


def test_tested_stimuli_are_held_out_of_training(pictures, tmp_path):
    words = stimulus_words(pictures, tmp_path / "out", *IMAGERY)
    made = make_plan(parse_args(words)[0], tmp_path / "work")
    (row,) = rows_of(made).values()
    assert row.by_stimulus and not row.classes
    table = made.study.usable_trials("01")
    (sides,) = row.fits(table)
    sense = rule_columns(table)["sense"]
    assert set(sense[sides.train]) == {"seen"} and set(sense[sides.test]) == {"imagined"}
    tested = {f"p{k:02d}" for k in range(N_IMAGINED)}
    assert set(table["stimulus"][sides.test]) == tested
    assert set(table["stimulus"][sides.train]) == {f"p{k:02d}" for k in range(N_SEEN)} - tested
    (job,) = [job for job in made.jobs if job.analysis == "cross"]
    assert job.spec.needs_vectors and job.spec.n_refits == 0


@pytest.mark.parametrize(("words", "part", "code"), [
    ((*IMAGERY, "--both-directions"), "0 of its 8 stimuli are not tested", 65),
    (("--train-filter", "sense=seen", "--test-filter", "sense=imagined", "stimulus=p01"),
     "1 stimulus is tested", 65),
    (("--generalise-over", "sense"), "compares labels", 64),
])
def test_stimuli_that_cannot_be_held_out_are_refused(pictures, tmp_path, words, part, code):
    words = stimulus_words(pictures, tmp_path / "out", *words)
    with pytest.raises(FindingsError) as caught:
        make_plan(parse_args(words)[0], tmp_path / "work")
    found = [f for f in caught.value.findings if f.severity == "error"]
    assert any(part in f.why and f.code == code for f in found), found


@pytest.mark.parametrize(("policy", "severity"), [("report", "warning"), ("stop", "error")])
def test_stimuli_nearly_the_same_on_both_sides_are_found(
    pictures, tmp_path, monkeypatch, policy, severity
):
    # One pair across the sides, one within the trained ones; the split has both on one side.
    pairs = [NearPair("p01", "p12", 0.9995), NearPair("p10", "p11", 0.9995)]
    monkeypatch.setattr("bids_decoder.cli.overlap.near_vectors", lambda *_: pairs)
    words = stimulus_words(pictures, tmp_path / "out", *IMAGERY, "--near-duplicates", policy)
    settings = parse_args(words)[0]
    try:
        findings = make_plan(settings, tmp_path / "work").findings
    except FindingsError as error:
        findings = error.findings
    (found,) = [f for f in findings if "nearly the same" in f.what]
    assert "both sides of cross-decoding" in found.what and found.severity == severity
    assert found.why.startswith("1 pair(s)") and "p01 ~ p12 (0.9995)" in found.why


@pytest.mark.slow
def test_imagined_stimuli_are_found_by_the_code_of_seen_ones(pictures, tmp_path):
    def scores(kind):
        out = tmp_path / kind
        words = stimulus_words(
            pictures, out, "-w", str(tmp_path / "work"), "--train-filter", "sense=seen",
            "--test-filter", f"sense={kind}", "--stage", "prepare", "cross",
            "--n-permutations", "99",
        )
        assert main(words) == 0
        table = Results(out, "01").table(CROSS)
        chosen = table[(table["model"] == "decoder") & (table["metric"] == "top1")
                       & (table["direction"] == "b2i") & (table["unit"] == "single")
                       & (table["similarity"] == "cosine")]
        assert len(chosen) == 1
        return chosen.iloc[0], Results(out, "01")

    own, results = scores("imagined")
    other, _ = scores("heard")
    assert float(own["value"]) > 0.5 and float(own["p"]) <= 0.02
    assert float(other["value"]) < 0.4 and float(own["chance"]) == pytest.approx(1 / N_IMAGINED)
    assert own["null"] == "fixed" and own["n"] == str(N_IMAGINED) and own["n_seen"] == "0"
    assert float(own["n_train"]) == N_RUNS * (N_SEEN - N_IMAGINED)
    predictions, nulls = results.table(PREDICTIONS), results.table(NULLS)
    assert len(predictions) == N_RUNS * N_IMAGINED and len(nulls) == 99
    assert set(predictions["pool_size"]) == {str(N_IMAGINED)}
    (section,) = sections(results)
    assert section.pictures and "generalise" in summary(results)[0].text
    assert "cross-decoding generalises in 1 of 1" in lines(results)[0]
    page = (results.output_dir / "sub-01.html").read_text(encoding="utf-8")
    assert "none was shown in training" in page
    methods = (results.output_dir / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "Stimuli of tested trials were held out of training" in methods
