"""One trial for each volume, with what was shown at its time."""

import numpy as np

from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.bids.timing import GOOD_RECORDED, Recording
from bids_decoder.bids.volume_rows import expand_to_volumes


def trials(onset, duration, label):
    names = np.array(label, dtype=object)
    return {"onset": np.array(onset, float), "duration": np.array(duration, float),
            "stimulus": names, "label": names}


def test_volumes_have_the_label_of_their_time():
    found = expand_to_volumes(trials([4, 10], [4, 0], ["a", "b"]), Recording(15, 2.0))
    shown = dict(zip(found["onset"].tolist(), found["label"].tolist(), strict=True))
    assert {time for time, name in shown.items() if name == "a"} == {4.0, 6.0}
    # An event without a duration lasts one volume.
    assert {time for time, name in shown.items() if name == "b"} == {10.0}
    assert shown[0.0] == shown[8.0] == shown[12.0] == UNLABELLED
    assert max(shown) == 30 - GOOD_RECORDED
    assert (found["n_events"] == 1).all() and (found["duration"] == 2).all()


def test_runs_without_events_are_unlabelled_throughout():
    found = expand_to_volumes(trials([], [], []), Recording(10, 2.0))
    assert set(found["stimulus"].tolist()) == {UNLABELLED}
    assert len(found["onset"]) == 7
