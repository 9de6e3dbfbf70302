"""A searchlight in one fold, and the maps of all folds together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bids_decoder.evaluation.search_maps import Accuracy, Distance, SearchMaps, compute_maps
from bids_decoder.training.search_labels import FoldLabels
from bids_decoder.training.searchlight import Fold, estimate_shrinkage, search_spheres
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.training.spheres import Spheres
from bids_decoder.trials import Person, VoxelGrid

Progress = Callable[[int, int], None]


def search_fold(
    sides: tuple[Person, Person], labels: FoldLabels, settings: Searchlight, values: np.ndarray,
    *, n_folds: int, rng: np.random.Generator, progress: Progress | None = None,
) -> dict[str, Any]:
    """Decode the test trials of one fold in every sphere, under every labelling.

    Parameters
    ----------
    sides : tuple of Person
        Training and test trials.
    labels : FoldLabels
        True labels and permuted ones.
    settings : Searchlight
    values : ndarray, shape (n_labellings, n_voxels)
        Filled with the share of the fold in the map; may be memory-mapped.
    n_folds : int
        Number of all folds.
    rng : numpy.random.Generator
        Draws the spheres from which the shrinkage is estimated.
    progress : callable, optional
        Called with (spheres done, spheres in all).

    Returns
    -------
    dict
        JSON-able: ``n_test``, ``n_tested_labels``, ``shrinkage``, ``p_min``, ``exchange``.
    """
    train, test = sides
    spheres = Spheres(train.grid, settings.radius_mm, settings.n_voxels)
    fold = Fold(train.betas, test.betas, labels.train, labels.weights.shape[1])
    shrinkage = settings.shrinkage
    if shrinkage is None:
        shrinkage = estimate_shrinkage(fold.train, spheres, rng)
    measure = Accuracy(labels.test, labels.weights)
    if settings.estimator == "crossnobis":
        measure = Distance(labels.test, n_folds)
    for centres, found in search_spheres(
        fold, spheres, settings.estimator, shrinkage, measure, progress
    ):
        values[:, centres] = found
    return {
        "n_test": len(fold.test), "n_tested_labels": labels.n_tested,
        "shrinkage": None if settings.estimator == "gnb" else shrinkage,
        "p_min": labels.exchange.smallest_p(len(labels.test) - 1),
        "exchange": labels.exchange.describe(),
    }


def map_folds(
    values: Sequence[np.ndarray], facts: Sequence[dict[str, Any]], grid: VoxelGrid,
    settings: Searchlight, progress: Progress | None = None,
) -> SearchMaps:
    """Join the folds and test the map against those of permuted labels.

    Parameters
    ----------
    values : sequence of ndarray, each of shape (n_labellings, n_voxels)
        One per fold, filled by :func:`search_fold`.
    facts : sequence of dict
        What it returned.
    grid : VoxelGrid
    settings : Searchlight
    progress : callable, optional
        Called with (permutations done, permutations in all).
    """
    chance, error = 0.0, None
    if settings.estimator != "crossnobis":
        chance, n_trials = 1 / facts[0]["n_tested_labels"], sum(f["n_test"] for f in facts)
        error = float(np.sqrt(chance * (1 - chance) / n_trials))
    return compute_maps(values, grid, chance=chance, error=error, progress=progress)
