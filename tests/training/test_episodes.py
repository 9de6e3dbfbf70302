from dataclasses import replace

import numpy as np
import pytest

from bids_decoder.errors import InputError
from bids_decoder.training import episodes
from bids_decoder.training.episodes import calibration_sets, draw_latents, run_blocks
from bids_decoder.training.pretrain import balanced_batches
from bids_decoder.training.shared_noise import NoisePrior

LAYOUTS = {
    "runs": np.repeat([f"r{i}" for i in range(9)], 11),
    "two runs": np.repeat(["a", "b"], [30, 5]),
    "one run": np.repeat(["a"], 40),
    "many runs": np.repeat([f"r{i:03d}" for i in range(70)], 30),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("seed", range(3))
def test_calibration_is_never_all_and_never_none(name, seed):
    runs = LAYOUTS[name]
    sets = list(calibration_sets(runs, np.random.default_rng(seed)))
    assert sets
    for chosen in sets:
        assert 0 < chosen.sum() < len(runs)
        assert chosen.sum() <= episodes.MAX_CALIBRATION_TRIALS


def test_calibration_sets_are_whole_runs_of_growing_number():
    runs = LAYOUTS["runs"]
    counts = set()
    for chosen in calibration_sets(runs, np.random.default_rng(0)):
        members = {run: chosen[runs == run] for run in np.unique(runs)}
        assert all(m.all() or not m.any() for m in members.values())
        counts.add(sum(m.all() for m in members.values()))
    assert {1, 2, 4, 8} <= counts


@pytest.mark.parametrize("n_runs", [2, 3, 4, 5, 9])
def test_no_calibration_set_is_drawn_twice(n_runs):
    runs = np.repeat([f"r{i}" for i in range(n_runs)], 11)
    sets = list(calibration_sets(runs, np.random.default_rng(0)))
    assert len({chosen.tobytes() for chosen in sets}) == len(sets)
    assert sum(chosen.sum() == 11 for chosen in sets) == min(n_runs, 8 if n_runs == 2 else 4)


def test_labels_have_more_calibration_sets_than_stimuli(known):
    person, vectors = known
    counts = []
    for noise in (None, NoisePrior()):
        latents = draw_latents(
            person, 0, vectors, lambda *_: None, np.random.default_rng(0), noise
        )
        smallest = latents.log_trials == latents.log_trials.min()
        run = np.unique(person.run_groups, return_counts=True)[1].min()
        counts.append(smallest.sum() / (len(person.betas) - run))
    n_runs = len(np.unique(person.run_groups))
    assert counts == [min(n_runs, 4), min(n_runs, 8)] and n_runs > 5


def test_one_run_is_cut_into_stretches_of_time():
    blocks = run_blocks(LAYOUTS["one run"])
    assert len(np.unique(blocks)) == 8
    assert (np.diff(np.unique(blocks, return_index=True)[1]) > 0).all()
    changes = (blocks[1:] != blocks[:-1]).sum()
    assert changes == 7


def test_latents_are_of_trials_that_no_fit_saw(known, monkeypatch):
    """Each trial carries its number in its target row; fits note which numbers they saw."""
    person, vectors = known
    seen = []
    real = episodes.fit_input_layer

    def spy(betas, wanted, run_groups, *rest, **options):
        seen.append({int(np.flatnonzero((person.betas == row).all(axis=1))[0]) for row in betas})
        return real(betas, wanted, run_groups, *rest, **options)

    weighed = []

    def weighting(part, wanted):
        weighed.append(set(part.target_rows.tolist()))
        return np.ones(part.grid.n_voxels)

    monkeypatch.setattr(episodes, "fit_input_layer", spy)
    latents = draw_latents(person, 0, vectors, weighting, np.random.default_rng(0))
    assert seen == weighed
    start = 0
    for calibration in seen:
        heldout = len(person.betas) - len(calibration)
        rows = latents.target_rows[start:start + heldout]
        assert not calibration & set(rows.tolist())
        assert np.allclose(latents.log_trials[start:start + heldout], np.log2(len(calibration)))
        start += heldout
    assert start == len(latents.values)


def test_latents_do_not_depend_on_the_values_of_other_heldout_trials(known):
    """Changing one trial changes the latents of others only where it was calibration."""
    person, vectors = known
    betas = person.betas.copy()
    betas[5] += 10
    results = [
        draw_latents(p, 0, vectors, lambda *_: None, np.random.default_rng(0))
        for p in (person, replace(person, betas=betas))
    ]
    start, changed, same = 0, 0, 0
    for chosen in calibration_sets(person.run_groups, np.random.default_rng(0)):
        stop = start + (~chosen).sum()
        rows = slice(start, stop)
        others = results[0].target_rows[rows] != 5
        equal = np.array_equal(results[0].values[rows][others], results[1].values[rows][others])
        assert equal == (not chosen[5])
        changed, same = changed + (not equal), same + equal
        start = stop
    assert changed
    assert same


def test_held_out_trials_are_drawn_from_all_runs(known, monkeypatch):
    person, vectors = known
    monkeypatch.setattr(episodes, "MAX_HELDOUT_TRIALS", 6)
    latents = draw_latents(person, 0, vectors, lambda *_: None, np.random.default_rng(0))
    sets = list(calibration_sets(person.run_groups, np.random.default_rng(0)))
    assert len(latents.values) == 6 * len(sets)
    run_of = dict(zip(person.target_rows.tolist(), person.run_groups.tolist(), strict=True))
    for chosen, rows in zip(sets, np.split(latents.target_rows, len(sets)), strict=True):
        left = {run_of[row] for row in rows.tolist()}
        assert left <= set(person.run_groups[~chosen])
        assert len(left) > 1 or len(set(person.run_groups[~chosen])) == 1


def test_too_few_trials_are_refused_by_name(known):
    person, vectors = known
    few = person.subset(np.arange(2))
    with pytest.raises(InputError, match="with a run held out, fewer than 4 of its 2") as caught:
        draw_latents(few, 0, vectors, lambda *_: None, np.random.default_rng(0))
    assert f"sub-{person.label}" in str(caught.value)


def test_latents_tell_the_truth_of_longer_calibration_better(known):
    person, vectors = known
    latents = draw_latents(person, 3, vectors, lambda *_: None, np.random.default_rng(0))
    assert set(latents.people) == {3}
    wanted = vectors[latents.target_rows]
    sizes = np.unique(latents.log_trials)
    match = [
        np.corrcoef(latents.values[latents.log_trials == s].ravel(),
                    wanted[latents.log_trials == s].ravel())[0, 1]
        for s in (sizes[0], sizes[-1])
    ]
    assert match[0] > 0.1
    assert match[1] > match[0] + 0.1


def test_people_share_batches_equally_whatever_their_trials():
    people = np.repeat([0, 1, 2], [2000, 300, 40])
    counts = np.zeros(3)
    for batch in balanced_batches(people, np.random.default_rng(0)):
        counts += np.bincount(people[batch], minlength=3)
    assert counts[0] == counts[1] == counts[2]
