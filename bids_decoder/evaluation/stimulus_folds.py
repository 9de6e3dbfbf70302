"""Cross-validation over stimuli, for datasets with too few of them for one test set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bids_decoder.evaluation.held_out import Split, Tables, distinct
from bids_decoder.seeds import derive_seed

MIN_TESTED = 20
"""A test set that is not part of the design and has fewer stimuli is replaced by folds."""

FOLD_SIZE, MIN_FOLDS, MAX_FOLDS = 4, 3, 10
"""Stimuli in each fold, and smallest and largest number of folds, where stimuli suffice. Larger
folds have more pairs of stimuli to tell apart, and leave fewer stimuli for training."""

MIN_RUNS_APART = 4
"""Stimuli of a run are kept together from this number of runs on."""


def cross_stimuli(
    tables: Tables, target: str, similar: Sequence[tuple[str, str]], seed: int, n_single: int
) -> Split | None:
    """Assign all stimuli to folds, so that each is test once.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Trial tables by participant label, without excluded trials.
    target : {"image", "features"}
    similar : sequence of (str, str)
        Stimuli that are nearly the same: they are test in the same fold.
    seed : int
    n_single : int
        Number of stimuli that one test set would have, for the reason.

    Returns
    -------
    Split or None
        None where there are not two folds with two stimuli each. Where every stimulus was shown
        in one run only, and there are four runs or more, folds hold all stimuli of a run, so
        that training and test share no run.
    """
    seen_by: dict[str, list[str]] = {}
    for label, table in tables.items():
        for name in sorted(distinct(table["stimulus"])):
            seen_by.setdefault(name, []).append(label)
    names = sorted(seen_by)
    near = [pair for pair in similar if set(pair) <= seen_by.keys()]
    groups = join_groups(names, near)
    whole_runs = join_groups(names, [*near, *_same_run(tables)])
    by_run = len(whole_runs) >= MIN_RUNS_APART and _are_confined(tables)
    chosen = whole_runs if by_run else groups
    rng = np.random.default_rng(derive_seed(seed, "split", "stimulus folds"))
    shuffled = [chosen[i] for i in rng.permutation(len(chosen))]
    # Large groups first; then by who saw them, so that each participant has the same share.
    ordered = sorted(shuffled, key=lambda group: (-len(group), seen_by[group[0]]))
    folds = _deal(ordered, len(names))
    if folds is None:
        return None
    sizes = sorted({len(fold) for fold in folds})
    reason = (
        f"one test set would have {n_single} of {len(names)} stimuli, fewer than {MIN_TESTED}, so "
        f"all are tested: {len(folds)} folds of {' to '.join(map(str, sizes[:1] + sizes[1:][-1:]))}"
        " stimuli; what is held out are stimuli, "
    )
    reason += "with the whole runs in which they were shown" if by_run else (
        "while training and test share runs (hold out whole runs with --test-runs)"
    )
    options = {
        "seed": seed, "by_run": by_run, "together": [list(g) for g in groups if len(g) > 1]
    }
    return Split("stimulus-folds", target, (), {}, options, reason, folds)


def join_groups(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Join names that pairs connect, also through others.

    Parameters
    ----------
    names : sequence of str
        Sorted.
    pairs : iterable of (str, str)

    Returns
    -------
    list of tuple of str
        Groups, each sorted, in the order of their first names.

    Examples
    --------
    >>> join_groups(["a", "b", "c", "d"], [("a", "c"), ("c", "d")])
    [('a', 'c', 'd'), ('b',)]
    """
    position = {name: row for row, name in enumerate(names)}
    edges = np.array([(position[a], position[b]) for a, b in pairs], dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(len(names), len(names)))
    group_of = connected_components(graph, directed=False)[1]
    found: dict[int, list[str]] = {}
    for name, group in zip(names, group_of.tolist(), strict=True):
        found.setdefault(group, []).append(name)
    return [tuple(group) for group in found.values()]


def _same_run(tables: Tables) -> list[tuple[str, str]]:
    """Pair stimuli of the same run, so that all of them are connected."""
    pairs = []
    for table in tables.values():
        for _, shown in table.groupby("run_group")["stimulus"]:
            pairs += list(pairwise(sorted(distinct(shown))))
    return pairs


def _are_confined(tables: Tables) -> bool:
    """Return whether every participant saw each stimulus in one run only."""
    return all(
        (table.groupby("stimulus")["run_group"].nunique() == 1).all() for table in tables.values()
    )


def _deal(groups: list[tuple[str, ...]], n_names: int) -> tuple[tuple[str, ...], ...] | None:
    """Deal groups out to the smallest fold; fewer folds where one would have a single stimulus."""
    most = max(n_names // 2 if n_names < 2 * MIN_FOLDS else MIN_FOLDS, n_names // FOLD_SIZE)
    for n_folds in range(min(most, MAX_FOLDS, len(groups)), 1, -1):
        folds: list[list[str]] = [[] for _ in range(n_folds)]
        for group in groups:
            min(folds, key=len).extend(group)
        if min(map(len, folds)) >= 2:
            return tuple(tuple(sorted(fold)) for fold in folds)
    return None
