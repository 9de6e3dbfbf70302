"""Folds of trial tables, and guards that keep test trials out of fits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError, LeakageError, name_some

MIN_RUNS_TO_CHOOSE = 4
"""With fewer training runs, cross-validation over runs is too noisy to choose by."""

MOST_TRIALS_TO_CHOOSE = 3000
"""Trials, in whole runs, by which penalties and the whitening of targets are chosen.

The time of each fit grows with their cube.
"""

ENOUGH_VALIDATION = 3000
"""Validation trials that are enough to choose by. Each fold takes a fit to all others."""


def fold_list(trials: pd.DataFrame) -> list[int]:
    """List the folds of a trial table that hold test trials, in order."""
    return sorted(int(number) for number in set(trials["fold"].tolist()) if not pd.isna(number))


def is_crossed(trials: pd.DataFrame) -> bool:
    """Return whether training trials are test trials of other folds."""
    return bool(trials.loc[trials["split"] == "train", "fold"].notna().any())


def resolve_fold(trials: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    """Turn cross-validated trials into training and test trials of one fold.

    Parameters
    ----------
    trials : DataFrame
        From :func:`.held_out.apply_split`.
    fold : int or None
        Number of the fold. None makes all cross-validated trials training trials: for
        source participants of pretraining, on whom nothing is tested.

    Returns
    -------
    DataFrame
        A copy whose ``split`` has no cv left; tables without cross-validation stay as they are.
    """
    out = trials.copy()
    crossed = out["split"] == "cv"
    test = crossed & (out["fold"] == fold).fillna(False) if fold is not None else crossed & False
    out["split"] = out["split"].mask(crossed & ~test, "train").mask(test, "test")
    return out


def assert_no_test(trials: pd.DataFrame, rows: np.ndarray) -> None:
    """Check before a fit that every row used is a training trial.

    Parameters
    ----------
    trials : DataFrame
        Trial table; cross-validation resolved with :func:`resolve_fold`.
    rows : ndarray of int or bool
        Rows about to be used in a fit.

    Raises
    ------
    LeakageError
        When a row is anything but ``train`` (test, unresolved cv, or excluded).
    """
    roles = trials["split"].to_numpy(dtype=object)[rows]
    wrong = np.array([role != "train" for role in roles], dtype=bool)
    if wrong.any():
        names = {str(role) for role in roles[wrong]}
        raise LeakageError(
            f"{wrong.sum()} of {len(roles)} trials of a fit are not training trials",
            f"their split is {name_some(sorted(names), 20)}",
            "this is a fault of the program, please report it",
        )


def assert_disjoint(train_ids: Iterable[str], test_ids: Iterable[str]) -> None:
    """Check before a fit that no id is in both training and test.

    Raises
    ------
    LeakageError
        Naming the ids in both.
    """
    both = set(train_ids) & set(test_ids)
    if both:
        raise LeakageError(
            f"{len(both)} id(s) are in training and in test", name_some(sorted(map(str, both)), 20),
            "this is a fault of the program, please report it",
        )


def inner_folds(run_groups: np.ndarray, n_folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split training trials for inner cross-validation, run-wise.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)
    n_folds : int
        At least 2; there are fewer folds when there are fewer runs.

    Returns
    -------
    list of (train, validation)
        Arrays of row numbers. With a single run the folds are contiguous blocks of trials,
        which limits the effect of autocorrelation.

    Raises
    ------
    InputError
        With fewer than two trials.
    """
    run_groups = np.asarray(run_groups)
    if len(run_groups) < 2:
        raise InputError(
            "inner cross-validation", f"{len(run_groups)} training trial(s)", "add runs"
        )
    runs = list(dict.fromkeys(run_groups.tolist()))
    if len(runs) > 1:
        number = {run: i % min(n_folds, len(runs)) for i, run in enumerate(runs)}
        fold_of = np.array([number[run] for run in run_groups.tolist()])
    else:
        n_blocks = min(n_folds, len(run_groups))
        fold_of = np.arange(len(run_groups)) * n_blocks // len(run_groups)
    return [
        (np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k))
        for k in range(fold_of.max() + 1)
    ]


def spread_runs(run_groups: np.ndarray, most: int) -> np.ndarray:
    """Return the rows of whole runs, evenly spread over all, of *most* trials together.

    There are at least :data:`MIN_RUNS_TO_CHOOSE` runs, whatever their length.
    """
    names = np.unique(run_groups)
    n_kept = max(MIN_RUNS_TO_CHOOSE, int(len(names) * most / len(run_groups)))
    if n_kept >= len(names):
        return np.arange(len(run_groups))
    kept = names[np.linspace(0, len(names) - 1, n_kept).round().astype(int)]
    return np.flatnonzero(np.isin(run_groups, kept))


def enough_folds(
    folds: list[tuple[np.ndarray, np.ndarray]], enough: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the first folds whose validation trials are enough together.

    Parameters
    ----------
    folds : list of (train, validation)
        From :func:`inner_folds`.
    enough : int, optional
        By default :data:`ENOUGH_VALIDATION`.

    Returns
    -------
    list of (train, validation)
        All folds where they have fewer validation trials together.
    """
    most = ENOUGH_VALIDATION if enough is None else enough
    before = np.cumsum([0, *(len(validation) for _, validation in folds[:-1])])
    return [fold for fold, n in zip(folds, before, strict=True) if n < most]
