"""Derivatives that are shorter than the raw run, for whatever reason."""

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.events import build_dataset_trials
from bids_decoder.bids.raw_runs import whole_volumes
from bids_decoder.errors import ExitCode
from bids_decoder.workflows.glm import start_time

N_RAW, T_R = 40, 2.0


class Derived:
    """The toy dataset with derivatives of it, each *cut* volumes shorter."""

    def __init__(self, toy):
        self.toy = toy
        self.execution = {"derivatives": {"fmriprep": toy.root.parent / "fp"}}

    def write(self, n_volumes=N_RAW, t_r=T_R, run_label="{}", **sidecar):
        for sub in ("01", "02"):
            for run in "123":
                label = run_label.format(run)
                stem = f"../fp/sub-{sub}/func/sub-{sub}_task-see_run-{label}"
                self.toy.image(
                    f"{stem}_space-T1w_desc-preproc_bold.nii.gz", (4, 4, 3, n_volumes), t_r=t_r
                )
                mask = np.ones((4, 4, 3), np.uint8)
                self.toy.image(f"{stem}_space-T1w_desc-brain_mask.nii.gz", data=mask)
                self.toy.json(f"{stem}_space-T1w_desc-preproc_bold.json",
                              {"RepetitionTime": t_r, **sidecar})
        return self

    def settings(self, discarded=None):
        return self.toy.settings(
            execution=self.execution, preprocessing={"discarded_volumes": discarded}
        )

    def collect(self, discarded=None):
        return collect_dataset(self.settings(discarded))

    def errors(self, discarded=None):
        found = self.collect(discarded).findings
        return [f for f in found if f.severity == "error"]

    def onsets(self, discarded=None):
        settings = self.settings(discarded)
        build = build_dataset_trials(collect_dataset(settings), settings)
        return build.tables["01"]


@pytest.fixture
def derived(toy):
    return Derived(toy)


def test_equal_lengths_are_silent(derived):
    dataset = derived.write().collect()
    assert dataset.findings == ()
    assert not [d for d in dataset.decisions if d.what == "onsets"]
    assert derived.onsets()["onset"].iloc[0] == 2.0


def test_fewer_volumes_without_a_reason_stop_the_run(derived):
    errors = derived.write(N_RAW - 2).errors()
    assert len(errors) == 6
    assert {e.code for e in errors} == {ExitCode.BAD_DATA}
    assert "38 volumes (76 s), but the raw run has 40 volumes (80 s)" in errors[0].why
    assert "--discarded-volumes N" in errors[0].fix
    assert errors[0].participant == "01"


def test_the_option_shifts_the_onsets(derived):
    table = derived.write(N_RAW - 2).onsets(2)
    assert not derived.errors(2)
    assert table["onset"].tolist()[:3] == [-2.0, 5.0, 12.0]
    assert table["excluded"].tolist()[:2] == [True, False]
    assert table["reason"].iloc[0] == "starts before the first stored volume"
    (decision,) = [d for d in derived.collect(2).decisions if d.what == "onsets"]
    assert decision.value == "4 s earlier in 6 run(s)"
    assert decision.reason == "--discarded-volumes 2"


def test_volumes_cut_off_at_the_end_shift_nothing(derived):
    derived.write(N_RAW - 2)
    assert not derived.errors(0)
    assert derived.onsets(0)["onset"].iloc[0] == 2.0


def test_the_option_cannot_say_more_than_is_lacking(derived):
    errors = derived.write(N_RAW - 2).errors(3)
    assert {e.code for e in errors} == {ExitCode.USAGE}
    assert "lacks 2 of the 40 volumes" in errors[0].why


def test_the_option_is_for_derivatives_only(toy):
    found = toy.dataset(preprocessing={"discarded_volumes": 2}).findings
    assert [f.code for f in found] == [ExitCode.USAGE]


def test_more_volumes_than_the_raw_run(derived):
    derived.write(N_RAW + 1)
    assert "41 volumes (82 s), but the raw run has 40" in derived.errors()[0].why
    assert len(derived.errors(0)) == 6


def test_the_sidecar_of_the_derivative_explains_it(derived):
    derived.write(N_RAW - 3, NumberOfVolumesDiscardedByUser=3)
    assert not derived.errors()
    assert derived.onsets()["onset"].iloc[1] == 9.0 - 6.0


def test_the_raw_sidecar_speaks_of_volumes_never_stored(derived):
    """Copied from the raw sidecar the number shifts nothing; beyond it, it does."""
    derived.toy.json("task-see_bold.json", {
        "RepetitionTime": T_R, "NumberOfVolumesDiscardedByUser": 4,
    })
    derived.write(NumberOfVolumesDiscardedByUser=4)
    assert not derived.errors()
    assert derived.onsets()["onset"].iloc[0] == 2.0
    derived.write(N_RAW - 1, NumberOfVolumesDiscardedByUser=5)
    assert not derived.errors()
    assert derived.onsets()["onset"].iloc[0] == 0.0
    derived.write(N_RAW - 4, NumberOfVolumesDiscardedByUser=4)
    assert len(derived.errors()) == 6


def test_a_sidecar_that_says_more_than_is_lacking(derived):
    derived.write(N_RAW, NumberOfVolumesDiscardedByUser=4)
    assert "NumberOfVolumesDiscardedByUser: 4" in derived.errors()[0].why
    assert not derived.write(N_RAW - 4, NumberOfVolumesDiscardedByUser=4).errors()


def test_start_time_beyond_one_repetition_counts_volumes(derived):
    derived.write(N_RAW - 4, StartTime=4 * T_R + 0.9, SliceTimingCorrected=True)
    assert not derived.errors()
    assert derived.onsets()["onset"].iloc[1] == 9.0 - 8.0
    assert start_time(derived.collect().runs[0]) == pytest.approx(0.9)
    contradiction = derived.write(
        N_RAW - 4, StartTime=4 * T_R + 0.9, NumberOfVolumesDiscardedByUser=3
    ).errors()
    assert "contradicts itself" in contradiction[0].why


def test_resampled_in_time_agrees_by_its_duration(derived):
    assert not derived.write(2 * N_RAW, t_r=1.0).errors()
    assert derived.onsets()["onset"].iloc[0] == 2.0
    assert "no sidecar explains it" in derived.write(2 * N_RAW - 8, t_r=1.0).errors()[0].why
    assert not derived.errors(4)
    assert derived.onsets(4)["onset"].iloc[1] == 9.0 - 8.0


def test_a_copied_number_needs_the_raw_image(derived):
    """Without the raw image nobody can tell whether a stated number was cut off here."""
    derived.write(N_RAW - 4, NumberOfVolumesDiscardedByUser=4)
    for path in derived.toy.root.rglob("*_bold.nii.gz"):
        path.unlink()
        path.symlink_to("../../.git/annex/objects/x/MD5E-s1--b.nii.gz")
    assert "is not here" in derived.errors()[0].why
    assert not derived.errors(4)
    assert derived.onsets(4)["onset"].iloc[1] == 9.0 - 8.0


def test_without_raw_images_the_plan_says_so(derived):
    derived.write(N_RAW - 4)
    for path in derived.toy.root.rglob("*_bold.nii.gz"):
        path.write_text("/annex/objects/MD5E-s1--b.nii.gz\n")
    (warning,) = derived.collect().findings
    assert warning.severity == "warning" and "6 preprocessed run(s)" in warning.what


def test_padding_of_run_numbers_does_not_matter(derived):
    derived.write(N_RAW - 2, run_label="0{}")
    assert len(derived.errors()) == 6
    assert not derived.errors(2)


def test_repetition_time_comes_from_the_raw_sidecar(derived):
    derived.write()
    for path in (derived.toy.root.parent / "fp").rglob("*.json"):
        path.unlink()
    assert derived.collect().runs[0].metadata["RepetitionTime"] == T_R


@pytest.mark.parametrize(("value", "expected"), [
    (None, 0), ("3", 0), (True, 0), (0.9, 0), (2.0, 0), (2.0009, 0), (4.0, 2), (3.9995, 2), (5, 2),
])
def test_whole_volumes(value, expected):
    assert whole_volumes(value, 2.0) == expected


def betas(toy, n_rows, folder="../betas", **columns):
    names = ["trial", "label", "stimulus", *columns]
    for sub in ("01", "02"):
        for run in "123":
            stem = f"{folder}/sub-{sub}/func/sub-{sub}_task-see_run-{run}_desc-singletrial"
            data = np.random.default_rng(int(run)).normal(size=(4, 4, 3, n_rows))
            path = toy.image(f"{stem}_betaseries.nii.gz", data=data.astype(np.float32))
            assert nib.load(path).shape[3] == n_rows
            rows = [[i + 1, "abcd"[i % 4], "abcd"[i % 4], *(v[i] for v in columns.values())]
                    for i in range(n_rows)]
            toy.text(f"{stem}_trials.tsv",
                     "\n".join("\t".join(map(str, row)) for row in [names, *rows]) + "\n")
    return {"derivatives": {"betas": toy.root.parent / "betas"}}


@pytest.mark.parametrize(("n_rows", "columns", "n_errors"), [
    (10, {}, 0), (8, {}, 0), (12, {}, 6), (5, {"n_events": [2] * 5}, 0),
    (8, {"n_events": [2] * 8}, 6),
])
def test_trials_of_beta_series_against_events(toy, n_rows, columns, n_errors):
    """The toy events have ten rows."""
    found = toy.check(execution=betas(toy, n_rows, **columns))
    errors = [f for f in found if f.severity == "error"]
    assert len(errors) == n_errors
    assert all("_events.tsv has 10" in f.why for f in errors)
