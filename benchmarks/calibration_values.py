"""Are p-values and intervals of decoded numbers right? Simulated datasets, with and without signal.

    python benchmarks/calibration_values.py --out values.tsv    as in docs/statistics.md
    python benchmarks/calibration_values.py --rows "6 runs" --datasets 100 --with-signal 100

Values are normal, in random order within runs; noise of neighbouring trials is correlated. In rows
with drift, values of neighbouring trials are correlated, too. Voxels have the same tuning in all
datasets, so that the true value under cross-validation is one number: the mean over datasets. With
one test set it is the value that the trained decoder has in many new runs.

Outcomes of single datasets are appended to the file ``--out``; a call with a file that has some
continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from calibration import FIRST_WITH_SIGNAL, append_outcome, read_outcomes, share_below
from calibration_labels import FEW, FRESH_RUNS, N_PERMUTATIONS, Outcome

from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.nulls import find_exchange
from bids_decoder.evaluation.values import (
    HeldoutValues,
    RefittedValues,
    score_values,
    value_metrics,
)
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import PermutedFold, permute_fold, refit_fold
from bids_decoder.trials import Person, Targets, VoxelGrid

SHAPE, N_TUNED = (6, 5, 4), 15
"""Voxels, and how many of them depend on the values."""

CONTEXT = FitContext(Network(), Troi(), seed=1, device="cpu")
GRID = VoxelGrid(np.ones(SHAPE, dtype=bool), np.diag([3.0, 3.0, 3.0, 1.0]))
METRICS = ("r", "r2", "mae", "slope")


@dataclass(frozen=True)
class Row:
    """How the datasets of a row are made.

    Parameters
    ----------
    n_runs, n_each : int
        Runs, and trials of each.
    signal : float
        In datasets with signal: response to one standard deviation of the values, in those of the
        noise, for a tuning of 1.
    drift : float
        Correlation of the values of neighbouring trials.
    n_tested : int
        Runs of the one test set; 0: each run is test once.
    """

    n_runs: int
    n_each: int
    signal: float
    drift: float = 0.0
    n_tested: int = 0


ROWS = {
    "6 runs": Row(6, 12, 0.15),
    "4 runs of 20 trials": Row(4, 20, 0.2),
    "12 runs": Row(12, 12, 0.12),
    "6 runs, stronger signal": Row(6, 12, 0.3),
    "6 runs, values drift": Row(6, 12, 0.15, drift=0.6),
    "one test set": Row(12, 12, 0.15, n_tested=6),
}


def dataset(
    row: Row, signal: float, rng: np.random.Generator, n_fresh: int = 0
) -> tuple[Person, Targets]:
    """Simulate one participant; the last *n_fresh* runs come on top of those of the row."""
    n_runs, n_each = row.n_runs + n_fresh, row.n_each
    n_trials = n_runs * n_each
    values = slow(rng.normal(size=(n_runs, n_each, 1)), row.drift).reshape(n_trials)
    texts = [repr(value) for value in (50 + 20 * values).tolist()]
    targets = make_targets("value", texts, columns=("rating",))
    tuning = np.zeros(GRID.n_voxels)
    tuning[:N_TUNED] = np.random.default_rng(0).normal(size=N_TUNED)
    noise = slow(rng.normal(size=(n_runs, n_each, GRID.n_voxels)), 0.3)
    betas = signal * np.outer(values, tuning) + noise.reshape(n_trials, -1)
    runs = np.repeat(np.arange(1, n_runs + 1), n_each)
    trials = pd.DataFrame({
        "run_group": [f"run-{run:03d}" for run in runs],
        "trial": np.tile(np.arange(n_each), n_runs), "fold": runs, "split": "train",
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


def folds_of(
    person: Person, targets: Targets, n_permutations: int, seed: int
) -> list[PermutedFold]:
    """Return all folds, under the same permutations."""
    found = []
    for fold in np.unique(person.trials["fold"]):
        test = person.trials["fold"].to_numpy() == fold
        train, held = person.subset(~test), person.subset(test)
        held.trials["split"] = "test"
        # From the seed of the data permutations would follow its noise.
        rng = np.random.default_rng([seed, 1])
        found.append(permute_fold(train, held, n_permutations, rng, targets.numbers))
    return found


def predictions(
    folds: list[PermutedFold], targets: Targets
) -> tuple[HeldoutValues, RefittedValues]:
    """Decode all folds, with the true values and under all permutations."""
    decoder, own, null, means, drawn = load_decoder("troi"), [], [], [], []
    moved = []
    for fold in folds:
        true = replace(fold, train_rows=fold.train.target_rows[None])
        own.append(refit_fold(decoder, true, targets, None, CONTEXT)[0])
        null.append(refit_fold(decoder, fold, targets, None, CONTEXT))
        n_test = len(fold.test.target_rows)
        means.append(np.full((n_test, 1), targets.vectors[fold.train.target_rows].mean()))
        # Series that move between runs take their means along.
        mean = targets.vectors[fold.train_rows].mean(axis=1)[:, None]
        moved.append(np.broadcast_to(mean, null[-1].shape))
        drawn.append(fold.test_rows)
    tests = [fold.test for fold in folds]
    heldout = HeldoutValues(
        np.concatenate(own).astype(float), np.concatenate(means),
        np.concatenate([test.target_rows for test in tests]), targets.vectors, targets.columns,
        np.concatenate([test.run_groups for test in tests]),
        np.concatenate([test.trials["fold"].to_numpy() for test in tests]),
    )
    return heldout, RefittedValues(
        np.concatenate(drawn, axis=1), np.concatenate(null, axis=1),
        np.concatenate(moved, axis=1), folds[0].exchange.describe(),
    )


def crossed(row: Row, signal: float, seed: int) -> dict[str, Outcome]:
    """Test each run once; fit everything again on exchanged values."""
    person, targets = dataset(row, signal, np.random.default_rng([seed, 7]))
    folds = folds_of(person, targets, FEW if signal else N_PERMUTATIONS, seed)
    heldout, refitted = predictions(folds, targets)
    return outcomes(heldout, refitted, seed, {})


def tested_once(row: Row, signal: float, seed: int) -> dict[str, Outcome]:
    """Train on the first runs and test the others; the truth is that in new runs."""
    person, targets = dataset(row, signal, np.random.default_rng([seed, 7]), FRESH_RUNS)
    run, n_train = person.trials["fold"].to_numpy(), row.n_runs - row.n_tested
    train, rest = person.subset(run <= n_train), person.subset(run > n_train)
    fold = PermutedFold(
        train, rest, train.target_rows[None], rest.target_rows[None],
        find_exchange(
            train.target_rows, train.run_groups, run[run <= n_train],
            targets.vectors[train.target_rows],
        ),
    )
    predicted = refit_fold(load_decoder("troi"), fold, targets, None, CONTEXT)[0].astype(float)
    mean = np.full_like(predicted, targets.vectors[train.target_rows].mean())
    heldout = HeldoutValues(
        predicted, mean, rest.target_rows, targets.vectors, targets.columns, rest.run_groups,
        np.ones(len(predicted), dtype=int),
    )
    new = rest.trials["fold"].to_numpy() > row.n_runs
    parts = (heldout.true, predicted, mean)
    truth = value_metrics(*(part[new].T for part in parts), rest.run_groups[new])
    tested = replace(
        heldout, predicted=predicted[~new], reference=mean[~new], rows=heldout.rows[~new],
        runs=heldout.runs[~new], folds=heldout.folds[~new],
    )
    return outcomes(tested, None, seed, {name: float(one[0]) for name, one in truth.items()})


def outcomes(
    heldout: HeldoutValues, refitted: RefittedValues | None, seed: int, truth: dict[str, float]
) -> dict[str, Outcome]:
    """Score, and return what is kept of each metric."""
    table = score_values(
        heldout, settings=Evaluation(n_permutations=N_PERMUTATIONS),
        rng=np.random.default_rng([seed, 2]), refitted=refitted,
    ).metrics.set_index("metric")
    return {
        name: {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"],
               "truth": truth.get(name, np.nan)}
        for name, row in table.iterrows()
    }


def calibrate(
    name: str, n_datasets: int, n_with_signal: int, known: pd.DataFrame,
    keep: Callable[[dict], None] = lambda outcome: None,
) -> dict[str, dict[str, float]]:
    """Run the datasets of one row that are not known yet; summarise each metric."""
    row = ROWS[name]
    study = tested_once if row.n_tested else crossed
    found = known[known["row"].str.startswith(f"{name}: ")].to_dict("records")
    # The last metric of a dataset is written last.
    done = {one["seed"] for one in found if one["row"] == f"{name}: {METRICS[-1]}"}
    for seed in [*range(n_datasets),
                 *range(FIRST_WITH_SIGNAL, FIRST_WITH_SIGNAL + n_with_signal)]:
        if seed not in done:
            signal = row.signal if seed >= FIRST_WITH_SIGNAL else 0.0
            for metric, one in study(row, signal, seed).items():
                found.append({"row": f"{name}: {metric}", "seed": seed, **one})
                keep(found[-1])
    table = pd.DataFrame(found)
    return {metric: summarise(table[table["row"] == f"{name}: {metric}"]) for metric in METRICS}


def summarise(outcome: pd.DataFrame) -> dict[str, float]:
    """Compute the columns of the table from the outcomes of one metric in one row."""
    found: dict[str, float] = {}
    for kind, has_signal in (("null", False), ("signal", True)):
        part = outcome[(outcome["seed"] >= FIRST_WITH_SIGNAL) == has_signal]
        if part.empty:
            continue
        truth = part["truth"].fillna(part["value"].mean())
        inside = (part["low"] <= truth) & (truth <= part["high"])
        found |= {f"n_{kind}": len(part), f"value_{kind}": part["value"].mean()}
        if part["p"].notna().any():
            found |= {f"p{level:02d}_{kind}": share_below(part["p"], level / 100)
                      for level in (5, 1)}
        if part["low"].notna().any():
            found[f"cover_{kind}"] = float(inside.mean())
    return found


COLUMNS = ("n_null", "p05_null", "p01_null", "cover_null", "n_signal", "value_signal",
           "p05_signal", "cover_signal")


def main() -> None:
    """Print a row of Markdown for each metric."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1500)
    parser.add_argument("--with-signal", type=int, default=1000)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    parser.add_argument("--out", type=Path, help="TSV file of the outcomes of single datasets")
    options = parser.parse_args()
    print("| row | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|", flush=True)
    known = read_outcomes(options.out)
    for name in options.rows:
        found = calibrate(
            name, options.datasets, options.with_signal, known,
            lambda outcome: append_outcome(options.out, outcome),
        )
        for metric, one in found.items():
            cells = [f"{one[c]:{'.0f' if c.startswith('n_') else '.3f'}}" if c in one else ""
                     for c in COLUMNS]
            print(f"| {name}: {metric} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
