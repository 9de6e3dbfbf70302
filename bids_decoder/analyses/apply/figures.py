"""Figures of a decoder that is applied to new data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bids_decoder.reports.figures import BLUE, ORANGE, SOFT, new_figure, styled

_KINDS = {"training": (BLUE, "held-out training trials"), "new": (ORANGE, "new trials")}


@styled
def draw_reliability(table: pd.DataFrame) -> Figure:
    """Draw how often the best answer is right against its probability.

    Parameters
    ----------
    table : DataFrame
        Columns of :data:`~bids_decoder.evaluation.calibration.RELIABILITY_COLUMNS` as numbers, and
        ``trials``. The area of a point is its number of trials.
    """
    figure = new_figure(5.2, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=1, label="calibrated")
    for kind, (colour, name) in _KINDS.items():
        part = table[table["trials"] == kind]
        if len(part):
            axes.plot(part["confidence"], part["accuracy"], color=colour, linewidth=1)
            axes.scatter(part["confidence"], part["accuracy"], color=colour,
                         s=20 + 300 * part["n"] / part["n"].sum(), alpha=0.8, label=name)
    axes.set(xlabel="Probability of the best answer", ylabel="Share of right answers",
             xlim=(0, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(loc="outside right upper")
    return figure


@styled
def draw_shares(table: pd.DataFrame) -> Figure:
    """Draw how often each label is the best answer, as bars.

    Parameters
    ----------
    table : DataFrame
        With ``top1``.
    """
    counts = table["top1"].value_counts().sort_index()
    figure = new_figure(6.0, 0.9 + 0.3 * len(counts))
    axes = figure.subplots()
    axes.barh(counts.index.astype(str), counts.to_numpy(), color=BLUE)
    axes.invert_yaxis()
    axes.set_xlabel("Trials with this label as best answer")
    return figure


@styled
def draw_courses(runs: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> Figure:
    """Draw the probability of each label over time, one panel for each run.

    Parameters
    ----------
    runs : mapping of str to DataFrame
        Volumes of each run in order: ``onset`` and ``probability_<label>`` as numbers, and
        ``label``, missing where none is known. Times of known labels are marked.
    labels : sequence of str
    """
    figure = new_figure(8.0, 0.6 + len(runs) * (0.7 + 0.2 * len(labels)))
    panels = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
    for axes, (name, table) in zip(panels, runs.items(), strict=True):
        chances = table[[f"probability_{label}" for label in labels]].to_numpy().T
        onsets = table["onset"].to_numpy()
        step = float(np.median(np.diff(onsets))) if len(onsets) > 1 else 1.0
        image = axes.imshow(
            chances, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest",
            extent=(onsets[0], onsets[-1] + step, len(labels) - 0.5, -0.5),
        )
        for row, label in enumerate(labels):
            times = onsets[(table["label"] == label).to_numpy()]
            axes.hlines(np.full(len(times), row), times, times + step, color=ORANGE, linewidth=2)
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        axes.set_title(name, fontsize=8, loc="left")
        axes.grid(visible=False)
    panels[-1].set_xlabel("Seconds from the start of the run, of what was shown")
    figure.colorbar(image, ax=list(panels), shrink=0.6, format=PercentFormatter(1.0))
    return figure
