"""Figures of encoding models: accuracy against noise ceiling, differences of encoders."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bids_decoder.reports.figures import GREY, INK, ORANGE, RED, SOFT, new_figure, styled


@styled
def draw_ceiling(correlation: np.ndarray, ceiling: np.ndarray, selected: np.ndarray) -> Figure:
    """Draw the accuracy of each voxel against its noise ceiling.

    Parameters
    ----------
    correlation, ceiling : ndarray, shape (n_voxels,)
    selected : ndarray of bool, shape (n_voxels,)
    """
    figure = new_figure(5.6, 4.2)
    axes = figure.subplots()
    for mask, colour, label, size in (
        (~selected, GREY, "other voxels", 6), (selected, ORANGE, "selected voxels", 12),
    ):
        axes.scatter(ceiling[mask], correlation[mask], s=size, color=colour, label=label,
                     alpha=0.7, linewidths=0, rasterized=True)
    top = max(1e-3, float(np.max(ceiling, initial=0.0)), float(np.max(correlation, initial=0.0)))
    axes.plot([0, top], [0, top], color=RED, linestyle="--", linewidth=1)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set_xlabel("Correlation that repeats allow")
    axes.set_ylabel("Correlation of prediction and response")
    axes.legend(loc="upper left")
    return figure


@styled
def draw_differences(table: pd.DataFrame) -> Figure:
    """Draw differences of encoders with their intervals.

    Parameters
    ----------
    table : DataFrame
        Columns ``first, second, value, ci_low, ci_high``; numbers as floats.
    """
    figure = new_figure(8, 0.6 + 0.42 * len(table))
    axes = figure.subplots()
    for place, (_, row) in enumerate(table.iterrows()):
        colour = ORANGE if row["ci_low"] > 0 or row["ci_high"] < 0 else INK
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=2)
        axes.plot(row["value"], place, "o", color=colour)
    axes.axvline(0, color=RED, linestyle="--", linewidth=1)
    names = [f"{a} − {b}" for a, b in zip(table["first"], table["second"], strict=True)]
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Difference of the mean correlation")
    return figure
