"""Figures of regions: their scores in order, and on the brain."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bids_decoder.analyses.regions.outputs import MAP, main_map
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.figures import (
    GREY,
    INK,
    ORANGE,
    RED,
    Picture,
    new_figure,
    picture,
    shorten,
    styled,
)
from bids_decoder.reports.figures_maps import part_picture
from bids_decoder.reports.geometry import load
from bids_decoder.reports.results import Results, sidecar_of
from bids_decoder.reports.wording import words

MOST_SHOWN = 40
"""Regions in the figure and in the open part of the table."""


def region_pictures(results: Results, table: pd.DataFrame) -> list[Picture]:
    """Draw the regions in the order of their scores, then on the brain."""
    shown = table.head(MOST_SHOWN)
    which = f"The {len(shown)} highest of {len(table)} regions" if len(table) > len(shown) else \
        f"All {len(table)} regions"
    corrected = (shown["p_max"] <= ALPHA).sum()
    dots = picture(
        draw_regions(shown), "regions",
        f"{which}, with 95 % intervals that are not corrected for the choice of regions; dashed: "
        f"chance; orange: p ≤ {ALPHA:g}, corrected for all regions. Grey numbers: voxels.",
        f"Scores of {len(shown)} regions, {corrected} of them significant.",
    )
    return [dots, *_map_pictures(results)]


@styled
def draw_regions(table: pd.DataFrame) -> Figure:
    """Draw one row per region: score, interval, chance.

    Parameters
    ----------
    table : DataFrame
        Columns of :data:`~bids_decoder.evaluation.regions.REGION_COLUMNS`, in the order of rows.
    """
    figure = new_figure(8.2, 0.9 + 0.2 * len(table))
    axes = figure.subplots()
    for place, (_, row) in enumerate(table.iterrows()):
        colour = ORANGE if row["p_max"] <= ALPHA else INK
        if np.isfinite([row["ci_low"], row["ci_high"]]).all():
            axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour,
                      linewidth=1.4, solid_capstyle="round")
        axes.plot(row["value"], place, "o", color=colour, markersize=5)
    edge = axes.get_xlim()[1]
    for place, count in enumerate(table["n_voxels"]):
        axes.text(edge, place, f" {count:,.0f}", fontsize=7, color=GREY, va="center")
    axes.axvline(table["chance"].iloc[0], color=RED, linestyle="--", linewidth=1.1)
    axes.set_yticks(range(len(table)), [shorten(str(name), 44) for name in table["region"]])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_title(words(table["metric"].iloc[0]).capitalize())
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def _map_pictures(results: Results) -> list[Picture]:
    path = main_map(results)
    if path is None:
        return []
    card = sidecar_of(path)
    image = np.asanyarray(load(path).dataobj, dtype=np.float32)
    above = image - card["Chance"]
    title = f"{words(card['Metric']).capitalize()} less chance ({card['Chance']:.3f})"
    pictures = part_picture(
        path, results, "regionsmap", f"{title} in each region, where above 0", (above, above > 0)
    )
    for found in results.files(MAP, stat="logpmax") if card["Permutations"] else []:
        corrected = np.asanyarray(load(found).dataobj) >= -np.log10(ALPHA) - 1e-6
        pictures += part_picture(
            path, results, "regionssignificant",
            f"{title}, in regions of p ≤ {ALPHA:g} corrected for all regions",
            (above, corrected & (above > 0)),
        )
    return pictures
