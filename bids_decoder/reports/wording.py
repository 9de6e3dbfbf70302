"""Names of measures as reports show them, and formats of their values."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

NUMBERS = (
    "value", "chance", "ci_low", "ci_high", "p", "p_min", "p_holm", "n", "pool_size", "n_draws",
    "null_low", "null_high",
)
_SHARE = re.compile(r"top\d+|(balanced_)?accuracy|two_way")
P_HEADER = ["p", "smallest p"]
"""Columns of tables: a p-value, and the smallest one possible in its test."""
DIRECTIONS = {
    "b2i": "brain → image: a brain response looks for its image (b2i)",
    "i2b": "image → brain: an image looks for its brain response (i2b)",
}
_WORDS = {
    "b2i": "brain → image",
    "i2b": "image → brain",
    "balanced_accuracy": "balanced accuracy",
    "top1": "top-1 accuracy",
    "top2": "top-2 accuracy",
    "top5": "top-5 accuracy",
    "two_way": "two-way identification",
    "profile_correlation": "correlation over features",
    "dimension_correlation": "correlation over stimuli",
    "median_rank": "median rank",
    "macro_f1": "macro F1",
    "single": "single trials",
    "averaged": "averaged repeats",
    "csls": "CSLS (transductive)",
    "sinkhorn": "optimal transport (transductive)",
    "r": "correlation r",
    "r2": "explained variance R²",
    "mae": "mean absolute error",
    "slope": "slope of true on predicted values",
}


def is_share(metric: str) -> bool:
    """Return whether a metric is a fraction of trials, shown in percent."""
    return _SHARE.fullmatch(metric) is not None


def words(name: Any) -> str:
    """Return the displayed name of a metric, direction or unit."""
    text = str(name)
    return _WORDS.get(text, text.replace("_", " "))


def show(value: float, metric: str) -> str:
    r"""Format a value of a metric.

    Examples
    --------
    >>> show(0.4213, "top1"), show(12.0, "median_rank"), show(float("nan"), "top1")
    ('42.1\xa0%', '12', 'n/a')
    """
    if not np.isfinite(value):
        return "n/a"
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if is_share(metric) else f"{value:.3g}"


def show_p(p: float) -> str:
    """Format a p value; NaN where nothing was tested.

    Examples
    --------
    >>> show_p(0.0009), show_p(0.25), show_p(float("nan"))
    ('0.0009', '0.25', 'n/a')
    """
    return f"{p:.2g}" if np.isfinite(p) else "n/a"


def show_p_with_least(row: pd.Series) -> str:
    """Format the p-value of a row of metrics and the smallest p-value possible in its test."""
    least = row.get("p_min", np.nan)
    beside = f" (smallest possible {show_p(least)})" if np.isfinite(least) else ""
    return f"{show_p(row['p'])}{beside if np.isfinite(row['p']) else ''}"


def p_cells(row: pd.Series) -> list[str]:
    """Return the cells of a table under :data:`P_HEADER`."""
    return [show_p(row["p"]), show_p(row.get("p_min", np.nan))]


def show_difference(value: float, metric: str) -> str:
    r"""Format a difference of two values of a metric; shares in percentage points.

    Examples
    --------
    >>> show_difference(0.031, "top1"), show_difference(-0.2, "nmi")
    ('+3.1\xa0points', '-0.2')
    """
    if not np.isfinite(value):
        return "n/a"
    points = "\N{NO-BREAK SPACE}points"
    return f"{100 * value:+.1f}{points}" if is_share(metric) else f"{value:+.3g}"
