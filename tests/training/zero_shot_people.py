"""People whose voxels prefer the same labels, or features of stimuli, at the same places or not."""

import numpy as np
import pandas as pd

from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.training.smoothing import smooth_within
from bids_decoder.trials import Person, Targets, VoxelGrid

SPACE, LABELS = "MNI152NLin6Asym", ("cat", "dog", "fox", "owl")
GRID = VoxelGrid(np.ones((9, 9, 7), bool), np.diag([3.0, 3.0, 3.0, 1.0]))
TARGETS = Targets(LABELS, np.eye(len(LABELS), dtype=np.float32), "category")
N_RUNS, PER_RUN = 6, 16
N_DIMS, N_TRAINED, N_NEW = 4, 48, 16
VECTORS = np.random.default_rng(77).standard_normal((N_TRAINED + N_NEW, N_DIMS)).astype(np.float32)
STIMULI = Targets(
    tuple(f"s{number:02d}" for number in range(len(VECTORS))), VECTORS, "features", source="made"
)


def patterns_of(seed):
    """Smooth maps (n_labels, n_voxels) of unit size."""
    rng = np.random.default_rng(seed)
    maps = np.stack([
        smooth_within(row, GRID, 9.0) for row in rng.standard_normal((len(LABELS), GRID.n_voxels))
    ])
    return maps / maps.std(axis=1, keepdims=True)


def make_person(label, shared=True, signal=0.2, space=SPACE):
    """Z-scored trials of one person; *signal* is that of single voxels, relative to noise."""
    number = int(label)
    rng = np.random.default_rng(number)
    own = patterns_of(0 if shared else 1000 + number)
    rows = np.concatenate([rng.permutation(PER_RUN) % len(LABELS) for _ in range(N_RUNS)])
    betas = signal * own[rows] + rng.standard_normal((len(rows), GRID.n_voxels))
    scaled, _ = zscore_betas(
        betas.astype(np.float32), np.repeat("s", len(rows)), np.ones(len(rows), bool)
    )
    trials = pd.DataFrame({
        "trial": np.tile(np.arange(1, PER_RUN + 1), N_RUNS), "split": "train",
        "label": np.array(LABELS)[rows], "fold": None, "stimulus": np.array(LABELS)[rows],
        "run_group": np.repeat([f"run-{run}" for run in range(1, N_RUNS + 1)], PER_RUN),
    })
    return Person(label, GRID, scaled, trials, rows, space)


def make_viewer(label, shown, shared=True, signal=0.2):
    """Z-scored trials of one person who sees the stimuli *shown*, two times each."""
    number = int(label)
    rng = np.random.default_rng(number)
    own = patterns_of(0 if shared else 1000 + number)
    rows = np.concatenate([rng.permutation(shown), rng.permutation(shown)])
    betas = signal * VECTORS[rows] @ own + rng.standard_normal((len(rows), GRID.n_voxels))
    scaled, _ = zscore_betas(
        betas.astype(np.float32), np.repeat("s", len(rows)), np.ones(len(rows), bool)
    )
    trials = pd.DataFrame({
        "trial": np.arange(1, len(rows) + 1), "split": "train", "label": None, "fold": None,
        "stimulus": np.array(STIMULI.ids)[rows],
        "run_group": [f"run-{run}" for run in np.arange(len(rows)) * N_RUNS // len(rows)],
    })
    return Person(label, GRID, scaled, trials, rows, SPACE)
