"""Inference on models of distances: for other participants, for other conditions, or for both.

Conditions, or participants and conditions, are drawn with replacement; pairs of a condition with
itself are left out. The variances of both bootstraps, alone and together, are combined as
proposed in [1]_: the joint one alone would be too large, because measurement noise is resampled
twice. Values are those of rsatoolbox 0.3.2 (``eval_dual_bootstrap``, ``eval_bootstrap_pattern``
with ``corr_cov``).

References
----------
.. [1] Schütt, Kipnis, Diedrichsen and Kriegeskorte (2023), Statistical inference on
   representational geometries, eLife 12:e82566.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import scipy.stats

from bids_decoder.evaluation.multiple import holm

N_BOOTSTRAP = 1000
LEAST_PEOPLE = 5
"""With fewer participants nothing is said about others."""

LEAST_RESAMPLED = 12
"""With fewer conditions tests over conditions hardly ever reject, and they are taken as fixed."""

_LEAST_DISTINCT = 3
_KINDS = ("both", "people", "conditions")


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of two, with its uncertainty.

    Parameters
    ----------
    value : float
    error : float
        Standard error; NaN where nothing can be said beyond these data.
    low, high : float
        95 % interval, of Student's t.
    p : float
        Two-sided p-value against 0.
    """

    value: float
    error: float
    low: float
    high: float
    p: float


def resampled_correlations(matrices: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Compute the whitened correlations of distances of resampled conditions.

    Parameters
    ----------
    matrices : ndarray, shape (n, n_conditions, n_conditions)
        Measured distances and models.
    chosen : ndarray of int, shape (n_chosen,)
        Conditions, some of them several times.

    Returns
    -------
    ndarray, shape (n, n)
        NaN for matrices whose distances are all equal.

    Notes
    -----
    Errors of distances have the covariance ``2 I + B B'``, see
    :func:`.dissimilarity.whitened_correlation`; copies of a condition count as different ones.
    Without some pairs the inverse follows from Woodbury's identity.
    """
    n_chosen = len(chosen)
    first, second = np.triu_indices(n_chosen, 1)
    differ = chosen[first] != chosen[second]
    first, second = first[differ], second[differ]
    values = matrices[:, chosen[first], chosen[second]]
    values = values - values.mean(axis=1, keepdims=True)
    square = np.zeros((len(values), n_chosen, n_chosen))
    square[:, first, second] = values
    sums = square.sum(axis=1) + square.sum(axis=2)
    pairs = np.zeros((n_chosen, n_chosen))
    pairs[first, second] = pairs[second, first] = 1
    system = 2 * np.eye(n_chosen) + np.diag(pairs.sum(axis=0)) + pairs
    products = 0.5 * (values @ values.T - sums @ np.linalg.solve(system, sums.T))
    size = np.sqrt(np.maximum(np.diagonal(products), 0))
    known = size > 1e-9 * max(1.0, float(size.max(initial=0)))
    size = np.where(known, size, np.nan)
    return products / size[:, None] / size


@dataclass(frozen=True, eq=False)
class ModelFits:
    """How well models fit several participants, with bootstrap samples.

    Parameters
    ----------
    values : ndarray, shape (n_people, n_models + 2)
        Whitened correlation of each participant with each model; then with the mean of all others
        and with the mean of all, whose means are the limits of the noise ceiling.
    samples : dict of str to ndarray, each of shape (n_bootstrap, n_models + 2)
        Means over participants when ``people``, ``conditions`` or ``both`` are resampled; those
        that are too few are absent.
    n_conditions : int
    """

    values: np.ndarray
    samples: dict[str, np.ndarray]
    n_conditions: int

    @property
    def generalises(self) -> str:
        """Whom or what estimates hold for, in words."""
        return {
            frozenset(_KINDS): "participants and conditions like these",
            frozenset(["people"]): "participants like these, and these conditions",
            frozenset(["conditions"]): "conditions like these, and these participants",
        }.get(frozenset(self.samples), "these participants and conditions")

    @property
    def freedom(self) -> int:
        """Degrees of freedom: one less than the number of what is resampled, the smaller one."""
        sizes = {"people": len(self.values), "conditions": self.n_conditions}
        return min((size for name, size in sizes.items() if name in self.samples), default=1) - 1

    def estimate(self, contrast: np.ndarray) -> Estimate:
        """Estimate a weighted sum of mean correlations.

        Parameters
        ----------
        contrast : ndarray, shape (n_models + 2,)
            Weights of models and of both limits of the noise ceiling.
        """
        used = contrast != 0
        own = self.values[:, used] @ contrast[used]
        value = float(own.mean())
        if not self.samples or not np.isfinite(value):
            return Estimate(value, *(np.nan,) * 4)
        error = float(np.sqrt(max(self._variance(own, contrast), 0.0)))
        half = float(scipy.stats.t.ppf(0.975, self.freedom)) * error
        p = 2 * float(scipy.stats.t.sf(abs(value) / max(error, 1e-12), self.freedom))
        return Estimate(value, error, value - half, value + half, p)

    def _variance(self, own: np.ndarray, contrast: np.ndarray) -> float:
        if set(self.samples) == {"people"}:
            return float(own.var(ddof=1) / len(own))
        found = {}
        used = contrast != 0
        for name, rows in self.samples.items():
            drawn = rows[:, used] @ contrast[used]
            found[name] = float(np.nanvar(drawn, ddof=1))
        by_conditions = self.n_conditions / (self.n_conditions - 1) * found["conditions"]
        if "both" not in found:
            return by_conditions
        n_people = len(self.values)
        by_people = n_people / (n_people - 1) * found["people"]
        return combine_variances(found, n_people, self.n_conditions, by_people, by_conditions)


def combine_variances(
    found: dict[str, float], n_people: int, n_conditions: int, by_people: float,
    by_conditions: float,
) -> float:
    """Combine the variances of three bootstraps to that over participants and conditions."""
    shared = found["both"] - found["people"] - found["conditions"]
    scale = n_people * n_conditions / ((n_people - 1) * (n_conditions - 1))
    total = max(by_people + by_conditions - scale * shared, by_people, by_conditions)
    return min(total, found["both"])


def fit_models(
    distances: np.ndarray, models: np.ndarray, rng: np.random.Generator,
    n_bootstrap: int = N_BOOTSTRAP,
) -> ModelFits:
    """Fit models to the distances of one or several participants.

    Parameters
    ----------
    distances : ndarray, shape (n_people, n_conditions, n_conditions)
    models : ndarray, shape (n_models, n_conditions, n_conditions)
    rng : numpy.random.Generator
    n_bootstrap : int

    Returns
    -------
    ModelFits
        Participants are resampled from :data:`LEAST_PEOPLE` on, conditions from
        :data:`LEAST_RESAMPLED` on.
    """
    n_people, n_conditions = len(distances), models.shape[-1]
    stacked = np.concatenate([distances, models])
    whole = resampled_correlations(stacked, np.arange(n_conditions))
    many_people, many_conditions = n_people >= LEAST_PEOPLE, n_conditions >= LEAST_RESAMPLED
    everybody = np.ones(n_people, dtype=int)
    drawn: dict[str, list[np.ndarray]] = {
        name: [] for name, wanted in (
            ("both", many_people and many_conditions), ("people", many_people),
            ("conditions", many_conditions),
        ) if wanted
    }
    for _ in range(n_bootstrap if drawn else 0):
        people = np.bincount(rng.integers(0, n_people, n_people), minlength=n_people)
        chosen = np.sort(rng.integers(0, n_conditions, n_conditions))
        again = whole
        if many_conditions:
            if len(np.unique(chosen)) < _LEAST_DISTINCT:
                continue
            again = resampled_correlations(stacked, chosen)
        for name, rows in drawn.items():
            table = whole if name == "people" else again
            rows.append(_mean_fits(table, everybody if name == "conditions" else people))
    samples = {name: np.stack(rows) for name, rows in drawn.items()}
    return ModelFits(_fits(whole, everybody), samples, n_conditions)


def _fits(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the correlations of each participant, (n_people, n_models + 2)."""
    n_people = len(weights)
    between, with_models = table[:n_people, :n_people], table[:n_people, n_people:]
    # With unit vectors as distances, all that a mean is needed for are sums of correlations.
    sums = between @ weights
    total = weights @ sums
    others = (sums - weights) / np.sqrt(np.maximum(total - 2 * weights * sums + weights**2, 1e-12))
    if (weights > 0).sum() < 2:
        others = np.full(n_people, np.nan)
    return np.column_stack([with_models, others, sums / np.sqrt(max(total, 1e-12))])


def _mean_fits(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ _fits(table, weights) / weights.sum()


def compare_pairs(fits: ModelFits, names: Sequence[str]) -> list[dict[str, Any]]:
    """Test the difference of any two models.

    Parameters
    ----------
    fits : ModelFits
    names : sequence of str
        Of the models.

    Returns
    -------
    list of dict
        ``first``, ``second``, ``value``, ``ci_low``, ``ci_high``, ``p`` (two-sided), and
        ``p_holm``, corrected for the number of pairs [2]_.

    References
    ----------
    .. [2] Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    weights, rows = np.eye(len(names) + 2), []
    for first, second in combinations(range(len(names)), 2):
        gap = fits.estimate(weights[first] - weights[second])
        rows.append({
            "first": names[first], "second": names[second], "value": gap.value,
            "ci_low": gap.low, "ci_high": gap.high, "p": gap.p,
        })
    corrected = holm(np.array([row["p"] for row in rows]))
    return [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]
