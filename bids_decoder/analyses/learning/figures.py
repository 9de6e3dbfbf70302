"""Figures of learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bids_decoder.reports.figures import BLUE, GREEN, INK, ORANGE, RED, SOFT, new_figure, styled
from bids_decoder.reports.wording import words

COLOURS = (BLUE, ORANGE, GREEN)
AXES = {"minutes": "Minutes of training data", "trials": "Training trials",
        "n_runs": "Training runs"}


@styled
def draw_curves(
    curve: pd.DataFrame, fitted: pd.DataFrame, names: Mapping[str, str], unit: str
) -> Figure:
    """Draw measured scores with intervals, and fitted curves with bands.

    Parameters
    ----------
    curve, fitted : DataFrame
        Of one metric; columns of the tables of learning curves, numbers as floats.
    names : mapping of str to str
        Models to draw, with their names in words; the first one with its band beyond the data.
    unit : {"minutes", "trials"}
    """
    figure = new_figure(7.5, 4.0)
    axes = figure.subplots()
    for colour, (model, name) in zip(COLOURS, names.items(), strict=False):
        points = curve[curve["model"] == model]
        _fit(axes, fitted[fitted["model"] == model], unit, colour)
        spread = [points["value"] - points["ci_low"], points["ci_high"] - points["value"]]
        axes.errorbar(points[unit], points["value"], spread, fmt="o", color=colour, markersize=4.5,
                      linewidth=1.2, label=name)
    axes.axhline(float(curve["chance"].mean()), color=RED, linestyle="--", linewidth=1,
                 label="chance")
    axes.axvline(float(curve[unit].max()), color=SOFT, linestyle=":", linewidth=1,
                 label="largest measured")
    _label(axes, str(curve["metric"].iloc[0]), unit)
    figure.legend(loc="outside right upper")
    return figure


def _fit(axes: Axes, line: pd.DataFrame, unit: str, colour: str) -> None:
    inside, beyond = line[line["measured"]], line[~line["measured"]]
    # The first point beyond joins the two parts.
    joined = pd.concat([inside.tail(1), beyond])
    axes.plot(inside[unit], inside["value"], color=colour)
    axes.plot(joined[unit], joined["value"], color=colour, linestyle=(0, (4, 3)))
    axes.fill_between(line[unit], line["ci_low"], line["ci_high"], color=colour, alpha=0.12,
                      linewidth=0)


def _label(axes: Axes, metric: str, unit: str) -> None:
    axes.set_xlabel(AXES[unit])
    axes.set_ylabel(words(metric).capitalize())
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


@styled
def draw_mean(mean: pd.DataFrame, people: Sequence[pd.DataFrame], metric: str) -> Figure:
    """Draw the mean over participants with its interval, and each participant as a thin line.

    Parameters
    ----------
    mean : DataFrame
        ``n_runs, value, ci_low, ci_high, chance`` of the decoder, ascending.
    people : sequence of DataFrame
        ``n_runs, value`` of each participant.
    metric : str
    """
    figure = new_figure(7.5, 3.6)
    axes = figure.subplots()
    for number, one in enumerate(people):
        axes.plot(one["n_runs"], one["value"], color=SOFT, alpha=0.5, linewidth=0.9,
                  label=None if number else "participants")
    axes.fill_between(mean["n_runs"], mean["ci_low"], mean["ci_high"], color=BLUE, alpha=0.2,
                      linewidth=0)
    axes.plot(mean["n_runs"], mean["value"], "o-", color=INK, markersize=4, label="mean")
    axes.axhline(float(mean["chance"].mean()), color=RED, linestyle="--", linewidth=1,
                 label="chance")
    _label(axes, metric, "n_runs")
    figure.legend(loc="outside right upper")
    return figure
