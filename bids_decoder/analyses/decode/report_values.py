"""Report of decoded numbers: predicted against true values, and calibration."""

from __future__ import annotations

import pandas as pd

from bids_decoder.reports.blocks import Block, Figure, Text
from bids_decoder.reports.figures import picture
from bids_decoder.reports.figures_values import draw_values
from bids_decoder.reports.results import Results, numeric

_TRUE = "true_"


def values_of(predictions: pd.DataFrame) -> list[str]:
    """Return the columns of numbers that were decoded, from a table of predictions."""
    names = [str(name) for name in predictions]
    return [
        name.removeprefix(_TRUE) for name in names
        if name.startswith(_TRUE) and f"predicted_{name.removeprefix(_TRUE)}" in names
    ]


def value_blocks(predictions: pd.DataFrame, results: Results) -> list[Block]:
    """Return one figure for each column: trials, and means of groups of trials.

    Parameters
    ----------
    predictions : DataFrame
        As read from disk.
    results : Results
    """
    units = results.plan.get("units", {})
    slopes = _slopes(results)
    blocks: list[Block] = []
    for name in values_of(predictions):
        parts = [f"{part}_{name}" for part in ("true", "predicted", "training_mean")]
        table = numeric(predictions, *parts)[[*parts, "fold", "run_group"]]
        table.columns = pd.Index(["true", "predicted", "training_mean", "fold", "run_group"])
        label = f"{name} ({units[name]})" if name in units else name
        blocks.append(Figure(picture(
            draw_values(table, label, slopes.get(name, float("nan"))),
            f"values{len(blocks) + 1}",
            f"Held-out trials: predicted against true {label}. Left: every trial, with the mean of "
            "the training trials (grey). Right: calibration, the mean true value of groups of "
            "trials with similar predictions; on the dashed line predictions are right on average.",
            f"Scatter plot of {len(table)} held-out trials, and calibration plot.",
        )))
    blocks.append(Text(
        "Predictions of a decoder that knows little are close to the training mean; their spread "
        "is smaller than that of true values. A slope of true on predicted values of 1 means that "
        "this spread is right, less than 1 that predictions are too extreme."
    ))
    return blocks


def _slopes(results: Results) -> dict[str, float]:
    metrics = results.table("metrics")
    if metrics is None or "target" not in metrics:
        return {}
    own = metrics[(metrics["model"] == "decoder") & (metrics["metric"] == "slope")]
    values = numeric(own, "value")["value"]
    return dict(zip(own["target"].tolist(), values.tolist(), strict=True))
