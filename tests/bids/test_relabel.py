import shlex

import pytest

from bids_decoder.bids.relabel import parse_relabels
from bids_decoder.errors import ExitCode, UsageError

STIM = ("onset", "duration", "trial_type", "stim_file")


def steady(values, step=6.0):
    return [(2 + step * i, 1, *value) for i, value in enumerate(values)]


def one_run(bare, values, *relabel, columns=None, **trials):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.run(rows=steady(values), columns=columns)
    return bare.build(trials={"relabel": relabel, **trials})


def spelling(build):
    return [f for f in build.findings if "several spellings" in f.what]


def two_cases(toy):
    for sub in ("01", "02"):
        rows = steady([(c.upper(),) for c in "abcdabcdab"])
        toy.events(f"sub-{sub}/func/sub-{sub}_task-see_run-2_events.tsv", rows)


def test_labels_that_differ_in_case_are_said_and_joined(toy):
    two_cases(toy)
    build = toy.build()
    assert set(build.tables["01"]["label"]) == set("abcdABCD")
    (finding,) = spelling(build)
    assert finding.severity == "warning" and "4 label names" in finding.what
    assert "'a' (12 trials in 4 runs) and 'A' (6 trials in 2 runs)" in finding.why
    assert "1 more" in finding.why and "'d'" not in finding.why
    option = shlex.split(finding.fix.partition("--relabel ")[2])
    assert option == ["A=a", "B=b", "C=c", "D=d"]
    # What the message says to give mends it.
    build = toy.build(trials={"relabel": tuple(option)})
    assert set(build.tables["01"]["label"]) == set("abcd") == set(build.tables["01"]["stimulus"])
    assert not spelling(build) and not build.findings
    assert build.tables["01"].query("label == 'a'")["repeat"].tolist() == list(range(9))


def test_all_variants_are_among_the_decisions(toy):
    two_cases(toy)
    (decision,) = [d for d in toy.build().decisions if "several spellings" in d.what]
    assert "'d'" in decision.reason and decision.value == "4"


def test_stimuli_are_checked_beside_labels(bare):
    values = [("a", "007.png"), ("b", "7.png"), ("a", "8.png"), ("A", "9.png")]
    label, stimulus = spelling(one_run(bare, values, columns=STIM))
    assert "trial_type" in label.what and "stim_file" in stimulus.what
    assert "A=a" in label.fix and "=7.png" in stimulus.fix.replace("007.png=", "=")


def test_names_are_joined_and_dropped(bare):
    values = [(v,) for v in ("shoe", "boot", "cat", "dog", "shoe", "noise")]
    build = one_run(bare, values, "shoe|boot=footwear", "noise=")
    table = build.tables["01"]
    assert table["label"].tolist() == ["footwear", "footwear", "cat", "dog", "footwear"]
    assert table["repeat"].tolist() == [0, 1, 0, 0, 2]
    decisions = {(d.what, d.value, d.reason) for d in build.decisions}
    assert ("rows left out", "1", "--relabel noise=") in decisions
    assert ("relabelled", "shoe to footwear", "--relabel; 2 row(s)") in decisions


def test_names_are_replaced_at_once(bare):
    table = one_run(bare, [("a",), ("b",), ("c",)], "a=b", "b=a").tables["01"]
    assert table["label"].tolist() == ["b", "a", "c"]


def test_a_label_comes_before_a_stimulus_of_that_name(bare):
    values = [("1", "x"), ("2", "1"), ("1", "1"), ("2", "y")]
    table = one_run(bare, values, "1=one", "y=z", columns=STIM).tables["01"]
    assert table["label"].tolist() == ["one", "2", "one", "2"]
    assert table["stimulus"].tolist() == ["x", "1", "one", "z"]


def test_what_shows_nothing_is_kept_under_a_new_name(bare):
    values = [("a",), ("cue",), ("b",), ("rest",)]
    build = one_run(bare, values, "cue=c", "rest=")
    assert build.tables["01"]["label"].tolist() == ["a", "c", "b"]
    assert not [f for f in build.findings if f.severity == "error"]


def test_blocks_are_formed_from_new_names(bare):
    rows = [(2 + 18 * b + i, 0.5, "Aa"[i % 2] if label == "a" else label)
            for b, label in enumerate("abab") for i in range(8)]
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.run(rows=rows)
    build = bare.build(trials={"relabel": ("A=a",)})
    assert build.trial_unit == "block"
    assert build.tables["01"]["label"].tolist() == ["a", "b", "a", "b"]


def test_an_unknown_name_gets_the_nearest(bare):
    build = one_run(bare, [("face",), ("house",)], "Fcae=face")
    (finding,) = build.findings
    assert finding.code == ExitCode.USAGE and finding.fix == "did you mean face?"
    assert "face, house" in finding.why and not build.tables


def test_nothing_left_is_an_error(bare):
    build = one_run(bare, [("face",), ("house",)], "face|house=")
    (finding,) = build.findings
    assert "no row" in finding.why and not build.tables


def test_rows_of_beta_series_stay(bare):
    stem = "sub-01/func/sub-01_task-see_run-1_desc-singletrial"
    bare.image(f"{stem}_betaseries.nii.gz", (4, 4, 3, 4))
    bare.events(f"{stem}_trials.tsv", [(i, v) for i, v in enumerate(("a", "A", "b", "bad"), 1)],
                ("trial", "trial_type"))
    table = bare.build(trials={"relabel": ("A=a", "bad=")}).tables["01"]
    assert table["stimulus"].tolist() == ["a", "a", "b", "bad"]
    assert table["excluded"].tolist() == [False, False, False, True]
    assert table["reason"][3] == "--relabel bad="


@pytest.mark.parametrize("texts", [["face"], ["=x"], ["a|=x"], ["a=n/a"], ["a=b", "a=c"]])
def test_what_is_no_relabelling(texts):
    with pytest.raises(UsageError, match="--relabel"):
        parse_relabels(texts)


def test_cases_in_haxby(shared_data):
    skeleton = shared_data("haxby-1slice")
    build = skeleton.build(trials={"relabel": ("shoe|bottle=thing", "scissors=")})
    table = build.tables["1"]
    assert len(table) == 84 and (table["label"] == "thing").sum() == 24


def test_real_names_are_not_taken_for_variants(shared_data):
    for name in ("ds001499", "ds004192", "ds000105"):
        assert not spelling(shared_data(f"openneuro-text/{name}").build())
