"""Numbers as targets: columns of events files, their checks and their units."""

import numpy as np
import pytest

from bids_decoder.bids.values import join_values, read_values
from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode
from bids_decoder.trials import TRIAL_COLUMNS, VALUE

COLUMNS = ("onset", "duration", "trial_type", "rating", "rt")
RATINGS = ("3", "7.5", "1", "4", "9", "2", "6", "5")


def rows(ratings=RATINGS, times=None, step=6.0):
    times = times or [f"{0.3 + 0.01 * (k * 7 % 5):.2f}" for k in range(len(ratings))]
    return [
        (2 + step * k, 1, "heat", *cells)
        for k, cells in enumerate(zip(ratings, times, strict=True))
    ]


def build(bare, *tables, columns=COLUMNS, **rules):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    for number, table in enumerate(tables or (rows(), rows(RATINGS[::-1])), start=1):
        bare.run(run=str(number), rows=table, columns=columns)
    return bare.build(trials={"trial_unit": "event", **rules})


def problems(found, severity="error"):
    return [f for f in found.findings if f.severity == severity and "value" in str(f.what).lower()]


def test_values_become_a_column_of_the_trial_table(bare):
    found = build(bare, target="value", value_column=("rating", "rt"))
    assert found.target_kind == "value" and found.value_columns == ("rating", "rt")
    table = found.tables["01"]
    assert list(table)[:len(TRIAL_COLUMNS) + 1] == [*TRIAL_COLUMNS, VALUE]
    values = read_values(table[VALUE].tolist())
    assert values[:2].tolist() == [[3.0, 0.3], [7.5, 0.32]]
    assert not problems(found)


def test_naming_a_column_is_enough(bare):
    found = build(bare, value_column=("rating",))
    assert found.target_kind == "value" and not problems(found)
    assert VALUE not in build(bare).tables["01"]


def test_durations_can_be_decoded(bare):
    tables = [[(2 + 6 * k, 1 + 0.25 * (k * 5 % 7), "heat") for k in range(8)]] * 2
    columns = ("onset", "duration", "trial_type")
    found = build(bare, *tables, columns=columns, value_column=("duration",))
    assert read_values(found.tables["01"][VALUE].tolist())[1, 0] == 2.25


def test_decoded_values_are_no_confound(bare):
    found = build(bare, target="value", value_column=("rt",))
    assert not any(name.startswith("events.") for name in found.tables["01"])
    found = build(bare, target="value", value_column=("rating",))
    assert "events.rt" in found.tables["01"]


@pytest.mark.parametrize(("rules", "code", "said"), [
    ({"target": "value"}, ExitCode.USAGE, "no column with numbers is named"),
    ({"target": "value", "value_column": ("Ratings",)}, ExitCode.USAGE, "did you mean rating"),
    ({"target": "value", "value_column": ("trial_type",)}, ExitCode.BAD_DATA, "are no numbers"),
    ({"target": "category", "value_column": ("rt",)}, ExitCode.USAGE, "asks for something else"),
])
def test_wrong_columns_are_refused(bare, rules, code, said):
    found = problems(build(bare, **rules))
    assert [f.code for f in found] == [code]
    assert said in str(found[0])


def test_all_wrong_columns_are_named_at_once(bare):
    found = problems(build(bare, target="value", value_column=("pain", "trial_type", "rt")))
    assert [f.what.split()[1] for f in found] == ["pain", "trial_type"]


def test_a_column_that_some_runs_lack(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.run(run="1", rows=rows(), columns=COLUMNS)
    bare.run(run="2", rows=[row[:3] for row in rows()], columns=COLUMNS[:3])
    rules = {"target": "value", "value_column": ("rating",)}
    (found,) = problems(bare.build(trials=rules))
    assert "1 of 2 runs lack this column: sub-01 task-see_run-2" in found.why
    assert found.code == ExitCode.BAD_DATA


def test_trials_without_a_number_are_left_out_and_counted(bare):
    found = build(bare, rows(("n/a", *RATINGS[1:])), rows(("n/a", "n/a", *RATINGS[2:])),
                  target="value", value_column=("rating",))
    table = found.tables["01"]
    assert int(table["excluded"].sum()) == 3
    assert set(table["reason"].dropna()) == {"no value in rating"}
    (note,) = [f for f in found.findings if "3 of 16 trial(s) excluded" in f.what]
    assert "each column" not in note.fix


def test_constant_values_are_refused(bare):
    (found,) = problems(build(bare, rows(("5",) * 8), rows(("5",) * 8), target="value",
                              value_column=("rating",)))
    assert "is 5 in all 16 trials" in found.why
    (found,) = problems(build(bare, rows(("5",) * 8), rows(("6",) * 8), target="value",
                              value_column=("rating",)))
    assert "is the same in all trials of a run" in found.why


def test_doubtful_values_are_pointed_out(bare):
    found = build(bare, rows(("5",) * 8), rows(), target="value", value_column=("rating",))
    assert "does not vary in 1 of 2 runs" in problems(found, "warning")[0].why
    two = rows(tuple("01101001"))
    found = build(bare, two, two, target="value", value_column=("rating",))
    assert any("decode them as labels" in f.fix for f in problems(found, "warning"))
    drift = rows(tuple("12345678"))
    found = build(bare, drift, drift, target="value", value_column=("rating",))
    assert any("neighbouring trials have similar values" in f.why
               for f in problems(found, "warning"))
    assert not problems(build(bare, target="value", value_column=("rating",)), "warning")


def test_units_come_from_the_sidecar(bare):
    bare.json("task-see_events.json", {"rating": {"Units": "points"}, "rt": {"Units": "s"}})
    found = build(bare, target="value", value_column=("rating", "rt"))
    assert found.units == {"rating": "points", "rt": "s"}
    bare.json("sub-01/func/sub-01_task-see_run-1_events.json", {"rating": {"Units": "mm"}})
    assert build(bare, target="value", value_column=("rating",)).units == {"rating": "mm"}


def test_numbers_of_a_block_are_averaged():
    cells = [np.array(["1", "3", None, "8"], dtype=object), np.array(["2"] * 4, dtype=object)]
    texts = join_values(cells, np.array([0, 0, 1, 1]))
    assert texts.tolist() == ["2.0 2.0", "8.0 2.0"]
    assert join_values(cells, np.arange(4)).tolist() == ["1.0 2.0", "3.0 2.0", None, "8.0 2.0"]


def test_rules_are_the_defaults_without_values():
    assert TrialRules().value_column == ()
