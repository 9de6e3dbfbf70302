"""One volume per trial: the right one, cleaned and scaled in its run."""

import numpy as np

from bids_decoder.glm.base import TrialRun
from bids_decoder.glm.design import Timing
from bids_decoder.glm.estimators import get_estimator


def make_run(bold, onsets, drift=None):
    n_scans, n = len(bold), len(onsets)
    nuisance = np.ones((n_scans, 1)) if drift is None else np.column_stack(
        [np.ones(n_scans), drift]
    )
    return TrialRun(
        bold.astype(np.float32), Timing(n_scans, 2.0), np.asarray(onsets, float), np.full(n, 1.0),
        nuisance, np.ones(n, bool), np.array([f"s{i}" for i in range(n)]),
    )


def estimate(run):
    out = np.full((run.n_trials, run.bold.shape[1]), np.nan, np.float32)
    report = get_estimator("volume").estimate([run], [out])
    return out, report


def test_volume_at_the_peak_of_the_response_is_taken():
    """Voxel k is high at volume k alone: the brightest voxel tells which volume was taken."""
    out, _ = estimate(make_run(np.eye(40), [10.0, 30.0]))
    taken = out.argmax(axis=1)
    seconds_after = 2.0 * taken - [10.0, 30.0]
    assert ((seconds_after >= 4) & (seconds_after <= 7)).all()
    assert taken[1] - taken[0] == 10


def test_runs_are_cleaned_of_drift_and_scaled():
    rng = np.random.default_rng(0)
    noise, drift = rng.standard_normal((100, 30)), np.linspace(-1, 1, 100)
    wild = noise * 7 + 300 * drift[:, None] + 1000
    onsets = np.arange(4, 180, 8.0)
    clean, _ = estimate(make_run(noise, onsets, drift))
    same, _ = estimate(make_run(wild, onsets, drift))
    assert np.allclose(clean, same, atol=1e-2)
    assert 0.8 < same.std() < 1.2


def test_scores_are_those_of_all_volumes_and_lost_trials_are_zero():
    bold = np.random.default_rng(1).standard_normal((60, 5))
    bold[[8, 9, 18, 19]] *= 10  # the volumes of trials vary more than others
    out, report = estimate(make_run(bold, [12.0, 32.0, 300.0]))
    z = (bold - bold.mean(axis=0)) / bold.std(axis=0)
    for row in out[:2]:
        assert np.isclose(z, row, atol=1e-4).all(axis=1).sum() == 1
    assert report.estimable[0].tolist() == [True, True, False] and not out[2].any()


def test_flat_voxels_are_zero():
    bold = np.random.default_rng(0).standard_normal((50, 4))
    bold[:, 2] = 5.0
    out, report = estimate(make_run(bold, [10.0, 20.0, 30.0]))
    assert not out[:, 2].any()
    assert report.estimable[0].all()
