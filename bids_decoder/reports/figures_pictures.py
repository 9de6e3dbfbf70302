"""Figures of reconstructed images."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bids_decoder.reports.figures import image_only, new_figure, styled


@styled
def draw_errors(error: np.ndarray, spread: np.ndarray) -> Figure:
    """Draw the expected error of each pixel, and the share of variance that is known.

    Parameters
    ----------
    error : ndarray, shape (size, size)
        Root mean square error.
    spread : ndarray, shape (size, size)
        The same of the mean image.
    """
    square = spread**2
    known = 1 - np.divide(error**2, square, out=np.ones_like(square), where=square > 0)
    figure = new_figure(6.4, 2.9)
    left, right = figure.subplots(1, 2)
    vmax = float(max(error.max(), spread.max())) or 1.0
    shown = left.imshow(error, cmap="viridis", vmin=0, vmax=vmax)
    left.set_title("expected error (sRGB, 0 to 1)")
    figure.colorbar(shown, ax=left, shrink=0.85)
    shown = right.imshow(np.clip(known, 0, 1), cmap="Blues", vmin=0, vmax=1)
    right.set_title("share of variance that is known")
    figure.colorbar(shown, ax=right, shrink=0.85, format=PercentFormatter(1.0))
    for axes in (left, right):
        image_only(axes)
    return figure
