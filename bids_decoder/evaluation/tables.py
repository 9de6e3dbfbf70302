"""Columns that all tables of metrics share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

METRIC_COLUMNS: dict[str, str] = {
    "model": "Decoder or baseline.",
    "metric": "What is measured.",
    "direction": "b2i: brain query, image gallery; i2b: image query, brain gallery; n/a: labels.",
    "unit": "single: one trial; averaged: mean of the predictions of all repeats of a stimulus.",
    "similarity": "cosine; centred: cosine after subtracting the mean prediction of training "
                  "trials; csls: cosine corrected for hubs; n/a: labels.",
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
    "null": "refitted: everything is fitted again on permuted labels, in all folds; fixed: test "
            "labels are exchanged against fixed predictions, which is exact for one test set; "
            "none: no permutations were made.",
    "n_null": "Number of permutations.",
    "n": "Number of images (retrieval) or trials (labels) tested.",
    "pool_size": "Number of alternatives.",
    "n_draws": "Number of fixed pools; n/a: labels.",
}
"""Columns with their descriptions for the sidecar, in order."""

NULL_COLUMNS: dict[str, str] = {
    "model": "Decoder or baseline.",
    "permutation": "Number of the permutation; the same in all models and metrics.",
    "metric": "What is measured.",
    "value": "Its value under this permutation of the labels.",
}
"""Columns of tables of null distributions, with their descriptions."""


LOWER_IS_BETTER = frozenset({"median_rank", "distance"})
"""Metrics whose smaller values are better."""


def null_table(nulls: Mapping[str, np.ndarray], model: str) -> pd.DataFrame:
    """Return null distributions as a long table with :data:`NULL_COLUMNS`.

    Parameters
    ----------
    nulls : mapping of str to ndarray, shape (n_permutations,)
        Values of each metric.
    model : str
    """
    parts = [
        pd.DataFrame({
            "model": model, "permutation": np.arange(1, len(values) + 1), "metric": name,
            "value": values,
        })
        for name, values in nulls.items()
    ]
    return pd.concat(parts, ignore_index=True)[list(NULL_COLUMNS)]
