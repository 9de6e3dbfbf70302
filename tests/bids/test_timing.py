import pytest

from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.notes import DatasetNotes
from bids_decoder.bids.rows import read_events
from bids_decoder.bids.timing import Recording, RunTimes, judge_timing
from bids_decoder.errors import summarise

ONSETS = [4.0 + 7 * i for i in range(10)]
"""Seconds in a recording of 40 volumes of 2 s; the last event starts at 67 s."""


def build(bare, change=lambda onset: onset, runs="123", t_r=2.0, sub="01"):
    bare.json("task-see_bold.json", {"RepetitionTime": t_r})
    for run in runs:
        rows = [(change(onset), 1, "abcde"[i % 5]) for i, onset in enumerate(ONSETS)]
        bare.run(sub, run, rows=rows, t_r=t_r)
    return bare.build()


def named(built, words):
    return [f for f in built.findings if words in f.what]


def test_events_that_fit_are_not_questioned(bare):
    assert build(bare).findings == ()


def test_onsets_in_volumes_are_guessed(bare):
    built = build(bare, lambda onset: onset / 2)
    (finding,) = named(built, "end early")
    assert finding.severity == "warning" and finding.participant == "01"
    assert "43 % of the recordings" in finding.why and "34.5 of 80 s" in finding.why
    assert "in volumes" in finding.fix and "multiply onset by 2 " in finding.fix


def test_one_short_run_among_others_is_nothing_special(bare):
    built = build(bare)
    bare.events("sub-01/func/sub-01_task-see_run-2_events.tsv",
                [(4 + 4 * i, 1, "ab"[i % 2]) for i in range(5)])
    assert not named(built, "early") and not named(bare.build(), "early")


def test_onsets_in_volumes_of_less_than_a_second_are_outside(bare):
    # 40 volumes of 0.8 s: 32 s.
    built = build(bare, lambda onset: 0.45 * onset / 0.8, t_r=0.8)
    found = named(built, "outside of the recording")
    assert len(found) == 3 and {f.severity for f in found} == {"error"}
    assert "in volumes" in found[0].fix and "by 0.8 " in found[0].fix


@pytest.mark.parametrize(("factor", "unit"), [
    (1000, "in milliseconds"), (10_000, "in tenths of milliseconds"),
])
def test_onsets_in_smaller_units_are_guessed_once(bare, factor, unit):
    built = build(bare, lambda onset: onset * factor)
    found = named(built, "outside of the recording")
    assert len(found) == 3 and all(unit in f.fix for f in found)
    (joined,) = summarise(found, "the log")
    assert "run-1" in joined.what and "run-3" in joined.what


def test_a_few_trials_outside_in_every_run_are_explained(bare):
    # 40 volumes of 0.9 s: 36 s.
    built = build(bare, lambda onset: 0.5 * onset / 0.9, t_r=0.9)
    found = named(built, "trials excluded")
    assert len(found) == 3 and all("in volumes" in f.fix for f in found)


def test_onsets_in_minutes_are_guessed(bare):
    (finding,) = named(build(bare, lambda onset: onset / 60), "end early")
    assert "in minutes" in finding.fix and "by 60 " in finding.fix


def test_onsets_of_a_clock_are_guessed(bare):
    found = named(build(bare, lambda onset: onset + 36_000), "outside of the recording")
    assert len(found) == 3 and "earlier start" in found[0].fix


def test_a_wrong_repetition_time_is_guessed(bare):
    # Onsets fill 80 s, the sidecar says 40 * 1.2 s.
    found = named(build(bare, t_r=1.2), "outside of the recording")
    assert len(found) == 3 and "repetition time (1.2 s): one of 1.68 s or more" in found[0].fix


def test_a_run_that_was_stopped_early_is_explained(bare):
    build(bare)
    bare.run("01", "2", rows=[(onset, 1, "ab"[i % 2]) for i, onset in enumerate(ONSETS)],
             shape=(4, 4, 3, 25))
    (found,) = named(bare.build(), "outside of the recording")
    assert "run-2" in found.what and "remove the rows" in found.fix
    assert "have 80 s or more" in found.fix and "repetition time" not in found.fix


def test_a_late_start_in_all_runs_is_said(bare):
    (finding,) = build(bare, lambda onset: 34 + onset / 2).findings
    assert "start late" in finding.what and "45 % of the recordings" in finding.why
    assert finding.severity == "warning"


def test_single_trials_outside_are_told_once_for_all_runs(bare):
    built = build(bare, lambda onset: onset if onset < 60 else onset + 11)
    found = named(built, "trials excluded")
    (joined,) = summarise(found, "the log")
    assert len(found) == 3 and "1 of 10" in found[0].why and "run-3" in joined.what


def test_real_recordings_are_not_questioned(shared_data):
    for name in ("haxby-1slice", "localizer"):
        findings = shared_data(name).build().findings
        assert not [f for f in findings if "in all runs" in f.what or "outside" in f.what]


def test_haxby_in_volumes(shared_data):
    skeleton = shared_data("haxby-1slice")
    times = []
    for run in collect_dataset(skeleton.settings()).runs:
        onsets = read_events(run.events_file)["onset"] / 2.5
        times.append(RunTimes(run, Recording(121, 2.5), onsets.min(), onsets.max(),
                              onsets.max() + 0.5, len(onsets), 0, (), False))
    notes = DatasetNotes()
    judge_timing(times, notes)
    (finding,) = notes.findings
    assert "end early" in finding.what and "multiply onset by 2.5 " in finding.fix
