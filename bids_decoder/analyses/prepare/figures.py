"""Figures of the measurement: motion, design, and how well the GLM fits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bids_decoder.reports.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SOFT,
    new_figure,
    shorten,
    styled,
)
from bids_decoder.reports.results import numeric, truth

SPLIT_COLOURS = {"train": BLUE, "test": ORANGE, "cv": PURPLE, "excluded": GREY}
_MOTION = ("framewise_displacement", "trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_DVARS = ("std_dvars", "dvars")
_MAX_ROWS = 60


@styled
def draw_motion(confounds: Mapping[str, pd.DataFrame], fd_threshold: float) -> Figure:
    """Draw head motion and DVARS of all runs of one participant, end to end.

    Parameters
    ----------
    confounds : mapping of run name to DataFrame
        Confounds as read from disk; translations in mm, rotations in radians.
    fd_threshold : float
        Framewise displacement in mm above which a volume counts as moved.
    """
    runs = [numeric(table, *_MOTION, *_DVARS) for table in confounds.values()]
    table = pd.concat(runs, ignore_index=True)
    dvars = next((name for name in _DVARS if table[name].notna().any()), None)
    figure = new_figure(10, 6.6 if dvars else 5.2)
    panels = figure.subplots(4 if dvars else 3, 1, sharex=True)
    volumes = np.arange(len(table))
    displacement = table["framewise_displacement"]
    panels[0].plot(volumes, displacement, color=INK, linewidth=0.9)
    panels[0].axhline(fd_threshold, color=RED, linestyle="--", linewidth=1)
    moved = displacement > fd_threshold
    panels[0].plot(volumes[moved], displacement[moved], ".", color=RED, markersize=4)
    panels[0].set(title="Framewise displacement (mm)", ylim=(0, None))
    for axis, colour in zip("xyz", (BLUE, ORANGE, PURPLE), strict=True):
        panels[1].plot(volumes, table[f"trans_{axis}"], color=colour, label=axis)
        panels[2].plot(volumes, np.degrees(table[f"rot_{axis}"]), color=colour, label=axis)
    panels[1].set_title("Translation (mm)")
    panels[2].set_title("Rotation (degrees)")
    panels[1].legend(ncols=3, loc="upper right")
    if dvars:
        panels[3].plot(volumes, table[dvars], color=INK, linewidth=0.9)
        panels[3].set_title("Standardised DVARS" if dvars == "std_dvars" else "DVARS")
    _mark_runs(panels, list(confounds), [len(run) for run in runs])
    panels[-1].set_xlabel("Volume, runs end to end")
    panels[-1].set_xlim(0, max(len(table) - 1, 1))
    return figure


def _mark_runs(panels: np.ndarray, names: list[str], lengths: list[int]) -> None:
    starts = np.cumsum([0, *lengths])[:-1]
    for axes in panels:
        for start in starts[1:]:
            axes.axvline(start - 0.5, color="#b6c0ca", linewidth=0.8)
    if len(names) <= 8:
        top = panels[0].secondary_xaxis("top")
        middles = starts + np.array(lengths) / 2
        top.set_xticks(middles, [shorten(name, 100 // len(names)) for name in names])
        top.tick_params(length=0, labelsize=7.5)
        top.spines[:].set_visible(False)
        panels[0].set_title(panels[0].get_title(loc="left"), pad=18)


@styled
def draw_timeline(trials: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the times of trials, run by run, coloured by their use.

    Parameters
    ----------
    trials : mapping of run name to DataFrame
        Trial tables (``trials.TRIAL_COLUMNS``). Where onsets are unknown, the order of
        trials is drawn instead.
    """
    shown = list(trials.items())[:_MAX_ROWS]
    tables = [numeric(table, "onset", "duration", "trial") for _, table in shown]
    timed = all(table["onset"].notna().any() for table in tables)
    figure = new_figure(10, 0.9 + max(0.2 * len(shown), 0.5))
    axes = figure.subplots()
    used = set()
    for row, table in enumerate(tables):
        use = trial_use(table)
        start = table["onset"] if timed else pd.Series(np.arange(len(table), dtype=float))
        width = (
            table["duration"].fillna(0).clip(lower=1.0) if timed else pd.Series(0.8, start.index)
        )
        for kind, colour in SPLIT_COLOURS.items():
            chosen = (use == kind).to_numpy() & start.notna().to_numpy()
            bars = list(zip(start[chosen], width[chosen], strict=True))
            axes.broken_barh(bars, (row - 0.38, 0.76), color=colour, linewidth=0)
            used |= {kind} if bars else set()
    axes.set_yticks(range(len(shown)), [shorten(name, 34) for name, _ in shown], fontsize=7.5)
    axes.set(
        ylim=(len(shown) - 0.4, -0.6), xlabel="Seconds from the first volume" if timed else "Trial"
    )
    axes.grid(axis="y", visible=False)
    handles = [Patch(color=c, label=k) for k, c in SPLIT_COLOURS.items() if k in used]
    figure.legend(handles=handles, ncols=4, loc="outside upper right")
    return figure


def trial_use(table: pd.DataFrame) -> pd.Series:
    """Return ``train``, ``test``, ``cv`` or ``excluded`` for each trial."""
    excluded = truth(table["excluded"]) if "excluded" in table else pd.Series(False, table.index)
    return table["split"].where(~excluded, "excluded")


@styled
def draw_quality(values: Mapping[str, np.ndarray]) -> Figure:
    """Draw histograms of voxel-wise quality, one panel per measure, with the median.

    Parameters
    ----------
    values : mapping of title to ndarray, shape (n_voxels,)
        Finite values within the mask.
    """
    figure = new_figure(3.4 * len(values), 2.6)
    panels = np.atleast_1d(figure.subplots(1, len(values)))
    for axes, (title, numbers) in zip(panels, values.items(), strict=True):
        _histogram(axes, title, numbers)
    panels[0].set_ylabel("Voxels")
    return figure


def _histogram(axes: Axes, title: str, numbers: np.ndarray) -> None:
    low, high = np.percentile(numbers, [0.2, 99.8])
    if low == high:
        low, high = low - 0.5, high + 0.5
    axes.hist(numbers, bins=40, range=(low, high), color=BLUE, alpha=0.85)
    middle = float(np.median(numbers))
    axes.axvline(middle, color=ORANGE, linewidth=1.4)
    axes.set_title(title)
    # Above the bars, wherever they are.
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])
    axes.text(
        0.98, 0.97, f"median {middle:.3g}\n{len(numbers):,} voxels", transform=axes.transAxes,
        ha="right", va="top", fontsize=8, color=SOFT,
    )
