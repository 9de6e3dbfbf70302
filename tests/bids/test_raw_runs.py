"""Derivatives that are shorter than the raw run, for whatever reason."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.events import build_dataset_trials
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.raw_runs import RawRuns, check_events, cut_runs, whole_volumes, with_raw_runs
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import ExitCode
from bids_decoder.workflows.glm import start_time

N_RAW, T_R = 40, 2.0


def bold(folder, name, n_volumes, metadata, source, **given):
    path = folder / f"{name}_bold.nii.gz"
    path.parent.mkdir(exist_ok=True)
    save_nifti(path, np.zeros((2, 2, 2, n_volumes), np.int16), np.eye(4),
               t_r=metadata["RepetitionTime"])
    entities = parse_entities(path)
    further = {k: v for k, v in entities.items() if k in ("echo", "part")}
    return BoldRun(entities["sub"], None, "see", entities["run"], source, further,
                   metadata=metadata, bold_file=path, **given)


class Pair:
    """One raw run and what was made of it."""

    def __init__(self, folder):
        self.folder = folder
        self.raw_metadata = {"RepetitionTime": T_R}

    def write(self, n_volumes=N_RAW, t_r=T_R, name="run-1", **sidecar):
        raw = bold(self.folder / "raw", "sub-01_task-see_run-1", N_RAW, self.raw_metadata, "raw")
        derived = bold(self.folder / "fp", f"sub-01_task-see_{name}", n_volumes,
                       {"RepetitionTime": t_r, **sidecar}, "fmriprep")
        (self.run,) = with_raw_runs([derived], RawRuns([raw]))
        return self

    def seconds(self, discarded=None):
        """How much earlier onsets are; None where that is an error."""
        ((run,), self.decisions, self.findings) = cut_runs([self.run], discarded)
        self.errors = [f for f in self.findings if f.severity == "error"]
        return None if self.errors else run.cut_seconds


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def test_equal_lengths_are_silent(pair):
    assert pair.write().seconds() == 0
    assert pair.findings == pair.decisions == []


def test_fewer_volumes_without_a_reason_stop_the_run(pair):
    assert pair.write(N_RAW - 2).seconds() is None
    (error,) = pair.errors
    assert error.code == ExitCode.BAD_DATA and error.participant == "01"
    assert "38 volumes (76 s), but the raw run has 40 volumes (80 s)" in error.why
    assert "--discarded-volumes N" in error.fix
    assert error.place == str(pair.run.image_file)


def test_the_option_shifts_the_onsets(pair):
    assert pair.write(N_RAW - 2).seconds(2) == 4.0
    (decision,) = pair.decisions
    assert decision.value == "4 s earlier in 1 run(s)"
    assert decision.reason == "--discarded-volumes 2"


def test_volumes_cut_off_at_the_end_shift_nothing(pair):
    assert pair.write(N_RAW - 2).seconds(0) == 0
    assert pair.seconds(1) == 2.0


def test_the_option_cannot_say_more_than_is_lacking(pair):
    assert pair.write(N_RAW - 2).seconds(3) is None
    assert pair.errors[0].code == ExitCode.USAGE
    assert "lacks 2 of the 40 volumes" in pair.errors[0].why


def test_more_volumes_than_the_raw_run(pair):
    assert pair.write(N_RAW + 1).seconds() is None
    assert "41 volumes (82 s), but the raw run has 40" in pair.errors[0].why
    assert pair.seconds(0) is None


def test_the_sidecar_of_the_derivative_explains_it(pair):
    assert pair.write(N_RAW - 3, NumberOfVolumesDiscardedByUser=3).seconds() == 6.0
    assert "NumberOfVolumesDiscardedByUser" in pair.decisions[0].reason
    assert pair.seconds(2) is None
    assert "says that 3 are discarded" in pair.errors[0].why


def test_the_raw_sidecar_speaks_of_volumes_never_stored(pair):
    """Copied from the raw sidecar the number shifts nothing; beyond it, it does."""
    pair.raw_metadata["NumberOfVolumesDiscardedByUser"] = 4
    assert pair.write().seconds() == 0
    assert pair.write(NumberOfVolumesDiscardedByUser=4).seconds() == 0
    assert pair.write(N_RAW - 1, NumberOfVolumesDiscardedByUser=5).seconds() == 2.0
    assert pair.write(N_RAW - 4, NumberOfVolumesDiscardedByUser=4).seconds() is None


def test_a_sidecar_that_says_more_than_is_lacking(pair):
    assert pair.write(N_RAW, NumberOfVolumesDiscardedByUser=4).seconds() is None
    assert "NumberOfVolumesDiscardedByUser: 4" in pair.errors[0].why


def test_start_time_beyond_one_repetition_counts_volumes(pair):
    pair.write(N_RAW - 4, StartTime=4 * T_R + 0.9, SliceTimingCorrected=True)
    assert pair.seconds() == 8.0
    assert start_time(pair.run) == pytest.approx(0.9)
    both = {"StartTime": 4 * T_R + 0.9, "NumberOfVolumesDiscardedByUser": 3}
    assert pair.write(N_RAW - 4, **both).seconds() is None
    assert "contradicts itself" in pair.errors[0].why


def test_resampled_in_time_agrees_by_its_duration(pair):
    assert pair.write(2 * N_RAW, t_r=1.0).seconds() == 0
    assert pair.write(2 * N_RAW - 8, t_r=1.0).seconds() is None
    assert "no sidecar explains it" in pair.errors[0].why
    assert pair.seconds(4) == 8.0


def test_a_copied_number_needs_the_raw_image(pair):
    """Without the raw image it is unknown whether a stated number was cut off here."""
    pair.write(N_RAW - 4, NumberOfVolumesDiscardedByUser=4)
    pair.run.raw.image_file.write_text("/annex/objects/MD5E-s1--b.nii.gz\n")
    assert pair.seconds() is None
    assert "is absent" in pair.errors[0].why
    assert pair.seconds(4) == 8.0


def test_without_raw_images_the_plan_says_so(pair):
    pair.write(N_RAW - 4)
    pair.run.raw.image_file.write_text("/annex/objects/MD5E-s1--b.nii.gz\n")
    assert pair.seconds() == 0
    (warning,) = pair.findings
    assert warning.severity == "warning" and "1 preprocessed run(s)" in warning.what


def test_padding_of_run_numbers_does_not_matter(pair):
    assert pair.write(N_RAW - 2, name="run-01").seconds() is None


def test_the_first_echo_stands_for_a_combined_run(tmp_path):
    metadata = {"RepetitionTime": T_R}
    names = ["part-phase", "echo-1", "echo-2"]
    raw = [bold(tmp_path, f"sub-01_task-see_run-1_{n}", 10, metadata, "raw") for n in names]
    derived = bold(tmp_path / "fp", "sub-01_task-see_run-1", 10, metadata, "fmriprep")
    (run,) = with_raw_runs([derived], RawRuns(raw))
    assert run.raw is raw[1]


def test_repetition_time_comes_from_the_raw_sidecar(pair):
    pair.write()
    bare = replace(pair.run, metadata={"TaskName": "see"})
    (run,) = with_raw_runs([bare], RawRuns([pair.run.raw]))
    assert run.metadata == {"TaskName": "see", "RepetitionTime": T_R}


def test_onsets_of_a_dataset_are_shifted(toy):
    for run in "123":
        stem = f"../fp/sub-01/func/sub-01_task-see_run-{run}_space-T1w_desc"
        toy.image(f"{stem}-preproc_bold.nii.gz", (4, 4, 3, N_RAW - 2))
        toy.json(f"{stem}-preproc_bold.json", {"RepetitionTime": T_R})
    settings = toy.settings(
        execution={"derivatives": {"fmriprep": toy.root.parent / "fp"}},
        preprocessing={"discarded_volumes": 2},
    )
    dataset = collect_dataset(settings)
    assert [d.value for d in dataset.decisions if d.what == "onsets"] == ["4 s earlier in 3 run(s)"]
    table = build_dataset_trials(dataset, settings).tables["01"]
    assert table["onset"].tolist()[:3] == [-2.0, 5.0, 12.0]
    assert table["excluded"].tolist()[:2] == [True, False]
    assert table["reason"].iloc[0] == "starts before the first stored volume"


def test_the_option_is_for_derivatives_only(toy):
    found = toy.dataset(preprocessing={"discarded_volumes": 2}).findings
    assert [f.code for f in found] == [ExitCode.USAGE]


@pytest.mark.parametrize(("value", "expected"), [
    (None, 0), ("3", 0), (True, 0), (0.9, 0), (2.0, 0), (2.0009, 0), (4.0, 2), (3.9995, 2), (5, 2),
])
def test_whole_volumes(value, expected):
    assert whole_volumes(value, 2.0) == expected


def trials_against_events(folder, n_rows, **columns):
    rows = [[i + 1, *(values[i] for values in columns.values())] for i in range(n_rows)]
    table = pd.DataFrame(rows, columns=["trial", *columns])
    events = pd.DataFrame({"onset": np.arange(10.0), "duration": 1.0})
    save_table(folder / "trials.tsv", table)
    save_table(folder / "events.tsv", events)
    run = BoldRun("01", None, "see", "1", "betas", events_file=folder / "events.tsv",
                  trials_file=folder / "trials.tsv")
    return list(check_events(run))


@pytest.mark.parametrize(("n_rows", "columns"), [
    (10, {}), (8, {}), (5, {"n_events": [2] * 5}),
])
def test_beta_series_of_some_events(tmp_path, n_rows, columns):
    assert trials_against_events(tmp_path, n_rows, **columns) == []


@pytest.mark.parametrize(("n_rows", "columns"), [(12, {}), (8, {"n_events": [2] * 8})])
def test_beta_series_of_more_trials_than_events(tmp_path, n_rows, columns):
    (finding,) = trials_against_events(tmp_path, n_rows, **columns)
    assert finding.severity == "error" and "events.tsv has 10" in finding.why
