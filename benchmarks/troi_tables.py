"""Table and figure of the benchmark of the trainable region of interest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

N_BOOTSTRAP = 10_000


def interval(values: pd.Series, seeds: pd.Series) -> tuple[float, float, float]:
    """Return mean and 95 % limits: seeds are drawn, then targets within them."""
    numbers = values.to_numpy(dtype=float)
    if len(numbers) < 2:
        return float(numbers.mean()), np.nan, np.nan
    rng = np.random.default_rng(0)
    groups = [numbers[seeds.to_numpy() == seed] for seed in seeds.unique()]
    means = np.stack([
        group[rng.integers(len(group), size=(N_BOOTSTRAP, len(group)))].mean(axis=1)
        for group in groups
    ])
    chosen = rng.integers(len(groups), size=(N_BOOTSTRAP, len(groups)))
    samples = means[chosen, np.arange(N_BOOTSTRAP)[:, None]].mean(axis=1)
    return float(numbers.mean()), *np.quantile(samples, [0.025, 0.975])


COLUMNS = {
    "dice": "Dice", "dice_roi_sized": "Dice, ROI-sized", "precision": "precision",
    "recall": "recall", "auc": "AUC", "spearman": "Spearman",
    "b2i_cosine_3": "b2i", "b2i_centred_3": "b2i centred", "b2i_csls_3": "b2i CSLS",
    "i2b_cosine_3": "i2b", "b2i_cosine_1": "b2i 1 repeat", "b2i_csls_1": "b2i CSLS 1 repeat",
    "i2b_cosine_1": "i2b 1 repeat", "seconds": "s",
}


def print_table(results: pd.DataFrame) -> None:
    """Print the means with their intervals as a Markdown table."""
    first = results["method"].iloc[0]
    print(f"| trials | method | read-out | {' | '.join(COLUMNS.values())} | against {first} |")
    print("|" + " --- |" * (len(COLUMNS) + 4))
    for keys, part in results.groupby(["trials", "method", "readout"], sort=False):
        cells = [shown(*interval(part[name], part["seed"]), name) for name in COLUMNS]
        print(f"| {' | '.join(map(str, keys))} | {' | '.join(cells)} | "
              f"{gap_to_first(results, part, first)} |")


def shown(mean: float, low: float, high: float, name: str) -> str:
    """Write a mean and its limits."""
    digits = 0 if name == "seconds" else 3
    if np.isnan(mean):
        return "–"
    limits = "" if np.isnan(low) or name == "seconds" else f" [{low:.3f}, {high:.3f}]"
    return f"{mean:.{digits}f}{limits}"


def gap_to_first(results: pd.DataFrame, part: pd.DataFrame, first: str) -> str:
    """Return the paired difference of CSLS b2i to the first method, in percent points."""
    keys = ["seed", "target", "trials", "readout"]
    other = results[results["method"] == first][[*keys, "b2i_csls_3"]]
    pairs = part.merge(other, on=keys, suffixes=("", "_first"))
    gap = 100 * (pairs["b2i_csls_3"] - pairs["b2i_csls_3_first"])
    mean, low, high = interval(gap, pairs["seed"])
    return f"{mean:+.1f}" + ("" if np.isnan(low) else f" [{low:+.1f}, {high:+.1f}]")


def draw_figure(results: pd.DataFrame, path: Path) -> None:
    """Draw retrieval of each method and read-out, and the quality of the maps."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    counts = list(results["trials"].unique())
    methods = list(results["method"].unique())
    figure, panels = pyplot.subplots(
        len(counts), 2, figsize=(11, 0.8 + 0.32 * len(methods) * len(counts)), squeeze=False,
        sharey=True, layout="constrained",
    )
    for (left, right), count in zip(panels, counts, strict=True):
        part = results[results["trials"] == count]
        for readout, rows in part.groupby("readout", sort=False):
            draw_points(left, rows, methods, "b2i_csls_3", readout)
        rows = part[part["readout"] == part["readout"].iloc[0]]
        for name in ("dice_roi_sized", "auc"):
            draw_points(right, rows, methods, name, COLUMNS[name])
        left.set(xlabel="brain to image, CSLS, 3 repeats, 300 images", title=f"{count} trials")
        right.set(xlabel="agreement of the map with the true region")
        for axes in (left, right):
            axes.set_xlim(0, 1)
            axes.grid(axis="x", alpha=0.3)
            axes.legend(fontsize=7, loc="lower left")
    figure.savefig(path, dpi=150)


def draw_points(axes: Any, rows: pd.DataFrame, methods: list[str], name: str, text: str) -> None:
    """Draw mean and interval of each method."""
    places, limits = [], []
    for method in methods:
        part = rows[rows["method"] == method]
        limits.append(interval(part[name], part["seed"]))
        places.append(len(methods) - len(places))
    mean, low, high = np.array(limits).T
    spread = np.nan_to_num(np.stack([mean - low, high - mean]).clip(min=0))
    axes.errorbar(mean, places, xerr=spread, fmt="o", markersize=4, label=text)
    axes.set_yticks(places, methods, fontsize=7)
