"""Figures of decoding over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.figures import BLUE, GREEN, INK, RED, SOFT, new_figure, styled
from bids_decoder.reports.wording import words

_AXIS = "Seconds from the onset of the trial"


@styled
def draw_course(table: pd.DataFrame, card: dict[str, Any]) -> Figure:
    """Draw the score at each time, with chance, clusters, onset and expected response.

    Parameters
    ----------
    table : DataFrame
        Of decoding over time, numbers as floats.
    card : dict
        Its sidecar: metric, repetition time, expected peak.
    """
    figure = new_figure(7.5, 3.8)
    axes = figure.subplots()
    times = table["time"]
    axes.fill_between(times, table["ci_low"], table["ci_high"], color=BLUE, alpha=0.15,
                      linewidth=0, label="95 % interval")
    axes.plot(times, table["value"], "o-", color=BLUE, markersize=4, label="held-out trials")
    axes.axhline(card["Chance"], color=RED, linestyle="--", linewidth=1, label="chance")
    _mark_clusters(axes, table, card["RepetitionTime"])
    _mark_events(axes, card)
    axes.set_xlabel(f"{_AXIS} (a point per volume, TR {card['RepetitionTime']:g} s)")
    axes.set_ylabel(words(card["Metric"]).capitalize())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(loc="outside right upper")
    return figure


def _mark_clusters(axes: Axes, table: pd.DataFrame, t_r: float) -> None:
    """Draw a bar below the curve at the times of significant clusters."""
    low, high = axes.get_ylim()
    place, label = low - 0.04 * (high - low), f"cluster, p ≤ {ALPHA:g}"
    chosen = table[table["p_cluster"] <= ALPHA]
    for _, part in chosen.groupby("cluster"):
        ends = part["time"].min() - t_r / 2, part["time"].max() + t_r / 2
        axes.plot(ends, (place, place), color=INK, linewidth=4, solid_capstyle="butt", label=label)
        label = "_"
    axes.set_ylim(low - 0.08 * (high - low), high)


def _mark_events(axes: Axes, card: dict[str, Any]) -> None:
    """Mark onset, end of the trial, and the peak of the assumed response."""
    duration, peak = card["TrialDuration"], card["ExpectedPeak"]
    axes.axvline(0, color=SOFT, linewidth=1, label="onset")
    if duration > 0:
        axes.axvspan(0, duration, color=SOFT, alpha=0.1, linewidth=0,
                     label=f"trial ({duration:.3g} s)", zorder=0)
    axes.axvline(peak, color=GREEN, linestyle=":", linewidth=1.3,
                 label=f"expected peak of BOLD\n({peak:.1f} s, {card['HRF']})")
    axes.set_xlim(min(card["FirstTime"], 0) - card["RepetitionTime"] / 2,
                  card["LastTime"] + card["RepetitionTime"] / 2)


@styled
def draw_generalisation(table: pd.DataFrame, card: dict[str, Any]) -> Figure:
    """Draw the score of each pair of training and test time, with significant clusters outlined.

    Parameters
    ----------
    table : DataFrame
        Of temporal generalisation, numbers as floats.
    card : dict
        Its sidecar.
    """
    values, p = (table.pivot(index="train_time", columns="test_time", values=name)
                 for name in ("value", "p_cluster"))
    times, half = values.columns.to_numpy(float), card["RepetitionTime"] / 2
    figure = new_figure(6.4, 4.8)
    axes = figure.subplots()
    ends = (times[0] - half, times[-1] + half)
    spread = float(np.abs(values.to_numpy() - card["Chance"]).max()) or 1e-6
    image = axes.imshow(
        values.to_numpy(), origin="lower", extent=(*ends, *ends), cmap="RdBu_r", aspect="equal",
        norm=TwoSlopeNorm(card["Chance"], card["Chance"] - spread, card["Chance"] + spread),
    )
    _outline(axes, p.to_numpy() <= ALPHA, times, half)
    axes.plot(ends, ends, color=SOFT, linewidth=0.8, linestyle="--")
    for mark in (axes.axhline, axes.axvline):
        mark(0, color=SOFT, linewidth=0.8)
        mark(card["ExpectedPeak"], color=GREEN, linewidth=1, linestyle=":")
    axes.grid(visible=False)
    axes.set(xlabel="Tested at (seconds from the onset)", xlim=ends, ylim=ends,
             ylabel="Trained at (seconds from the onset)")
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1.0), label=words(card["Metric"]))
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)
    # Colours are symmetric around chance, and no score is below 0.
    bar.ax.set_ylim(bottom=max(0.0, card["Chance"] - spread))
    return figure


def _outline(axes: Axes, inside: np.ndarray, times: np.ndarray, half: float) -> None:
    """Draw the edges between cells that are in significant clusters and those that are not."""
    padded = np.pad(inside, 1)
    edges = np.concatenate([times - half, [times[-1] + half]])
    for row, column in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]):
        axes.plot(edges[column:column + 2], [edges[row]] * 2, color=INK, linewidth=1.3)
    for row, column in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]):
        axes.plot([edges[column]] * 2, edges[row:row + 2], color=INK, linewidth=1.3)
