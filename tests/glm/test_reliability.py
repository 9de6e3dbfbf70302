import numpy as np
import pytest

from bids_decoder.glm.base import TrialRun
from bids_decoder.glm.design import Timing, nuisance_matrix
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.reliability import (
    enough_repeats,
    noise_ceiling,
    repeated,
    rsquare,
    split_half_reliability,
)


def simulated(ncsnr, n_conditions=400, n_repeats=3, n_voxels=200, seed=0):
    rng = np.random.default_rng(seed)
    conditions = np.tile(np.arange(n_conditions), n_repeats).astype(str)
    signal = ncsnr * rng.standard_normal((n_conditions, n_voxels))
    betas = np.tile(signal, (n_repeats, 1)) + rng.standard_normal((len(conditions), n_voxels))
    return betas / np.sqrt(1 + ncsnr**2), conditions


@pytest.mark.parametrize("ncsnr", [0.3, 1.0, 2.0])
def test_noise_ceiling_of_known_signal(ncsnr):
    found, ceiling = noise_ceiling(*simulated(ncsnr))
    assert found.mean() == pytest.approx(ncsnr, rel=0.05)
    assert ceiling.mean() == pytest.approx(100 * ncsnr**2 / (ncsnr**2 + 1), rel=0.08)
    averaged = noise_ceiling(*simulated(ncsnr), n_averaged=3)[1]
    assert averaged.mean() == pytest.approx(100 * ncsnr**2 / (ncsnr**2 + 1 / 3), rel=0.08)


def test_variances_are_divided_by_degrees_of_freedom():
    betas = np.array([[1.0], [2.0], [4.0], [7.0], [8.0], [8.0]])
    noise = (0.5 + 4.5 + 0.0) / 3
    total = ((betas - 5) ** 2).sum() / 5
    found, _ = noise_ceiling(betas, np.array(list("aabbcc")))
    assert found[0] == pytest.approx(np.sqrt((total - noise) / noise))


def test_split_half_of_known_signal():
    betas, conditions = simulated(1.0, n_repeats=2)
    assert split_half_reliability(betas, conditions).mean() == pytest.approx(0.5, abs=0.02)
    noise, _ = simulated(0.0, n_repeats=2)
    assert abs(split_half_reliability(noise, conditions).mean()) < 0.02


def test_halves_are_odd_and_even_repeats():
    betas, conditions = simulated(1.0, n_conditions=20, n_repeats=3, n_voxels=4)
    first, second, third = np.split(betas, 3)
    expected = [np.corrcoef((first + third)[:, k], second[:, k])[0, 1] for k in range(4)]
    np.testing.assert_allclose(split_half_reliability(betas, conditions), expected, rtol=1e-5)


def test_split_half_ignores_singles_and_dead_voxels():
    betas, conditions = simulated(1.0, n_conditions=20, n_repeats=2)
    betas[:, 0] = 0
    extra = np.concatenate([betas, 100 * np.ones((3, betas.shape[1]))])
    names = np.concatenate([conditions, ["x", "y", "z"]])
    full = split_half_reliability(betas, conditions)
    assert np.array_equal(full, split_half_reliability(extra, names))
    assert full[0] == 0
    assert noise_ceiling(betas, conditions)[1][0] == 0


def test_repeats_are_counted():
    names = np.array(["a", "b", "a", "c", "c", "d"])
    assert repeated(names).tolist() == [True, False, True, True, True, False]
    assert not enough_repeats(names)
    assert enough_repeats(np.array(["a", "b", "c"] * 2))


def test_rsquare_finds_responding_voxels_and_ignores_test_runs():
    rng = np.random.default_rng(0)
    runs = []
    for number in range(3):
        timing = Timing(150, 2.0)
        onsets = np.arange(5.0, 270, 9)
        nuisance = nuisance_matrix(timing, 1 / 128).to_numpy()
        train = np.full(onsets.size, number < 2)
        run = TrialRun(rng.standard_normal((150, 40)).astype(np.float32), timing, onsets,
                       np.full(onsets.size, 2.0), nuisance, train, onsets.astype(str))
        run.bold[:, :20] += 2 * run.regressors(get_hrf("spm")).sum(axis=1, keepdims=True)
        run.bold[:, 39] = 0
        runs.append(run)
    found = rsquare(runs, get_hrf("spm"), chunk_voxels=11)
    assert found[:20].min() > 0.12
    assert found[20:].max() < 0.05
    assert found[39] == 0
    runs[2].bold[:] = rng.standard_normal((150, 40))
    assert np.array_equal(found, rsquare(runs, get_hrf("spm"), chunk_voxels=11))
    assert not rsquare(runs[2:], get_hrf("spm")).any()
