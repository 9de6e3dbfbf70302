"""Block designs: whether events form blocks, and which events belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_INNER_SOA = 4.0
"""Seconds from onset to onset within a block; slower events have responses of their own."""

MIN_EVENTS = 3
"""Events that make a block."""

GAP_RATIO = 2.0
"""Pauses between blocks are at least this many times the step within blocks."""


@dataclass(frozen=True)
class BlockDesign:
    """Block structure measured from the timing of all runs.

    Parameters
    ----------
    inner_soa : float
        Median seconds between onsets of successive events of one condition; NaN without any.
    outer_soa : float
        The same across a change of condition or, where it changes in no run, across a pause.
    limit : float
        Successive events of one condition further apart than this are in different blocks.
    median_length : float
        Median number of events per block.
    share_of_blocks : float
        Share of blocks with at least three events.
    changes : bool
        Whether the condition changes within runs.
    """

    inner_soa: float
    outer_soa: float
    limit: float
    median_length: float
    share_of_blocks: float
    changes: bool

    @property
    def has_pauses(self) -> bool:
        """True when pauses between blocks are long compared with the steps within them."""
        return bool(self.outer_soa >= GAP_RATIO * self.inner_soa)

    @property
    def is_block_design(self) -> bool:
        """True for long runs of one condition in quick succession with pauses between them."""
        return bool(
            self.has_pauses and self.inner_soa <= MAX_INNER_SOA
            and self.median_length >= MIN_EVENTS and self.share_of_blocks >= 0.8
        )

    def __str__(self) -> str:
        outer = "where the condition changes" if self.changes else "at pauses"
        steps = ((self.inner_soa, "apart"), (self.outer_soa, outer))
        known = [f"{seconds:.3g} s {where}" for seconds, where in steps if np.isfinite(seconds)]
        length = f"{self.median_length:g} event(s) of one condition in a row (median)"
        return ", ".join([length, *known])


def measure_design(runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> BlockDesign:
    """Measure the block structure over all runs.

    Parameters
    ----------
    runs : sequence of (onsets, conditions)
        Per run: seconds in ascending order, shape (n_events,), and text, shape (n_events,).

    Returns
    -------
    BlockDesign
    """
    steps = [np.diff(onsets) for onsets, _ in runs]
    same = [conditions[1:] == conditions[:-1] for _, conditions in runs]
    all_steps = np.concatenate([np.zeros(0), *steps])
    all_same = np.concatenate([np.zeros(0, dtype=bool), *same]).astype(bool)
    inner, outer = _median(all_steps[all_same]), _median(all_steps[~all_same])
    limit, changes = _limit(inner, outer), bool(np.isfinite(outer))
    if not changes:
        outer = _median(all_steps[all_steps > limit])
    lengths = np.concatenate([
        np.zeros(0), *(np.bincount(block_numbers(onsets, names, limit)) for onsets, names in runs),
    ])
    share = float(np.mean(lengths >= MIN_EVENTS)) if lengths.size else 0.0
    return BlockDesign(inner, outer, limit, _median(lengths), share, changes)


def _limit(inner: float, outer: float) -> float:
    if np.isnan(inner):
        return 0.0
    if np.isnan(outer):
        return 2 * GAP_RATIO * inner
    if outer >= GAP_RATIO * inner:
        # The geometric mean is between the two kinds of steps, whatever their scale.
        return float(np.sqrt(inner * outer))
    # Without pauses only quick successions are blocks; slow events are blocks of their own.
    return np.inf if inner <= 2 * MAX_INNER_SOA else 0.0


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else float("nan")


def block_numbers(onsets: np.ndarray, conditions: np.ndarray, limit: float) -> np.ndarray:
    """Number the blocks of one run.

    Parameters
    ----------
    onsets : ndarray, shape (n_events,)
        Seconds, ascending.
    conditions : ndarray of text, shape (n_events,)
    limit : float
        Seconds; see :class:`BlockDesign`.

    Returns
    -------
    ndarray of int, shape (n_events,)
        From 0; a new number where the condition changes or a pause exceeds the limit.
    """
    if not len(onsets):
        return np.zeros(0, dtype=np.intp)
    starts = (conditions[1:] != conditions[:-1]) | (np.diff(onsets) > limit)
    return np.concatenate([[0], np.cumsum(starts)]).astype(np.intp)
