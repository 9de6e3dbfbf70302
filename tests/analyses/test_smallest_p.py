"""The plan warns where no result could be significant."""

import pandas as pd
import pytest

from bids_decoder.analyses.decode.smallest_p import check_smallest_p, decide_test, n_tested
from bids_decoder.config import Evaluation


def table(stimuli, runs, labels=None, split="test"):
    return pd.DataFrame({
        "stimulus": stimuli, "run_group": runs, "label": labels or stimuli, "split": split,
        "excluded": False,
    })


@pytest.mark.parametrize(("held", "kind", "least"), [
    (table(list("abcd"), ["1", "1", "2", "2"]), "image", "0.25"),
    (table(list("abcdabcd"), ["1", "1", "2", "2"] * 2), "features", "0.25"),
    (table(list("abc"), ["1", "1", "1"]), "image", "0.17"),
    (table(list("abcd"), ["1", "1", "2", "2"], list("xyxy"), "cv"), "category", "0.25"),
    (table(list("abcd"), list("1122"), list("xxyy"), "cv"), "category", "0.5"),
])
def test_too_few_to_exchange_is_said(held, kind, least):
    rest = table(list("stuvwxyz"), ["9"] * 8, split="train")
    (found,) = check_smallest_p("07", pd.concat([held, rest], ignore_index=True), kind, 1000)
    assert found.severity == "warning" and found.participant == "07"
    assert found.why.startswith(f"{least}: {len(held)} held-out trials")


def test_enough_to_exchange_is_no_news():
    ten = table([f"s{k}" for k in range(10)], [str(k // 2) for k in range(10)])
    assert check_smallest_p("07", ten, "image", 1000) == []
    assert check_smallest_p("07", ten.assign(split="train"), "image", 1000) == []
    (few,) = check_smallest_p("07", ten, "image", 10)
    assert "10 permutations are too few" in few.why


def test_the_plan_says_how_labels_are_exchanged():
    crossed = table(list("abcdabcd"), list("11112222"), list("xyyxyxxy"), "cv")
    decision = decide_test(crossed, Evaluation())
    assert decision.value == "20 of trials within runs, everything fitted again"
    assert n_tested(crossed, Evaluation(n_refits=7)) == 7
    fixed = crossed.assign(split="test")
    assert decide_test(fixed, Evaluation()).value == "1000, predictions stay"
    assert n_tested(fixed, Evaluation(n_refits=7)) == 1000
