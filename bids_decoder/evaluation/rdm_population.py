"""Models of distances over participants, as rows of one table.

Limits and p-values hold for other participants, and for other conditions where there are enough of
them (:mod:`.rdm_inference`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.evaluation.multiple import holm
from bids_decoder.evaluation.population import Measure, prevalence
from bids_decoder.evaluation.population_maps import flip_signs
from bids_decoder.evaluation.rdm_inference import Estimate, ModelFits, compare_pairs, fit_models

RSA_STATISTICS: dict[str, str] = {
    "mean": "Mean whitened correlation of a model over participants; p is one-sided.",
    "difference": "Mean correlation of a model less that of another one.",
    "below_ceiling": "Lower limit of the noise ceiling less the mean correlation of a model.",
    "ceiling_lower": "Mean correlation of each participant with the mean of all others.",
    "ceiling_upper": "Mean correlation of each participant with the mean of all.",
    "prevalence_bayesian": "Share of the population in which the test of single participants, at "
                           "the 5 % level, finds the model: most likely value and interval.",
    "prevalence_permutation": "Largest share of the population that can be rejected as too small; "
                              "p is that of nobody.",
    "prevalence_majority": "p of the null hypothesis that the model fits at most half of the "
                           "population.",
}
"""Values of the column ``statistic``, with their meaning."""

RSA_GROUP_COLUMNS: dict[str, str] = {
    "region": "Region; n/a: all voxels.",
    "statistic": "What the row holds.",
    "model": "Model of the distances; n/a for the noise ceiling.",
    "against": "The other model.",
    "value": "Estimate, on the conditions that all participants have.",
    "ci_low": "Lower limit of the 95 % interval, not corrected.",
    "ci_high": "Upper limit of the 95 % interval.",
    "p": "p-value: Student's t with the variance of the bootstrap; two-sided but for means.",
    "p_max": "p-value of a mean by flipping the signs of participants, one-sided, corrected for "
             "the number of models and regions by the largest t; all voxels together are a family "
             "of their own.",
    "p_holm": "p-value of a difference, corrected for the number of pairs and regions (Holm 1979).",
    "p_min": "Smallest value possible of p_max, or of p in rows of prevalence.",
    "n": "Number of participants.",
    "n_conditions": "Number of conditions.",
    "n_significant": "Participants with p of at most .05 of their own.",
    "method": "What limits and p-values hold for, or how they were computed.",
}
"""Columns of the table of models over participants, with their descriptions, in order."""


@dataclass(frozen=True, eq=False)
class PeopleDistances:
    """Distances of the same conditions in several participants, in one set of voxels.

    Parameters
    ----------
    region : str or None
        None for all voxels.
    distances : ndarray, shape (n_people, n_conditions, n_conditions)
    models : mapping of str to ndarray, each of shape (n_conditions, n_conditions)
    measures : mapping of str to Measure
        Scores and null distributions of single participants, by model.
    """

    region: str | None
    distances: np.ndarray
    models: Mapping[str, np.ndarray]
    measures: Mapping[str, Measure]


def compare_people(family: Sequence[PeopleDistances], seed: int) -> pd.DataFrame:
    """Compare models over participants, in sets of voxels that are corrected together.

    Parameters
    ----------
    family : sequence of PeopleDistances
        All voxels, or all regions, with the same participants and models.
    seed : int

    Returns
    -------
    DataFrame
        See :data:`RSA_GROUP_COLUMNS`.
    """
    rng = np.random.default_rng(seed)
    fits = [fit_models(one.distances, np.stack(list(one.models.values())), rng) for one in family]
    rows = [row for one, fit in zip(family, fits, strict=True) for row in _rows(one, fit)]
    table = pd.DataFrame(rows).reindex(columns=list(RSA_GROUP_COLUMNS))
    is_mean, is_gap = (table["statistic"] == name for name in ("mean", "difference"))
    values = np.column_stack([fit.values[:, :-2] for fit in fits])
    flipped = flip_signs(values, seed)
    # Where all are alike, or a value is missing, nothing is flipped.
    p_max = np.maximum(10.0 ** -flipped.log_p, flipped.resolution)
    table.loc[is_mean, "p_max"] = np.where(flipped.statistic == 0, np.nan, p_max)
    table.loc[is_mean, "p_min"] = flipped.resolution
    table.loc[is_gap, "p_holm"] = holm(table.loc[is_gap, "p"].to_numpy(np.float64))
    return table


def _rows(one: PeopleDistances, fit: ModelFits) -> list[dict[str, Any]]:
    names, n_models = list(one.models), len(one.models)
    weights = np.eye(n_models + 2)
    shared = {"region": one.region, "n": len(fit.values), "n_conditions": fit.n_conditions}
    own = {**shared, "method": fit.generalises}
    rows = [
        {**own, "statistic": name, **_numbers(fit.estimate(weight)), "p": np.nan}
        for name, weight in zip(("ceiling_lower", "ceiling_upper"), weights[n_models:], strict=True)
    ]
    for number, name in enumerate(names):
        mean = fit.estimate(weights[number])
        one_sided = mean.p / 2 if mean.value > 0 else 1 - mean.p / 2
        rows.append({**own, "statistic": "mean", "model": name, **_numbers(mean), "p": one_sided})
        below = fit.estimate(weights[n_models] - weights[number])
        rows.append({**own, "statistic": "below_ceiling", "model": name, **_numbers(below)})
        rows += [{**shared, "model": name, **row} for row in prevalence(one.measures[name])]
    rows += [
        {**own, "statistic": "difference", "model": gap.pop("first"),
         "against": gap.pop("second"), **gap}
        for gap in compare_pairs(fit, names)
    ]
    return rows


def _numbers(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "ci_low": found.low, "ci_high": found.high, "p": found.p}
