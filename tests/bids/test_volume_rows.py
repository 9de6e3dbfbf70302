"""One trial for each volume, with what was shown at its time."""

from dataclasses import replace

import numpy as np

from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.bids.events import build_dataset_trials
from bids_decoder.bids.timing import GOOD_RECORDED, Recording
from bids_decoder.bids.volume_rows import expand_to_volumes
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import default_settings
from bids_decoder.files import write_json


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
    assert max(shown) == 30 - GOOD_RECORDED - 2
    assert (found["n_events"] == 1).all() and (found["duration"] == 2).all()


def test_runs_without_events_are_unlabelled_throughout():
    found = expand_to_volumes(trials([], [], []), Recording(10, 2.0))
    assert set(found["stimulus"].tolist()) == {UNLABELLED}
    assert len(found["onset"]) == 6


def test_runs_of_a_dataset_need_no_events(tmp_path):
    write_json(tmp_path / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.9.0"})
    stem = tmp_path / "sub-01" / "func" / "sub-01_task-rest_bold"
    rng = np.random.default_rng(0)
    save_nifti(stem.with_suffix(".nii.gz"), rng.normal(100, 9, (4, 4, 7, 30)), np.eye(4), t_r=2.0)
    write_json(stem.with_suffix(".json"), {"RepetitionTime": 2.0, "TaskName": "rest"})
    settings = default_settings(())
    trials = replace(settings.trials, trial_unit="volume", new_data=True, target="category")
    settings = replace(
        settings, trials=trials, execution=replace(settings.execution, bids_dir=tmp_path)
    )
    dataset = collect_dataset(settings)
    table = build_dataset_trials(dataset, settings).tables["01"]
    assert len(table) == 26 and not table["excluded"].any()
    events = replace(settings, trials=replace(trials, trial_unit="event"))
    assert not collect_dataset(events).runs
