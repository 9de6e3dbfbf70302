"""Episodes: latents of held-out trials after a short calibration, as for a new participant.

The shared trunk will be applied to latents of a participant with few training trials, and is
trained on such latents: many small calibration sets are drawn from each source participant, an
input layer is fitted to each in closed form, and the trunk is trained on the latents of the
held-out trials. The noise is then of the same kind in training and application. Because the
input layers are linear, mixing latents equals mixing voxels (MixCo).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.evaluation.folds import spread_runs
from bids_decoder.training.filtered import Filtered
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.shared_noise import NoisePrior, subtract_shared_noise
from bids_decoder.trials import Person

SETS_PER_SIZE, SETS_PER_SIZE_OF_LABELS = 4, 8
"""Calibration sets of each size, of stimuli and of labels, whose fits are small."""

_SETS_OF_ALL_BUT_ONE = 8
MIN_CALIBRATION_TRIALS = 4
MAX_CALIBRATION_TRIALS = 1500
MAX_HELDOUT_TRIALS = 2000

MAX_RUNS_TO_LEAVE_ONE_OUT = 12
"""With more runs, no calibration sets of all runs but one are drawn."""

VoxelWeighting = Callable[[Person, np.ndarray], np.ndarray | None]
"""(calibration trials of a participant, their targets) -> weights (n_voxels,) or None for ones."""


@dataclass(frozen=True, eq=False)
class Latents:
    """Held-out latents of the source participants, all episodes together.

    Parameters
    ----------
    values : ndarray of float32, shape (n, n_latents)
    target_rows : ndarray of int, shape (n,)
        Row of each trial's stimulus in the targets.
    log_trials : ndarray of float32, shape (n,)
        Base-2 logarithm of the number of calibration trials.
    people : ndarray of int, shape (n,)
        Number of each trial's source participant.
    """

    values: np.ndarray
    target_rows: np.ndarray
    log_trials: np.ndarray
    people: np.ndarray

    def subset(self, rows: np.ndarray) -> Latents:
        """Select latents by index or mask."""
        return Latents(*(getattr(self, name)[rows] for name in _FIELDS))


_FIELDS = ("values", "target_rows", "log_trials", "people")


def calibration_sets(
    run_groups: np.ndarray, rng: np.random.Generator, per_size: int = SETS_PER_SIZE
) -> Iterator[np.ndarray]:
    """Draw calibration sets of 1, 2, 4, … runs, and of all runs but one.

    No set is drawn twice, so that there are at most as many of a size as runs.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)
        A single run is divided into eight blocks of time.
    rng : numpy.random.Generator
    per_size : int
        Number of sets of each size; of all runs but one there are eight.

    Yields
    ------
    ndarray of bool, shape (n_trials,)
        True for calibration trials; at least one trial is held out.
    """
    blocks = run_blocks(run_groups)
    names = np.unique(blocks)
    n_blocks = len(names)
    sizes = {2**k for k in range(n_blocks.bit_length())}
    if n_blocks <= MAX_RUNS_TO_LEAVE_ONE_OUT:
        sizes.add(n_blocks - 1)
    for size in sorted(s for s in sizes if 0 < s < n_blocks):
        wanted = _SETS_OF_ALL_BUT_ONE if size == n_blocks - 1 else per_size
        base = rng.permutation(n_blocks)
        for order in (np.roll(base, shift) for shift in range(min(n_blocks, wanted))):
            chosen = np.isin(blocks, names[order[:size]])
            if chosen.sum() < MIN_CALIBRATION_TRIALS:
                continue
            if chosen.sum() <= MAX_CALIBRATION_TRIALS or size == 1:
                yield _capped(chosen, MAX_CALIBRATION_TRIALS)


def can_be_calibrated(run_groups: np.ndarray) -> bool:
    """Return whether a calibration set can be drawn from trials of these runs."""
    return next(calibration_sets(run_groups, np.random.default_rng(0)), None) is not None


def some_runs(person: Person, most: int) -> Person:
    """Return a participant with runs spread evenly over all, of *most* trials together."""
    rows = spread_runs(person.run_groups, most)
    return person if len(rows) == len(person.betas) else person.subset(rows)


def each_with_some_runs(people: Iterable[Person], most: int) -> Iterator[Person]:
    """Yield participants with :func:`some_runs`, without holding all runs of any of them."""
    return map(partial(some_runs, most=most), people)


def run_blocks(run_groups: np.ndarray) -> np.ndarray:
    """Return the blocks to hold out: runs, or eight blocks of time if there is a single run."""
    if len(np.unique(run_groups)) > 1:
        return run_groups
    return np.sort(np.arange(len(run_groups)) % 8).astype(str)


def _capped(chosen: np.ndarray, limit: int) -> np.ndarray:
    capped = chosen.copy()
    capped[np.flatnonzero(chosen)[limit:]] = False
    return capped


def draw_latents(
    person: Person, number: int, vectors: np.ndarray, weighting: VoxelWeighting,
    rng: np.random.Generator, noise: NoisePrior | None = None,
) -> Latents:
    """Fit an input layer to each calibration set and collect the latents of held-out trials.

    Parameters
    ----------
    person : Person
        Source participant; training trials only.
    number : int
        Number of the participant among the source participants.
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space.
    weighting : callable
        Computes voxel weights from the calibration trials.
    rng : numpy.random.Generator
    noise : NoisePrior, optional
        Of labels: of the noise that is subtracted from each calibration set. By default none is,
        and there are as many sets as for stimuli.

    Returns
    -------
    Latents

    Raises
    ------
    InputError
        If the participant has too few trials for a calibration set.
    """
    if not can_be_calibrated(person.run_groups):
        raise InputError(
            f"pretraining on sub-{person.label}", f"with a run held out, fewer than "
            f"{MIN_CALIBRATION_TRIALS} of its {len(person.trials)} training trials are left",
            "give more trials or runs of this participant, or leave them out",
        )
    parts: list[Latents] = []
    per_size = SETS_PER_SIZE if noise is None else SETS_PER_SIZE_OF_LABELS
    for calibration in list(calibration_sets(person.run_groups, rng, per_size)):
        heldout = np.flatnonzero(~calibration)
        if len(heldout) > MAX_HELDOUT_TRIALS:
            # Drawn from all sessions: the first ones would be the same stimuli in every set.
            heldout = np.sort(rng.choice(heldout, MAX_HELDOUT_TRIALS, replace=False))
        fitted = person.subset(calibration)
        wanted = vectors[fitted.target_rows]
        used = Filtered(fitted, weighting(fitted, wanted))
        if noise is not None:
            used = subtract_shared_noise(fitted, wanted, used.weights, noise)
        fit = fit_input_layer(used.person.betas, wanted, fitted.run_groups, used.weights)
        fit = replace(fit, weight=used.of_responses(fit.weight))
        count = len(heldout)
        parts.append(Latents(
            fit.latents(person.betas[heldout]), person.target_rows[heldout],
            np.full(count, np.log2(fit.n_trials), dtype=np.float32), np.full(count, number),
        ))
    return join_latents(parts)


def join_latents(parts: list[Latents]) -> Latents:
    """Concatenate the latents of several episodes or participants."""
    return Latents(*(
        np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS
    ))
