"""Figure of head motion beside decoding errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bids_decoder.reports.figures import BLUE, ORANGE, new_figure, styled


@styled
def draw_errors(table: pd.DataFrame) -> Figure:
    """Draw the cumulative distribution of motion in trials decoded correctly and wrongly.

    Parameters
    ----------
    table : DataFrame
        ``correct`` (bool) and ``displacement`` in mm.
    """
    figure = new_figure(5.2, 2.8)
    axes = figure.subplots()
    for side, colour, label in ((True, BLUE, "correct"), (False, ORANGE, "wrong")):
        values = np.sort(table.loc[table["correct"] == side, "displacement"])
        if len(values):
            axes.step(values, np.arange(1, len(values) + 1) / len(values), where="post",
                      color=colour, label=f"{label} ({len(values)})")
    axes.set(xlabel="Largest framewise displacement (mm)", ylabel="Share of trials", ylim=(0, 1))
    axes.legend(loc="lower right")
    return figure
