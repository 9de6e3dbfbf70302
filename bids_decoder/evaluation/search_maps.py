"""Maps of searchlights: values of spheres, p-values of single spheres, and of whole maps.

Many spheres are tested at once. The family-wise error is controlled by the null distribution of
the largest value of the map [1]_, as it is or after threshold-free cluster
enhancement. Labels are exchanged once for all spheres, so that their dependence is kept.

References
----------
.. [1] Nichols and Holmes (2002), Nonparametric permutation tests for functional neuroimaging,
   Human Brain Mapping 15:1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bids_decoder.evaluation.tfce import enhance_clusters
from bids_decoder.trials import VoxelGrid

N_PEAKS = 20
PEAK_COLUMNS = {
    "x": "Position of the centre in millimetres, to the right.",
    "y": "Position in millimetres, to the front.",
    "z": "Position in millimetres, upwards.",
    "n_voxels": "Number of voxels of the sphere.",
    "value": "Of the map: balanced accuracy of held-out trials, mean crossnobis distance, or "
             "whitened correlation of the model with the distances.",
    "p": "Permutation p-value of this sphere alone, not corrected.",
    "p_max": "p-value corrected for all spheres, by the largest value of permuted maps.",
    "p_tfce": "p-value corrected for all spheres, after cluster enhancement.",
}
_SLACK = 1e-4
"""Sums of the same numbers in another order differ by rounding, in standard errors; ties count."""


@dataclass(frozen=True, eq=False)
class SearchMaps:
    """Maps of a searchlight over all voxels.

    Parameters
    ----------
    values : ndarray, shape (n_voxels,)
        Balanced accuracy, mean crossnobis distance, or correlation of a model with distances.
    chance : float
    tfce, p, p_max, p_tfce : ndarray or None, each of shape (n_voxels,)
        Enhanced distance from chance, and p-values (:data:`PEAK_COLUMNS`); None without
        permutations.
    null_max, null_tfce : ndarray, shape (n_permutations,)
        Largest value, and largest enhanced one, of each permuted map, or of several maps that are
        corrected together.
    error : float
        By which distances from chance are divided for cluster enhancement.
    """

    values: np.ndarray
    chance: float
    tfce: np.ndarray | None
    p: np.ndarray | None
    p_max: np.ndarray | None
    p_tfce: np.ndarray | None
    null_max: np.ndarray
    null_tfce: np.ndarray
    error: float


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Balanced accuracy from scores of classes.

    Parameters
    ----------
    true : ndarray of int, shape (n_labellings, n_test)
        Labels of the test trials of one fold. With scores of one labelling only, predictions
        stay, and all true ones are compared with them.
    weights : ndarray, shape (n_labellings, n_classes)
        Of :func:`class_weights`, over the trials of all folds.
    """

    true: np.ndarray
    weights: np.ndarray

    def __call__(self, scores: np.ndarray, rows: slice) -> np.ndarray:
        """Return the share of one fold in balanced accuracy, (n_labellings, n_spheres)."""
        if scores.shape[1] == 1:
            rows = slice(rows.start, None)
        return weighted_hits(scores.argmax(axis=-1), self.true[rows], self.weights[rows])


@dataclass(frozen=True, eq=False)
class Distance:
    """Mean crossnobis distance of all pairs of classes.

    Parameters
    ----------
    true : ndarray of int, shape (n_labellings, n_test)
        See :class:`Accuracy`.
    n_folds : int
        The mean over folds is the sum of what this returns.
    """

    true: np.ndarray
    n_folds: int

    def __call__(self, scores: np.ndarray, rows: slice) -> np.ndarray:
        """Return the share of one fold in the distance, (n_labellings, n_spheres)."""
        if scores.shape[1] == 1:
            rows = slice(rows.start, None)
        labels = (self.true[rows][:, :, None] == np.arange(scores.shape[-1])).astype(scores.dtype)
        counts = labels.sum(axis=1)
        both = (counts > 0) & np.isfinite(scores[0, :, 0])
        means = labels / np.maximum(counts, 1)[:, None]
        products = np.matmul(means.transpose(0, 2, 1), np.where(np.isfinite(scores), scores, 0))
        products *= both[:, :, None] & both[:, None]
        n_both = both.sum(axis=1)[:, None]
        trace = np.trace(products, axis1=-2, axis2=-1).T
        total = n_both * trace - products.sum(axis=(-2, -1)).T
        return total / np.maximum(n_both * (n_both - 1) / 2, 1) / self.n_folds


def class_weights(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Compute what a hit in each class adds to balanced accuracy.

    Parameters
    ----------
    labels : ndarray of int, shape (n_labellings, n_trials)
        Of all held-out trials.
    n_classes : int

    Returns
    -------
    ndarray of float32, shape (n_labellings, n_classes)
        One over the number of trials of the class and over the number of classes; 0 for classes
        that are not tested.
    """
    counts = (labels[:, :, None] == np.arange(n_classes)).sum(axis=1)
    n_tested = (counts > 0).sum(axis=1, keepdims=True)
    return ((counts > 0) / np.maximum(counts * n_tested, 1)).astype(np.float32)


def weighted_hits(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum the weights of the trials that were predicted correctly.

    Parameters
    ----------
    predicted : ndarray of int, shape (n_spheres, n_labellings or 1, n_trials)
        One prediction counts for all labellings: with fixed predictions.
    true : ndarray of int, shape (n_labellings, n_trials)
    weights : ndarray, shape (n_labellings, n_classes)
        Of :func:`class_weights`, over the trials of all folds.

    Returns
    -------
    ndarray of float32, shape (n_labellings, n_spheres)
        Sums over folds are balanced accuracies.
    """
    weight = np.take_along_axis(weights, true, axis=1).astype(np.float32)
    return np.einsum("slt,lt->ls", (predicted == true).astype(np.float32), weight)


def compute_maps(
    parts: Sequence[np.ndarray], grid: VoxelGrid, *, chance: float, error: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SearchMaps:
    """Compute maps and their p-values from the values of all folds.

    Parameters
    ----------
    parts : sequence of ndarray, each of shape (1 + n_permutations, n_voxels)
        One per fold, of :class:`Accuracy` or :class:`Distance`; first those of the true labels.
        They may be memory-mapped and are read row by row.
    grid : VoxelGrid
    chance : float
    error : float, optional
        Standard error that scales distances from chance for cluster enhancement; by default the
        standard deviation of permuted maps around chance.
    progress : callable, optional
        Called with (permutations done, permutations in all).
    """
    values, n_permutations = _sum(parts, 0), len(parts[0]) - 1
    if not n_permutations:
        return SearchMaps(values, chance, None, None, None, None, np.zeros(0), np.zeros(0), 0.0)
    error = _null_spread(parts, chance) if error is None else error
    enhanced = enhance_clusters((values - chance) / error, grid)
    reached, largest = np.zeros(grid.n_voxels), np.zeros((n_permutations, 2))
    for number in range(n_permutations):
        null = _sum(parts, number + 1)
        reached += null >= values - _SLACK * error
        largest[number] = null.max(), enhance_clusters((null - chance) / error, grid).max()
        if progress is not None:
            progress(number + 1, n_permutations)
    return SearchMaps(
        values, chance, enhanced, (1 + reached) / (1 + n_permutations),
        corrected_p(values, largest[:, 0], _SLACK * error),
        corrected_p(enhanced, largest[:, 1], _SLACK), largest[:, 0], largest[:, 1], error,
    )


def correct_together(maps: Sequence[SearchMaps]) -> list[SearchMaps]:
    """Correct several maps of the same permutations for all of them.

    Parameters
    ----------
    maps : sequence of SearchMaps

    Returns
    -------
    list of SearchMaps
        With ``p_max`` and ``p_tfce`` from the largest values of any of the maps.
    """
    if maps[0].p is None:
        return list(maps)
    null_max, null_tfce = (
        np.max([getattr(each, name) for each in maps], axis=0) for name in ("null_max", "null_tfce")
    )
    return [
        replace(
            each, p_max=corrected_p(each.values, null_max, _SLACK * each.error),
            p_tfce=corrected_p(each.tfce, null_tfce, _SLACK), null_max=null_max,
            null_tfce=null_tfce,
        )
        for each in maps
    ]


def _sum(parts: Sequence[np.ndarray], row: int) -> np.ndarray:
    return np.sum([np.asarray(part[row], dtype=np.float64) for part in parts], axis=0)


def _null_spread(parts: Sequence[np.ndarray], chance: float) -> float:
    squares = [np.mean((_sum(parts, row) - chance) ** 2) for row in range(1, len(parts[0]))]
    return float(np.sqrt(np.mean(squares))) or 1.0


def corrected_p(observed: np.ndarray, largest: np.ndarray, slack: float) -> np.ndarray:
    """Compute family-wise p-values from the largest values of permuted maps.

    Parameters
    ----------
    observed : ndarray, shape (n_voxels,)
    largest : ndarray, shape (n_permutations,)
    slack : float
        Values that differ by less are equal.

    Returns
    -------
    ndarray, shape (n_voxels,)
        ``(1 + #{as large}) / (1 + n_permutations)``.
    """
    below = np.searchsorted(np.sort(largest), observed - slack)
    return (1 + len(largest) - below) / (1 + len(largest))


def find_peaks(
    maps: SearchMaps, grid: VoxelGrid, sizes: np.ndarray, distance_mm: float
) -> pd.DataFrame:
    """List the spheres with the largest values that are apart from each other.

    Parameters
    ----------
    maps : SearchMaps
    grid : VoxelGrid
    sizes : ndarray of int, shape (n_voxels,)
        Number of voxels of each sphere.
    distance_mm : float
        Least distance of two peaks, on surfaces along them.

    Returns
    -------
    DataFrame
        At most :data:`N_PEAKS` rows above chance, the best first; see :data:`PEAK_COLUMNS`.
        Spheres of equal values are ordered by their cluster enhancement.
    """
    values = np.round(maps.values, 6)
    ties = np.zeros(len(values)) if maps.tfce is None else maps.tfce
    order = np.lexsort((-ties, -values))
    left = values > maps.chance
    peaks: list[int] = []
    for voxel in order[left[order]]:
        if left[voxel]:
            peaks.append(voxel)
            left[grid.geometry.within(np.array([voxel]), distance_mm)[0]] = False
        if len(peaks) == N_PEAKS:
            break
    columns = {
        **dict(zip("xyz", grid.coordinates[peaks].reshape(-1, 3).T, strict=True)),
        "n_voxels": sizes[peaks], "value": values[peaks],
    }
    for name in ("p", "p_max", "p_tfce"):
        found = getattr(maps, name)
        columns[name] = np.nan if found is None else found[peaks]
    return pd.DataFrame(columns, columns=list(PEAK_COLUMNS))
