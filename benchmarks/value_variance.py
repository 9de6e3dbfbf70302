"""How much do correlations and slopes over folds vary between datasets? Against their estimates.

    python benchmarks/value_variance.py                  1000 datasets of each row, as in the docs
    python benchmarks/value_variance.py --datasets 100 --rows "6 runs"

Datasets are those of calibration_values.py; the default decoder is fitted to the true values only.
Columns: mean ``r``; ``z``: variance of ``r`` on Fisher's scale over datasets, as a multiple of
that of independent trials, 1 / (trials - runs - 2); ``null z``: the same of exchanged values,
everything fitted again, within datasets; ``trials``: share of intervals that contain the mean, with
the variances between runs and between trials, inflated as those of accuracies; ``used``: the same
of the intervals of the program, without its null distribution; ``slope``: variance of the slope
over datasets, as a multiple of the mean of its estimate, and what its intervals would cover.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from calibration_values import ROWS, Row, dataset, folds_of, predictions

from bids_decoder.evaluation.intervals import (
    cluster_variance,
    correlation_interval,
    fold_inflation,
    real_interval,
)
from bids_decoder.evaluation.values import (
    HeldoutValues,
    RefittedValues,
    value_influence,
    value_metrics,
)

SILENT = {name: replace(ROWS[name], signal=0.0)
          for name in ("4 runs of 20 trials", "6 runs", "12 runs")}
DESIGNS = {**SILENT, "6 runs, strong signal": replace(ROWS["6 runs"], signal=0.4)}
"""Name -> design; the first rows have no signal."""

N_EXCHANGED, N_WITH_NULL = 19, 100
"""Exchanged values of a dataset, and of how many datasets."""

COLUMNS = ("n", "r", "z", "null z", "trials", "used", "slope", "slope covers")


def one_dataset(row: Row, seed: int, n_exchanged: int) -> dict[str, float]:
    """Return scores of a dataset, their intervals, and the estimated variance of the slope."""
    person, targets = dataset(row, row.signal, np.random.default_rng([seed, 8]))
    heldout, refitted = predictions(folds_of(person, targets, n_exchanged, seed), targets)
    run_of = np.unique(heldout.runs, return_inverse=True)[1]
    parts = [part[:, 0] for part in (heldout.true, heldout.predicted, heldout.reference)]
    scores = {name: float(one[0]) for name, one in
              value_metrics(*(part[None] for part in parts), run_of).items()}
    found = {name: scores[name] for name in ("r", "slope")}
    influence, inflation = value_influence(*parts, run_of), fold_inflation(heldout.folds)
    on_scale = influence["r"] / (1 - found["r"] ** 2)
    limits = real_interval(np.arctanh(found["r"]), on_scale, run_of, inflation=inflation)
    found["trials low"], found["trials high"] = np.tanh(limits)
    found["used low"], found["used high"] = correlation_interval(
        found["r"], influence["r"], run_of, heldout.folds
    )
    found["slope low"], found["slope high"] = real_interval(
        found["slope"], influence["slope"], run_of, inflation=inflation
    )
    found["slope variance"] = inflation * max(
        cluster_variance(influence["slope"], groups, np.zeros_like(run_of))[0]
        for groups in (run_of, np.arange(len(run_of)))
    )
    if n_exchanged:
        found["null variance"] = null_variance(heldout, refitted, run_of)
    return found


def null_variance(heldout: HeldoutValues, refitted: RefittedValues, run_of: np.ndarray) -> float:
    """Return the variance of ``r`` on Fisher's scale under exchange."""
    drawn = heldout.values[refitted.rows, 0].astype(float)
    null = value_metrics(drawn, refitted.predicted[..., 0], refitted.reference[..., 0], run_of)
    return float(np.arctanh(null["r"]).var(ddof=1))


def describe(row: Row, found: list[dict[str, float]]) -> dict[str, float]:
    """Compute the columns of the table from the outcomes of one design."""
    values = {name: np.array([one[name] for one in found]) for name in found[-1]}
    null = [one["null variance"] for one in found if "null variance" in one]
    freedom = row.n_runs * (row.n_each - 1) - 2
    covers = {
        kind: np.mean((values[f"{kind} low"] <= truth) & (truth <= values[f"{kind} high"]))
        for kind, truth in (("trials", values["r"].mean()), ("used", values["r"].mean()),
                            ("slope", values["slope"].mean()))
    }
    return {
        "n": len(found), "r": values["r"].mean(),
        "z": np.arctanh(values["r"]).var(ddof=1) * freedom, "null z": np.mean(null) * freedom,
        "trials": covers["trials"], "used": covers["used"],
        "slope": values["slope"].var(ddof=1) / values["slope variance"].mean(),
        "slope covers": covers["slope"],
    }


def main() -> None:
    """Print a row of Markdown for each design."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--rows", nargs="*", default=list(DESIGNS))
    options = parser.parse_args()
    print(f"| design | {' | '.join(COLUMNS)} |\n{'|---' * (len(COLUMNS) + 1)}|", flush=True)
    for name in options.rows:
        row = DESIGNS[name]
        found = [one_dataset(row, seed, N_EXCHANGED * (seed < N_WITH_NULL))
                 for seed in range(options.datasets)]
        cells = [f"{value:{'.0f' if column == 'n' else '.3f'}}"
                 for column, value in describe(row, found).items()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
