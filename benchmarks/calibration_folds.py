"""Simulated datasets of few stimuli, each shown several times, for calibration.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from calibration_labels import FEW, N_PERMUTATIONS, Outcome, folds_of

from bids_decoder.config import Network, TrialRules, Troi
from bids_decoder.evaluation.held_out import apply_split
from bids_decoder.evaluation.identification import FoldMatch, score_identification
from bids_decoder.evaluation.splits import choose_split
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.refit import PermutedFold
from bids_decoder.training.refit_stimuli import permute_stimuli, refit_decoder, refit_ridge
from bids_decoder.trials import Person, Targets, VoxelGrid

N_RUNS, N_VOXELS, N_DIMS = 4, 40, 6


def draw_person(
    signal: float, n_stimuli: int, rng: np.random.Generator,
    lattice: tuple[int, int, int] = (N_VOXELS, 1, 1),
) -> tuple[Person, Targets]:
    """Draw responses to stimuli, each once in every run, with drift and autocorrelated noise.

    Without a *lattice* of three dimensions, neighbours of voxels are not known.
    """
    names = tuple(f"s{k:02d}" for k in range(n_stimuli))
    targets = Targets(
        names, rng.standard_normal((n_stimuli, N_DIMS)).astype(np.float32), "features"
    )
    rows = np.concatenate([rng.permutation(n_stimuli) for _ in range(N_RUNS)])
    noise = rng.standard_normal((N_RUNS, n_stimuli, N_VOXELS))
    for trial in range(1, n_stimuli):
        noise[:, trial] = 0.3 * noise[:, trial - 1] + np.sqrt(1 - 0.09) * noise[:, trial]
    drift = np.linspace(-1, 1, n_stimuli)[:, None] * rng.standard_normal((N_RUNS, 1, N_VOXELS))
    tuning = rng.standard_normal((N_DIMS, N_VOXELS)) * (np.arange(N_VOXELS) < N_VOXELS // 2)
    betas = signal * targets.vectors[rows] @ tuning + (noise + drift).reshape(-1, N_VOXELS)
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, n_stimuli + 1), N_RUNS),
        "run_group": np.repeat([f"run-{k}" for k in range(N_RUNS)], n_stimuli),
        "run": np.repeat([str(k) for k in range(N_RUNS)], n_stimuli), "session": None,
        "stimulus": np.array(names)[rows], "label": None, "excluded": False, "reason": None,
    })
    split, *_ = choose_split({"01": trials}, "features", TrialRules(), 0)
    trials = apply_split({"01": trials}, split)["01"]
    grid = VoxelGrid(np.ones(lattice, bool), np.eye(4))
    return Person("01", grid, betas.astype(np.float32), trials, rows), targets


def stimulus_folds(
    signal: float, seed: int, n_stimuli: int = 20, decoder: bool = False,
    lattice: tuple[int, int, int] = (N_VOXELS, 1, 1),
) -> Outcome:
    """Cross-validate over stimuli; refit on permuted stimuli."""
    person, targets = draw_person(signal, n_stimuli, np.random.default_rng(seed), lattice)
    n_permutations = FEW if signal or decoder else N_PERMUTATIONS
    matches, nulls, least = [], [], 0.0
    for known, test, _ in folds_of(person):
        train = replace(known, trials=known.trials.assign(split="train"))
        fold = permute_stimuli(train, test, (), n_permutations, np.random.default_rng([seed, 1]))
        own = replace(
            fold, train_rows=train.target_rows[None], test_rows=test.target_rows[None]
        )
        matches.append(_match(own, targets, decoder))
        nulls.append(_match(fold, targets, decoder))
        least = fold.exchange.smallest_p(n_permutations)
    metrics, _ = score_identification(matches, nulls, {}, least, "decoder")
    row = metrics[(metrics["metric"] == "two_way") & (metrics["unit"] == "averaged")].iloc[0]
    return {"p": row["p"], "value": row["value"], "low": row["ci_low"], "high": row["ci_high"]}


def _match(fold: PermutedFold, targets: Targets, decoder: bool) -> FoldMatch:
    if not decoder:
        return refit_ridge(fold, targets)
    context = FitContext(Network(), Troi(budget_voxels=20), 1, "cpu")
    return refit_decoder(load_decoder("troi"), fold, targets, None, context)
