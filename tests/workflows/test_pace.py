"""Seconds that nodes will take."""

from collections import Counter

import pytest

from bids_decoder.workflows import pace as module
from bids_decoder.workflows.pace import Kind, Pace, kind_of

MOTION, BIAS, MARK = (kind_of("preprocess", name) for name in ("motion_1", "bias", "mark_3"))


def test_nodes_take_what_others_of_their_kind_took():
    pace = Pace()
    pace.record(kind_of("preprocess", "motion_0"), 20.0)
    pace.record(MOTION, 40.0)
    assert pace.one(kind_of("preprocess", "motion_7")) == 30.0
    assert pace.seconds(Counter({MOTION: 3})) == 90.0


def test_other_kinds_are_in_proportion_to_the_table():
    pace = Pace()
    usual = pace.one(BIAS)
    pace.record(MOTION, 7 * pace.one(MOTION))
    assert pace.one(BIAS) == pytest.approx(7 * usual)
    assert pace.one(BIAS) > 50 * pace.one(MARK)


def test_the_longest_beginning_counts():
    pace = Pace()
    assert pace.one(kind_of("preprocess", "to_person_1")) < pace.one(
        kind_of("preprocess", "to_MNI152NLin2009aSym5"))


def test_nodes_may_end_while_the_rest_is_asked_for(monkeypatch):
    """Live lines are drawn in another thread; a kind may end of which no node had ended before."""
    pace, usual = Pace(), module._usual
    pace.record(MOTION, 3.0)

    def record_and_look(kind: Kind) -> float:
        pace.record(BIAS, 10.0)
        return usual(kind)

    monkeypatch.setattr(module, "_usual", record_and_look)
    assert pace.seconds(Counter({MOTION: 2})) == 6.0
