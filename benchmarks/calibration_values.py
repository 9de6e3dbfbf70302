"""Are p-values and intervals of decoded numbers right? Simulated datasets, with and without signal.

    python benchmarks/calibration_values.py [N_SETS] [SIGNAL]

Each dataset has its own values, tuning and noise. Values are uniform, in random order within runs;
noise of neighbouring trials is correlated, and values of a share of datasets drift within runs.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.values import HeldoutValues, RefittedValues, score_values
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import PermutedFold, permute_fold, refit_fold
from bids_decoder.trials import Person, Targets, VoxelGrid

N_RUNS, N_EACH, SHAPE = 6, 12, (6, 5, 4)
N_PERMUTATIONS = 39
CONTEXT = FitContext(Network(), Troi(), seed=1, device="cpu")
GRID = VoxelGrid(np.ones(SHAPE, dtype=bool), np.diag([3.0, 3.0, 3.0, 1.0]))


def dataset(signal: float, drift: float, rng: np.random.Generator) -> tuple[Person, Targets]:
    """Simulate one participant; *drift* is the correlation of values of neighbouring trials."""
    n_trials = N_RUNS * N_EACH
    values = slow(rng.normal(size=(N_RUNS, N_EACH, 1)), drift).reshape(n_trials)
    texts = [repr(value) for value in (50 + 20 * values).tolist()]
    targets = make_targets("value", texts, columns=("rating",))
    tuning = np.zeros(GRID.n_voxels)
    tuning[:15] = rng.normal(size=15)
    noise = slow(rng.normal(size=(N_RUNS, N_EACH, GRID.n_voxels)), 0.3)
    betas = signal * np.outer(values, tuning) + noise.reshape(n_trials, -1)
    runs = np.repeat(np.arange(1, N_RUNS + 1), N_EACH)
    trials = pd.DataFrame({
        "run_group": [f"run-{run}" for run in runs], "trial": np.tile(np.arange(N_EACH), N_RUNS),
        "fold": runs, "split": "train",
    })
    rows = targets.rows_of(np.array(texts))
    return Person("01", GRID, betas.astype(np.float32), trials, rows), targets


def slow(noise: np.ndarray, correlation: float) -> np.ndarray:
    """Correlate neighbours along the second axis (first-order autoregression)."""
    found = noise.copy()
    for step in range(1, noise.shape[1]):
        found[:, step] = (
            correlation * found[:, step - 1] + np.sqrt(1 - correlation**2) * noise[:, step]
        )
    return found


def folds_of(person: Person, rng_seed: int) -> list[PermutedFold]:
    """Return all folds, under the same permutations."""
    found = []
    for fold in range(1, N_RUNS + 1):
        test = person.trials["fold"].to_numpy() == fold
        train, held = person.subset(~test), person.subset(test)
        held.trials["split"] = "test"
        rng = np.random.default_rng(rng_seed)
        found.append(permute_fold(train, held, N_PERMUTATIONS, rng))
    return found


def predictions(
    folds: list[PermutedFold], targets: Targets
) -> tuple[HeldoutValues, RefittedValues]:
    """Decode all folds, with the true values and under all permutations."""
    decoder, own, null, means, drawn = load_decoder("troi"), [], [], [], []
    for fold in folds:
        true = replace(fold, train_rows=fold.train.target_rows[None])
        own.append(refit_fold(decoder, true, targets, None, CONTEXT)[0])
        null.append(refit_fold(decoder, fold, targets, None, CONTEXT))
        n_test = len(fold.test.target_rows)
        means.append(np.full((n_test, 1), targets.vectors[fold.train.target_rows].mean()))
        drawn.append(fold.test_rows)
    tests = [fold.test for fold in folds]
    heldout = HeldoutValues(
        np.concatenate(own).astype(float), np.concatenate(means),
        np.concatenate([test.target_rows for test in tests]), targets.vectors, targets.columns,
        np.concatenate([test.run_groups for test in tests]),
        np.concatenate([test.trials["fold"].to_numpy() for test in tests]),
    )
    predicted = np.concatenate(null, axis=1)
    reference = np.broadcast_to(heldout.reference, predicted.shape)
    return heldout, RefittedValues(
        np.concatenate(drawn, axis=1), predicted, reference, folds[0].exchange.describe()
    )


def main() -> None:
    """Print false positives, and how far scores are from their mean over datasets."""
    n_sets = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    signal = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    for drift in (0.0, 0.6):
        found = []
        for number in range(n_sets):
            person, targets = dataset(signal, drift, np.random.default_rng([number, 7]))
            heldout, refitted = predictions(folds_of(person, number), targets)
            table = score_values(
                heldout, settings=Evaluation(), rng=np.random.default_rng(number),
                refitted=refitted,
            ).metrics
            found.append(table.set_index("metric"))
        for metric in ("r", "r2", "mae", "slope"):
            rows = pd.DataFrame([one.loc[metric] for one in found])
            value = rows["value"].astype(float)
            inside = (rows["ci_low"] <= value.mean()) & (value.mean() <= rows["ci_high"])
            print(
                f"signal {signal:g} drift {drift:g} {metric}: mean {value.mean():.3f}, "
                f"p <= .05 in {(rows['p'].astype(float) <= 0.05).mean():.3f} of {n_sets}, "
                f"intervals cover the mean in {inside.mean():.3f}", flush=True,
            )


if __name__ == "__main__":
    main()
