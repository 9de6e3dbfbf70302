"""Accuracy maps of searchlights: chance, p-values of single spheres, and of whole maps.

Many spheres are tested at once. The family-wise error is controlled by the null distribution of
the largest value of the map [1]_, of the accuracy itself or after threshold-free cluster
enhancement. Labels are exchanged once for all spheres, so that their dependence is kept.

References
----------
.. [1] Nichols and Holmes (2002), Nonparametric permutation tests for functional neuroimaging,
   Human Brain Mapping 15:1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from bids_decoder.evaluation.tfce import enhance_clusters
from bids_decoder.trials import VoxelGrid

N_PEAKS = 20
PEAK_COLUMNS = {
    "x": "Position of the centre in millimetres, to the right.",
    "y": "Position in millimetres, to the front.",
    "z": "Position in millimetres, upwards.",
    "n_voxels": "Number of voxels of the sphere.",
    "accuracy": "Balanced accuracy of held-out trials.",
    "p": "Permutation p-value of this sphere alone, not corrected.",
    "p_max": "p-value corrected for all spheres, by the largest accuracy of permuted maps.",
    "p_tfce": "p-value corrected for all spheres, after cluster enhancement.",
}
_SLACK = 1e-6
"""Sums of the same hits in another order differ by rounding; such ties count."""


@dataclass(frozen=True, eq=False)
class SearchMaps:
    """Maps of a searchlight over all voxels.

    Parameters
    ----------
    accuracy : ndarray, shape (n_voxels,)
        Balanced accuracy.
    chance : float
    tfce : ndarray, shape (n_voxels,)
        Enhanced distance from chance, in binomial standard errors.
    p, p_max, p_tfce : ndarray or None, each of shape (n_voxels,)
        See :data:`PEAK_COLUMNS`; None without permutations.
    null_max : ndarray, shape (n_permutations,)
        Largest accuracy of each permuted map.
    """

    accuracy: np.ndarray
    chance: float
    tfce: np.ndarray
    p: np.ndarray | None
    p_max: np.ndarray | None
    p_tfce: np.ndarray | None
    null_max: np.ndarray


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
    hits: Sequence[np.ndarray], grid: VoxelGrid, *, chance: float, n_trials: int,
    progress: Callable[[int, int], None] | None = None,
) -> SearchMaps:
    """Compute maps and their p-values from the hits of all folds.

    Parameters
    ----------
    hits : sequence of ndarray, each of shape (1 + n_permutations, n_voxels)
        One per fold, of :func:`weighted_hits`; first those of the true labels. They may be
        memory-mapped and are read row by row.
    grid : VoxelGrid
    chance : float
    n_trials : int
        Held-out trials, for the standard error by which distances from chance are scaled.
    progress : callable, optional
        Called with (permutations done, permutations in all).
    """
    error = np.sqrt(chance * (1 - chance) / n_trials)

    def map_of(row: int) -> tuple[np.ndarray, np.ndarray]:
        accuracy = np.sum([np.asarray(part[row], dtype=np.float64) for part in hits], axis=0)
        return accuracy, enhance_clusters((accuracy - chance) / error, grid)

    accuracy, enhanced = map_of(0)
    n_permutations = len(hits[0]) - 1
    reached, largest = np.zeros(grid.n_voxels), np.zeros((n_permutations, 2))
    for number in range(n_permutations):
        null, null_enhanced = map_of(number + 1)
        reached += null >= accuracy - _SLACK
        largest[number] = null.max(), null_enhanced.max()
        if progress is not None:
            progress(number + 1, n_permutations)
    if not n_permutations:
        return SearchMaps(accuracy, chance, enhanced, None, None, None, largest[:, 0])
    return SearchMaps(
        accuracy, chance, enhanced, (1 + reached) / (1 + n_permutations),
        corrected_p(accuracy, largest[:, 0]), corrected_p(enhanced, largest[:, 1]), largest[:, 0],
    )


def corrected_p(observed: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Compute family-wise p-values from the largest values of permuted maps.

    Parameters
    ----------
    observed : ndarray, shape (n_voxels,)
    largest : ndarray, shape (n_permutations,)

    Returns
    -------
    ndarray, shape (n_voxels,)
        ``(1 + #{as large}) / (1 + n_permutations)``.
    """
    below = np.searchsorted(np.sort(largest), observed - _SLACK * np.maximum(1, observed))
    return (1 + len(largest) - below) / (1 + len(largest))


def find_peaks(
    maps: SearchMaps, grid: VoxelGrid, sizes: np.ndarray, distance_mm: float
) -> pd.DataFrame:
    """List the spheres with the highest accuracies that are apart from each other.

    Parameters
    ----------
    maps : SearchMaps
    grid : VoxelGrid
    sizes : ndarray of int, shape (n_voxels,)
        Number of voxels of each sphere.
    distance_mm : float
        Least distance of two peaks.

    Returns
    -------
    DataFrame
        At most :data:`N_PEAKS` rows above chance, the best first; see :data:`PEAK_COLUMNS`.
        Spheres of equal accuracy are ordered by their cluster enhancement.
    """
    order = np.lexsort((-maps.tfce, -maps.accuracy))
    left = maps.accuracy > maps.chance + _SLACK
    near, peaks = cKDTree(grid.coordinates), []
    for voxel in order[left[order]]:
        if left[voxel]:
            peaks.append(voxel)
            left[near.query_ball_point(grid.coordinates[voxel], distance_mm)] = False
        if len(peaks) == N_PEAKS:
            break
    columns = {
        **dict(zip("xyz", grid.coordinates[peaks].reshape(-1, 3).T, strict=True)),
        "n_voxels": sizes[peaks], "accuracy": maps.accuracy[peaks],
    }
    for name in ("p", "p_max", "p_tfce"):
        values = getattr(maps, name)
        columns[name] = np.nan if values is None else values[peaks]
    return pd.DataFrame(columns, columns=list(PEAK_COLUMNS))
