"""Scores of decoding over time and from each time to all others, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bids_decoder.evaluation.label_scores import Guesses, label_intervals
from bids_decoder.evaluation.time_clusters import Clusters, find_clusters, peak_interval

METRIC = "balanced_accuracy"

_CELL = {
    "chance": "Its value for a decoder without information.",
    "p": "Permutation p-value of this cell alone.",
    "p_max": "p-value corrected for all cells of the table, by the largest value.",
    "cluster": "Number of the cluster of neighbouring cells above chance that the cell is in, the "
               "largest first; 0: in none.",
    "p_cluster": "p-value of this cluster, corrected for all cells of the table, by the largest "
                 "cluster mass.",
}
TIME_COLUMNS: dict[str, str] = {
    "time": "Seconds from the onset of the trials to the volume.",
    "metric": "balanced_accuracy of held-out trials.",
    "value": "The measured value; trained and tested at this time.",
    "chance": _CELL["chance"],
    "ci_low": "Lower limit of the 95 % interval, not corrected.",
    "ci_high": "Upper limit.",
    "p": _CELL["p"], "p_max": _CELL["p_max"], "cluster": _CELL["cluster"],
    "p_cluster": _CELL["p_cluster"],
    "p_min": "The smallest p-value possible: by the number of permutations, or of different "
             "arrangements of the labels.",
    "n_null": "Number of permutations.",
    "n": "Number of held-out trials.",
}
"""Columns of the table of decoding over time, with descriptions."""

GENERALISATION_COLUMNS: dict[str, str] = {
    "train_time": "Seconds from the onset to the volume that the decoder was trained on.",
    "test_time": "Seconds from the onset to the volume that it was tested on.",
    "metric": TIME_COLUMNS["metric"],
    "value": "The measured value.",
    **_CELL,
}
"""Columns of the table of temporal generalisation, with descriptions."""

NULL_COLUMNS: dict[str, str] = {
    "permutation": "Number of the permutation; the same at all times.",
    "train_time": GENERALISATION_COLUMNS["train_time"],
    "test_time": GENERALISATION_COLUMNS["test_time"],
    "metric": TIME_COLUMNS["metric"],
    "value": "Its value under this permutation.",
}
"""Columns of the table of null distributions, with descriptions."""

CLUSTER_COLUMNS: dict[str, str] = {
    "map": "diagonal: trained and tested at the same time; matrix: from each time to all others.",
    "cluster": "Number of the cluster, the largest first.",
    "train_first": "First time that it is trained on, in seconds from the onset.",
    "train_last": "Last one.",
    "test_first": "First time that it is tested on.",
    "test_last": "Last one.",
    "n_cells": "Number of times, or of pairs of times.",
    "mass": "Sum of the distances from the mean of permuted scores, in their standard deviations.",
    "p_cluster": _CELL["p_cluster"],
}
"""Columns of the table of clusters, with descriptions."""


@dataclass(frozen=True, eq=False)
class TimeFold:
    """What each time tells about the test trials of one fold.

    Parameters
    ----------
    values : ndarray of float32, shape (n_labellings, n_times, n_times)
        Shares of the fold in balanced accuracy: trained on the second axis, tested on the third.
    predicted : ndarray of int, shape (n_times, n_test)
        Classes, decoded with the true labels, trained and tested at the same time.
    true : ndarray of int, shape (n_test,)
    runs : ndarray of str, shape (n_test,)
    shrinkage : ndarray, shape (n_times,)
    """

    values: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    runs: np.ndarray
    shrinkage: np.ndarray


@dataclass(frozen=True, eq=False)
class TimeScores:
    """Scores at all times, and from each time to all others.

    Parameters
    ----------
    times : ndarray, shape (n_times,)
        Seconds from the onset.
    values : ndarray, shape (1 + n_permutations, n_times, n_times)
        Balanced accuracy, with the true labels first: trained on the second axis.
    limits : ndarray, shape (n_times, 2)
        95 % intervals where training and test have the same time.
    hits : ndarray of bool, shape (n_times, n_trials)
        Trials decoded correctly there.
    true : ndarray of int, shape (n_trials,)
    runs : ndarray of str, shape (n_trials,)
    p_min : float
        The smallest p-value possible.
    """

    times: np.ndarray
    values: np.ndarray
    limits: np.ndarray
    hits: np.ndarray
    true: np.ndarray
    runs: np.ndarray
    p_min: float

    @property
    def n_null(self) -> int:
        """Number of permutations."""
        return len(self.values) - 1

    @property
    def chance(self) -> float:
        """Balanced accuracy without information."""
        return 1 / len(np.unique(self.true))

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Scores where training and test have the same time, (1 + n_permutations, n_times)."""
        return np.diagonal(self.values, axis1=1, axis2=2)

    @cached_property
    def clusters(self) -> dict[str, Clusters]:
        """Clusters of the diagonal and of the matrix."""
        return {"diagonal": find_clusters(self.diagonal), "matrix": find_clusters(self.values)}

    def time_table(self) -> pd.DataFrame:
        """Return the scores where training and test have the same time; :data:`TIME_COLUMNS`."""
        return pd.DataFrame({
            "time": self.times, "metric": METRIC, "value": self.diagonal[0],
            "chance": self.chance, "ci_low": self.limits[:, 0], "ci_high": self.limits[:, 1],
            **self._tests("diagonal"), "p_min": self.p_min if self.n_null else np.nan,
            "n_null": self.n_null, "n": len(self.true),
        })

    def generalisation_table(self) -> pd.DataFrame:
        """Return the scores of all pairs of times; :data:`GENERALISATION_COLUMNS`."""
        n_times = len(self.times)
        return pd.DataFrame({
            "train_time": np.repeat(self.times, n_times),
            "test_time": np.tile(self.times, n_times), "metric": METRIC,
            "value": self.values[0].ravel(), "chance": self.chance, **self._tests("matrix"),
        })

    def null_table(self) -> pd.DataFrame:
        """Return the null distributions of all pairs of times; :data:`NULL_COLUMNS`."""
        n_times = len(self.times)
        return pd.DataFrame({
            "permutation": np.repeat(np.arange(1, self.n_null + 1), n_times**2),
            "train_time": np.tile(np.repeat(self.times, n_times), self.n_null),
            "test_time": np.tile(self.times, n_times * self.n_null), "metric": METRIC,
            "value": self.values[1:].ravel(),
        })

    def cluster_table(self) -> pd.DataFrame:
        """Return the clusters of both; :data:`CLUSTER_COLUMNS`."""
        rows = []
        for name, found in self.clusters.items():
            for number, (mass, p) in enumerate(zip(found.mass, found.p_cluster, strict=True), 1):
                places = np.nonzero(found.number == number)
                train, test = self.times[places[0]], self.times[places[-1]]
                rows.append({
                    "map": name, "cluster": number, "train_first": train.min(),
                    "train_last": train.max(), "test_first": test.min(),
                    "test_last": test.max(), "n_cells": len(train), "mass": mass, "p_cluster": p,
                })
        return pd.DataFrame(rows, columns=list(CLUSTER_COLUMNS))

    def peak(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Return the time of the highest score where training and test have the same time.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws runs for the interval.

        Returns
        -------
        peak, low, high : float
            Seconds from the onset; the limits of the 95 % interval are NaN with few runs.
        """
        peak = float(self.times[self.diagonal[0].argmax()])
        interval = peak_interval(self.hits, self.true, self.runs, rng)
        if interval is None:
            return peak, np.nan, np.nan
        return peak, float(self.times[interval[0]]), float(self.times[interval[1]])

    def _tests(self, name: str) -> dict[str, np.ndarray | float]:
        found = self.clusters[name]
        if not self.n_null:
            return {"p": np.nan, "p_max": np.nan, "cluster": 0, "p_cluster": np.nan}
        return {"p": found.p.ravel(), "p_max": found.p_max.ravel(),
                "cluster": found.number.ravel(), "p_cluster": found.p_of_cells.ravel()}


def score_times(
    folds: Sequence[TimeFold], times: np.ndarray, n_classes: int, p_min: float
) -> TimeScores:
    """Join the folds and compute intervals as for the decoder.

    Parameters
    ----------
    folds : sequence of TimeFold
    times : ndarray, shape (n_times,)
        Seconds from the onset.
    n_classes : int
    p_min : float
        The smallest p-value possible.
    """
    true = np.concatenate([fold.true for fold in folds])
    runs = np.concatenate([fold.runs for fold in folds])
    fold_of = np.repeat(np.arange(len(folds)), [len(fold.true) for fold in folds])
    predicted = np.concatenate([fold.predicted for fold in folds], axis=1)
    limits = [
        label_intervals(true, Guesses(own, None, n_classes), pd.factorize(runs)[0], fold_of)[METRIC]
        for own in predicted
    ]
    values = np.sum([np.asarray(fold.values, np.float64) for fold in folds], axis=0)
    return TimeScores(
        np.asarray(times, dtype=float), values, np.array(limits), predicted == true, true, runs,
        p_min,
    )
