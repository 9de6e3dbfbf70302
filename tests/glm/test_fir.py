"""Responses at each time after the onset: volumes, overlap, drift, and the expected peak."""

import numpy as np
import pytest

from bids_decoder.errors import InputError
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.fir import (
    OUTSIDE,
    FirRun,
    expected_peak,
    lag_steps,
    onset_errors,
    window_volumes,
)
from bids_decoder.glm.hrf import get_hrf

TIMING = Timing(120, 2.0)
STEPS = lag_steps((-2.0, 12.0), 2.0)
SHAPE = np.array([0.0, 0.0, 0.3, 1.0, 0.8, 0.3, 0.0, -0.1])
"""Response at each time of the window."""


def respond(onsets, heights, timing=TIMING):
    """Overlapping responses of each trial with its own height in each voxel."""
    bold = np.zeros((timing.n_scans, heights.shape[1]))
    volumes = window_volumes(onsets, timing, STEPS)
    for row, own in zip(volumes, heights, strict=True):
        for place, value in zip(row, SHAPE, strict=True):
            if place != OUTSIDE:
                bold[place] += value * own
    return bold, volumes


def estimate(bold, volumes, rows, nuisance=None):
    nuisance = nuisance_matrix(TIMING, 0.01).to_numpy() if nuisance is None else nuisance
    out = [np.full((len(rows), bold.shape[1]), np.nan, dtype=np.float32) for _ in STEPS]
    FirRun(bold.astype(np.float32), nuisance, volumes).responses(np.asarray(rows), out, 3)
    return np.stack(out)


def test_times_are_whole_volumes_within_the_window():
    assert STEPS.tolist() == [-1, 0, 1, 2, 3, 4, 5, 6]
    assert lag_steps((-0.3, 0.3), 0.1).tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert len(lag_steps((1.0, 1.5), 2.0)) == 0


def test_the_nearest_volume_is_taken_with_the_time_it_refers_to():
    onsets = np.array([0.9, 1.1, 10.0, np.nan])
    assert window_volumes(onsets, TIMING, np.array([0, 1]))[:, 0].tolist() == [0, 1, 5, OUTSIDE]
    shifted = Timing(120, 2.0, start_time=1.0)
    # The data of volume 5 refer to 11 s, those of volume 4 to 9 s.
    assert window_volumes(np.array([10.9]), shifted, np.array([0])).tolist() == [[5]]
    assert onset_errors(np.array([10.9, 9.5]), shifted) == pytest.approx([0.1, -0.5])
    assert onset_errors(np.array([0.9, 1.1]), TIMING) == pytest.approx([-0.9, 0.9])


def test_volumes_outside_the_run_are_marked():
    volumes = window_volumes(np.array([0.0, 100.0, 230.0]), TIMING, STEPS)
    assert (volumes[0] == OUTSIDE).tolist() == [True] + [False] * 7
    assert (volumes[1] != OUTSIDE).all()
    assert (volumes[2] == OUTSIDE).sum() == 2


def test_isolated_trials_keep_their_own_heights():
    onsets = np.array([10.0, 50.0, 90.0, 130.0, 170.0])
    heights = np.random.default_rng(0).normal(1, 0.5, size=(5, 4))
    bold, volumes = respond(onsets, heights)
    found = estimate(bold + 3.0, volumes, range(5), np.ones((120, 1)))
    assert found == pytest.approx(SHAPE[:, None, None] * heights, abs=1e-5)


def test_neighbours_and_drifts_are_removed():
    """Trials 4 to 8 s apart overlap; the mean response to neighbours must not be in a trial's."""
    rng = np.random.default_rng(1)
    onsets = 6.0 + np.cumsum(rng.choice([4.0, 6.0, 8.0], size=30))
    heights = 1 + 0.1 * rng.normal(size=(30, 5))
    bold, volumes = respond(onsets, heights)
    drift = np.cos(np.pi * (2 * np.arange(120) + 1) * 2 / 240)[:, None] * 5
    rows = np.flatnonzero((volumes != OUTSIDE).all(axis=1))
    found = estimate(bold + drift, volumes, rows)
    assert found.mean(axis=(1, 2)) == pytest.approx(SHAPE, abs=0.08)
    at_onset = bold[volumes[rows, 1]]
    assert at_onset.std() > 0.3, "without the model, neighbours are in the volume of the onset"
    assert found[1].std() < 0.15


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_responses_without_noise_are_found_beside_motion_and_a_baseline(seed):
    """Neither the baseline nor neighbours 6 to 12 s away may stay in the response of a trial."""
    rng = np.random.default_rng(seed)
    onsets = 6.0 + np.cumsum(rng.choice([6.0, 8.0, 10.0, 12.0], size=24))
    bold, volumes = respond(onsets, np.ones((24, 1)))
    motion = np.cumsum(rng.normal(size=(TIMING.n_scans, 6)), axis=0)
    nuisance = np.hstack([nuisance_matrix(TIMING, 0.01).to_numpy(), motion])
    rows = np.flatnonzero((volumes != OUTSIDE).all(axis=1))
    found = estimate(bold + 3.0, volumes, rows, nuisance)
    assert np.abs(found[:, :, 0] - SHAPE[:, None]).max() < 0.05


def test_one_trial_beside_a_constant_is_compared_with_the_mean_of_the_other_volumes():
    bold, volumes = respond(np.array([100.0]), np.full((1, 2), 2.0))
    found = estimate(bold + 3.0, volumes, [0], np.ones((TIMING.n_scans, 1)))
    assert found == pytest.approx(np.broadcast_to(2 * SHAPE[:, None, None], found.shape), abs=1e-5)


def test_removing_drifts_puts_no_response_before_the_onset():
    """The response of a trial must not be in its own baseline, with the opposite sign or not."""
    nuisance = nuisance_matrix(TIMING, 0.01).to_numpy()
    onsets = np.array([40.0, 80.0, 120.0, 160.0])
    bold, volumes = respond(onsets, np.diag([9.0, 9.0, 9.0, 9.0]))
    found = estimate(bold, volumes, range(4), nuisance)
    assert np.abs(found[:2][:, np.arange(4), np.arange(4)]).max() < 1e-3
    basis = np.linalg.qr(nuisance)[0]
    filtered = (bold - basis @ (basis.T @ bold))[volumes[:, :2]]
    assert np.abs(filtered[np.arange(4), :, np.arange(4)]).max() > 0.5


def test_it_does_not_depend_on_blocks_of_voxels_and_unwanted_rows():
    rng = np.random.default_rng(2)
    onsets = np.array([10.0, 40.0, 80.0, 234.0])
    bold, volumes = respond(onsets, rng.normal(size=(4, 7)))
    bold += rng.normal(size=bold.shape)
    some = estimate(bold, volumes, [0, 2])
    both = estimate(bold, volumes, [0, 1, 2])
    assert some == pytest.approx(both[:, [0, 2]])
    assert estimate(bold[:, :2], volumes, [0, 2]) == pytest.approx(some[:, :, :2], abs=1e-5)


def test_runs_with_too_few_volumes_are_refused():
    volumes = window_volumes(np.array([2.0]), Timing(20, 2.0), STEPS)
    with pytest.raises(InputError, match="fir-window"):
        FirRun(np.zeros((20, 1)), np.ones((20, 3)), volumes).weights(np.array([0]))


def test_the_expected_peak_follows_the_duration():
    hrf = get_hrf("spm")
    assert expected_peak(hrf, 0.0) == pytest.approx(5.0, abs=0.3)
    assert expected_peak(hrf, 0.0) < expected_peak(hrf, 4.0) < expected_peak(hrf, 24.0) < 26
