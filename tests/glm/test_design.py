import numpy as np
import pandas as pd
import pytest
from nilearn.glm.first_level import make_first_level_design_matrix
from nilearn.glm.first_level.hemodynamic_models import compute_regressor

from bids_decoder.errors import InputError, UsageError
from bids_decoder.glm.confounds import MOTION
from bids_decoder.glm.design import (
    Timing,
    check_trials,
    condition_design,
    contrast_entity,
    nuisance_matrix,
    parse_contrast,
    trial_regressors,
    trials_within,
)
from bids_decoder.glm.hrf import get_hrf

SPM = get_hrf("spm")


@pytest.mark.parametrize(("t_r", "start_time"), [(2.0, 0.0), (1.6, 0.8), (0.72, 0.36)])
@pytest.mark.parametrize("hrf", ["spm", "glover"])
def test_trial_regressors_agree_with_nilearn(t_r, start_time, hrf):
    timing = Timing(200, t_r, start_time)
    onsets = np.array([-3.0, 10.03, 11.7, 60.0])
    durations = np.array([1.0, 3.0, 0.5, 20.0])
    mine = trial_regressors(onsets, durations, timing, get_hrf(hrf))
    for column, onset, duration in zip(mine.T, onsets, durations, strict=True):
        event = (np.array([onset]), np.array([duration]), np.ones(1))
        # A finer grid than nilearn's default, which rounds onsets to a fiftieth of the TR.
        theirs = compute_regressor(event, hrf, timing.frame_times, oversampling=400)[0][:, 0]
        assert np.corrcoef(column, theirs)[0, 1] > 0.99999


def test_start_time_moves_the_samples_not_the_events():
    late = trial_regressors(np.array([10.0]), np.array([2.0]), Timing(60, 2.0, 1.0), SPM)
    early = trial_regressors(np.array([9.0]), np.array([2.0]), Timing(60, 2.0, 0.0), SPM)
    assert np.allclose(late, early)


def test_height_depends_neither_on_t_r_nor_on_a_missing_duration():
    fine = trial_regressors(np.zeros(1), np.array([np.nan]), Timing(400, 0.1), SPM)
    coarse = trial_regressors(np.zeros(1), np.zeros(1), Timing(40, 1.0), SPM)
    assert np.allclose(fine[::10], coarse)
    assert fine.max() == pytest.approx(1.0, abs=1e-3)


def test_trials_outside_or_without_onset_are_told():
    timing = Timing(100, 2.0)
    onsets = np.array([20.0, 199.9, 400.0, np.nan, 190.0])
    columns = trial_regressors(onsets, np.ones(5), timing, SPM)
    assert not columns[:, 2:4].any()
    assert trials_within(onsets, np.ones(5), timing, SPM).tolist() == [
        True, False, False, False, True,
    ]


def test_lost_and_late_trials_are_noted_and_many_are_refused():
    timing = Timing(100, 2.0)
    onsets = np.array([10.0, 20, 30, 40, 195, 300])
    within = np.array([True] * 5 + [False])
    notes = check_trials(onsets, np.ones(6, bool), within, timing, "run-1")
    assert "1 trial(s) outside" in notes[0]
    assert "1 trial(s) start in the last 8 s" in notes[1]
    with pytest.raises(InputError, match="3 of 6"):
        check_trials(onsets, np.ones(6, bool), np.arange(6) < 3, timing, "run-1")
    ignored = check_trials(onsets, within, within, timing, "run-1")
    assert len(ignored) == 1
    # A fifth may be lost; the last 8 s begin after 192 s.
    onsets = np.array([10.0, 20, 30, 192, 300])
    (note,) = check_trials(onsets, np.ones(5, bool), onsets < 200, timing, "run-1")
    assert "1 trial(s) outside" in note


def test_a_response_that_is_cut_short_is_kept_from_a_tenth_of_its_peak_on():
    timing, onsets = Timing(100, 2.0), np.array([195.0, 196.9])
    highest = trial_regressors(onsets, np.ones(2), timing, SPM).max(axis=0)
    assert 0.1 < highest[0] < 0.4 and 0 < highest[1] < 0.1
    assert trials_within(onsets, np.ones(2), timing, SPM).tolist() == [True, False]


@pytest.mark.parametrize("values", [(100, 0.0, 0.0), (100, 2.0, 3.0), (1, 2.0, 0.0)])
def test_impossible_timing_is_refused(values):
    with pytest.raises(InputError, match="RepetitionTime"):
        Timing(*values)


def test_nuisance_matrix_is_nilearns():
    timing = Timing(150, 2.0, 1.0)
    rng = np.random.default_rng(0)
    confounds = pd.DataFrame(rng.standard_normal((150, 6)), columns=list(MOTION))
    mine = nuisance_matrix(timing, 0.01, confounds)
    theirs = make_first_level_design_matrix(
        timing.frame_times, drift_model="cosine", high_pass=0.01,
        add_regs=confounds.to_numpy(), add_reg_names=list(confounds.columns),
    )
    pd.testing.assert_frame_equal(mine, theirs)
    assert list(nuisance_matrix(timing, 0.0).columns) == ["constant"]


def test_condition_design_sums_trials_and_keeps_names_apart():
    regressors = np.arange(12.0).reshape(4, 3)
    nuisance = pd.DataFrame({"constant": np.ones(4), "drift_1": np.arange(4.0)})
    design = condition_design(regressors, np.array(["constant", "a", "constant"]), nuisance)
    assert list(design.columns) == ["a", "constant", "nuisance_constant", "drift_1"]
    assert np.array_equal(design["constant"], regressors[:, [0, 2]].sum(axis=1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("face - house", {"face": 1, "house": -1}),
        ("face", {"face": 1}),
        ("scrambled-pix - face", {"scrambled-pix": 1, "face": -1}),
        ("face - 0.5 * house - .5*scrambled-pix",
         {"face": 1, "house": -0.5, "scrambled-pix": -0.5}),
        ("- house + face", {"house": -1, "face": 1}),
        ("big house - face", {"big house": 1, "face": -1}),
        ("face - -0.5 * house", {"face": 1, "house": 0.5}),
        ("face + 0.5 * face - house", {"face": 1.5, "house": -1}),
    ],
)
def test_contrasts_are_read(text, expected):
    assert parse_contrast(text, ["face", "house", "scrambled-pix", "big house"]) == expected


@pytest.mark.parametrize("text", ["face - cat", "", "face -", "face - - "])
def test_wrong_contrasts_are_refused(text):
    with pytest.raises(UsageError, match="known: face, house"):
        parse_contrast(text, ["face", "house"])


def test_contrast_names_are_usable_in_file_names():
    assert contrast_entity("face - house") == "faceMinusHouse"
    assert contrast_entity("- big_house + a") == "MinusBigHousePlusA"
