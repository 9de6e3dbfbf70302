"""Seconds that nodes will take."""

from collections import Counter

import pytest

from bids_decoder.workflows.pace import Pace, kind_of

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
