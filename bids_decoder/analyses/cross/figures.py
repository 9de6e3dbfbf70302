"""Figure of cross-decoding: the generalisation matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.reports.figures import GREY, INK, new_figure, shorten, styled

_ANNOTATED = 12


@styled
def draw_matrix(cells: pd.DataFrame) -> Figure:
    """Draw the score of each cell: rows are trained on, columns tested on.

    Parameters
    ----------
    cells : DataFrame
        ``train, test, value, chance, p_holm``, one row per cell. Cells that are missing stay empty;
        significant ones have a star, those within one kind a frame.
    """
    values, stars = (cells.pivot(index="train", columns="test", values=name)
                     for name in ("value", "p_holm"))
    rows, columns = (list(dict.fromkeys(cells[name])) for name in ("train", "test"))
    columns = [name for name in rows if name in columns] + [c for c in columns if c not in rows]
    values, stars = values.reindex(rows)[columns], stars.reindex(rows)[columns]
    figure = new_figure(3.6 + 0.62 * len(columns), 1.9 + 0.5 * len(rows))
    axes = figure.subplots()
    chance = float(cells["chance"].mean())
    image = axes.imshow(
        np.ma.masked_invalid(values.to_numpy(dtype=float)), cmap="RdBu_r", aspect="auto",
        norm=TwoSlopeNorm(chance, min(0.0, chance - 1e-6), 1.0),
    )
    _label(axes, rows, columns)
    if max(values.shape) <= _ANNOTATED:
        _annotate(axes, values.to_numpy(dtype=float), stars.to_numpy(dtype=float) <= ALPHA)
    for row, name in enumerate(rows):
        if name in columns and np.isfinite(values.loc[name, name]):
            corner = (columns.index(name) - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.2))
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1.0))
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)
    return figure


def _label(axes: Axes, rows: list[str], columns: list[str]) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#eef1f4")
    tilt = 30 if max(map(len, columns)) > 6 else 0
    axes.set_xticks(range(len(columns)), [shorten(name, 22) for name in columns], rotation=tilt,
                    ha="right" if tilt else "center")
    axes.set_yticks(range(len(rows)), [shorten(name, 22) for name in rows])
    axes.set(xlabel="Tested on", ylabel="Trained on")


def _annotate(axes: Axes, values: np.ndarray, stars: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values):
        known = np.isfinite(value)
        text = f"{100 * value:.0f}{'*' if stars[row, column] else ''}" if known else "–"
        strong = known and value > 0.8
        axes.text(column, row, text, ha="center", va="center", fontsize=8,
                  color="white" if strong else INK if known else GREY)
