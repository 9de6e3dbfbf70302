"""Functional alignment to participants without signal: how often p-values are below .05.

    python benchmarks/calibration_alignment.py [--sets 300]

Two other participants have signal; the responses of the new one are noise with slow drifts. Trials,
folds, alignment, decoders, permutations and scores are those of the program. ``folds``: labels,
cross-validated over runs, all fitted again on 19 permutations; ``test``: labels, one test run,
exchanged against fixed predictions (199 times); ``stimuli``: one test set, pairings exchanged.
With 300 sets, the share of p <= .05 should be .025 to .08. Shares are printed every 50 sets.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
from calibration_labels import Design, draw_person, folds_of

from bids_decoder.analyses.align.interfaces import predicted_of
from bids_decoder.analyses.align.scoring import own_model, score_aligned
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.multiple import headline_of, is_headline
from bids_decoder.interfaces.heldout import Heldout
from bids_decoder.interfaces.null_predictions import FoldNulls
from bids_decoder.training.alignment import (
    METHODS,
    Group,
    decode_aligned,
    reduce_newcomer,
    reduce_source,
)
from bids_decoder.training.refit import DECODER, permute_fold
from bids_decoder.trials import Person, Targets, VoxelGrid

NAMES, N_REFITS = tuple(METHODS), 19
FOLDS, TEST = Design(3, 6, 16, n_classes=2), Design(4, 9, 24)
"""Of the trials that are cross-validated, and of those with a test run."""

SIGNAL, N_VOXELS = 0.7, 24
N_STIMULI, N_TRAIN, N_DIMS = 50, 30, 5


def align(
    others: list[Person], sides: tuple[Person, Person], targets: Targets, n_refits: int, seed: int
) -> tuple[Heldout, FoldNulls | None]:
    """Align and decode one fold, and again on permuted labels."""
    group = Group([reduce_source(one, targets, NAMES) for one in others])
    newcomer = reduce_newcomer(*sides, targets, NAMES)
    found = decode_aligned(NAMES, group, newcomer, targets)
    # Stand-ins for the decoder and own data: p-values of aligned decoders do not depend on them.
    models = {name: predicted_of(one, targets) for name, one in found.items()}
    others_of = dict.fromkeys((DECODER, own_model(targets.kind)), next(iter(models.values())))
    trials = sides[1].trials.astype(str)
    heldout = Heldout(trials, {**others_of, **models})
    if not n_refits:
        return heldout, None
    drawn = permute_fold(*sides, n_refits, np.random.default_rng([seed, 1]))
    again = [decode_aligned(NAMES, group, newcomer, targets, rows) for rows in drawn.train_rows]
    scores = {name: np.stack([one[name].values for one in again]) for name in found}
    fold = int(sides[1].trials["fold"].iloc[0])
    return heldout, FoldNulls(fold, drawn.test_rows, scores, drawn.exchange.describe())


def p_values(
    parts: list[tuple[Heldout, FoldNulls | None]], targets: Targets, seed: int
) -> dict[str, float]:
    """Score all folds together, and return the p-value of each aligned decoder."""
    nulls = [null for _, null in parts if null is not None]
    scored = score_aligned(
        [one for one, _ in parts], targets, Evaluation(n_permutations=199, pool_size=20, n_draws=1),
        seed, nulls,
    ).metrics
    chosen = scored[is_headline(scored, targets.kind)]
    assert set(chosen["metric"]) == {headline_of(targets.kind)["metric"]}
    return dict(zip(chosen["model"], chosen["p"].astype(float), strict=True))


def labels(seed: int, *, in_folds: bool) -> dict[str, float]:
    """Draw participants and decode labels, in folds or with one test run."""
    rng = np.random.default_rng(seed)
    design = FOLDS if in_folds else TEST
    others = [
        replace(draw_person(replace(design, signal=SIGNAL), rng)[0], label=label)
        for label in ("02", "03")
    ]
    person, targets = draw_person(design, rng)
    folds = [(train, test) for train, test, _ in folds_of(person)]
    if in_folds:
        return p_values([align(others, one, targets, N_REFITS, seed) for one in folds], targets,
                        seed)
    train, test = folds[-1]
    test = replace(test, trials=test.trials.assign(fold=""))
    return p_values([align(others, (train, test), targets, 0, seed)], targets, seed)


def stimuli(seed: int) -> dict[str, float]:
    """Draw participants who share training stimuli, and find stimuli that are tested."""
    rng = np.random.default_rng(seed)
    targets = Targets(
        tuple(f"s{k:02d}" for k in range(N_STIMULI)),
        rng.standard_normal((N_STIMULI, N_DIMS)).astype(np.float32), "features",
    )
    trained, tested = np.arange(N_TRAIN), np.arange(N_TRAIN, N_STIMULI)
    others = [_person(label, trained, targets, "train", SIGNAL, rng) for label in ("02", "03")]
    sides = tuple(
        _person("01", rows, targets, split, 0.0, rng)
        for rows, split in ((trained, "train"), (tested, "test"))
    )
    return p_values([align(others, sides, targets, 0, seed)], targets, seed)


def _person(
    label: str, rows: np.ndarray, targets: Targets, split: str, signal: float,
    rng: np.random.Generator,
) -> Person:
    rows = rng.permutation(rows)
    code = signal * np.random.default_rng(0).standard_normal((N_DIMS, N_VOXELS))
    drift = np.linspace(-1, 1, len(rows))[:, None] * rng.standard_normal(N_VOXELS)
    betas = targets.vectors[rows] @ code + drift + rng.standard_normal((len(rows), N_VOXELS))
    trials = pd.DataFrame({
        "trial": np.arange(1, len(rows) + 1), "split": split, "fold": "",
        "run_group": [f"{split}-{k * 3 // len(rows)}" for k in range(len(rows))],
        "stimulus": np.array(targets.ids)[rows],
    })
    grid = VoxelGrid(np.ones((N_VOXELS, 1, 1), bool), np.eye(4))
    return Person(label, grid, betas.astype(np.float32), trials, rows)


SCENES = {
    "folds": lambda seed: labels(seed, in_folds=True),
    "test": lambda seed: labels(seed, in_folds=False), "stimuli": stimuli,
}


def run() -> None:
    """Print the share of p <= .05 of each aligned decoder in each scene."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    args = parser.parse_args()
    for scene in args.scenes:
        found = []
        for seed in range(args.sets):
            found.append(SCENES[scene](seed))
            if len(found) % 50 == 0 or len(found) == args.sets:
                share = (pd.DataFrame(found) <= 0.05).mean().round(3)
                print(scene, len(found), share.to_dict(), flush=True)


if __name__ == "__main__":
    run()
