"""Figures of representational similarity analysis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.figures import BLUE, CYCLE, GREY, new_figure, shorten, styled

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


@styled
def draw_region_models(table: pd.DataFrame, regions: Sequence[str]) -> Figure:
    """Draw one row per region, with one dot per model; filled where it is significant.

    Parameters
    ----------
    table : DataFrame
        ``region``, ``model``, ``value``, ``p_max``, ``n_voxels``.
    regions : sequence of str
        Those that are drawn, from top to bottom.
    """
    models = list(dict.fromkeys(table["model"]))
    figure = new_figure(8.2, 1.3 + 0.22 * len(regions))
    axes = figure.subplots()
    places = {name: place for place, name in enumerate(regions)}
    shown = table[table["region"].isin(places)]
    for number, model in enumerate(models):
        own = shown[shown["model"] == model]
        colour = CYCLE[number % len(CYCLE)]
        offset = 0.5 * ((number + 0.5) / len(models) - 0.5)
        rows = own["region"].map(places) + offset
        axes.hlines(rows, own["ci_low"], own["ci_high"], color=colour, lw=1, alpha=0.6)
        axes.plot(own["value"], rows, "o", color=colour, markersize=4.5, mfc="white",
                  label=shorten(model, 30))
        strong = own["p_max"] <= ALPHA
        axes.plot(own["value"][strong], rows[strong], "o", color=colour, markersize=4.5)
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.set_yticks(range(len(regions)), [shorten(name, 40) for name in regions])
    axes.set_ylim(len(regions) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("whitened correlation")
    figure.legend(loc="outside upper center", ncols=min(len(models), 4))
    return figure


@styled
def draw_ceiling(means: pd.DataFrame, low: float, high: float) -> Figure:
    """Draw the mean of each model over participants below the noise ceiling.

    Parameters
    ----------
    means : DataFrame
        ``model``, ``value``, ``ci_low``, ``ci_high``.
    low, high : float
        Limits of the noise ceiling.
    """
    figure = new_figure(6.5, 0.45 * len(means) + 1.0)
    axes = figure.subplots()
    places = np.arange(len(means))[::-1]
    axes.axvspan(low, high, color=GREY, alpha=0.35, lw=0)
    axes.hlines(places, means["ci_low"], means["ci_high"], color=BLUE, lw=2)
    axes.plot(means["value"], places, "o", color=BLUE)
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.set_yticks(places, [shorten(str(name), 30) for name in means["model"]])
    axes.set_ylim(-0.6, len(means) - 0.4)
    axes.set_xlabel("mean whitened correlation")
    return figure
