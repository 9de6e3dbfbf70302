"""From arrays of trials, targets and runs to what the numerics of the app read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.api.images import ArrayError
from bids_decoder.trials import Person, Targets, VoxelGrid

ONE_RUN = "run-1"


def trial_table(runs: np.ndarray, ids: np.ndarray) -> pd.DataFrame:
    """Return the trial table of training trials.

    Parameters
    ----------
    runs : ndarray of str, shape (n_trials,)
    ids : ndarray of str, shape (n_trials,)
        Label or stimulus of each trial.
    """
    table = pd.DataFrame({"run_group": runs, "stimulus": ids, "label": ids})
    return table.assign(
        trial=table.groupby("run_group").cumcount() + 1, split="train",
        fold=pd.array([None] * len(table), dtype="Int64"),
    )


def make_person(
    betas: np.ndarray, rows: np.ndarray, runs: np.ndarray, grid: VoxelGrid, *,
    targets: Targets, label: str = "", space: str = "",
) -> Person:
    """Return a participant with training trials.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
        z-scored with statistics of these trials.
    rows : ndarray of int, shape (n_trials,)
        Row of each trial's target in *targets*.
    runs : ndarray of str, shape (n_trials,)
    grid : VoxelGrid
    targets : Targets
    label, space : str
        See :class:`~bids_decoder.trials.Person`.
    """
    table = trial_table(runs, np.array(targets.ids)[rows])
    return Person(label, grid, betas, table, rows, space)


def runs_of(groups: Any, n_trials: int) -> np.ndarray:
    """Return the run of each trial as text; without *groups* all trials are of one run.

    Raises
    ------
    ArrayError
        For another number of groups than of trials, or missing ones.
    """
    if groups is None:
        return np.full(n_trials, ONE_RUN)
    runs = np.asarray(groups)
    if runs.shape != (n_trials,):
        raise ArrayError(
            f"groups of shape {runs.shape}", f"there are {n_trials} trials",
            "give the run of each trial, one-dimensional",
        )
    if pd.isna(runs).any():
        raise ArrayError(
            "groups", f"{int(pd.isna(runs).sum())} trials have none", "give the run of each trial"
        )
    return runs.astype(str)


def label_targets(classes: np.ndarray) -> Targets:
    """Return *classes* (n_classes,) as targets in their order, which a saved decoder keeps."""
    names = tuple(str(name) for name in classes.tolist())
    return Targets(names, np.eye(len(names), dtype=np.float32), "category")


def vector_targets(vectors: Any) -> tuple[np.ndarray, Targets]:
    """Return the stimuli of a table of vectors, and the table as targets.

    Parameters
    ----------
    vectors : DataFrame or mapping
        One row, or one vector, per stimulus.

    Returns
    -------
    names : ndarray, shape (n_stimuli,)
        As they are in the table.
    targets : Targets

    Raises
    ------
    ArrayError
        If vectors are not finite or differ in length, or there are fewer than two.
    """
    try:
        table = vectors if isinstance(vectors, pd.DataFrame) else pd.DataFrame(
            {name: np.ravel(vector) for name, vector in dict(vectors).items()}
        ).T
        values = table.to_numpy(dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ArrayError(
            "embeddings", f"they are no table of numbers: {error}",
            "give a DataFrame with one row per stimulus, or a mapping of stimuli to vectors",
        ) from error
    names = table.index.to_numpy()
    if len(names) < 2 or not np.isfinite(values).all() or len(set(map(str, names))) < len(names):
        raise ArrayError(
            "embeddings", f"{len(names)} stimuli, with values that are not finite, or names that "
            "occur twice", "give a finite vector for each of two or more stimuli",
        )
    return names, Targets(tuple(map(str, names)), values, "features")


def value_targets(values: np.ndarray) -> tuple[np.ndarray, Targets]:
    """Return the row of each trial, and the targets, of numbers (n_trials, n_columns)."""
    unique, rows = np.unique(values, axis=0, return_inverse=True)
    ids = tuple(" ".join(map(repr, row)) for row in unique.tolist())
    columns = tuple(f"y{number}" for number in range(values.shape[1]))
    return rows.ravel(), Targets(ids, unique.astype(np.float64), "value", columns=columns)


def rows_in(y: np.ndarray, classes: np.ndarray, what: str) -> np.ndarray:
    """Return the place of each target among the known ones.

    Parameters
    ----------
    y : ndarray, shape (n_trials,)
        Compared as text.
    classes : ndarray, shape (n_classes,)
    what : str
        What *y* is, for messages.

    Returns
    -------
    ndarray of int, shape (n_trials,)

    Raises
    ------
    ArrayError
        For targets that are not among them.
    """
    places: Mapping[str, int] = {str(name): place for place, name in enumerate(classes.tolist())}
    absent = sorted({str(name) for name in y.tolist()} - set(places))
    if absent:
        raise ArrayError(
            f"{what} {', '.join(absent[:3])}", f"{len(absent)} targets are not among the "
            f"{len(classes)} known ones", "add them, or leave out their trials",
        )
    return np.array([places[str(name)] for name in y.tolist()], dtype=np.intp)
