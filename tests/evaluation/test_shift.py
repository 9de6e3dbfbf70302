"""New runs against training runs: false alarms at the nominal rate, and shifts that are found."""

import numpy as np
import pytest

from bids_decoder.evaluation.shift import (
    MEASURES,
    MIN_RUNS,
    false_alarms,
    judge,
    latent_measures,
    latent_size,
    voxel_measures,
)
from bids_decoder.evaluation.statistics import ALPHA


def gaussian_runs(rng, n_runs):
    return [dict(zip(MEASURES, rng.standard_normal(len(MEASURES)), strict=True))
            for _ in range(n_runs)]


@pytest.mark.parametrize("n_runs", [4, 12])
def test_runs_of_the_same_kind_are_questioned_at_the_level(n_runs):
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(300):
        known, new = gaussian_runs(rng, n_runs), gaussian_runs(rng, 1)
        alarms.append((judge({"new": new[0]}, known)["p_corrected"] < ALPHA).any())
    assert 0.02 < np.mean(alarms) < 0.08


def test_intervals_hold_values_of_the_same_kind_on_the_bad_side():
    table = judge({"new": gaussian_runs(np.random.default_rng(1), 1)[0]},
                  gaussian_runs(np.random.default_rng(2), 8)).set_index("measure")
    assert (table["low"] < table["expected"]).all()
    assert (table["expected"] < table["high"]).all()
    assert table.loc["spread_pattern", "high"] == np.inf
    assert table.loc["latent_shift", "low"] == -np.inf


def test_too_few_runs_give_no_verdict():
    runs = gaussian_runs(np.random.default_rng(3), MIN_RUNS)
    assert judge({"new": runs[0]}, runs[1:])["p"].isna().all()
    assert np.isnan(false_alarms(runs))


def test_one_run_apart_is_an_alarm_among_training_runs():
    runs = gaussian_runs(np.random.default_rng(4), 10)
    runs[3] = {**runs[3], "spread": 40.0}
    assert false_alarms(runs) == pytest.approx(0.1)


def responses(rng, spread, n_trials=20):
    return 3 + spread * rng.standard_normal((n_trials, len(spread)))


def test_measures_of_voxels_see_scale_and_order():
    rng = np.random.default_rng(5)
    spread = np.exp(rng.standard_normal(400))
    mean = np.full(400, 3.0) + rng.standard_normal(400)
    rows = responses(rng, spread) + mean
    same = voxel_measures(rows, mean + 3, spread)
    louder = voxel_measures(2 * rows, mean + 3, spread)
    assert louder["spread"] == pytest.approx(same["spread"] + np.log(2))
    assert louder["spread_pattern"] == pytest.approx(same["spread_pattern"])
    mixed = voxel_measures(rows[:, rng.permutation(400)], mean + 3, spread)
    assert mixed["spread_pattern"] < 0.3 < same["spread_pattern"]
    assert mixed["mean_pattern"] < 0.3 < same["mean_pattern"]
    assert voxel_measures(rows[:2], mean, spread) == {}


def test_measures_of_latents_see_size_and_place():
    rng = np.random.default_rng(6)
    known = rng.standard_normal((200, 5))
    mean = known.mean(axis=0)
    size = latent_size(known, mean)
    new = rng.standard_normal((30, 5))
    same, away = latent_measures(new, mean, size), latent_measures(3 * new + 4, mean, size)
    assert away["latent_spread"] == pytest.approx(same["latent_spread"] + np.log(3))
    assert away["latent_shift"] > same["latent_shift"] + 1
    assert latent_measures(np.ones((9, 5)), mean, size) == {}
