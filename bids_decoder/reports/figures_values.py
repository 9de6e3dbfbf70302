"""Figures of decoded numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bids_decoder.reports.figures import BLUE, GREY, INK, ORANGE, new_figure, styled

MOST_GROUPS, LEAST_TRIALS = 10, 5
"""Largest number of groups of trials in a calibration plot, and least number of trials in one."""


@styled
def draw_values(table: pd.DataFrame, label: str, slope: float) -> Figure:
    """Draw predicted against true values, and the calibration.

    Parameters
    ----------
    table : DataFrame, n_trials rows
        Columns ``true, predicted, training_mean`` as numbers.
    label : str
        Name of the values, with their unit.
    slope : float
        Of the regression of true on predicted values, within folds; NaN where it is unknown.
    """
    figure = new_figure(9.4, 4.2)
    trials, calibration = figure.subplots(1, 2)
    limits = _limits(table["true"])
    trials.plot(limits, limits, color=GREY, linestyle="--", linewidth=1)
    trials.plot(table["true"], table["predicted"], "o", color=BLUE, markersize=3.5, alpha=0.5)
    mean = float(table["training_mean"].mean())
    trials.axhline(mean, color=GREY, linewidth=1)
    trials.set(xlabel=f"True {label}", ylabel=f"Predicted {label}", title="Held-out trials")
    _draw_calibration(calibration, table, label)
    known = f", slope {slope:.2f}" if np.isfinite(slope) else ""
    calibration.set_title(f"Calibration{known}")
    return figure


def _draw_calibration(axes: Axes, table: pd.DataFrame, label: str) -> None:
    """Draw the mean true value of groups of trials against their mean predicted value."""
    groups = calibration_groups(table["predicted"].to_numpy(), table["true"].to_numpy())
    limits = _limits(pd.concat([groups["predicted"], groups["true"]]))
    axes.plot(limits, limits, color=GREY, linestyle="--", linewidth=1)
    axes.errorbar(
        groups["predicted"], groups["true"], yerr=groups["error"], fmt="o-", color=ORANGE,
        ecolor=INK, elinewidth=0.9, markersize=5,
    )
    axes.set(xlabel=f"Predicted {label}", ylabel=f"Mean true {label} ± standard error")


def calibration_groups(predicted: np.ndarray, true: np.ndarray) -> pd.DataFrame:
    """Compute means of groups of trials of similar predicted value.

    Parameters
    ----------
    predicted, true : ndarray, shape (n_trials,)

    Returns
    -------
    DataFrame
        ``predicted`` and ``true`` means, ``error`` of the latter (standard error), ``n`` trials,
        from the lowest predictions to the highest; groups of equal size.
    """
    n_groups = int(np.clip(len(true) // LEAST_TRIALS, 1, MOST_GROUPS))
    parts = np.array_split(np.argsort(predicted, kind="stable"), n_groups)
    return pd.DataFrame([
        {
            "predicted": predicted[rows].mean(), "true": true[rows].mean(), "n": len(rows),
            "error": true[rows].std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan,
        }
        for rows in parts
    ])


def _limits(values: pd.Series) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin
