"""Subsets of training runs for learning curves: nested, several draws, never with a test run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_decoder.evaluation.folds import fold_list, resolve_fold
from bids_decoder.seeds import derive_seed

N_DRAWS = 5
"""Orders in which runs are added; each gives one nested sequence of subsets."""

MAX_FOLDS = 5
"""Folds of cross-validation that are used when there are more."""

N_SIZES = 6
"""Numbers of training runs, spread evenly on a logarithmic scale."""

LEAST_SIZES = 3
"""With fewer numbers of runs there is no curve to fit."""

LEAST_TRIALS, LEAST_PER_LABEL = 8, 2
"""Trials of the smallest subset: in all, and of each label."""

_FULL = 10**6


@dataclass(frozen=True)
class Subsets:
    """Which training runs the decoders of a learning curve are fitted to.

    Parameters
    ----------
    sizes : tuple of int
        Numbers of training runs, ascending.
    orders : dict of int to tuple of tuple of str
        By fold (0 for a fixed split), for each draw: training runs in the order in which they are
        added. The subset of size *n* holds the first *n*, so that larger ones contain smaller ones.
    """

    sizes: tuple[int, ...]
    orders: dict[int, tuple[tuple[str, ...], ...]]

    @property
    def n_draws(self) -> int:
        """Return the number of orders of each fold."""
        return len(next(iter(self.orders.values())))


def choose_folds(trials: pd.DataFrame) -> tuple[int, ...]:
    """Return at most :data:`MAX_FOLDS` folds, spread over all; (0,) for a fixed split.

    Parameters
    ----------
    trials : DataFrame
        From :func:`.held_out.apply_split`.
    """
    if not (trials["split"] == "cv").any():
        return (0,)
    folds = fold_list(trials[trials["split"] == "cv"])
    chosen = np.linspace(0, len(folds) - 1, min(MAX_FOLDS, len(folds))).round().astype(int)
    return tuple(folds[number] for number in chosen)


def draw_subsets(trials: pd.DataFrame, *, by_label: bool, seed: int) -> Subsets | None:
    """Draw nested subsets of the training runs of each fold.

    Parameters
    ----------
    trials : DataFrame
        Usable trials of one participant, from :func:`.held_out.apply_split`.
    by_label : bool
        Whether labels are decoded: each subset then holds :data:`LEAST_PER_LABEL` trials of each.
        Where every run has one label only, runs of all labels are added in turn.
    seed : int

    Returns
    -------
    Subsets or None
        None when there are fewer than :data:`LEAST_SIZES` numbers of runs.
    """
    train = {fold: _training(trials, fold) for fold in choose_folds(trials)}
    steps = [_step(table) if by_label else 1 for table in train.values()]
    orders = {
        fold: _orders(table, step, np.random.default_rng(derive_seed(seed, "subsets", fold)))
        for (fold, table), step in zip(train.items(), steps, strict=True)
    }
    n_draws = min(map(len, orders.values()))
    orders = {fold: draws[:n_draws] for fold, draws in orders.items()}
    most = min(len(draws[0]) for draws in orders.values())
    least = max(
        _least(train[fold], order, by_label) for fold, draws in orders.items() for order in draws
    )
    sizes = _sizes(least, most, max(steps))
    return Subsets(sizes, orders) if len(sizes) >= LEAST_SIZES else None


def keep_runs(trials: pd.DataFrame, fold: int, runs: Collection[str]) -> pd.DataFrame:
    """Mark the trials of a fold so that training trials of other runs are not used.

    Parameters
    ----------
    trials : DataFrame
        From :func:`.held_out.apply_split`.
    fold : int
        0 for a fixed split.
    runs : collection of str
        Training runs of the subset.

    Returns
    -------
    DataFrame
        A copy whose ``split`` is train, test or None.
    """
    resolved = resolve_fold(trials, fold or None)
    left_out = (resolved["split"] == "train") & ~resolved["run_group"].isin(list(runs))
    return resolved.assign(split=resolved["split"].mask(left_out, None))


def _training(trials: pd.DataFrame, fold: int) -> pd.DataFrame:
    resolved = resolve_fold(trials, fold or None)
    return resolved[resolved["split"] == "train"]


def _step(train: pd.DataFrame) -> int:
    """Return how many runs are added at a time: one of each label where runs have one label."""
    labels = train.groupby("run_group", sort=False)["label"].agg(["nunique", "first"])
    return int(labels["first"].nunique()) if (labels["nunique"] == 1).all() else 1


def _orders(
    train: pd.DataFrame, step: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    """Order the runs at random, at most :data:`N_DRAWS` times, each starting with other ones."""
    labels = train.groupby("run_group", sort=False)["label"].first()
    kinds = labels.to_numpy(dtype=object) if step > 1 else np.zeros(len(labels))
    groups = [rng.permutation(part.index.to_numpy(dtype=object)).tolist()
              for _, part in labels.groupby(kinds, sort=False)]
    rng.shuffle(groups)
    # Few runs have few orders that start differently, and an order that comes twice says nothing.
    n_draws = min(N_DRAWS, *map(len, groups))
    return tuple(
        _in_turn([_rotate(runs, draw, n_draws) for runs in groups]) for draw in range(n_draws)
    )


def _rotate(runs: list[str], draw: int, n_draws: int) -> list[str]:
    start = draw * len(runs) // n_draws
    return runs[start:] + runs[:start]


def _in_turn(groups: Sequence[list[str]]) -> tuple[str, ...]:
    longest = max(map(len, groups))
    return tuple(runs[k] for k in range(longest) for runs in groups if k < len(runs))


def _least(train: pd.DataFrame, order: Sequence[str], by_label: bool) -> int:
    """Return how many of the first runs hold enough trials; a large number where all do not."""
    kinds = train["label"] if by_label else pd.Series("all", index=train.index)
    counts = pd.crosstab(train["run_group"], kinds).reindex(list(order), fill_value=0).cumsum()
    # A label that is rarer than that limits the decoder of all runs, too.
    wanted = np.minimum(counts.iloc[-1], LEAST_PER_LABEL if by_label else LEAST_TRIALS)
    enough = ((counts >= wanted).all(axis=1) & (counts.sum(axis=1) >= LEAST_TRIALS)).to_numpy()
    return int(enough.argmax()) + 1 if enough.any() else _FULL


def _sizes(least: int, most: int, step: int) -> tuple[int, ...]:
    """Spread the sizes, in whole steps, between the smallest and all runs.

    Examples
    --------
    >>> _sizes(1, 11, 1), _sizes(1, 3, 1), _sizes(3, 12, 2)
    ((1, 2, 3, 4, 7, 11), (1, 2, 3), (4, 6, 8, 10, 12))
    >>> _sizes(2, 7, 2)
    (2, 4, 6, 7)
    """
    first = -(-least // step) * step
    if first > most:
        return ()
    spread = np.geomspace(first, most, N_SIZES) / step
    return tuple(sorted({*(min(int(size) * step, most) for size in spread.round()), most}))
