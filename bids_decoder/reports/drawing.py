"""Drawing of masks, maps and contours on slices."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from bids_decoder.reports.figures import GREY, ORANGE, RED, SKY, image_only, new_figure, styled
from bids_decoder.reports.geometry import Slice

COLUMNS = 6
"""Slices side by side."""


@styled
def draw_mask(slices: list[Slice]) -> Figure:
    """Draw a mask on its underlay, one panel per slice."""
    figure, panels = _mosaic(slices)
    colours = ListedColormap([ORANGE])
    for axes, item in zip(panels, slices, strict=False):
        inside = np.ma.masked_less_equal(item.values, 0)
        axes.imshow(
            inside, cmap=colours, alpha=0.85, extent=item.extent, origin="lower",
            interpolation="nearest",
        )
    return figure


@styled
def draw_map(slices: list[Slice], limit: float, *, signed: bool) -> Figure:
    """Draw a continuous map on its underlay; values that are not finite are transparent.

    Parameters
    ----------
    slices : list of Slice
    limit : float
        Largest value of the colour scale.
    signed : bool
        Two-sided scale from ``-limit``, otherwise from 0.
    """
    figure, panels = _mosaic(slices, room=0.7)
    image = None
    for axes, item in zip(panels, slices, strict=False):
        image = axes.imshow(
            np.ma.masked_invalid(item.values), cmap="coolwarm" if signed else "inferno",
            vmin=-limit if signed else 0.0, vmax=limit, extent=item.extent, origin="lower",
            interpolation="nearest", alpha=0.9,
        )
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels), aspect=30, fraction=0.02, pad=0.01)
        bar.outline.set_visible(False)
        bar.ax.grid(visible=False)
    return figure


@styled
def draw_contours(
    top: list[Slice], bottom: list[Slice], outline: list[Slice], titles: tuple[str, str]
) -> Figure:
    """Draw two rows of underlays, each under its title, with one contour in both."""
    width, height = top[0].size
    cell = 10 / len(top) if len(top) > 2 else 3.2
    figure = new_figure(max(cell * len(top), 3.2), 2 * cell * height / width + 0.4)
    panels = figure.subplots(2, len(top), squeeze=False)
    for row, (items, colour) in enumerate(((top, RED), (bottom, SKY))):
        for axes, item, edge in zip(panels[row], items, outline, strict=True):
            image_only(axes)
            axes.imshow(item.under, cmap="gray", extent=item.extent, origin="lower", vmin=0, vmax=1)
            if 0 < edge.under.mean() < 1:
                axes.contour(
                    edge.under, levels=[0.5], colors=[colour], linewidths=1.2,
                    extent=item.extent, origin="lower",
                )
        panels[row][0].set_title(titles[row])
    return figure


def _mosaic(slices: list[Slice], room: float = 0.0) -> tuple[Figure, list[Axes]]:
    columns = min(COLUMNS, len(slices))
    rows = -(-len(slices) // columns)
    width, height = slices[0].size
    cell = 10 / columns if columns > 3 else 3.0
    figure = new_figure(cell * columns + room, rows * (cell * height / width + 0.22))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        image_only(axes)
    for axes, item in zip(panels, slices, strict=False):
        axes.set_title(item.label, fontsize=7.5, color=GREY, fontweight="normal", pad=2)
        axes.imshow(
            item.under, cmap="gray", extent=item.extent, origin="lower", vmin=0, vmax=1,
            interpolation="bilinear",
        )
    return figure, panels
