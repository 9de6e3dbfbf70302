"""Models of representational distances: how well they fit one participant, and several.

References
----------
.. [1] Nili et al. (2014), A toolbox for representational similarity analysis, PLoS Comput Biol
   10:e1003553.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bids_decoder.evaluation.dissimilarity import (
    Geometry,
    vectorise,
    whitened_correlation,
)
from bids_decoder.evaluation.statistics import permutation_p

LEAST_CONDITIONS = 4
"""With three conditions there are three distances and six arrangements: nothing can be tested."""

_BATCH = 200
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Comparison:
    """How well models fit the distances of one participant, in one or several sets of voxels.

    Parameters
    ----------
    values : ndarray, shape ([n_regions,] n_models)
        Whitened correlations.
    low, high : ndarray, shape ([n_regions,] n_models)
        95 % interval, by leaving out runs in turn.
    p : ndarray, shape ([n_regions,] n_models)
        By exchanging the names of conditions, one-sided.
    p_max : ndarray, shape ([n_regions,] n_models)
        Corrected for the number of models and regions, by the largest value.
    p_min : ndarray, shape (n_models,)
        The smallest possible one.
    null : ndarray, shape (n_permutations, [n_regions,] n_models)
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_max: np.ndarray
    p_min: np.ndarray
    null: np.ndarray

    def region(self, number: int) -> Comparison:
        """Return the comparison in one set of voxels, as if corrected for all."""
        parts = (getattr(self, name)[number] for name in ("values", "low", "high", "p", "p_max"))
        return Comparison(*parts, self.p_min, self.null[:, number])


def compare_models(
    geometry: Geometry, models: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> Comparison:
    """Correlate models with the distances, and test them.

    Parameters
    ----------
    geometry : Geometry
    models : ndarray, shape (n_models, n_conditions, n_conditions)
        Dissimilarities.
    n_permutations : int
        Permutations of the names of conditions.
    rng : numpy.random.Generator

    Returns
    -------
    Comparison
        Values are NaN for models without variance.
    """
    return compare_regions([geometry], models, n_permutations, rng).region(0)


def compare_regions(
    geometries: Iterable[Geometry], models: np.ndarray, n_permutations: int,
    rng: np.random.Generator,
) -> Comparison:
    """Correlate models with the distances in several sets of voxels, and test them together.

    Parameters
    ----------
    geometries : iterable of Geometry
        One per set of voxels, taken one after the other.
    models : ndarray, shape (n_models, n_conditions, n_conditions)
    n_permutations : int
        Permutations of the names of conditions, the same in all sets of voxels, so that the
        dependence of neighbouring ones is kept.
    rng : numpy.random.Generator

    Returns
    -------
    Comparison
        Arrays with an axis for the sets of voxels.
    """
    orders = draw_orders(models.shape[-1], n_permutations, rng)
    fits = [_fit(geometry, models, orders) for geometry in geometries]
    values, low, high = (np.stack([fit[n] for fit in fits]) for n in range(3))
    null = np.stack([fit[3] for fit in fits], axis=1)
    if not n_permutations:
        nothing = np.full_like(values, np.nan)
        return Comparison(values, low, high, nothing, nothing, nothing[0], null)
    # A model without a value takes no part in the correction.
    largest = np.where(np.isnan(null), -np.inf, null).max(axis=(1, 2))
    return Comparison(
        values, low, high, _p_values(values, null), _p_values(values, largest[:, None, None]),
        smallest_p(models, orders), null,
    )


def draw_orders(
    n_conditions: int, n_permutations: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw orders of the conditions, each of shape (n_conditions,)."""
    return [rng.permutation(n_conditions) for _ in range(n_permutations)]


def _fit(
    geometry: Geometry, models: np.ndarray, orders: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return values, limits, and values with the conditions in other orders."""
    measured = vectorise(geometry.distances())
    found = correlate_orders(models, measured[None], orders)[..., 0]
    return found[0], *_jackknife(geometry, vectorise(models), found[0]), found[1:]


def correlate_orders(
    models: np.ndarray, measured: np.ndarray, orders: Sequence[np.ndarray]
) -> np.ndarray:
    """Correlate models with distances, as they are and with the conditions in other orders.

    Parameters
    ----------
    models : ndarray, shape (n_models, n_conditions, n_conditions)
    measured : ndarray, shape (n_sets, n_distances)
        Distances in several sets of voxels.
    orders : sequence of ndarray of int, each of shape (n_conditions,)
        Of the conditions of the distances.

    Returns
    -------
    ndarray, shape (1 + n_orders, n_models, n_sets)
        Whitened correlations.
    """
    n_models, n_conditions = models.shape[:2]
    # The correlation is the same if the model is brought to the order of the distances.
    places = np.argsort(np.stack([np.arange(n_conditions), *orders]), axis=1)
    found = np.empty((len(places), n_models, len(measured)))
    for start in range(0, len(places), _BATCH):
        rows = places[start:start + _BATCH]
        arranged = vectorise(models[:, rows[:, :, None], rows[:, None]])
        found[start:start + _BATCH] = whitened_correlation(
            arranged.reshape(-1, measured.shape[1]), measured, n_conditions
        ).reshape(n_models, len(rows), -1).transpose(1, 0, 2)
    return found


def _p_values(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return p-values, one per value; NaN for models without a value."""
    columns = np.broadcast_to(null, (len(null), *values.shape))
    found = np.full(values.shape, np.nan)
    for place in zip(*np.nonzero(~np.isnan(values)), strict=True):
        found[place] = permutation_p(values[place], columns[:, *place])
    return found


def smallest_p(models: np.ndarray, orders: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the p-value of a perfect fit of each model, which is the smallest possible one.

    Orders that leave a model as it is count.

    Parameters
    ----------
    models : ndarray, shape (n_models, n_conditions, n_conditions)
    orders : sequence of ndarray of int, each of shape (n_conditions,)

    Returns
    -------
    ndarray, shape (n_models,)
    """
    kept = np.array([
        [np.allclose(model[np.ix_(order, order)], model) for model in models] for order in orders
    ])
    return (1 + kept.sum(axis=0)) / (1 + len(orders))


def _jackknife(
    geometry: Geometry, vectors: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute intervals by leaving out each run; the conditions are taken as fixed."""
    from scipy.stats import t

    n_runs = len(geometry.products)
    everything = np.arange(n_runs)
    if n_runs < 3:
        return (np.full(len(vectors), np.nan),) * 2
    left = np.stack([
        vectorise(geometry.distances(np.delete(everything, run))) for run in everything
    ])
    n_conditions = geometry.products.shape[1]
    # On Fisher's scale, so that limits stay within -1 and 1.
    found = np.arctanh(np.clip(
        whitened_correlation(vectors, left, n_conditions), -1 + _SAME, 1 - _SAME
    ))
    error = np.sqrt((n_runs - 1) / n_runs * np.square(
        found - found.mean(axis=1, keepdims=True)
    ).sum(axis=1))
    half = t(n_runs - 1).ppf(0.975) * error
    centre = np.arctanh(np.clip(values, -1 + _SAME, 1 - _SAME))
    return np.tanh(centre - half), np.tanh(centre + half)
