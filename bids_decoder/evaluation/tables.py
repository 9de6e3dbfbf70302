"""Columns that all tables of metrics share."""

METRIC_COLUMNS: dict[str, str] = {
    "model": "Decoder or baseline.",
    "metric": "What is measured.",
    "direction": "b2i: brain query, image gallery; i2b: image query, brain gallery; n/a: labels.",
    "unit": "single: one trial; averaged: mean of the predictions of all repeats of a stimulus.",
    "similarity": "cosine; centred: cosine after subtracting the mean prediction of training "
                  "trials; csls: cosine corrected for hubs; n/a: labels.",
    "split": "test, or cv for cross-validation.",
    "value": "The measured value.",
    "chance": "Its value for a decoder that knows nothing.",
    "ci_low": "Lower limit of the 95 % interval.",
    "ci_high": "Upper limit of the 95 % interval.",
    "p": "Permutation p-value.",
    "p_min": "The smallest p-value that the permutations can give: 1 / number of distinct ones.",
    "n": "Number of images (retrieval) or trials (labels) tested.",
    "pool_size": "Number of alternatives.",
    "n_draws": "Number of fixed pools; n/a: labels.",
}
"""Column name -> description for the sidecar, in order."""
