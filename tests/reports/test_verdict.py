"""The box at the top of a report: answers, how sure they are, worries."""

from __future__ import annotations

import pandas as pd
import pytest

from bids_decoder.analyses.decode.verdict import few_trials, label_worries, no_test
from bids_decoder.analyses.prepare.verdict import exclusion_worries, motion_worries
from bids_decoder.reports.blocks import Worry
from bids_decoder.reports.scores import compare
from bids_decoder.reports.verdict import judge, with_worries


def score(metric="balanced_accuracy", **columns):
    row = {
        "model": "decoder", "metric": metric, "split": "cv", "value": 0.5, "chance": 0.25,
        "ci_low": 0.4, "ci_high": 0.6, "p": 0.001, "p_min": 0.001, "n": 200, "pool_size": 4,
    }
    (found,) = compare(pd.DataFrame([{**row, **columns}]).astype(str), {})
    return found


@pytest.mark.parametrize(("state", "columns"), [
    ("yes", {}),
    ("yes", {"p": "nan", "p_min": "nan"}),
    ("yes", {"p": 0.05, "p_min": 0.05}),
    ("undecided", {"value": 0.28, "ci_low": 0.18, "ci_high": 0.4, "p": 0.3}),
    ("no", {"value": 0.25, "ci_low": 0.2, "ci_high": 0.3, "p": 0.5}),
    ("undecided", {"value": 0.25, "ci_low": 0.2, "ci_high": 0.3, "p": 0.5, "p_min": 0.25}),
    # Six times chance, and an interval that excludes chance though the test does not.
    ("undecided", {"metric": "top1", "value": 0.02, "chance": 1 / 300, "ci_low": 0.01,
                   "ci_high": 0.03, "p": 0.06}),
    ("undecided", {"value": 0.3, "ci_low": 0.26, "ci_high": 0.32, "p": 0.2}),
    ("undecided", {"metric": "top1", "value": 0.005, "chance": 1 / 300, "ci_low": 0.001,
                   "ci_high": 0.03, "p": 0.4}),
    ("no", {"metric": "top1", "value": 0.0035, "chance": 1 / 300, "ci_low": 0.002,
            "ci_high": 0.0045, "p": 0.4}),
    ("undecided", {"value": 0.2, "ci_low": "nan", "ci_high": "nan", "p": 0.5}),
    ("undecided", {"metric": "median_rank", "value": 9, "chance": 9, "ci_low": 8.9,
                   "ci_high": 9.1, "p": 0.5}),
])
def test_answer_follows_from_test_and_interval(state, columns):
    assert judge(score(**columns), "category").state == state


def test_how_sure_is_said_with_numbers():
    said = " ".join(judge(score(), "category").certainty).replace("\N{NO-BREAK SPACE}", " ")
    assert "probability of 0.001" in said and "between 40.0 % and 60.0 %" in said
    assert "chance is 25.0 %" in said and "remain possible" not in said
    weak = judge(score(p=0.3, ci_low=0.2), "category")
    assert "scores up to 60.0" in weak.certainty[-1] and "not distinguishable" in weak.text
    few = judge(score(p=0.25, p_min=0.25), "category")
    assert "could not have decided" in few.certainty[1]
    assert "The test cannot tell it from chance." in few.text
    assert "not distinguishable" not in few.text
    unknown = judge(score(ci_low="nan", ci_high="nan"), "category")
    assert "There is no interval" in unknown.certainty[-1]
    assert "no 95 % interval: too few runs" in unknown.text and "nan" not in unknown.text


def test_question_names_what_is_predicted():
    top = score("r", target="valence", value=0.3, chance=0, ci_low=0.1, ci_high=0.5)
    assert "“valence”" in judge(top, "value").question


def test_an_answer_is_not_valid_where_training_and_test_share_data():
    answer = judge(score(), "category")
    harmless = Worry("Few trials.", "split")
    assert with_worries([answer], [harmless]).answers[0].state == "yes"
    leak = Worry("Shared.", "overlap", "bad", invalidates=True)
    assert with_worries([answer], [harmless, leak]).answers[0].state == "invalid"


def test_few_trials_are_a_worry():
    (worry,) = few_trials(score(n=24))
    assert "rests on 24" in worry.text and few_trials(score(n=30)) == []


def test_rare_and_unbalanced_labels_are_a_worry():
    assert label_worries(pd.Series(["a"] * 12 + ["b"] * 10)) == []
    (unbalanced,) = label_worries(pd.Series(["a"] * 40 + ["b"] * 10))
    assert "40 held-out trials of “a”, 10 of “b”" in unbalanced.text
    (rare,) = label_worries(pd.Series(["a"] * 6 + ["b"] * 5))
    assert "2 of 2 labels have fewer than 8" in rare.text
    assert label_worries(pd.Series(dtype=object)) == []


def test_runs_with_much_motion_are_named():
    still = pd.DataFrame({"framewise_displacement": ["n/a", *["0.1"] * 9]})
    moved = pd.DataFrame({"framewise_displacement": ["n/a", *["0.1"] * 6, *["0.9"] * 3]})
    assert motion_worries({"run-1": still}, 0.5) == []
    (worry,) = motion_worries({"run-1": still, "run-2": moved}, 0.5)
    assert "in 1 of 2 runs (run-2)" in worry.text and worry.section == "preprocessing"
    assert motion_worries({"run-2": moved}, 1.0) == []


def test_many_excluded_trials_are_a_worry():
    def trials(n_excluded):
        excluded = [str(i < n_excluded) for i in range(10)]
        return {"run-1": pd.DataFrame({"split": "cv", "excluded": excluded})}

    assert exclusion_worries(trials(2)) == [] and exclusion_worries({}) == []
    assert "3 of 10 trials" in exclusion_worries(trials(3))[0].text


def test_a_test_that_cannot_decide_is_a_worry():
    (worry,) = no_test(score(p=0.25, p_min=0.25))
    assert "smallest p-value that the test can give is 0.25" in worry.text
    assert no_test(score()) == [] and no_test(score(p="nan", p_min="nan")) == []
