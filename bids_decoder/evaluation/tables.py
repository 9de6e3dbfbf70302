"""Columns that all tables of metrics share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

METRIC_COLUMNS: dict[str, str] = {
    "model": "Decoder or baseline.",
    "metric": "What is measured. In folds of stimuli: two_way, share of pairs of stimuli of a "
              "fold whose responses are assigned correctly (Mitchell et al. 2008); top1 among "
              "stimuli of the fold; profile_correlation, over features, and "
              "dimension_correlation, over stimuli, of predicted and true feature vectors less "
              "the training mean.",
    "direction": "b2i: brain query, image gallery; i2b: image query, brain gallery; n/a: labels, "
                 "pairs of stimuli, correlations.",
    "unit": "single: one trial; averaged: mean of the predictions of all repeats of a stimulus.",
    "similarity": "cosine; centred: cosine after subtracting the mean prediction of training "
                  "trials; csls: cosine corrected for hubs; sinkhorn: optimal transport, as if "
                  "each image had been seen equally often; n/a: labels, correlations.",
    "inference": "inductive: a response is scored without the other test responses; "
                 "transductive: all test responses are used together, without knowing what was "
                 "seen, so that the value depends on the test set and is not comparable with "
                 "inductive ones; n/a: not retrieval.",
    "split": "test, or cv for cross-validation.",
    "value": "The measured value.",
    "chance": "Its value for a decoder without information.",
    "ci_low": "Lower limit of the 95 % interval.",
    "ci_high": "Upper limit of the 95 % interval.",
    "p": "Permutation p-value: (1 + number of null values as extreme) / (1 + n_null).",
    "p_min": "The smallest p-value possible: by the number of permutations, or of different "
               "arrangements of the labels.",
    "p_tail": "Extrapolated p-value, from a generalised Pareto distribution fitted to the largest "
              "null values; n/a where the count is enough or no tail fits.",
    "p_holm": "p-value of Holm (1979), corrected for all scores of the model but the headline, "
              "which was chosen before; transductive scores are a family of their own; n/a for "
              "the headline, and where no correction is made.",
    "null": "refitted: everything is fitted again on permuted labels or stimuli, in all folds; "
            "fixed: test labels are exchanged against fixed predictions, which is exact for one "
            "test set; none: no permutations were made.",
    "n_null": "Number of permutations.",
    "n": "Number of images or stimuli (retrieval) or trials (labels) tested.",
    "pool_size": "Number of alternatives.",
    "n_draws": "Number of fixed pools; n/a: labels.",
}
"""Columns with their descriptions for the sidecar, in order."""

NULL_COLUMNS: dict[str, str] = {
    "model": "Decoder, encoder or baseline.",
    "permutation": "Number of the permutation; the same in all models and metrics.",
    "metric": "What is measured.",
    "direction": METRIC_COLUMNS["direction"],
    "unit": METRIC_COLUMNS["unit"],
    "similarity": METRIC_COLUMNS["similarity"],
    "pool_size": "Number of alternatives.",
    "value": "Its value under this permutation.",
}
"""Columns of tables of null distributions, with their descriptions."""

VALUE_COLUMNS: dict[str, str] = {
    **METRIC_COLUMNS,
    "target": "Column of the numbers that are decoded.",
    "metric": "r: Pearson correlation of predicted and true numbers, as deviations from the means "
              "of folds; r2: explained variance, against the training mean of each fold; mae: mean "
              "absolute error, in the unit of the column; slope: of the regression of true on "
              "predicted numbers, within folds; it has no p-value, and an interval on one test set "
              "only.",
    "n": "Number of trials tested.",
}
"""Columns of tables of decoded numbers, with descriptions."""

VALUE_NULL_COLUMNS: dict[str, str] = {**NULL_COLUMNS, "target": VALUE_COLUMNS["target"]}
"""Columns of null distributions of decoded numbers, with descriptions."""

ENCODING_COLUMNS: dict[str, str] = {
    **METRIC_COLUMNS,
    "model": "Encoder.",
    "direction": "b2i: the query is a measured pattern, the gallery the images; i2b: the reverse; "
                 "n/a: accuracy of voxels.",
    "value": "correlation: mean over voxels; correlation_normalised: the same divided by the mean "
             "noise ceiling; share_significant: share of voxels with q ≤ .05; else as for "
             "retrieval.",
    "n": "Number of held-out images.",
    "voxels": "region: all voxels that the encoders predict; common: the same selection for all "
              "encoders; selected: the encoder's own selection, on training trials.",
    "n_voxels": "Number of these voxels.",
}
"""Columns of tables of encoding models, with their descriptions, in order."""

ENCODING_NULL_COLUMNS: dict[str, str] = {
    **NULL_COLUMNS,
    "permutation": "Number of the permutation; the same in all encoders.",
    "voxels": ENCODING_COLUMNS["voxels"],
}
"""Columns of null distributions of encoding models, with their descriptions."""

LOWER_IS_BETTER = frozenset({"median_rank", "distance", "mae"})
"""Metrics whose smaller values are better."""

NULL_VALUES = "null_values"
"""Key of the null distribution in a row of :func:`split_nulls`."""


@dataclass(frozen=True, eq=False)
class Nulls:
    """Null distributions behind p-values.

    Parameters
    ----------
    table : DataFrame
        One row per permutation, metric and model: :data:`NULL_COLUMNS`.
    scheme : dict
        What was permuted and how, for the sidecar; empty without permutations.
    """

    table: pd.DataFrame
    scheme: dict[str, Any]


def make_nulls(
    table: pd.DataFrame, model: str, scheme: dict[str, Any],
    columns: Mapping[str, str] = NULL_COLUMNS,
) -> Nulls:
    """Join the table of :func:`split_nulls` with the name of its model and the scheme."""
    table = table.assign(model=model).reindex(columns=list(columns))
    return Nulls(table, scheme if len(table) else {})


def join_nulls(parts: Sequence[Nulls]) -> Nulls:
    """Stack the null distributions of several models, which share their permutations."""
    table = pd.concat([part.table for part in parts], ignore_index=True)
    return Nulls(table, parts[0].scheme)


def split_nulls(rows: Iterable[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Separate a table of metrics and the null distributions of its rows.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of a table of metrics. Those with a p-value have :data:`NULL_VALUES`, an ndarray of
        shape (n_permutations,).

    Returns
    -------
    metrics : DataFrame
        All rows, without the null distributions.
    nulls : DataFrame
        One row per permutation and row of metrics, with the columns of the latter that are among
        :data:`VALUE_NULL_COLUMNS` or :data:`ENCODING_NULL_COLUMNS`.
    """
    columns = {**VALUE_NULL_COLUMNS, **ENCODING_NULL_COLUMNS}
    kept, parts = [], [pd.DataFrame(columns=["permutation", "value"])]
    for row in rows:
        metric = {name: value for name, value in row.items() if name != NULL_VALUES}
        kept.append(metric)
        values = row.get(NULL_VALUES, ())
        if len(values):
            part = {name: metric[name] for name in columns if name in metric}
            parts.append(pd.DataFrame({
                **part, "permutation": np.arange(1, len(values) + 1), "value": values,
            }))
    return pd.DataFrame(kept), pd.concat(parts[1:] or parts, ignore_index=True)
