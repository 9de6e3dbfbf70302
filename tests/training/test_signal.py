"""Signal shares: known truth, no signal, neighbours, scale and offsets of no consequence."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from signal_people import make_person

from bids_decoder.training.signal import (
    SIGNAL_SHARES,
    log_evidence,
    signal_shares,
)
from bids_decoder.training.smoothing import evidence_around
from bids_decoder.trials import Person, VoxelGrid


def test_share_is_recovered():
    person, wanted, with_signal = make_person(0.15)
    found = signal_shares(person, wanted, 3.3)
    assert found[with_signal].mean() == pytest.approx(0.15, abs=0.03)
    assert found[~with_signal].mean() < 0.02


def test_neighbours_help():
    person, wanted, with_signal = make_person(0.04)
    alone, together = (signal_shares(person, wanted, fwhm) for fwhm in (0, 3.3))

    def overlap(found):
        chosen = found >= np.sort(found)[-with_signal.sum()]
        return (chosen & with_signal).sum() / with_signal.sum()

    assert overlap(together) > overlap(alone) + 0.1


def test_targets_of_other_trials_give_no_signal():
    person, wanted, _ = make_person(0.15)
    shuffled = np.random.default_rng(1).permutation(wanted)
    assert signal_shares(person, shuffled, 3.3).max() < 0.05


def test_offsets_of_runs_and_scale_of_targets_do_not_matter():
    person, wanted, _ = make_person(0.1)
    _, member = np.unique(person.run_groups, return_inverse=True)
    shifted = Person(person.label, person.grid, person.betas + 3 * member[:, None],
                     person.trials, person.target_rows)
    expected = signal_shares(person, wanted, 0)
    np.testing.assert_allclose(signal_shares(shifted, wanted, 0), expected, atol=2e-3)
    np.testing.assert_allclose(signal_shares(person, 7 * wanted, 0), expected, atol=1e-5)


def test_evidence_is_that_of_the_gaussian_process():
    rng = np.random.default_rng(2)
    betas, wanted = rng.standard_normal((12, 3)), rng.standard_normal((12, 4))
    runs = np.repeat("run-1", 12)
    found = log_evidence(betas, wanted, runs)
    features = wanted - wanted.mean(axis=0)
    features /= np.sqrt((features**2).sum(axis=1).mean())
    basis = np.linalg.svd(np.eye(12) - 1 / 12)[0][:, :11]

    def evidence(voxel, share):
        kernel = basis.T @ (np.eye(12) + share / (1 - share) * features @ features.T) @ basis
        data = basis.T @ betas[:, voxel]
        scale = data @ np.linalg.solve(kernel, data) / 11
        return multivariate_normal(np.zeros(11), scale * kernel).logpdf(data)

    for voxel in range(3):
        for row, share in enumerate(SIGNAL_SHARES):
            expected = evidence(voxel, share) - evidence(voxel, 0.0)
            assert found[row, voxel] == pytest.approx(expected, abs=1e-3)


def test_few_trials_leave_all_voxels_alike():
    person, wanted, _ = make_person(0.2, n_runs=1, per_run=6)
    assert np.ptp(signal_shares(person, wanted, 3.3)) == 0


def test_constant_voxel_has_no_signal():
    person, wanted, _ = make_person(0.1)
    person.betas[:, 5] = 0
    found = signal_shares(person, wanted, 0)
    assert np.isfinite(found).all() and found[5] == 0


@pytest.mark.parametrize(("fwhm_mm", "rtol"), [(3.0, 1e-4), (12.0, 0.01), (24.0, 0.01)])
def test_evidence_adds_up_over_neighbours(fwhm_mm, rtol):
    """Kernels end at three standard deviations, where wide ones lose .3 % along each axis."""
    grid = VoxelGrid(np.ones((15, 15, 15), bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    ones = np.ones(grid.n_voxels)
    sigma = fwhm_mm / 2.3548200450309493 / 2.0
    steps = np.arange(-40, 41)
    expected = np.exp(-0.5 * (steps / sigma) ** 2).sum() ** 3
    np.testing.assert_allclose(evidence_around(ones[None], grid, fwhm_mm)[0], expected, rtol=rtol)
    np.testing.assert_array_equal(evidence_around(ones[None], grid, 0)[0], ones)
