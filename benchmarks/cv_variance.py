"""Estimates of the variance of cross-validated accuracy over datasets, and what they cover.

    python benchmarks/cv_variance.py --out cv_variance.tsv --designs "4 runs" "8 runs"
    python benchmarks/cv_variance.py --out cv_variance.tsv --table     what the file holds

Datasets of labels are those of calibration.py. For each one, estimates of the variance of balanced
accuracy are appended to FILE; a second call continues. The table has, for each design, how often
95 % intervals with these estimates cover the mean over datasets. All are Wilson's, and none is
narrower than that of independent trials.

``program``
    As in the program: the larger one of the variances between runs and between trials, times
    2 - 1/k with k folds.
``mean, NB``
    The mean of both, times 1 + k n_test / n_train (Nadeau and Bengio 2003, Machine Learning 52).
``mean, 2``
    The mean of both, times 2.
``Bayle``
    The variance between trials alone (Bayle et al. 2020, NeurIPS 33).
``jackknife``, ``jackknife, t``
    Each fold is left out of training and test everywhere; with the normal quantile, or Student's.
``half``
    Half of the jackknife, which counts the interaction of a training and a test fold twice.
``mean with half``
    Mean of that and ``mean, NB``.
``nested``, ``nested, t``
    Nested cross-validation (Bates, Hastie and Tibshirani 2023, JASA 119:1434), from the same fits
    without pairs of folds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from calibration_labels import Design, draw_person

from bids_decoder.evaluation.folds import inner_folds
from bids_decoder.evaluation.intervals import cluster_variance, fold_inflation, wilson_limits
from bids_decoder.evaluation.label_scores import Guesses, label_influence
from bids_decoder.evaluation.ridge import ALPHAS

DESIGNS: dict[str, tuple[Design, tuple[float, float]]] = {
    "4 runs": (Design(4), (0.25, 0.5)),
    "8 runs": (Design(8), (0.15, 0.35)),
    "12 runs": (Design(12), (0.12, 0.3)),
    "30 runs of 2 labels": (Design(30, 4, n_voxels=30, n_classes=2), (0.12, 0.3)),
    "labels in blocks, 8 runs": (Design(8, order="blocks"), (0.2, 0.4)),
    "runs of one label, 12 runs": (Design(12, 4, order="runs"), (0.4, 0.6)),
    "runs of one label, 8 runs of 2 labels": (
        Design(8, 4, order="runs", n_classes=2), (0.3, 0.6)),
    "3 runs of 20 trials": (Design(3, 20), (0.2, 0.45)),
    "6 runs of 2 labels": (Design(6, 12, n_voxels=60, n_classes=2), (0.12, 0.3)),
    "20 runs of 2 labels": (Design(20, 4, n_voxels=30, n_classes=2), (0.2, 0.45)),
    "30 runs of 2 labels, stronger": (Design(30, 4, n_voxels=30, n_classes=2), (0.2, 0.4)),
    "labels in blocks, 10 runs": (Design(10, order="blocks"), (0.15, 0.35)),
    "runs of one label, 16 runs of 4 labels": (
        Design(16, 6, order="runs", n_classes=4), (0.25, 0.45)),
}
"""Design, and two strengths of signal. The estimate was chosen on the first seven."""

FIRST_SEED = 10**6
"""Datasets are those with signal of calibration.py."""


class Crossed(NamedTuple):
    """Labels, folds, runs (n_trials,) and predictions of cross-validation.

    Row k of ``guess`` (n_folds + 1, n_trials) is predicted without fold k and without the own fold
    of each trial, the last row without the own fold alone.
    """

    true: np.ndarray
    fold: np.ndarray
    run: np.ndarray
    guess: np.ndarray


def cross_validate(design: Design, seed: int) -> Crossed:
    """Draw a dataset; cross-validate ridge regression, and again without each fold."""
    person, targets = draw_person(design, np.random.default_rng(seed))
    betas, true = person.betas.astype(np.float64), person.target_rows
    onehot, runs = np.eye(len(targets.ids))[true], person.run_groups
    fold = np.unique(person.trials["fold"], return_inverse=True)[1]
    n_folds = fold.max() + 1
    guess = np.full((n_folds + 1, len(true)), -1)
    for first in range(n_folds):
        for second in range(first + 1):
            test = (fold == first) | (fold == second)
            found = ridge(betas[~test], onehot[~test], runs[~test], betas[test]).argmax(axis=1)
            guess[n_folds if first == second else first, test & (fold == second)] = (
                found[fold[test] == second]
            )
            if first != second:
                guess[second, fold == first] = found[fold[test] == first]
    return Crossed(true, fold, np.unique(runs, return_inverse=True)[1], guess)


def ridge(
    betas: np.ndarray, wanted: np.ndarray, runs: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Predict as :func:`bids_decoder.evaluation.ridge.ridge_predict`, faster for few voxels."""
    mean, sd = betas.mean(axis=0), betas.std(axis=0)
    betas, test, loss = (betas - mean) / sd, (test - mean) / sd, 0.0
    for own, held in inner_folds(runs, 5):
        predicted = penalised(betas[own], wanted[own], betas[held], ALPHAS[:, None])
        loss = loss + np.square(predicted - wanted[held]).mean(axis=1)
    best = ALPHAS[np.argmin(loss, axis=0)]
    each = penalised(betas, wanted, test, best[:, None])
    return np.stack([each[k, :, k] for k in range(len(best))], axis=1)


def penalised(
    betas: np.ndarray, wanted: np.ndarray, test: np.ndarray, penalties: np.ndarray
) -> np.ndarray:
    """Predict with each penalty (n_penalties, 1): (n_penalties, n_test, n_targets)."""
    middle, mean = betas.mean(axis=0), wanted.mean(axis=0)
    centred = betas - middle
    values, vectors = np.linalg.eigh(centred.T @ centred)
    turned = vectors.T @ (centred.T @ (wanted - mean))
    shrunk = ((test - middle) @ vectors)[None] / (values.clip(0) + penalties)[:, None, :]
    return shrunk @ turned + mean


def mean_recall(true: np.ndarray, guess: np.ndarray) -> float:
    """Return the balanced accuracy."""
    return float(np.mean([(guess[true == k] == k).mean() for k in np.unique(true)]))


def estimates(found: Crossed) -> dict[str, float]:
    """Return score, number of independent trials, degrees of freedom and variances."""
    true, fold, run, guess = found
    n_folds, counts = int(fold.max()) + 1, np.bincount(true)
    influence = label_influence(true, Guesses(guess[-1], None, len(counts)))["balanced_accuracy"]
    trials, runs = (
        cluster_variance(influence, of, true)[0] for of in (np.arange(len(true)), run)
    )
    middle, shares = (trials + runs) / 2, np.bincount(fold) / len(fold)
    left_out = np.array([
        mean_recall(true[fold != k], guess[k, fold != k]) for k in range(n_folds)
    ])
    jackknife = (n_folds - 1) * left_out.var()
    nadeau = 1 + n_folds * (shares / (1 - shares)).mean()
    return {
        "value": mean_recall(true, guess[-1]), "freedom": n_folds - 1,
        "n_trials": len(counts) ** 2 / (1 / counts).sum(), "trials": trials, "runs": runs,
        "program": fold_inflation(fold) * max(trials, runs), "mean, NB": nadeau * middle,
        "mean, 2": 2 * middle, "Bayle": trials, "jackknife": jackknife, "half": jackknife / 2,
        "mean with half": (nadeau * middle + jackknife / 2) / 2, "nested": nested(found),
    }


def nested(found: Crossed) -> float:
    """Estimate the mean squared error of cross-validation from fits without pairs of folds."""
    true, fold, _, guess = found
    n_folds, counts = int(fold.max()) + 1, np.bincount(true)
    # Balanced accuracy is the mean over trials of these.
    weight = len(true) / (len(counts) * counts[true])
    recall = np.array([(guess[-1, true == k] == k).mean() for k in range(len(counts))])[true]
    value = weight @ (guess[-1] == true) / len(true)
    error = weight * ((guess == true) - recall) + value
    own = error[-1]
    squares = [
        (error[k, fold != k].mean() - own[fold == k].mean()) ** 2
        - own[fold == k].var(ddof=1) / (fold == k).sum()
        for k in range(n_folds)
    ]
    naive = own.var(ddof=1) / len(own)
    shrunk = (n_folds - 1) / n_folds * float(np.mean(squares))
    return float(np.clip(shrunk, naive, n_folds * naive))


METHODS = {
    **{name: (name, False) for name in (
        "program", "mean, NB", "mean, 2", "Bayle", "jackknife", "half", "mean with half", "nested"
    )},
    "jackknife, t": ("jackknife", True), "nested, t": ("nested", True),
}
"""Name -> column of the variance, and whether the quantile is Student's with folds less one."""


def covers(row: pd.Series, truth: float, method: str) -> bool:
    """Return whether the interval of a dataset holds the true value."""
    column, student = METHODS[method]
    value = row["value"]
    spread = value * (1 - value)
    variance = max(row[column], spread / row["n_trials"])
    size = max(spread / variance, 1.0) if variance > 0 else row["n_trials"]
    quantile = scipy.stats.t.ppf(0.975, row["freedom"] if student else np.inf)
    low, high = wilson_limits(value, size, quantile)
    return bool(low <= truth <= high)


def describe(rows: pd.DataFrame) -> dict[str, float]:
    """Return ratios of the variance over datasets to its estimates, and coverage."""
    variance, truth = rows["value"].var(), rows["value"].mean()
    largest = rows[["trials", "runs"]].max(axis=1).mean()
    found = {"n": len(rows), "value": truth, "ratio": variance / largest}
    return found | {
        method: rows.apply(covers, axis=1, args=(truth, method)).mean() for method in METHODS
    }


def main() -> None:
    """Add datasets to the file, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--designs", nargs="*", default=list(DESIGNS))
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    columns = ["design", "signal", "seed"]
    known = pd.read_csv(options.out, sep="\t") if options.out.exists() else pd.DataFrame(
        columns=columns)
    if options.table:
        table = {key: describe(rows) for key, rows in known.groupby(columns[:2], sort=False)}
        print(pd.DataFrame(table).T.to_string(float_format="{:.3f}".format))
        return
    done = set(known[columns].itertuples(index=False, name=None))
    for name in options.designs:
        design, strengths = DESIGNS[name]
        for signal in strengths:
            for seed in range(FIRST_SEED, FIRST_SEED + options.datasets):
                if (name, signal, seed) in done:
                    continue
                made = Design(**{**vars(design), "signal": signal})
                row = {"design": name, "signal": signal, "seed": seed}
                table = pd.DataFrame([row | estimates(cross_validate(made, seed))])
                table.to_csv(options.out, sep="\t", index=False, mode="a",
                             header=not options.out.exists())


if __name__ == "__main__":
    main()
