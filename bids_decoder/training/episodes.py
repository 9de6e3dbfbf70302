"""Episodes: latents of held-out trials, as a new person's short calibration would give them.

The shared trunk must cope with the latents of a person for whom little is known. So it is
trained on such latents: from each source person many small calibration sets are drawn, an input
layer is fitted to each in closed form, and the trunk learns from the latents of the trials that
were left out. Training and use then meet the same kind of noise. Because the input layers are
linear, mixing latents equals mixing voxels (MixCo).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.trials import Person

MIN_CALIBRATION_TRIALS = 4
MAX_CALIBRATION_TRIALS = 1500
MAX_HELDOUT_TRIALS = 2000

MAX_RUNS_TO_LEAVE_ONE_OUT = 12
"""With more runs, all but one is a calibration hardly longer than the longest power of two."""

VoxelWeighting = Callable[[Person, np.ndarray], np.ndarray | None]
"""(calibration trials of a person, their targets) -> weights (n_voxels,) or None for all."""


@dataclass(frozen=True, eq=False)
class Latents:
    """Held-out latents of the source people, all episodes together.

    Parameters
    ----------
    values : ndarray of float32, shape (n, n_latents)
    target_rows : ndarray of int, shape (n,)
        Row of the stimulus in the targets.
    log_trials : ndarray of float32, shape (n,)
        Base-2 logarithm of the number of calibration trials.
    people : ndarray of int, shape (n,)
        Number of the source person.
    """

    values: np.ndarray
    target_rows: np.ndarray
    log_trials: np.ndarray
    people: np.ndarray

    def subset(self, rows: np.ndarray) -> Latents:
        """Give some of the latents, by index or mask."""
        return Latents(*(getattr(self, name)[rows] for name in _FIELDS))


_FIELDS = ("values", "target_rows", "log_trials", "people")


def calibration_sets(
    run_groups: np.ndarray, rng: np.random.Generator, n_per_size: int = 4
) -> Iterator[np.ndarray]:
    """Draw calibration sets of whole runs: 1, 2, 4, … runs, and all but one of few.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)
        A single run is cut into eight stretches of time instead.
    rng : numpy.random.Generator
    n_per_size : int
        Sets per size; every run is left out once in the largest size where that is no more
        than twice this number.

    Yields
    ------
    ndarray of bool, shape (n_trials,)
        True for calibration trials; never all, never none.
    """
    blocks = run_blocks(run_groups)
    names = np.unique(blocks)
    n_blocks = len(names)
    sizes = {2**k for k in range(n_blocks.bit_length())}
    if n_blocks <= MAX_RUNS_TO_LEAVE_ONE_OUT:
        sizes.add(n_blocks - 1)
    for size in sorted(s for s in sizes if 0 < s < n_blocks):
        wanted = min(n_blocks, 2 * n_per_size) if size == n_blocks - 1 else n_per_size
        for order in _orders(n_blocks, wanted, rng):
            chosen = np.isin(blocks, names[order[:size]])
            if chosen.sum() < MIN_CALIBRATION_TRIALS:
                continue
            if chosen.sum() <= MAX_CALIBRATION_TRIALS or size == 1:
                yield _capped(chosen, MAX_CALIBRATION_TRIALS)


def run_blocks(run_groups: np.ndarray, n_blocks: int = 8) -> np.ndarray:
    """Give the unit of holding out: runs, or stretches of time when there is one run."""
    if len(np.unique(run_groups)) > 1:
        return run_groups
    return np.sort(np.arange(len(run_groups)) % n_blocks).astype(str)


def _orders(n_blocks: int, wanted: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    base = rng.permutation(n_blocks)
    for shift in range(wanted):
        yield np.roll(base, shift if wanted <= n_blocks else 0)


def _capped(chosen: np.ndarray, limit: int) -> np.ndarray:
    capped = chosen.copy()
    capped[np.flatnonzero(chosen)[limit:]] = False
    return capped


def draw_latents(
    person: Person,
    number: int,
    vectors: np.ndarray,
    weighting: VoxelWeighting,
    rng: np.random.Generator,
) -> Latents:
    """Fit an input layer per calibration set and collect the latents of held-out trials.

    Parameters
    ----------
    person : Person
        Source person; training trials only.
    number : int
        Number of the person among the source people.
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space.
    weighting : callable
        Voxel weights from the calibration trials alone.
    rng : numpy.random.Generator

    Returns
    -------
    Latents
    """
    parts: list[Latents] = []
    for calibration in calibration_sets(person.run_groups, rng):
        heldout = np.flatnonzero(~calibration)[:MAX_HELDOUT_TRIALS]
        fitted = person.subset(calibration)
        wanted = vectors[fitted.target_rows]
        fit = fit_input_layer(
            fitted.betas, wanted, fitted.run_groups, weighting(fitted, wanted)
        )
        count = len(heldout)
        parts.append(Latents(
            fit.latents(person.betas[heldout]),
            person.target_rows[heldout],
            np.full(count, np.log2(fit.n_trials), dtype=np.float32),
            np.full(count, number),
        ))
    return join_latents(parts)


def join_latents(parts: list[Latents]) -> Latents:
    """Put the latents of several episodes or people together."""
    return Latents(*(
        np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS
    ))
