"""Scores of regions: intervals, p-values, and p-values corrected for the number of regions.

Many regions are tested at once. The family-wise error is controlled by the null distribution of
the largest value over regions [1]_: labels are exchanged once for all regions, so that their
dependence is kept.

References
----------
.. [1] Westfall and Young (1993), Resampling-based multiple testing, Wiley.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.evaluation.label_scores import Guesses, label_intervals
from bids_decoder.evaluation.search_maps import corrected_p
from bids_decoder.evaluation.statistics import permutation_p

REGION_COLUMNS = {
    "region": "Name of the region.",
    "atlas": "File, segmentation or atlas that it comes from.",
    "label": "Number of the region there.",
    "n_voxels": "Number of voxels with responses.",
    "metric": "balanced_accuracy of held-out trials; or top1: the share of single trials whose "
              "image is the nearest one in a pool.",
    "value": "The measured value.",
    "chance": "Its value for a decoder without information.",
    "ci_low": "Lower limit of the 95 % interval, not corrected.",
    "ci_high": "Upper limit of the 95 % interval.",
    "p": "Permutation p-value of this region alone.",
    "p_max": "p-value corrected for all regions, by the largest value over regions.",
    "p_min": "The smallest p-value possible: by the number of permutations, or of different "
             "arrangements of the labels.",
    "n_null": "Number of permutations.",
    "n": "Number of held-out trials or images.",
    "noise_ceiling": "Mean over voxels of the percentage of the variance of single trials that "
                     "labels, or images, can explain (Allen et al. 2022); n/a where fewer than "
                     "three of them are repeated.",
}
"""Columns of the table of regions, with their descriptions, in order."""

REGION_NULL_COLUMNS = {
    "permutation": "Number of the permutation; the same in all regions.",
    "region": REGION_COLUMNS["region"],
    "metric": REGION_COLUMNS["metric"],
    "value": "Its value under this permutation.",
}
"""Columns of the table of null distributions, with their descriptions."""

_SLACK = 1e-6
"""Sums of the same numbers in another order differ by rounding; ties count."""


@dataclass(frozen=True, eq=False)
class RegionScores:
    """Scores of all regions.

    Parameters
    ----------
    metric : str
    values : ndarray, shape (1 + n_permutations, n_regions)
        First the true ones, then those of permuted labels.
    limits : ndarray, shape (n_regions, 2)
        95 % intervals.
    chance : float
    n : int
        Held-out trials or images.
    p_min : float
    """

    metric: str
    values: np.ndarray
    limits: np.ndarray
    chance: float
    n: int
    p_min: float

    @property
    def n_null(self) -> int:
        """Number of permutations."""
        return len(self.values) - 1

    def table(self) -> pd.DataFrame:
        """Return the scores, one row per region, without what is known of regions themselves."""
        observed, null = self.values[0], self.values[1:]
        p = p_max = np.full(len(observed), np.nan)
        if self.n_null:
            p = np.array([
                permutation_p(value - _SLACK, own)
                for value, own in zip(observed, null.T, strict=True)
            ])
            p_max = corrected_p(observed, null.max(axis=1), _SLACK)
        return pd.DataFrame({
            "metric": self.metric, "value": observed, "chance": self.chance,
            "ci_low": self.limits[:, 0], "ci_high": self.limits[:, 1], "p": p, "p_max": p_max,
            "p_min": self.p_min if self.n_null else np.nan, "n_null": self.n_null, "n": self.n,
        })

    def nulls(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the null distributions, one row per permutation and region."""
        return pd.DataFrame({
            "permutation": np.repeat(np.arange(1, self.n_null + 1), len(names)),
            "region": np.tile(np.asarray(names, dtype=object), self.n_null),
            "metric": self.metric, "value": self.values[1:].ravel(),
        })


@dataclass(frozen=True, eq=False)
class LabelFold:
    """Labels that the regions decode in one fold.

    Parameters
    ----------
    values : ndarray, shape (1 + n_permutations, n_regions)
        Shares of the fold in balanced accuracy.
    predicted : ndarray of int, shape (n_regions, n_test)
    true : ndarray of int, shape (n_test,)
    runs : ndarray of str, shape (n_test,)
    """

    values: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    runs: np.ndarray


def score_label_folds(
    folds: Sequence[LabelFold], n_classes: int, p_min: float
) -> RegionScores:
    """Join the folds and compute intervals as for the decoder.

    Parameters
    ----------
    folds : sequence of LabelFold
    n_classes : int
    p_min : float
        The smallest p-value possible.
    """
    true = np.concatenate([fold.true for fold in folds])
    run_of = pd.factorize(np.concatenate([fold.runs for fold in folds]))[0]
    fold_of = np.repeat(np.arange(len(folds)), [len(fold.true) for fold in folds])
    predicted = np.concatenate([fold.predicted for fold in folds], axis=1)
    limits = [
        label_intervals(true, Guesses(own, None, n_classes), run_of, fold_of)["balanced_accuracy"]
        for own in predicted
    ]
    values = np.sum([np.asarray(fold.values, np.float64) for fold in folds], axis=0)
    return RegionScores(
        "balanced_accuracy", values, np.array(limits), 1 / len(np.unique(true)), len(true), p_min
    )


def join_retrieval(found: Sequence[dict[str, Any]], p_min: float) -> RegionScores:
    """Join the headline scores of all regions (:func:`.retrieval.score_headline`)."""
    values = [[one["value"], *one["null_values"]] for one in found]
    return RegionScores(
        "top1", np.array(values, dtype=np.float64).T,
        np.array([[one["ci_low"], one["ci_high"]] for one in found]), found[0]["chance"],
        found[0]["n"], p_min,
    )
