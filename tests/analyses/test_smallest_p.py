"""The plan warns where no result could be significant."""

from dataclasses import replace

import pandas as pd
import pytest

from bids_decoder.analyses.decode.smallest_p import check_smallest_p, decide_test, n_tested
from bids_decoder.analyses.refits import count_refits, parts_of
from bids_decoder.config import Evaluation, Network, Settings


def table(stimuli, runs, labels=None, split="test"):
    return pd.DataFrame({
        "stimulus": stimuli, "run_group": runs, "label": labels or stimuli, "split": split,
        "excluded": False, "fold": pd.factorize(pd.Series(runs))[0] + 1 if split == "cv" else 1,
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
    (found,) = check_smallest_p(("07", pd.concat([held, rest], ignore_index=True), 1000), kind)
    assert found.severity == "warning" and found.participant == "07"
    assert found.why.startswith(f"{least}: {len(held)} held-out trials")


def test_enough_to_exchange_is_no_news():
    ten = table([f"s{k}" for k in range(10)], [str(k // 2) for k in range(10)])
    assert check_smallest_p(("07", ten, 1000), "image") == []
    assert check_smallest_p(("07", ten.assign(split="train"), 1000), "image") == []
    (few,) = check_smallest_p(("07", ten, 10), "image")
    assert "10 permutations are too few" in few.why


def test_the_plan_says_how_labels_are_exchanged():
    crossed = table(list("abcdabcd"), list("11112222"), list("xyyxyxxy"), "cv")
    decision = decide_test(crossed, Evaluation(), 1000, is_batched=True)
    assert decision.value == "1000 of trials within runs, everything fitted again"
    assert "fitted together, in closed form; baselines other than ridge-all" in decision.reason
    decision = decide_test(crossed, Evaluation(), 10, is_batched=False)
    assert "one after the other" in decision.reason and "baselines" not in decision.reason
    assert n_tested(crossed, Evaluation(), 7) == 7
    fixed = crossed.assign(split="test")
    assert decide_test(fixed, Evaluation(), 7, is_batched=False).value == "1000, predictions stay"
    assert n_tested(fixed, Evaluation(), 7) == 1000


@pytest.mark.parametrize(("changed", "is_pretrained", "expected"), [
    ({}, False, 1000), ({}, True, 100), ({"decoder": "deeplight"}, False, 100),
    ({"finetune_epochs": 3}, False, 100),
])
def test_as_many_refits_as_are_affordable(changed, is_pretrained, expected):
    settings = replace(Settings(), network=Network(**changed))
    assert count_refits(settings, "category", is_pretrained) == expected
    asked = replace(settings, evaluation=Evaluation(n_refits=0))
    assert count_refits(asked, "category", is_pretrained) == 0


@pytest.mark.parametrize("batched", [True, False])
def test_parts_hold_each_permutation_once(batched):
    parts = list(parts_of(1003, batched))
    assert [n for first, count in parts for n in range(first, first + count)] == list(range(1003))
    assert list(parts_of(0, batched)) == []
