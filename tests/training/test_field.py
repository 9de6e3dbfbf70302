"""Where signal is: known truth, no signal, neighbours, what others say, the choice of the field."""

from dataclasses import replace

import numpy as np
import pytest
from signal_people import make_person

from bids_decoder.training import field
from bids_decoder.training.field import SignalField, choose_field, map_signal
from bids_decoder.training.signal import SIGNAL_SHARES
from bids_decoder.trials import Person, VoxelGrid

ALONE = SignalField(0.0, 1.0)


def test_share_is_recovered():
    person, wanted, with_signal = make_person(0.15)
    found = map_signal(person, wanted)
    assert found.share[with_signal].mean() == pytest.approx(0.15, abs=0.03)
    assert found.share[~with_signal].mean() < 0.01
    assert abs(found.n_likely - with_signal.sum()) < 0.1 * with_signal.sum()


def overlap(found, with_signal):
    chosen = (found.chances[0] < 0.5)
    return 2 * (chosen & with_signal).sum() / (chosen.sum() + with_signal.sum())


def test_neighbours_help():
    person, wanted, with_signal = make_person(0.04)
    alone, together = (map_signal(person, wanted, None, field)
                       for field in (ALONE, SignalField(8.0, 0.5)))
    assert overlap(together, with_signal) > overlap(alone, with_signal) + 0.1
    assert overlap(together, with_signal) > 0.9


def test_weak_voxels_among_strong_ones_are_found():
    """A tenth of the region has next to no signal of its own: its place tells."""
    person, wanted, with_signal = make_person(0.2)
    rng = np.random.default_rng(4)
    weak = np.flatnonzero(with_signal)[:: 10]
    person.betas[:, weak] = rng.standard_normal((len(person.betas), len(weak)))
    found = map_signal(person, wanted, None, SignalField(8.0, 0.5))
    assert (found.chances[0][weak] < 0.5).mean() > 0.5
    assert found.share[weak].mean() < 0.5 * found.share[with_signal].mean()


def test_waves_make_the_field_that_the_width_says():
    grid = VoxelGrid(np.ones((14, 12, 10), bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    waves = grid.geometry.random_field(8.0)
    rng = np.random.default_rng(0)
    draws = waves.field(rng.standard_normal((300, waves.n_waves)))
    assert draws.std() == pytest.approx(1, rel=0.1)
    volumes = draws.reshape(-1, 14, 12, 10)
    step = np.mean(volumes[:, 5:9, 4:8, 3:7] * volumes[:, 7:11, 4:8, 3:7]) / draws.var()
    # White noise under a Gaussian of sd 1.7 voxels has this covariance two voxels apart.
    assert step == pytest.approx(np.exp(-4 / (4 * (8 / 2 / 2.3548) ** 2)), abs=0.1)
    amplitudes = rng.standard_normal((2, waves.n_waves))
    values = rng.standard_normal((2, grid.n_voxels))
    np.testing.assert_allclose(
        waves.field(amplitudes) @ values.T, amplitudes @ waves.adjoint(values).T
    )


def test_a_slice_and_a_mask_with_holes_have_fields():
    rng = np.random.default_rng(0)
    mask = rng.random((12, 12, 1)) < 0.7
    grid = VoxelGrid(mask, np.diag([3.0, 3.0, 3.0, 1.0]))
    ratio = np.where(grid.indices[:, 0] < 6, 1.5, -1.5) + rng.standard_normal(grid.n_voxels)
    start = np.zeros((1, grid.n_voxels))
    odds = field._log_odds(ratio[None], start, grid, 9.0)[0]
    assert ((odds > 0) == (grid.indices[:, 0] < 6)).mean() > 0.93 > ((ratio > 0) == (
        grid.indices[:, 0] < 6)).mean()
    listed = VoxelGrid(np.ones((grid.n_voxels, 1, 1), bool), np.eye(4))
    np.testing.assert_array_equal(field._log_odds(ratio[None], start, listed, 9.0)[0], ratio)


def test_what_others_say_moves_odds_and_not_how_common_signal_is():
    person, wanted, with_signal = make_person(0.02)
    told = np.zeros((len(SIGNAL_SHARES), person.grid.n_voxels), np.float32)
    told[0] = np.where(with_signal, 0.05, 0.6)
    told[1] = 1 - told[0]
    alone, helped = (map_signal(person, wanted, prior, ALONE) for prior in (None, told))
    assert overlap(helped, with_signal) > overlap(alone, with_signal) + 0.1
    odds = field._prior_odds(0.2, told, person.grid.n_voxels)
    assert (1 / (1 + np.exp(-odds))).mean() == pytest.approx(0.2)


def test_targets_of_other_trials_give_no_signal():
    person, wanted, _ = make_person(0.15)
    shuffled = np.random.default_rng(1).permutation(wanted)
    found = map_signal(person, shuffled)
    assert found.share.max() < 0.05
    assert found.n_likely < 0.05 * person.grid.n_voxels


def test_offsets_of_runs_and_scale_of_targets_do_not_matter():
    person, wanted, _ = make_person(0.1)
    _, member = np.unique(person.run_groups, return_inverse=True)
    shifted = Person(person.label, person.grid, person.betas + 3 * member[:, None],
                     person.trials, person.target_rows)
    expected = map_signal(person, wanted).share
    np.testing.assert_allclose(map_signal(shifted, wanted).share, expected, atol=2e-3)
    np.testing.assert_allclose(map_signal(person, 7 * wanted).share, expected, atol=1e-5)


def test_few_trials_leave_all_voxels_alike():
    person, wanted, _ = make_person(0.2, n_runs=1, per_run=6)
    found = map_signal(person, wanted)
    assert np.ptp(found.share) < 1e-3
    assert found.n_likely == 0


def test_constant_voxel_has_no_signal():
    person, wanted, _ = make_person(0.1)
    person.betas[:, 5] = 0
    found = map_signal(person, wanted, None, ALONE).share
    assert np.isfinite(found).all() and found[5] == 0


@pytest.mark.parametrize("chosen", [ALONE, SignalField(6.0, 0.5)])
def test_constant_voxels_tell_nothing_of_others(chosen):
    """As where the mask is larger than the field of view."""
    person, wanted, _ = make_person(0.1)
    alone = map_signal(person, wanted, None, ALONE)
    grid = VoxelGrid(np.concatenate([person.grid.mask] * 2, axis=2), person.grid.affine)
    volumes = person.grid.to_volume(person.betas)
    betas = np.concatenate([volumes, np.zeros_like(volumes)], axis=2)[grid.mask].T
    inside = np.repeat([True, False], person.grid.mask.shape[2])[np.nonzero(grid.mask)[2]]
    wide = replace(person, grid=grid, betas=betas)
    found = map_signal(wide, wanted, None, chosen)
    assert found.n_likely >= 0.9 * alone.n_likely
    assert (found.share[~inside] == 0).all() and (found.chances[0, ~inside] == 1).all()
    if chosen is ALONE:
        np.testing.assert_allclose(found.share[inside], alone.share, rtol=1e-5)


def test_the_field_follows_the_region():
    person, wanted, _ = make_person(0.08)
    # Half of the volume responds: neighbours help. Shuffled voxels have no such neighbours.
    order = np.random.default_rng(0).permutation(person.grid.n_voxels)
    shuffled = replace(person, betas=person.betas[:, order])
    fields = [SignalField(width, 0.5) for width in (0.0, 4.0, 8.0)]
    assert choose_field(person, wanted, None, fields).fwhm_mm > 0
    assert choose_field(shuffled, wanted, None, fields).fwhm_mm == 0
    one_run = person.run_groups == "run-0"
    assert choose_field(person.subset(one_run), wanted[one_run]) == field.DEFAULT_FIELD


def test_strong_signals_do_not_overflow():
    """Evidence is in single precision, in which the exponential of 300 is infinite."""
    grid = VoxelGrid(np.ones((5, 5, 5), bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    strong = np.arange(125) < 60
    ratio = np.where(strong, 400, -5).astype(np.float32)[None]
    with np.errstate(over="raise", invalid="raise"):
        odds = field._log_odds(ratio, np.zeros((1, 125)), grid, 8.0)
    assert np.isfinite(odds).all() and (odds[0, strong] > 300).all()
    assert odds[0, ~strong].mean() < 0
