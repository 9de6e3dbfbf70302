"""Are p-values of cross-validation right for this exchange of labels? Thousands of quick datasets.

    python benchmarks/exchange.py                       10,000 datasets of each row, as in the docs
    python benchmarks/exchange.py --datasets 1000 --rows "blocks of two"

Each run has ten trials of three labels, of which one is rare, or of two. Noise of neighbouring
trials is correlated, and runs drift. One run is left out at a time; ridge regression with one
penalty is fitted to the true and to 99 labellings, which the program exchanges, and scored by
balanced accuracy. Nothing else of the program runs, so that a dataset takes milliseconds;
calibration.py runs all of it on fewer datasets. ``single trials``: what would come of exchanging
single trials where there are blocks. Intervals are exact (Clopper and Pearson).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import scipy.stats
from calibration_labels import Design, draw_labels, draw_noise

from bids_decoder.evaluation.nulls import Exchange, find_exchange
from bids_decoder.evaluation.statistics import permutation_p

N_RUNS, N_EACH, N_VOXELS = 8, 10, 40
N_PERMUTATIONS = 99
PENALTY = 100.0
"""Added to the products of trials over 40 voxels of unit variance."""

MISSING = 0.05
"""Share of the trials that are left out in one row, as trials with too much motion are."""

Order = Callable[[np.random.Generator], np.ndarray]
"""Draws the labels of all trials, (N_RUNS * N_EACH,)."""


def alternating(rng: np.random.Generator) -> np.ndarray:
    """Draw blocks of two trials of two labels, in turn; either label is the first of a run."""
    blocks = (np.arange(N_EACH // 2) + rng.integers(0, 2, (N_RUNS, 1))) % 2
    return np.repeat(blocks, 2, axis=1).ravel()


def ordered(order: str) -> Order:
    """Return how labels of a design are drawn."""
    return lambda rng: draw_labels(Design(N_RUNS, N_EACH, order=order), rng)


ROWS: dict[str, tuple[Order, float]] = {
    "random order": (ordered("mixed"), 0.0),
    "blocks of two": (ordered("blocks"), 0.0),
    "blocks of two, trials missing": (ordered("blocks"), MISSING),
    "blocks of two in turn": (alternating, 0.0),
}
"""Name -> order of labels, and share of trials that are missing."""


def one_dataset(
    order: Order, missing: float, seed: int, *, singly: bool = False
) -> tuple[float, str]:
    """Draw a dataset without signal and test it.

    Parameters
    ----------
    order : callable
        See :data:`Order`.
    missing : float
        Share of trials that are left out.
    seed : int
    singly : bool
        Exchange single trials within runs in any case.

    Returns
    -------
    p : float
    kind : str
        What was exchanged; see :class:`.nulls.Exchange`.
    """
    rng = np.random.default_rng([seed, 11])
    labels, design = order(rng), Design(N_RUNS, N_EACH, N_VOXELS)
    betas, runs = draw_noise(design, rng), np.repeat(np.arange(N_RUNS), N_EACH)
    kept = rng.random(len(labels)) >= missing
    labels, betas, runs = labels[kept], betas[kept], runs[kept]
    exchange = (
        Exchange("trials within runs", np.arange(len(labels)), labels, runs) if singly
        else find_exchange(labels, runs, runs)
    )
    drawn = exchange.draw(N_PERMUTATIONS, np.random.default_rng([seed, 12]))
    scores = cross_validated(betas, np.concatenate([labels[None], drawn]), runs)
    return permutation_p(scores[0], scores[1:]), exchange.kind


def cross_validated(betas: np.ndarray, labels: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return the balanced accuracy of each labelling (n_labellings, n_trials) of the responses."""
    n_classes = labels.max() + 1
    targets = np.eye(n_classes)[labels].transpose(1, 0, 2)
    guesses = np.empty(labels.shape, dtype=int)
    for run in np.unique(runs):
        test = runs == run
        mean, sd = betas[~test].mean(axis=0), betas[~test].std(axis=0)
        train, held = (betas[~test] - mean) / sd, (betas[test] - mean) / sd
        kernel = train @ train.T + PENALTY * np.eye(len(train))
        known = targets[~test]
        average = known.mean(axis=0)
        loads = np.linalg.solve(kernel, train @ held.T).T
        found = loads @ (known - average).reshape(len(known), -1)
        guesses[:, test] = (found.reshape(len(held), *average.shape) + average).argmax(axis=2).T
    hits = (guesses == labels)[:, :, None] * targets.transpose(1, 0, 2)
    return (hits.sum(axis=1) / targets.sum(axis=0)).mean(axis=1)


def share(hits: np.ndarray) -> str:
    """Return a share with its interval."""
    limits = scipy.stats.binomtest(int(hits.sum()), len(hits)).proportion_ci()
    return f"{hits.mean():.4f} [{limits.low:.4f}, {limits.high:.4f}]"


def main() -> None:
    """Print a row of Markdown for each order of labels, and each exchange."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=10_000)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    options = parser.parse_args()
    columns = ("labels", "exchanged", "datasets", "p <= .05", "p <= .01")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for name in options.rows:
        for singly in (False, True) if "blocks" in name else (False,):
            found = [one_dataset(*ROWS[name], seed, singly=singly)
                     for seed in range(options.datasets)]
            p = np.array([value for value, _ in found])
            kinds = sorted({kind for _, kind in found})
            exchanged = "single trials" if singly else ", ".join(kinds)
            cells = " | ".join(share(p <= level + 1e-9) for level in (0.05, 0.01))
            print(f"| {name} | {exchanged} | {len(p)} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
