"""Report of multi-echo runs: T2*, weights of the echoes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.reports.blocks import Block, Figure, Table
from bids_decoder.reports.figures_maps import map_picture
from bids_decoder.reports.results import Results, run_name, sidecar_of


def echo_blocks(results: Results) -> list[Block]:
    """Return T2* and weights of all multi-echo runs, with maps of the first one; or nothing."""
    pairs = list(zip(results.files("t2star"), results.files("echo_weights"), strict=False))
    if not pairs:
        return []
    header = ["run", "echo times (ms)", "median T2* (ms)", "median weights", "all echoes used"]
    table = Table(
        header, [_row(*pair) for pair in pairs],
        "Echoes, in voxels of the brain. Echoes without signal in a voxel have no weight there",
        frozenset(header[2:]),
    )
    return [table, *_components(results), *_maps(results, *pairs[0])]


def _components(results: Results) -> list[Block]:
    """Return how many components of each run were rejected, where echoes were decomposed."""
    rows = []
    for path in results.files("echo_metrics"):
        metrics = pd.read_csv(path, sep="\t", na_values="n/a")
        share = metrics.groupby("classification")["variance explained"].agg(["size", "sum"])
        accepted, rejected = (
            share.loc[name] if name in share.index else pd.Series({"size": 0, "sum": 0.0})
            for name in ("accepted", "rejected")
        )
        rows.append([
            run_name(path), str(int(accepted["size"])), str(int(rejected["size"])),
            f"{rejected['sum']:.1f}",
        ])
    if not rows:
        return []
    header = ["run", "accepted", "rejected", "variance of rejected (%)"]
    return [Table(
        header, rows, "Components by tedana. Rejected ones, which do not depend on the echo time, "
        "are confounds of the run; none are where no component is accepted",
        frozenset(header[1:]),
    )]


def _row(t2star_file: Path, weights_file: Path) -> list[str]:
    t2star = np.asanyarray(nib.load(t2star_file).dataobj, dtype=np.float32)
    brain = t2star > 0
    weights = np.asanyarray(nib.load(weights_file).dataobj, dtype=np.float32)[brain]
    return [
        run_name(t2star_file),
        ", ".join(f"{1000 * time:g}" for time in _times(t2star_file)),
        f"{1000 * np.median(t2star[brain]):.1f}",
        " ".join(f"{weight:.2f}" for weight in np.median(weights, axis=0)),
        f"{(weights > 0).all(axis=1).mean():.0%}",
    ]


def _times(path: Path) -> list[float]:
    return sidecar_of(path)["EchoTimes"]


def _maps(results: Results, t2star_file: Path, weights_file: Path) -> list[Block]:
    run = run_name(t2star_file)
    pictures = map_picture(
        t2star_file, results, "t2star", f"T2* of {run} in seconds", signed=False
    )
    for number, time in enumerate(_times(weights_file)):
        pictures += map_picture(
            weights_file, results, f"echoweight{number + 1}",
            f"Weight of the echo of {run} at {1000 * time:g} ms", signed=False, volume=number,
        )
    return [Figure(drawn) for drawn in pictures]
