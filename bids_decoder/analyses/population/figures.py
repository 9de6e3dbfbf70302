"""Figures of statistics over participants: the forest plot, and maps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bids_decoder.bids.names import parse_entities
from bids_decoder.reports.figures import (
    BLUE,
    INK,
    ORANGE,
    RED,
    SOFT,
    Picture,
    new_figure,
    shorten,
    styled,
)
from bids_decoder.reports.figures_maps import describe, map_picture
from bids_decoder.reports.results import Results, sidecar_of
from bids_decoder.reports.template_surfaces import with_surface
from bids_decoder.reports.wording import is_share


@styled
def draw_forest(rows: pd.DataFrame, metric: str, title: str) -> Figure:
    """Draw each participant with the interval, and below them the mean.

    Parameters
    ----------
    rows : DataFrame
        Of one measure: ``statistic, participant, method, value, chance, ci_low, ci_high, n``;
        numbers as floats.
    metric : str
    title : str
    """
    people = rows[rows["statistic"] == "participant"].reset_index(drop=True)
    means = rows[rows["statistic"] == "mean"]
    ahead = rows[rows["statistic"] == "new_participant"]
    lines = [*(f"{row['participant']}  (n = {row['n']:.0f})" for _, row in people.iterrows())]
    figure = new_figure(7.5, 1.1 + 0.27 * (len(lines) + len(means) + len(ahead)))
    axes = figure.subplots()
    for place, row in people.iterrows():
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=BLUE, linewidth=1.6)
        axes.plot(row["value"], place, "s", color=BLUE, markersize=5)
        axes.plot([row["chance"]] * 2, [place - 0.4, place + 0.4], color=RED, linewidth=1.2)
    place = len(people)
    for _, row in means.iterrows():
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=ORANGE, linewidth=3)
        axes.plot(row["value"], place, "D", color=ORANGE, markersize=7)
        lines.append(f"mean, {str(row['method']).split(' (')[0]}")
        place += 1
    for _, row in ahead[ahead["ci_low"].notna()].iterrows():
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=SOFT, linewidth=1.6,
                  linestyle=":")
        lines.append("one more participant")
        place += 1
    axes.axhline(len(people) - 0.5, color=INK, linewidth=0.6)
    chance = people["chance"].to_numpy(float)
    if np.isfinite(chance).any():
        axes.axvline(np.nanmean(chance), color=RED, linestyle="--", linewidth=1, label="chance")
        figure.legend(loc="outside right upper")
    axes.set_yticks(range(len(lines)), lines)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_title(shorten(title, 70))
    if is_share(metric):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def map_pictures(results: Results) -> list[Picture]:
    """Draw the maps over participants on the reference of the first of them."""
    pictures = []
    for number, path in enumerate(results.files("group_map"), start=1):
        people = sidecar_of(path).get("Sources", ["sub-"])
        first = Results(results.output_dir, people[0].removeprefix("sub-"))
        signed = parse_entities(path)["stat"].endswith(("mean", "t"))
        pictures += map_picture(path, first, f"groupmap{number}", describe(path), signed=signed)
    return with_surface(pictures)
