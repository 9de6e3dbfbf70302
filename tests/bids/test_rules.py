import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.rows import read_events
from bids_decoder.bids.rules import check_rules, parse_rules, satisfy_all
from bids_decoder.errors import ExitCode, UsageError

TABLE = pd.DataFrame({
    "onset": [0.0, 2.0, 4.5, np.nan],
    "rt": pd.Series(["0.8", None, "2", "late"], dtype=object),
    "kind": pd.Series(["a", "b", None, "c"], dtype=object),
})


def rules(*texts):
    return parse_rules(texts, "--trial-filter")


def kept(*texts):
    return np.flatnonzero(satisfy_all(rules(*texts), TABLE)).tolist()


@pytest.mark.parametrize(("texts", "rows"), [
    (("rt>0.8",), [2]), (("rt>=0.8",), [0, 2]), (("rt<2",), [0]), (("rt <= 2",), [0, 2]),
    (("rt=n/a",), [1]), (("rt!=n/a",), [0, 2, 3]), (("kind=a|n/a",), [0, 2]),
    (("kind!=a|n/a",), [1, 3]), (("kind!=a",), [1, 2, 3]), (("kind=a|b", "rt!=n/a"), [0]),
    # Times are numbers: 2 is 2.0, and what is missing is in no order.
    (("onset=2",), [1]), (("onset!=2|n/a",), [0, 2]), (("onset<9",), [0, 1, 2]),
    # Text is text.
    (("rt=2.0",), []), (("onset>-1e3",), [0, 1, 2]),
])
def test_rows_that_satisfy_rules(texts, rows):
    assert kept(*texts) == rows


def test_a_table_without_the_column_has_missing_cells():
    bare = TABLE.drop(columns="rt")
    assert rules("rt!=n/a")[0].mask(bare).tolist() == [False] * 4
    assert rules("rt=n/a")[0].mask(bare).all()
    assert not rules("rt>0")[0].mask(bare).any()
    (finding,) = check_rules(rules("rt!=n/a"), [TABLE, bare], "events")
    assert finding.severity == "warning" and "1 of 2 lack" in finding.why


@pytest.mark.parametrize("text", ["kind", "=x", "kind=", "kind===x", "rt>", "rt>fast", "rt<=1|2",
                                  "rt=>2", ">2", "rt>nan"])
def test_what_is_no_rule(text):
    with pytest.raises(UsageError) as caught:
        rules(text)
    assert text in caught.value.finding.what and "--trial-filter '" in caught.value.finding.fix


def only(*texts):
    (finding,) = check_rules(rules(*texts), [TABLE], "events")
    return finding


def test_a_misspelt_column_gets_the_nearest_and_all():
    finding = only("knid=a")
    assert finding.severity == "error" and finding.code == ExitCode.USAGE
    assert "kind" in finding.fix and "kind, onset, rt" in finding.why


def test_a_misspelt_value_gets_the_nearest_and_all():
    table = pd.DataFrame({"kind": ["stimulus", "word"]})
    (finding,) = check_rules(rules("kind=stimulos"), [table], "events")
    assert finding.severity == "error" and finding.fix == "did you mean stimulus?"
    assert "stimulus, word" in finding.why
    (finding,) = check_rules(rules("kind=word|stimulos"), [table], "events")
    assert finding.severity == "warning"
    (finding,) = check_rules(rules("kind!=stimulos"), [table], "events")
    assert finding.severity == "warning"
    assert check_rules(rules("kind!=n/a", "kind!=word"), [table], "events") == []


def test_an_order_needs_numbers():
    finding = only("kind>2")
    assert finding.severity == "error" and "'a'" in finding.why
    assert check_rules(rules("rt>2"), [TABLE], "events") == []


def test_numbers_and_missing_cells_in_ds001499(shared_data):
    skeleton = shared_data("openneuro-text/ds001499")
    cells = pd.concat(read_events(run.events_file) for run in skeleton.dataset().runs)
    times = pd.to_numeric(cells["RT"], errors="coerce")
    assert 0 < (times <= 1.5).sum() < len(cells)

    def n_trials(*rules):
        tables = skeleton.build(trials={"trial_filter": rules}).tables
        return sum(len(table) for table in tables.values())

    assert n_trials("RT<=1.5") == (times <= 1.5).sum()
    assert n_trials("RT<=1.5", "ImgType=coco") == (
        (times <= 1.5) & (cells["ImgType"] == "coco")
    ).sum()
    assert n_trials("RT!=n/a") == cells["RT"].notna().sum()
    (finding,) = [f for f in skeleton.build(trials={"trial_filter": ("imgtype=coco",)}).findings
                  if f.severity == "error"]
    assert finding.fix == "did you mean ImgType?" and "Response" in finding.why
