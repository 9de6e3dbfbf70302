"""Scores over time: clusters of times above chance, and the time of the peak.

Neighbouring times share responses and noise, so that scores above chance come in clusters. The
family-wise error over all times, or over all pairs of training and test times, is controlled by
the largest cluster of each permutation [1]_, and, for single times, by the largest value. Each
permutation is one labelling of all trials, to which everything was fitted again.

All maps, the true one included, are treated alike: the level at which a value is a member of a
cluster, and its distance from chance, come from the distribution over all of them. Where labels
may be exchanged, the true map is one like the others, and the test is exact.

References
----------
.. [1] Maris and Oostenveld (2007), Nonparametric statistical testing of EEG- and MEG-data, Journal
   of Neuroscience Methods 164:177.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats
from scipy.ndimage import generate_binary_structure, label, sum_labels

from bids_decoder.evaluation.search_maps import corrected_p

FORMING_P = 0.05
"""Single values with at most this p are members of clusters."""

LEAST_MAPS = int(1 / FORMING_P)
"""With fewer maps, the true one included, no value can be a member."""

N_DRAWS = 2000
"""Resamples of runs for the interval of the peak."""

LEAST_RUNS = 4
"""With fewer runs there is no interval of the peak."""

_DIGITS = 6
"""Sums of the same numbers in another order differ by rounding; ties count."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of a map of scores, and p-values of its cells.

    Parameters
    ----------
    p : ndarray, shape (n_times,) or (n_times, n_times)
        Of the cell alone.
    p_max : ndarray, of the same shape
        Corrected for all cells by the largest value.
    number : ndarray of int, of the same shape
        Number of the cluster that the cell is in, from 1, the largest mass first; 0: in none.
    mass, p_cluster : ndarray, shape (n_clusters,)
        Sums of distances from chance, in standard deviations of permuted scores, and p-values.
    """

    p: np.ndarray
    p_max: np.ndarray
    number: np.ndarray
    mass: np.ndarray
    p_cluster: np.ndarray

    @property
    def p_of_cells(self) -> np.ndarray:
        """p-value of the cluster that each cell is in; NaN in none."""
        return np.concatenate([[np.nan], self.p_cluster])[self.number]


def find_clusters(values: np.ndarray) -> Clusters:
    """Find clusters of scores above chance, and test them.

    Parameters
    ----------
    values : ndarray, shape (1 + n_permutations, n_times[, n_times])
        First the true scores, then those of permuted labels.

    Returns
    -------
    Clusters
        Cells that share an edge are neighbours.
    """
    values = np.round(np.asarray(values, dtype=np.float64), _DIGITS)
    p = scipy.stats.rankdata(-values, method="max", axis=0) / len(values)
    spread = values.std(axis=0)
    distances = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    members = (p <= FORMING_P) & (distances > 0)
    number, mass, largest = _masses(distances, members)
    order = np.argsort(-mass, kind="stable")
    rank = np.zeros(len(mass) + 1, dtype=int)
    rank[order + 1] = np.arange(1, len(mass) + 1)
    cells = tuple(range(1, values.ndim))
    p_max = corrected_p(values[0], values[1:].max(axis=cells), 10.0**-_DIGITS / 2)
    p_cluster = corrected_p(mass[order], largest, 10.0**-_DIGITS)
    return Clusters(p[0], p_max, rank[number], mass[order], p_cluster)


def _masses(
    distances: np.ndarray, members: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum the distances within clusters of maps.

    Returns
    -------
    number : ndarray of int
        Cluster of each cell of the first map, from 1.
    mass : ndarray, shape (n_clusters,)
        Of the clusters of the first map.
    largest : ndarray, shape (n_maps - 1,)
        Of each of the other maps; 0 without clusters.
    """
    neighbours = generate_binary_structure(members.ndim, 1)
    # Maps are not neighbours of each other.
    neighbours[0] = neighbours[-1] = False
    number, n_clusters = label(members, neighbours)
    mass = np.asarray(sum_labels(distances, number, np.arange(1, n_clusters + 1)))
    n_own, largest = number[0].max(), np.zeros(len(members))
    map_of = np.zeros(n_clusters + 1, dtype=int)
    map_of[number.ravel()] = np.repeat(np.arange(len(members)), number[0].size)
    np.maximum.at(largest, map_of[1:], mass)
    return number[0], mass[:n_own], largest[1:]


def peak_interval(
    hits: np.ndarray, true: np.ndarray, runs: np.ndarray, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Compute the 95 % interval of the time with the highest balanced accuracy.

    Parameters
    ----------
    hits : ndarray of bool, shape (n_times, n_trials)
        Held-out trials that were decoded correctly at each time.
    true : ndarray of int, shape (n_trials,)
        Classes.
    runs : ndarray of str, shape (n_trials,)
    rng : numpy.random.Generator

    Returns
    -------
    tuple of int, or None
        Numbers of the first and the last time: percentiles over :data:`N_DRAWS` resamples of runs.
        Decoders are not fitted again, so that the interval is for other test trials. None with
        fewer than :data:`LEAST_RUNS` runs.
    """
    names, run_of = np.unique(runs, return_inverse=True)
    if len(names) < LEAST_RUNS:
        return None
    classes, class_of = np.unique(true, return_inverse=True)
    cell = run_of * len(classes) + class_of
    shape = (len(names), len(classes))
    n_cells = len(names) * len(classes)
    counts = np.bincount(cell, minlength=n_cells).reshape(shape)
    right = np.stack([
        np.bincount(cell, weights=one, minlength=n_cells).reshape(shape) for one in hits
    ])
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_DRAWS)
    tested = weights @ counts
    recalls = np.einsum("dr,trc->dtc", weights, right) / np.maximum(tested, 1)[:, None]
    scores = recalls.sum(axis=2) / (tested > 0).sum(axis=1)[:, None]
    low, high = np.quantile(
        scores.argmax(axis=1), [0.025, 0.975], method="inverted_cdf"
    )
    return int(low), int(high)
