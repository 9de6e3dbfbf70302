"""Cross-decoding of stimuli: what is held out and refused, and whole runs."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sense_data import N_IMAGINED, N_RUNS, N_SEEN, rows_of, stimulus_words, write_pictures

from bids_decoder.analyses.cross.outputs import CROSS, NULLS, PREDICTIONS
from bids_decoder.analyses.cross.report import lines, sections, summary
from bids_decoder.analyses.cross.rows import _smallest_p
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError
from bids_decoder.evaluation.kinds import Sides
from bids_decoder.reports.results import Results
from bids_decoder.stimuli.duplicates import NearPair
from bids_decoder.trials import rule_columns


def test_smallest_p_of_stimuli_counts_what_is_exchanged():
    """Six stimuli, two in each run: pairs change places, 2 ** 3 arrangements."""
    table = pd.DataFrame({
        "stimulus": list("abcdef"), "run_group": list("xxyyzz"), "kind": "seen",
    })
    row = SimpleNamespace(
        by_stimulus=True, fits=lambda table: [Sides(np.zeros(6, bool), np.ones(6, bool))],
        tested=lambda table, kind: np.ones(6, bool),
    )
    assert _smallest_p(table, row, "seen", 999) == pytest.approx(1 / 8)
    mixed = table.assign(run_group="x")
    assert _smallest_p(mixed, row, "seen", 99) == pytest.approx(1 / 100)
    assert _smallest_p(mixed, row, "seen", 9999) == pytest.approx(1 / 720)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data")


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
    (("--generalise-over", "sense"), "seen: 20 and 4", 65),
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


# ------------------------------------------------------------------------------------------ matrix

KINDS, N_TEST = ("heard", "imagined", "seen"), 8
TESTED = {f"p{k:02d}" for k in range(N_SEEN - N_TEST, N_SEEN)}


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """All stimuli in all senses; eight are marked as test stimuli."""
    return write_pictures(tmp_path_factory.mktemp("matrix") / "data", N_SEEN, N_TEST)


def matrix_of(folder, tmp_path, *words):
    words = stimulus_words(folder, tmp_path / "out", "--generalise-over", "sense", *words)
    return make_plan(parse_args(words)[0], tmp_path / "work")


def test_no_row_of_a_matrix_is_trained_on_a_stimulus_that_any_kind_tests(complete, tmp_path):
    made = matrix_of(complete, tmp_path)
    rows, table = rows_of(made), made.study.usable_trials("01")
    sense = rule_columns(table)["sense"]
    assert list(rows) == list(KINDS) and rows["imagined"].tests == ["imagined", "heard", "seen"]
    for name, row in rows.items():
        (sides,) = row.fits(table)
        assert set(sense[sides.train]) == {name} and set(sense[sides.test]) == set(KINDS)
        assert set(table["stimulus"][sides.test]) == TESTED
        assert not set(table["stimulus"][sides.train]) & TESTED
        assert len(set(table["stimulus"][sides.train])) == N_SEEN - N_TEST
        kind_of = row.kind_of(table)
        assert ((kind_of == None) == ~sides.test).all()  # noqa: E711
    (job,) = [job for job in made.jobs if job.analysis == "cross"]
    assert job.spec.n_refits == 0 and not any(row.crosses_own for row in rows.values())


def test_test_stimuli_that_some_kind_lacks_are_on_neither_side(tmp_path):
    made = matrix_of(write_pictures(tmp_path / "data", N_SEEN - 2, N_TEST), tmp_path)
    (warning,) = [f for f in made.findings if "2 test stimuli left out" in f.why]
    assert "p22, p23" in warning.why
    table = made.study.usable_trials("01")
    for row in rows_of(made).values():
        (sides,) = row.fits(table)
        assert set(table["stimulus"][sides.test]) == TESTED - {"p22", "p23"}
        assert not set(table["stimulus"][sides.train]) & TESTED


def test_kinds_without_test_stimuli_are_trained_on_and_those_with_few_others_tested(tmp_path):
    """What is heard is a test set only, and what is imagined a training set only."""
    folder = write_pictures(tmp_path / "data", N_SEEN, N_TEST)
    for path in folder.glob("sub-01/func/*_trials.tsv"):
        table = pd.read_csv(path, sep="\t")
        unused = ((table["sense"] == "heard") & (table["role"] == "train")) | (
            (table["sense"] == "imagined") & (table["role"] == "test"))
        table.assign(role=table["role"].mask(unused, "none")).to_csv(path, sep="\t", index=False)
    made = matrix_of(folder, tmp_path)
    assert {name: row.tests for name, row in rows_of(made).items()} == {
        "imagined": ["heard", "seen"], "seen": ["seen", "heard"],
    }
    said = [f.why for f in made.findings]
    assert any("no decoder is trained on heard" in why for why in said)
    assert any("no decoder is tested on imagined" in why for why in said)


def test_a_matrix_needs_test_stimuli_in_common_and_no_folds(complete, tmp_path):
    def refused(words):
        with pytest.raises(FindingsError) as caught:
            make_plan(parse_args(words)[0], tmp_path / "work")
        return [(f.why, f.code) for f in caught.value.findings if f.severity == "error"]

    words = stimulus_words(complete, tmp_path / "out", "--generalise-over", "sense")
    place = words.index("--split-column")
    ((why, code),) = refused(words[:place] + words[place + 2:])
    assert "in folds of few" in why and code == 64
    # Of the stimuli that are imagined and heard, one is a test stimulus.
    folder = write_pictures(tmp_path / "data", N_SEEN - N_TEST + 1, N_TEST)
    words = stimulus_words(folder, tmp_path / "out", "--generalise-over", "sense")
    ((why, code),) = refused(words)
    assert "1 test stimuli occur at all of the values heard, imagined, seen" in why and code == 65


def cells_of(out):
    table = Results(out, "01").table(CROSS)
    chosen = table[(table["model"] == "decoder") & (table["metric"] == "top1")
                   & (table["direction"] == "b2i") & (table["unit"] == "averaged")
                   & (table["similarity"] == "cosine")]
    assert len(chosen) == 9 and set(chosen["null"]) == {"fixed"}
    assert set(chosen["n"]) == {str(N_TEST)} and set(chosen["n_seen"]) == {"0"}
    return chosen.set_index(["train", "test"])[["value", "chance", "p"]].astype(float)


def run_matrix(folder, out, work):
    words = stimulus_words(
        folder, out, "-w", str(work), "--generalise-over", "sense", "--stage", "prepare", "cross",
        "--n-permutations", "199",
    )
    assert main(words) == 0
    return cells_of(out)


@pytest.mark.slow
def test_kinds_with_one_code_generalise_to_new_stimuli_and_the_other_does_not(complete, tmp_path):
    out = tmp_path / "out"
    cells = run_matrix(complete, out, tmp_path / "work")
    assert np.allclose(cells["chance"], 1 / N_TEST)
    shared = [(a, b) for a in KINDS for b in KINDS if a == b or "heard" not in (a, b)]
    assert cells.loc[shared, "value"].min() > 0.5 and cells.loc[shared, "p"].max() <= 0.02
    others = cells.drop(index=shared)
    assert len(others) == 4 and others["value"].mean() < 0.3
    results = Results(out, "01")
    (section,) = sections(results)
    assert section.pictures and "pairs of kinds of trials generalise" in summary(results)[0].text
    assert "of 6 cells" in lines(results)[0]
    predictions, nulls = results.table(PREDICTIONS), results.table(NULLS)
    assert len(predictions) == 9 * N_RUNS * N_TEST and len(nulls) == 9 * 199
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "not even in another kind of trials" in page and "Framed: within a kind" in page
    methods = (out / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "held out of training in all kinds of trials" in methods
    assert "everything was fitted again" not in methods


@pytest.mark.slow
def test_wrong_vectors_are_at_chance_in_all_cells(complete, tmp_path):
    """A decoder that had seen responses to tested stimuli would find them by any vectors."""
    folder = tmp_path / "data"
    folder.symlink_to(complete)
    table = pd.read_csv(complete.parent / "features.tsv", sep="\t")
    order = np.random.default_rng(1).permutation(len(table))
    table.assign(stimulus=table["stimulus"].to_numpy()[order]).to_csv(
        tmp_path / "features.tsv", sep="\t", index=False)
    cells = run_matrix(folder, tmp_path / "out", tmp_path / "work")
    assert cells["value"].mean() < 0.25
