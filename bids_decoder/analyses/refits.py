"""How often everything is fitted again on permuted labels, and in which parts."""

from __future__ import annotations

from collections.abc import Iterator

from bids_decoder.config import Settings
from bids_decoder.training.labellings import fits_in_batches

BATCHED, ONE_BY_ONE = 1000, 100
"""Default numbers of permutations: all refits together, and one after the other."""

BASELINES = 20
"""Largest number for baselines whose voxels depend on the labels, and for support vector machines;
they are fitted one after the other."""

MANY = 10**9
"""Permutations in a bound of the p-value by the number of different arrangements alone."""

PART_BATCHED, PART_ONE_BY_ONE = 250, 10
"""Permutations of one node: a call that was killed goes on after the last finished one."""


def is_batched(settings: Settings, target_kind: str, is_pretrained: bool) -> bool:
    """Return whether all refits are computed together; so it is for labels and values."""
    return not is_pretrained and fits_in_batches(target_kind, settings.network, settings.troi)


def count_refits(settings: Settings, target_kind: str, is_pretrained: bool) -> int:
    """Return the number of permutations: that of the settings, or as many as are affordable."""
    default = BATCHED if is_batched(settings, target_kind, is_pretrained) else ONE_BY_ONE
    return settings.evaluation.count_refits(default)


def parts_of(n_refits: int, batched: bool) -> Iterator[tuple[int, int]]:
    """Yield (number of the first permutation, number of permutations) of each part.

    Examples
    --------
    >>> list(parts_of(25, batched=False))
    [(0, 10), (10, 10), (20, 5)]
    """
    size = PART_BATCHED if batched else PART_ONE_BY_ONE
    for first in range(0, n_refits, size):
        yield first, min(size, n_refits - first)
