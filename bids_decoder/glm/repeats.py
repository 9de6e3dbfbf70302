"""Cross-validation over repeats of stimuli among the training trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from bids_decoder.glm.base import TrialRun

MIN_CONDITIONS = 3


@dataclass(frozen=True, eq=False)
class RepeatScheme:
    """Scheme by which training trials of one condition predict each other.

    Parameters
    ----------
    predictor : sparse matrix, shape (n_train, n_train)
        Row *i* averages the trials of the same condition in other folds.
    usable : ndarray of bool, shape (n_train,)
        Trials that have such partners.
    run : ndarray of int, shape (n_train,)
        Run of each training trial.
    note : str
    """

    predictor: scipy.sparse.csr_array
    usable: np.ndarray
    run: np.ndarray
    note: str

    def errors(self, target: np.ndarray, betas: np.ndarray) -> np.ndarray:
        """Compute the squared error of predicting *target* from other folds of *betas*.

        Parameters
        ----------
        target, betas : ndarray, shape (n_train, n_voxels)
            Both are centred per run first, as a response common to all trials contains no
            information on the stimulus.

        Returns
        -------
        ndarray of float64, shape (n_voxels,)
        """
        predicted = self.predictor @ self.centred(betas)
        difference = self.centred(target)[self.usable] - predicted[self.usable]
        return np.einsum("tv,tv->v", difference, difference, dtype=np.float64)

    def power(self, target: np.ndarray) -> np.ndarray:
        """Compute the sum of squares of the values predicted by :meth:`errors`, (n_voxels,)."""
        centred = self.centred(target)[self.usable]
        return np.einsum("tv,tv->v", centred, centred, dtype=np.float64)

    def centred(self, betas: np.ndarray) -> np.ndarray:
        """Subtract the mean of each run from *betas* (n_train, n_voxels)."""
        result = np.array(betas)
        for run in np.unique(self.run):
            result[self.run == run] -= result[self.run == run].mean(axis=0)
        return result


def repeat_scheme(runs: Sequence[TrialRun]) -> RepeatScheme | None:
    """Find repeats among the training trials.

    Folds are runs where at least three conditions come back in another run, else the
    first, second, … occurrence of a condition. Where the conditions do not repeat at all, the
    labels are tried in their place, over runs only.

    Parameters
    ----------
    runs : sequence of TrialRun
        Runs that have training trials.

    Returns
    -------
    RepeatScheme or None
        None when nothing repeats.
    """
    if not runs:
        return None
    number = np.repeat(np.arange(len(runs)), [int(run.train.sum()) for run in runs])
    conditions = np.concatenate([run.conditions[run.train] for run in runs])
    options = [(conditions, number, "conditions, folds are runs"),
               (conditions, occurrence(conditions), "conditions, folds are repeats")]
    if all(run.labels is not None for run in runs):
        labels = np.concatenate([run.labels[run.train] for run in runs])
        options.append((labels, number, "labels, folds are runs"))
    for names, folds, note in options:
        matrix = _predictor(names, folds)
        usable = np.diff(matrix.indptr) > 0
        if len(np.unique(names[usable])) >= MIN_CONDITIONS:
            return RepeatScheme(matrix, usable, number, note)
    return None


def occurrence(names: np.ndarray) -> np.ndarray:
    """Number the occurrences of each name from zero, in order.

    Examples
    --------
    >>> occurrence(np.array(["a", "b", "a", "a"])).tolist()
    [0, 0, 1, 2]
    """
    codes = np.unique(names, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    numbers = np.empty(len(names), dtype=int)
    numbers[order] = np.arange(len(names)) - starts
    return numbers


def _predictor(names: np.ndarray, folds: np.ndarray) -> scipy.sparse.csr_array:
    rows, columns, values = [], [], []
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        allowed = folds[members][:, None] != folds[members][None, :]
        counts = allowed.sum(axis=1)
        row, column = np.nonzero(allowed)
        rows.append(members[row])
        columns.append(members[column])
        values.append(1.0 / counts[row])
    content = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    shape = (len(names), len(names))
    return scipy.sparse.csr_array(content, shape=shape, dtype=np.float32)
