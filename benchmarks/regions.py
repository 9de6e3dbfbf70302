"""Regions: family-wise errors on datasets without signal, power, and time of an atlas.

    python benchmarks/regions.py null --out FILE    share of datasets with a significant region
    python benchmarks/regions.py time               seconds of 400 parcels, and of a large one

Each process uses one core. P-values of single datasets are appended to the file ``--out``; a call
with a file that has some continues.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.evaluation.nulls import find_exchange
from bids_decoder.evaluation.regions import LabelFold, RegionScores, score_label_folds
from bids_decoder.evaluation.search_maps import Accuracy, class_weights
from bids_decoder.simulate.fields import Smoother
from bids_decoder.training.regions import decode_labels
from bids_decoder.training.searchlight import Fold

SHAPE = (12, 12, 8)
N_RUNS, N_TRIALS, N_REGIONS = 4, 12, 24


def score(
    betas: np.ndarray, labels: np.ndarray, runs: np.ndarray, regions: list[np.ndarray],
    n_permutations: int, rng: np.random.Generator, estimator: str = "lda",
) -> RegionScores:
    """Decode all folds, leaving one run out."""
    drawn = find_exchange(labels, runs.astype(str), runs).draw(n_permutations, rng)
    labellings, n_classes = np.vstack([labels, drawn]), int(labels.max()) + 1
    weights, folds = class_weights(labellings, n_classes), []
    for run in np.unique(runs):
        test = runs == run
        fold = Fold(betas[~test], betas[test], labellings[:, ~test], n_classes)
        found = decode_labels(fold, regions, estimator, Accuracy(labellings[:, test], weights))
        folds.append(LabelFold(
            found.values, found.predicted, labels[test], runs[test].astype(str)
        ))
    return score_label_folds(folds, n_classes, 1 / (1 + n_permutations))


def draw_regions(rng: np.random.Generator) -> list[np.ndarray]:
    """Divide the grid among random centres: regions of unequal size."""
    places = np.argwhere(np.ones(SHAPE, dtype=bool))
    centres = places[rng.choice(len(places), N_REGIONS, replace=False)]
    nearest = ((places[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    regions = [np.flatnonzero(nearest == number) for number in range(N_REGIONS)]
    return [voxels for voxels in regions if len(voxels) >= 10]


def false_positives(
    n_datasets: int, n_permutations: int, estimator: str, out: Path | None
) -> None:
    """Print how often a dataset without signal has a significant region, and with one signal."""
    known = pd.read_csv(out, sep="\t") if out is not None and out.exists() else pd.DataFrame()
    found = known.to_dict("records")
    for number in range(len(found), n_datasets):
        found.append(p_of_dataset(number, n_permutations, estimator))
        if out is not None:
            pd.DataFrame(found[-1:]).to_csv(
                out, sep="\t", index=False, mode="a", header=not out.exists()
            )
    p = pd.DataFrame(found[:n_datasets])
    print(f"{estimator}: {n_datasets} datasets, {N_REGIONS} regions, {N_RUNS} runs of {N_TRIALS} "
          f"trials, {n_permutations} permutations")
    for level in (0.05, 0.01):
        shares = ", ".join(f"{name} {share:.3f}" for name, share in (p <= level).mean().items())
        error = np.sqrt(level * (1 - level) / n_datasets)
        print(f"p <= {level} (standard error {error:.4f}): {shares}")


def p_of_dataset(number: int, n_permutations: int, estimator: str) -> dict[str, float]:
    """Return the p-values of a dataset without signal, and with signal in its first region."""
    rng, runs = np.random.default_rng(number), np.repeat(np.arange(N_RUNS), N_TRIALS)
    regions = draw_regions(rng)
    betas = Smoother(SHAPE, 1.5).draw(rng, len(runs)).reshape(len(runs), -1).astype(np.float32)
    labels = np.concatenate([rng.permutation(np.arange(N_TRIALS) % 2) for _ in range(N_RUNS)])
    silent = score(betas, labels, runs, regions, n_permutations, rng, estimator).table()
    pattern = rng.standard_normal((2, len(regions[0])))
    betas[:, regions[0]] += (0.5 * pattern[labels]).astype(np.float32)
    loud = score(betas, labels, runs, regions, n_permutations, rng, estimator).table()
    return {
        "one region": silent["p"].iloc[0], "any of them, uncorrected": silent["p"].min(),
        "any, corrected": silent["p_max"].min(), "the one with signal": loud["p_max"].iloc[0],
        "any other": loud["p_max"].iloc[1:].min(),
    }


def timing(estimator: str) -> None:
    """Print the time of one fold of an atlas, and of one large region."""
    rng = np.random.default_rng(0)
    runs, n_classes = np.repeat(np.arange(8), 80), 8
    labels = np.tile(np.arange(n_classes), len(runs) // n_classes)
    for n_regions, size in ((400, 300), (1, 30_000)):
        betas = rng.standard_normal((len(runs), n_regions * size), dtype=np.float32)
        regions = np.split(np.arange(n_regions * size), n_regions)
        labellings = np.vstack([labels, [rng.permutation(labels) for _ in range(100)]])
        test = runs == 0
        fold = Fold(betas[~test], betas[test], labellings[:, ~test], n_classes)
        measure = Accuracy(labellings[:, test], class_weights(labellings, n_classes))
        began = time.process_time()
        decode_labels(fold, regions, estimator, measure)
        print(f"{estimator}: one fold of {n_regions} regions of {size:,} voxels, 560 training "
              f"trials, 100 permutations: {time.process_time() - began:.0f} s of one core")


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=["null", "time"])
    parser.add_argument("--estimator", default="lda", choices=["lda", "ridge"])
    parser.add_argument("--datasets", type=int, default=1500)
    parser.add_argument("--permutations", type=int, default=99)
    parser.add_argument("--out", type=Path, help="TSV file of the p-values of single datasets")
    options = parser.parse_args()
    if options.part == "time":
        timing(options.estimator)
    else:
        false_positives(options.datasets, options.permutations, options.estimator, options.out)


if __name__ == "__main__":
    main()
