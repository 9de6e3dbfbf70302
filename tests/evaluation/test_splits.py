import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from split_tables import choose, dealt, haxby, nsd, once_each, table, things

from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, InputError, LeakageError
from bids_decoder.evaluation.folds import (
    assert_no_test,
    fold_list,
    resolve_fold,
)
from bids_decoder.evaluation.held_out import Split, apply_split
from bids_decoder.evaluation.splits import choose_split

DATA = Path(__file__).resolve().parents[2] / "../shared/data/openneuro-text"


def errors(findings):
    return [f for f in findings if f.severity == "error"]


def test_nsd_like_design_tests_on_shared_images():
    split, decisions, findings = choose(nsd())
    assert split.kind == "stimuli"
    assert set(split.test_stimuli) == {f"shared{i}" for i in range(20)}
    assert "20 of 260 stimuli" in decisions[0].reason
    assert not findings
    applied = apply_split(nsd(), split)["0"]
    assert (applied["split"] == "test").sum() == 60
    assert (applied["fold"].dropna() == 1).all()


def test_a_new_person_with_few_repeats_keeps_the_test_set():
    tables = nsd()
    first = tables["0"].drop_duplicates("stimulus")
    split, *_ = choose({**tables, "0": first})
    assert len(split.test_stimuli) == 20


def test_things_like_design_tests_on_repeated_images():
    tables = things()
    assert choose(tables)[0].test_stimuli == tuple(sorted(f"test{i}" for i in range(10)))
    assert choose({"0": tables["0"]})[0].kind == "stimuli"


def test_immediate_repetitions_are_no_repeats():
    runs = [[f"r{r}_{i // 2}" if i < 6 else f"r{r}_{i}" for i in range(30)] for r in range(6)]
    split, *_ = choose({"0": table(runs), "1": table(runs)})
    assert split.kind == "heldout-runs"


def test_haxby_like_design_crosses_over_runs():
    split, _, findings = choose(haxby(), "category")
    assert split.kind == "runs"
    assert not findings
    applied = apply_split(haxby(), split)["0"]
    assert set(applied["split"]) == {"cv"}
    assert fold_list(applied) == list(range(1, 13))
    assert (applied.groupby("run_group")["fold"].nunique() == 1).all()


@pytest.mark.parametrize(("labels", "n_folds"), [
    ("aabbccaabbcc", 4), ("aaabbb", 3), ("aaaabbbb", 3), ("a" * 6 + "b" * 6, 6),
    ("aaaaabbb", 2), ("abc" * 10, 10), ("ab" * 20, 12),
])
def test_folds_hold_out_runs_of_every_label_where_each_run_has_one(labels, n_folds):
    one = table([[letter] * 3 for letter in labels], labels=str)
    split, *_ = choose({"0": one}, "category")
    label_of = dict(zip(one["run_group"], one["label"], strict=True))
    found = split.folds["0"]
    assert len(found) == n_folds
    assert sorted(run for fold in found for run in fold) == sorted(label_of)
    assert all({label_of[run] for run in fold} == set(labels) for fold in found)
    assert "each run has one label" in split.reason


def test_many_runs_are_dealt_to_twelve_folds():
    split, *_ = choose(haxby(30), "category")
    sizes = [len(runs) for runs in split.folds["0"]]
    assert len(sizes) == 12
    assert set(sizes) == {2, 3}


def test_tasks_in_neighbouring_runs_stay_learnable():
    tasks = [t for t in "abcdefgh" for _ in range(2)]
    tables = {"0": table([[t] * 4 for t in tasks], labels=str)}
    split, _, findings = choose(tables, "category")
    assert not findings
    assert not apply_split(tables, split)["0"]["excluded"].any()


def test_images_shown_once_hold_out_whole_runs():
    split, _, findings = choose(once_each())
    assert split.kind == "heldout-runs"
    assert len(split.folds["0"][0]) == 2
    assert split.folds["0"] == split.folds["1"]
    assert len(split.test_stimuli) == 20
    assert not findings


def test_everything_repeated_everywhere_holds_out_a_share_of_stimuli():
    names = [f"im{i}" for i in range(100)]
    tables = {"0": table(dealt(3 * names, 6, 0))}
    split, _, findings = choose(tables)
    assert split.kind == "stimuli"
    assert len(split.test_stimuli) == 20
    assert not findings
    assert choose(tables)[0] == split
    assert choose_split(tables, "image", TrialRules(), 2)[0] != split


def test_a_share_of_stimuli_is_a_share_for_everybody():
    tables = {
        f"{p}": table(dealt([f"{p}_{i}" for i in range(40)] * 2, 4, p)) for p in range(5)
    }
    split, *_ = choose(tables)
    for applied in apply_split(tables, split).values():
        assert (applied["split"] == "test").mean() == pytest.approx(0.2)


def test_test_runs_of_images_pull_their_stimuli_out_of_training_for_all():
    first = table([["a", "b"], ["c", "d"], ["e", "f"], ["g", "a"]])
    second = table([["c", "e"], ["x", "y"], ["a", "z"], ["q", "r"]])
    tables = {"1": first, "2": second}
    split, _, findings = choose(tables, test_runs=("04",))
    assert split.test_stimuli == ("a", "g", "q", "r")
    applied = apply_split(tables, split)
    lost = applied["2"][applied["2"]["excluded"]]
    assert lost["stimulus"].tolist() == ["a"]
    assert lost["reason"].tolist() == ["its stimulus is a test stimulus"]
    assert lost["split"].tolist() == [None]
    assert {f.participant for f in findings if "lost" in f.why} == {"1", "2"}


def test_sessions_and_runs_are_taken_together():
    days = ["a", "a", "b", "b"]
    tables = {"1": table([["p", "q"]] * 4, labels=str, session=days)}
    split, *_ = choose(tables, "category", test_sessions=("b",))
    assert split.folds["1"] == (("ses-b_run-03", "ses-b_run-04"),)
    split, *_ = choose(tables, "category", test_sessions=("b",), test_runs=("03",))
    assert split.folds["1"] == (("ses-b_run-03",),)
    assert split.test_stimuli == ()


@pytest.mark.parametrize("label", ["3", "03", "003"])
def test_test_runs_are_found_whatever_their_leading_zeros(label):
    first, second = (table([["p", "q"]] * 4, labels=str) for _ in range(2))
    second["run"] = second["run"].str.lstrip("0")
    split, _, findings = choose({"1": first, "2": second}, "category", test_runs=(label,))
    assert split.folds == {"1": (("run-03",),), "2": (("run-03",),)}
    assert not errors(findings)


@pytest.mark.parametrize(("rules", "listed"), [
    ({"test_runs": ("99",)}, "01, 02, 03"), ({"test_sessions": ("9",)}, "none"),
])
def test_unknown_labels_list_what_there_is(rules, listed):
    *_, findings = choose(once_each(), **rules)
    first = errors(findings)[0]
    assert listed in first.why
    assert first.code == ExitCode.USAGE


def test_split_column_for_images():
    tables = things()
    for t in tables.values():
        t["split_source"] = np.where(t["stimulus"].str.startswith("test"), "test", "train")
    tables["0"].loc[0, "split_source"] = "catch"
    tables["0"].loc[1, "stimulus"] = "test3"
    split, _, findings = choose(tables, split_column="trial_type")
    assert not findings
    applied = apply_split(tables, split)["0"]
    assert applied.loc[0, "reason"] == "column trial_type says neither train nor test"
    assert applied.loc[1, "reason"] == "its stimulus is a test stimulus"
    assert set(split.test_stimuli) == {f"test{i}" for i in range(10)}


def test_split_column_for_labels_needs_whole_runs():
    tables = haxby()
    for t in tables.values():
        t["split_source"] = np.where(t["run"].isin(["01", "02"]), "test", "train")
    split, _, findings = choose(tables, "category", split_column="part")
    assert (split.kind, split.folds["1"]) == ("heldout-runs", (("run-01", "run-02"),))
    assert not findings
    tables["1"].loc[0, "split_source"] = "train"
    *_, findings = choose(tables, "category", split_column="part")
    assert "run-01" in errors(findings)[0].why


@pytest.mark.parametrize(("values", "why"), [(None, "no such column"), ("old", "found old")])
def test_split_column_that_cannot_be_used(values, why):
    tables = things()
    for t in tables.values():
        if values:
            t["split_source"] = values
    *_, findings = choose(tables, split_column="part")
    assert why in errors(findings)[0].why
    *_, findings = choose(tables, split_column="part", test_runs=("01",))
    assert "together" in errors(findings)[0].why


def test_one_run_of_labels_is_an_error_and_two_a_warning():
    split, _, findings = choose(haxby(1), "category")
    assert {f.participant for f in errors(findings)} >= {"0", "1"}
    assert "there is one run" in errors(findings)[0].why
    # Responses and contrasts of the one run are wanted all the same.
    assert not apply_split(haxby(1), split)["0"]["excluded"].any()
    *_, findings = choose(haxby(2), "category")
    assert findings
    assert not errors(findings)


def test_split_survives_json():
    for tables, kind in ((nsd(), "image"), (haxby(), "category"), (once_each(), "features"),
                         ({"0": table([list("abcdefghijkl")] * 3)}, "features")):
        split, *_ = choose(tables, kind)
        assert Split.from_dict(json.loads(json.dumps(split.to_dict()))) == split


def test_one_of_two_people_with_repeats_suffices_and_one_of_three_does_not():
    tables = nsd(3)
    once = {p: tables[p].drop_duplicates("stimulus") for p in "12"}
    assert "test_share" not in choose({"0": tables["0"], "1": once["1"]})[0].options
    assert "test_share" in choose({"0": tables["0"], **once})[0].options


@pytest.mark.parametrize(("n_shared", "n_own", "chosen"), [
    (10, 80, 10), (9, 80, 0), (20, 40, 20), (20, 39, 0),
])
def test_a_test_set_of_the_design_is_large_enough_and_at_most_half(n_shared, n_own, chosen):
    """Shared stimuli twice, others once: as many trials at 20 and 40."""
    shared = [f"shared{i}" for i in range(n_shared)]
    tables = {p: table(dealt(2 * shared + [f"own{p}_{i}" for i in range(n_own)], 5, int(p)))
              for p in "12"}
    split, *_ = choose(tables, test_share=0.2)
    designed = split.kind == "stimuli" and "test_share" not in split.options
    assert designed == (chosen > 0) and (not designed or len(split.test_stimuli) == chosen)


@pytest.mark.parametrize(("labels", "folds"), [
    ("abc", (("run-01",), ("run-02",), ("run-03",))),
    ("aab", (("run-01",), ("run-02",), ("run-03",))),
    ("aabb", (("run-01", "run-03"), ("run-02", "run-04"))),
])
def test_runs_are_held_out_one_by_one_unless_two_labels_have_several(labels, folds):
    one = table([[letter] * 3 for letter in labels], labels=str)
    split, *_ = choose({"0": one}, "category")
    assert split.folds["0"] == folds
    assert ("each run has one label" in split.reason) == (labels == "aabb")


def test_reason_tells_how_many_runs_participants_have():
    tables = {"0": haxby(5)["0"], "1": haxby(3)["1"], "2": haxby(4)["1"]}
    assert "4 labels over 3 to 5 runs per participant" in choose(tables, "category")[0].reason
    assert "over 12 runs" in choose(haxby(), "category")[0].reason


@pytest.mark.parametrize(("n_runs", "kind"), [(2, "stimuli"), (3, "heldout-runs")])
def test_two_runs_are_left_to_learn_from(n_runs, kind):
    one = table([[f"r{r}_{i}" for i in range(10)] for r in range(n_runs)])
    split, *_ = choose_split({"0": one}, "image", TrialRules(test_share=0.01), 1, pretrains=True)
    assert split.kind == kind
    assert len(split.test_stimuli) == (1 if kind == "stimuli" else 10)


@pytest.mark.parametrize(("n_back", "kind"), [(2, "heldout-runs"), (3, "stimuli")])
def test_runs_are_held_out_while_others_lose_at_most_a_twentieth(n_back, kind):
    """Stimuli of one run come back in the others: 2 or 3 in the 40 trials of two runs."""
    first = [[f"r{r}_{i}" for i in range(20)] for r in range(3)]
    seen = choose({"0": table(first)})[0].folds["0"][0]
    held = int(seen[0][-1]) - 1
    others = [run for run in range(3) if run != held]
    for number in range(n_back):
        first[others[number % 2]][number] = first[held][number]
    split, *_ = choose_split({"0": table(first)}, "image", TrialRules(), 1, pretrains=True)
    assert split.kind == kind


@pytest.mark.parametrize(("share", "n_test"), [(0.01, 1), (0.2, 6), (0.999, 30)])
def test_a_share_is_at_least_one_stimulus_and_spread_over_those_who_saw_them(share, n_test):
    tables = {f"{p}": table([[f"{p}_{i}" for i in range(15)]] * 4) for p in range(2)}
    split, *_ = choose_split(tables, "image", TrialRules(test_share=share), 1, pretrains=True)
    assert len(split.test_stimuli) == n_test
    each = [sum(name.startswith(p) for name in split.test_stimuli) for p in "01"]
    assert max(each) - min(each) <= n_test % 2


def test_labels_that_are_not_there_are_compared_with_those_that_are():
    alone = {"1": table([["p", "q"]] * 2, labels=str).assign(run=None)}
    for name, known in (("run-01", True), ("run-7", False)):
        _, _, findings = choose(alone, "category", test_runs=(name,))
        assert any("there are: run-01, run-02" in f.why for f in findings) != known
    _, _, findings = choose(alone, "category", test_sessions=("a",))
    assert any(f.why == "no such label; there are: none" for f in findings)
    many = {"1": table([["p", "q"]] * 22, labels=str)}
    _, _, findings = choose(many, "category", test_runs=("99",))
    assert any(f.why.endswith("19, 20 and 2 more") for f in findings), findings


def test_unknown_participant_is_an_error():
    split, *_ = choose(haxby(), "category")
    with pytest.raises(InputError, match="99"):
        apply_split({"99": haxby()["0"]}, split)


def test_folds_are_resolved():
    trials = apply_split(haxby(), choose(haxby(), "category")[0])["0"]
    with pytest.raises(LeakageError, match="cv"):
        assert_no_test(trials, np.arange(len(trials)))
    third = resolve_fold(trials, 3)
    assert third.loc[third["split"] == "test", "run"].unique().tolist() == ["03"]
    assert_no_test(third, (third["split"] == "train").to_numpy())
    source = resolve_fold(trials, None)
    assert_no_test(source, np.arange(len(source)))
    still = apply_split(nsd(), choose(nsd())[0])["0"]
    pd.testing.assert_frame_equal(resolve_fold(still, 1), still)


designs = st.lists(
    st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=12), min_size=2, max_size=8),
    min_size=1, max_size=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(people=designs, option=st.sampled_from(["none", "runs", "column"]), seed=st.integers(0, 9))
def test_repeats_never_straddle(people, option, seed):
    tables = {f"{p}": table([[f"s{i}" for i in run] for run in runs])
              for p, runs in enumerate(people)}
    rng = np.random.default_rng(seed)
    for t in tables.values():
        t["split_source"] = rng.choice(["train", "test"], len(t))
    rules = {"none": {}, "runs": {"test_runs": ("01",)}, "column": {"split_column": "part"}}[option]
    split, *_ = choose_split(tables, "image", replace(TrialRules(), **rules), seed)
    applied = pd.concat(apply_split(tables, split).values())
    seen = {role: set(applied.loc[applied["split"] == role, "stimulus"])
            for role in ("train", "test")}
    assert not seen["train"] & seen["test"]
    folds_of = applied[applied["split"] == "cv"].groupby("stimulus")["fold"].nunique()
    assert (folds_of == 1).all()
    assert (applied["excluded"] == applied["split"].isna()).all()
    assert (applied["excluded"] == applied["reason"].notna()).all()


@pytest.mark.shared_data
@pytest.mark.parametrize(("dataset", "column", "task"), [
    ("ds001499", "stim_file", "5000scenes"), ("ds004192", "file_path", "things"),
])
def test_real_designs(dataset, column, task):
    files = sorted((DATA / dataset).glob(f"sub-*/**/*task-{task}*_events.tsv"))
    if not files:
        pytest.skip(f"no events of {dataset} beside the checkout")
    runs = {}
    for path in files:
        person = path.name.split("_")[0]
        stimuli = pd.read_csv(path, sep="\t", dtype=str)[column].dropna()
        runs.setdefault(person, []).append(stimuli.tolist())
    tables = {person: table(lists) for person, lists in runs.items()}
    split, *_ = choose(tables)
    applied = pd.concat(apply_split(tables, split).values())
    test = set(applied.loc[applied["split"] == "test", "stimulus"])
    assert test
    assert not test & set(applied.loc[applied["split"] == "train", "stimulus"])
