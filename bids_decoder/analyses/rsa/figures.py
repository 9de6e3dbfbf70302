"""Figures of representational similarity analysis."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from bids_decoder.reports.figures import BLUE, GREY, new_figure, shorten, styled

_NAMED = 40
"""With more conditions their names cannot be read."""


@styled
def draw_distances(table: pd.DataFrame) -> Figure:
    """Draw a matrix of distances, similar conditions side by side.

    Parameters
    ----------
    table : DataFrame, n_conditions rows and columns
    """
    values = table.to_numpy(dtype=float)
    order = _order(values)
    names = [shorten(str(table.index[row]), 18) for row in order]
    size = float(np.clip(0.3 * len(names) + 1.6, 3.2, 7.5))
    figure = new_figure(size + 1.0, size)
    axes = figure.subplots()
    limit = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(values[np.ix_(order, order)], cmap="coolwarm", vmin=-limit, vmax=limit)
    axes.grid(visible=False)
    shown = names if len(names) <= _NAMED else []
    axes.set_xticks(range(len(shown)), shown, rotation=60, ha="right")
    axes.set_yticks(range(len(shown)), shown)
    figure.colorbar(image, ax=axes, label="crossnobis distance, per voxel", shrink=0.8)
    return figure


def _order(values: np.ndarray) -> np.ndarray:
    """Order conditions by average linkage; negative distances count as 0."""
    positive = np.maximum(np.nan_to_num(values), 0)
    np.fill_diagonal(positive, 0)
    return leaves_list(linkage(
        squareform((positive + positive.T) / 2, checks=False), "average", optimal_ordering=True
    ))


@styled
def draw_models(metrics: pd.DataFrame) -> Figure:
    """Draw the correlation of each model with its interval, the best one on top.

    Parameters
    ----------
    metrics : DataFrame
        ``model``, ``value``, ``ci_low``, ``ci_high``.
    """
    ordered = metrics.sort_values("value")
    figure = new_figure(6.5, 0.45 * len(ordered) + 1.0)
    axes = figure.subplots()
    places = np.arange(len(ordered))
    axes.hlines(places, ordered["ci_low"], ordered["ci_high"], color=BLUE, lw=2)
    axes.plot(ordered["value"], places, "o", color=BLUE)
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.set_yticks(places, [shorten(str(name), 30) for name in ordered["model"]])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlabel("whitened correlation")
    return figure
