"""Figures of learning and decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from bids_decoder.reports.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    SOFT,
    image_only,
    model_colour,
    new_figure,
    shorten,
    styled,
)
from bids_decoder.reports.results import numeric
from bids_decoder.reports.scores import Comparison
from bids_decoder.reports.wording import is_share
from bids_decoder.stimuli.images import load_picture

STAGES = {
    "pretrain": "Pretraining",
    "stage1": "Stage 1: voxel selection",
    "stage2": "Stage 2: retraining",
}
_QUANTITIES = {
    "loss": "Training loss",
    "val_score": "Validation score",
    "n_voxels": "Voxels in the mask",
}


@styled
def draw_learning(table: pd.DataFrame) -> Figure:
    """Draw learning curves: one column per stage, thin lines for folds, a dark one for all runs.

    Parameters
    ----------
    table : DataFrame
        Columns ``stage, fold, epoch, loss, val_score, n_voxels``; quantities without values
        have no panel.
    """
    table = numeric(table, "fold", "epoch", *_QUANTITIES)
    stages = [s for s in STAGES if (table["stage"] == s).any()]
    stages += [s for s in table["stage"].dropna().unique() if s not in stages]
    rows = [name for name in _QUANTITIES if table[name].notna().any()]
    figure = new_figure(min(4.2 * len(stages) + 1, 11), 2.2 * len(rows) + 0.3)
    panels = figure.subplots(len(rows), len(stages), squeeze=False)
    for column, stage in enumerate(stages):
        part = table[table["stage"] == stage]
        for row, name in enumerate(rows):
            _curve(panels[row, column], part, name)
            panels[row, 0].set_ylabel(_QUANTITIES[name])
        panels[0, column].set_title(STAGES.get(stage, stage))
        drawn = [axes for axes in panels[:, column] if axes.has_data()]
        drawn[-1].set_xlabel("Epoch")
    return figure


def _curve(axes: Axes, part: pd.DataFrame, name: str) -> None:
    known = part[part[name].notna()]
    if known.empty:
        axes.text(
            0.5, 0.5, "not recorded", ha="center", va="center", color=GREY, transform=axes.transAxes
        )
        image_only(axes)
        return
    whole = known[known["fold"].isna()]
    folds = known[known["fold"].notna()].groupby("fold", sort=True)
    for _, fold in folds:
        axes.plot(fold["epoch"], fold[name], color=BLUE, alpha=0.35)
    if not whole.empty:
        axes.plot(whole["epoch"], whole[name], color=INK, linewidth=1.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if name == "n_voxels" and known[name].min() > 0 and known[name].max() > 4 * known[name].min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


@styled
def draw_budget(scores: Mapping[str, float], chosen: int) -> Figure:
    """Draw the score of each number of voxels on held-out training runs.

    Parameters
    ----------
    scores : mapping
        Number of voxels, as text, to mean cosine with the target.
    chosen : int
        Number of voxels that was chosen.
    """
    counts = np.array(sorted(map(int, scores)))
    values = [scores[str(count)] for count in counts]
    figure = new_figure(5.2, 2.8)
    axes = figure.subplots()
    axes.plot(counts, values, color=BLUE, marker="o", markersize=4)
    if str(chosen) in scores:
        axes.plot(chosen, scores[str(chosen)], "o", color=ORANGE, markersize=9)
    axes.set_xscale("log")
    axes.set_xticks(counts[::-2][::-1])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="Voxels", ylabel="Cosine with the target")
    return figure


@styled
def draw_confusion(counts: pd.DataFrame) -> Figure:
    """Draw the confusion matrix of labels, with rows summing to one.

    Parameters
    ----------
    counts : DataFrame of int
        By shown (rows) and decoded label (columns), the same labels in both.
    """
    labels = list(counts.index)
    shares = shares_of(counts)
    size = min(3.4 + 0.28 * len(labels), 10)
    figure = new_figure(size + 0.8, size)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    names = [shorten(str(name), 18) for name in labels]
    font = 8 if len(labels) <= 25 else 5.5
    axes.set_xticks(
        range(len(labels)), names, rotation=90 if len(labels) > 6 else 30, fontsize=font,
        ha="center" if len(labels) > 6 else "right",
    )
    axes.set_yticks(range(len(labels)), names, fontsize=font)
    axes.set(xlabel="Decoded", ylabel="Shown")
    if len(labels) <= 12:
        _annotate(axes, shares.to_numpy())
    bar = figure.colorbar(image, ax=axes, shrink=0.7, format=PercentFormatter(1.0))
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)
    return figure


def shares_of(counts: pd.DataFrame) -> pd.DataFrame:
    """Return counts as shares of their row; NaN for rows without any."""
    return counts.astype(float).div(counts.sum(axis=1).replace(0, np.nan), axis=0)


def _annotate(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            axes.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7.5,
                color="white" if share > 0.5 else INK,
            )


@dataclass(frozen=True)
class Example:
    """One held-out trial and its retrieved stimuli.

    Parameters
    ----------
    stimulus : str
        What was shown.
    rank : float
        Rank of the right stimulus, from 1.
    found : tuple of str
        The five nearest stimuli, best first.
    """

    stimulus: str
    rank: float
    found: tuple[str, ...]


def pick_examples(predictions: pd.DataFrame, n_examples: int = 6) -> list[Example]:
    """Pick trials spread evenly over the ranks, from best to worst.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``stimulus, rank_b2i, top1`` to ``top5``.
    n_examples : int

    Returns
    -------
    list of Example
        Empty when the table holds no ranks or no ids.
    """
    if "top1" not in predictions or "rank_b2i" not in predictions:
        return []
    table = numeric(predictions, "rank_b2i")
    table = table[table["rank_b2i"].notna() & table["top1"].notna()]
    table = table.sort_values(["rank_b2i", "stimulus"], kind="stable")
    places = np.linspace(0, len(table) - 1, min(n_examples, len(table))).round().astype(int)
    tops = [name for name in (f"top{i}" for i in range(1, 6)) if name in table]
    return [
        Example(
            str(row["stimulus"]), float(row["rank_b2i"]),
            tuple(str(row[name]) for name in tops if row[name] is not None),
        )
        for _, row in table.iloc[places].iterrows()
    ]


@styled
def draw_examples(examples: Sequence[Example], paths: Mapping[str, Path]) -> Figure:
    """Draw the shown image and the five that were retrieved, one row per trial.

    Parameters
    ----------
    examples : sequence of Example
    paths : mapping of str to Path
        Pictures of stimuli; those without one are named.
    """
    columns = 1 + max(len(e.found) for e in examples)
    figure = new_figure(1.55 * columns, 1.72 * len(examples) + 0.2)
    panels = figure.subplots(len(examples), columns, squeeze=False)
    for row, example in zip(panels, examples, strict=True):
        for place, axes in enumerate(row):
            image_only(axes)
            if place > len(example.found):
                continue
            name = example.stimulus if place == 0 else example.found[place - 1]
            _thumbnail(axes, paths.get(name), name)
            title = f"shown (rank {example.rank:.0f})" if place == 0 else f"{place}"
            axes.set_title(title, fontsize=8, pad=3, color=SOFT, fontweight="normal")
            if place and name == example.stimulus:
                axes.spines[:].set(visible=True, color=GREEN, linewidth=3)
    return figure


def _thumbnail(axes: Axes, path: Path | None, stimulus: str) -> None:
    if path is None:
        axes.text(
            0.5, 0.5, shorten(stimulus, 18), ha="center", va="center", fontsize=7, color=SOFT,
            transform=axes.transAxes,
        )
        axes.set_facecolor("#eef1f4")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect=1)
        return
    small = load_picture(path)
    small.thumbnail((160, 160))
    axes.imshow(np.asarray(small))


@styled
def draw_metrics(comparisons: Sequence[Comparison]) -> Figure:
    """Draw every measure with its baselines, intervals, chance and null.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One panel each; the decoder is first, in colour.
    """
    columns = min(2, len(comparisons))
    rows = -(-len(comparisons) // columns)
    n_models = max(len(c.rows) for c in comparisons)
    figure = new_figure(10 if columns == 2 else 6.4, rows * (1.05 + 0.27 * n_models))
    panels = figure.subplots(rows, columns, squeeze=False).flat
    # Comparisons first: zip must not consume a panel that it cannot use.
    for comparison, axes in zip(comparisons, panels, strict=False):
        _dots(axes, comparison)
        axes.set_xlim(_limits([c for c in comparisons if _scale(c) == _scale(comparison)]))
    for axes in list(panels):
        axes.set_visible(False)
    return figure


def _dots(axes: Axes, comparison: Comparison) -> None:
    table = comparison.rows
    for place, (_, row) in enumerate(table.iterrows()):
        own = row["model"] == comparison.model
        colour = ORANGE if own else INK
        if np.isfinite(row["ci_low"]) and np.isfinite(row["ci_high"]):
            axes.plot(
                [row["ci_low"], row["ci_high"]], [place, place], color=colour,
                linewidth=2.4 if own else 1.4, solid_capstyle="round",
            )
        axes.plot(row["value"], place, "o", color=colour, markersize=7 if own else 5)
    _reference_lines(axes, comparison)
    axes.set_yticks(range(len(table)), [shorten(str(name), 34) for name in table["model"]])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    hint = "" if comparison.higher_is_better else " (lower is better)"
    axes.set_title(comparison.name + hint, pad=18 if comparison.circumstances else 6)
    axes.text(0, 1.03, comparison.circumstances, transform=axes.transAxes, fontsize=8, color=SOFT)
    if is_share(comparison.metric):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))


def _scale(comparison: Comparison) -> tuple[str, str]:
    """Return what panels of one scale have in common: metric, and column of values."""
    return comparison.metric, str(comparison.own.get("target", ""))


def _limits(comparisons: list[Comparison]) -> tuple[float, float]:
    """Set one scale for all panels of a metric, with chance and all intervals in it."""
    columns = ["value", "ci_low", "ci_high", "chance", "null_low", "null_high"]
    numbers = np.concatenate([c.rows[columns].to_numpy(dtype=float).ravel() for c in comparisons])
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    margin = 0.04 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _reference_lines(axes: Axes, comparison: Comparison) -> None:
    low, high = comparison.null_interval
    if np.isfinite(low) and np.isfinite(high):
        axes.axvspan(low, high, color=GREY, alpha=0.22, linewidth=0)
    if np.isfinite(comparison.chance):
        axes.axvline(comparison.chance, color=RED, linestyle="--", linewidth=1.1)


@styled
def draw_people(
    values: Mapping[str, pd.DataFrame], title: str, metric: str, chance: float
) -> Figure:
    """Draw one measure over participants: the decoder beside its baselines.

    Parameters
    ----------
    values : mapping of model to DataFrame
        Columns ``participant, value, ci_low, ci_high``; the first model is the decoder.
    title : str
        What is measured.
    metric : str
        Name of the metric, which decides the scale.
    chance : float
        Not-a-number draws no line.
    """
    people = sorted({p for table in values.values() for p in table["participant"]})
    figure = new_figure(min(max(6.0, 2.6 + 0.75 * len(people)), 11), 3.4)
    axes = figure.subplots()
    step = 0.7 / max(len(values), 1)
    for number, (model, table) in enumerate(values.items()):
        x = np.array([people.index(p) for p in table["participant"]])
        x = x + (number - (len(values) - 1) / 2) * step
        colour = model_colour(number)
        axes.vlines(x, table["ci_low"], table["ci_high"], color=colour, linewidth=1.6)
        axes.plot(
            x, table["value"], "o", color=colour, markersize=6 if number == 0 else 4.5,
            label=shorten(model, 40),
        )
    if np.isfinite(chance):
        axes.axhline(chance, color=RED, linestyle="--", linewidth=1.1, label="chance")
    axes.set_xticks(
        range(len(people)), [f"sub-{p}" for p in people], rotation=0 if len(people) <= 8 else 60
    )
    axes.set_title("\n".join(wrap(title, 42)))
    axes.grid(axis="x", visible=False)
    if is_share(metric):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(loc="outside right upper")
    return figure
