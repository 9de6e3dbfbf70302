"""What a step would refuse, found before the first step starts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.config import Settings
from bids_decoder.errors import ExitCode
from bids_decoder.glm.confounds import MOTION
from bids_decoder.workflows.checks import check_steps
from bids_decoder.workflows.slice_times import shifted_start

N, T_R, SHAPE = 60, 2.0, (3, 3, 4)


class Case:
    """Two runs of one participant, nothing wrong."""

    def __init__(self, folder, source):
        self.folder, self.source = folder, source
        self.groups = {}
        self.runs = [self.make(number) for number in (1, 2)]
        self.table = pd.concat([trials(run.run_group) for run in self.runs], ignore_index=True)

    def make(self, number):
        stem = self.folder / f"sub-01_task-see_run-{number}"
        image = stem.with_name(stem.name + "_bold.nii.gz")
        save_nifti(image, np.zeros((*SHAPE, N), np.int16), np.eye(4), t_r=T_R)
        given = {}
        if self.source == "fmriprep":
            rng = np.random.default_rng(number)
            given["mask_file"] = save_nifti(
                stem.with_name(stem.name + "_mask.nii.gz"), np.ones(SHAPE, bool), np.eye(4))
            given["confounds_file"] = save_table(
                stem.with_name(stem.name + "_desc-confounds_timeseries.tsv"),
                pd.DataFrame(rng.normal(size=(N, 6)), columns=list(MOTION)))
        return BoldRun("01", None, "see", str(number), self.source, bold_file=image,
                       metadata={"RepetitionTime": T_R}, **given)

    def confounds(self, table):
        save_table(self.runs[0].confounds_file, table)

    def sidecars(self, **fields):
        self.runs = [replace(run, metadata={**run.metadata, **fields}) for run in self.runs]

    def check(self, **groups):
        self.settings = Settings().replaced(**groups)
        participant = Participant("01", (), tuple(self.runs))
        self.decisions, found = check_steps([participant], {"01": self.table}, self.settings)
        return found


def trials(group):
    onsets = 5.0 + 10.0 * np.arange(10)
    return pd.DataFrame({
        "onset": onsets, "duration": 1.0, "stimulus": list("abcdeabcde"), "split": "cv",
        "label": list("abababccdd"), "excluded": False, "reason": None, "run_group": group,
    })


@pytest.fixture
def derived(tmp_path):
    return Case(tmp_path, "fmriprep")


@pytest.fixture
def raw(tmp_path):
    return Case(tmp_path, "raw")


def only(findings):
    (finding,) = findings
    assert finding.severity == "error" and finding.participant == "01"
    return finding


def table_of(n_rows, columns=MOTION):
    return pd.DataFrame(np.random.default_rng(9).normal(size=(n_rows, len(columns))),
                        columns=list(columns))


def test_nothing_wrong(derived, raw):
    assert derived.check() == raw.check() == []
    assert derived.check(glm={"contrasts": ("a - b",)}) == []


def test_one_row_of_confounds_too_many(derived):
    derived.confounds(table_of(N + 1))
    finding = only(derived.check())
    assert finding.code == ExitCode.BAD_DATA
    assert finding.what == "sub-01 task-see_run-1: confounds table"
    assert finding.why == "61 rows for 60 volumes" and "--confounds none" in finding.fix
    assert derived.check(glm={"confounds": ("none",)}) == []


def test_no_confounds_table(derived):
    derived.runs = [replace(run, confounds_file=None) for run in derived.runs]
    findings = derived.check()
    assert len(findings) == 2
    assert {f.code for f in findings} == {ExitCode.BAD_DATA}
    assert all("--confounds none" in f.fix for f in findings)
    assert derived.check(glm={"confounds": ("none",)}) == []


def test_confounds_under_old_names_are_known(derived):
    derived.confounds(table_of(N, ["X", "Y", "Z", "RotX", "RotY", "RotZ"]))
    assert derived.check() == []
    finding = only(derived.check(glm={"confounds": ("motion24",)})[:1])
    assert "columns missing for motion24" in finding.why and "--confounds none" in finding.fix


def test_confounds_under_unknown_names(derived):
    derived.confounds(table_of(N, list("pqrstu")))
    assert "columns missing for motion: trans_x" in only(derived.check()).why


@pytest.mark.parametrize(("cell", "why"), [(np.inf, "infinite"), ("much", "no numbers")])
def test_confounds_with_unusable_cells(derived, cell, why):
    table = table_of(N).astype(object)
    table.loc[5, "rot_z"] = cell
    derived.confounds(table)
    assert why in only(derived.check()).why


@pytest.mark.parametrize("times", [
    [0.0, 500.0, 1000.0, 1500.0], [0.0, 1.0, 2.0, 3.0], [-1.0, 0.0, 1.0, 1.5], [0.0, 0.5],
    "interleaved", [0.0, "x", 1.0, 1.5],
])
def test_slice_times_that_cannot_be(raw, times):
    raw.sidecars(SliceTiming=times)
    findings = raw.check()
    assert len(findings) == 2 and {f.code for f in findings} == {ExitCode.BAD_DATA}
    assert all("SliceTiming" in f.what and "--ignore slicetiming" in f.fix for f in findings)
    assert raw.check(preprocessing={"ignore": ("slicetiming",)}) == []


def test_slice_times_before_the_volume_are_shifted(raw):
    raw.sidecars(SliceTiming=[-0.5, 0.0, 0.5, 1.0])
    assert raw.check() == []
    assert [d.value for d in raw.decisions] == [
        "slice times start at -0.5 s; 0.5 s were added in 2 run(s)"
    ]
    assert shifted_start(raw.runs[0], raw.settings) == 0.75


def test_slice_times_of_derivatives_do_not_matter(derived):
    derived.sidecars(SliceTiming=[0.0, 500.0])
    assert derived.check() == []


def test_slice_encoding_direction(raw):
    raw.sidecars(SliceTiming=[0.0, 0.5, 1.0], SliceEncodingDirection="i")
    assert raw.check() == []
    raw.sidecars(SliceEncodingDirection="up")
    assert "is 'up'" in raw.check()[0].why


def test_start_time_that_cannot_be(derived):
    derived.sidecars(StartTime=-1.0)
    assert "start time -1.0 s" in derived.check()[0].why


def test_trials_outside_of_the_run(derived):
    derived.table["onset"] += 60.0
    assert "no response within the 120 s" in derived.check()[0].why


@pytest.mark.parametrize(("estimator", "n_found"), [("ridge", 0), ("lsa", 2), ("glmsingle", 2)])
def test_more_regressors_than_volumes(derived, estimator, n_found):
    rows = [derived.table] * 6
    derived.table = pd.concat(rows, ignore_index=True)
    findings = derived.check(glm={"estimator": estimator})
    assert len(findings) == n_found
    assert all(f.why.startswith("60 trials and") for f in findings)


def test_too_many_nuisance_regressors(raw):
    assert "volumes for" in raw.check(glm={"high_pass": 0.3})[0].why


def test_contrasts(derived):
    assert derived.check(glm={"contrasts": ("c - d",)}) == []
    assert only(derived.check(glm={"contrasts": ("a - zebra",)})).code == ExitCode.USAGE
    second = derived.table["run_group"] == "task-see_run-2"
    derived.table["label"] = np.where(second, "z", derived.table["label"])
    assert "no run holds all of its" in only(derived.check(glm={"contrasts": ("a - z",)})).why
    derived.table["label"] = None
    assert "the trials have no labels" in only(derived.check(glm={"contrasts": ("a - b",)})).why


def test_masks_that_share_no_voxel(derived):
    mask = np.zeros(SHAPE, bool)
    for run, place in zip(derived.runs, (0, 1), strict=True):
        mask[:] = False
        mask[place] = True
        save_nifti(run.mask_file, mask, np.eye(4))
    assert "they share no voxel" in only(derived.check()).why


def test_only_where_something_is_prepared(derived):
    derived.confounds(table_of(N + 1))
    assert derived.check(execution={"stage": ("decode",)}) == []


def test_unreadable_images_are_left_to_the_check_of_images(derived):
    derived.runs[0].bold_file.write_bytes(b"x" * 400)
    assert derived.check() == []
