"""A person whose voxels with index 0 … 3 on the first axis have signal."""

import numpy as np
import pandas as pd

from bids_decoder.trials import Person, VoxelGrid

SHAPE = (8, 8, 6)


def make_person(share, n_runs=6, per_run=30, seed=0):
    """A person whose voxels with index 0 … 3 on the first axis have this share of signal."""
    rng = np.random.default_rng(seed)
    grid = VoxelGrid(np.ones(SHAPE, bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    n_trials = n_runs * per_run
    wanted = rng.standard_normal((n_trials, 10))
    tuning = rng.standard_normal((10, grid.n_voxels)) / np.sqrt(10)
    with_signal = np.zeros(SHAPE, bool)
    with_signal[:4] = True
    shares = np.where(with_signal[grid.mask], share, 0.0)
    noise = rng.standard_normal((n_trials, grid.n_voxels))
    betas = np.sqrt(shares) * (wanted @ tuning) + np.sqrt(1 - shares) * noise
    runs = np.repeat([f"run-{n}" for n in range(n_runs)], per_run)
    table = pd.DataFrame({
        "trial": np.arange(n_trials), "run_group": runs, "stimulus": "x", "split": "train"
    })
    person = Person("01", grid, betas.astype(np.float32), table, np.zeros(n_trials, int))
    return person, wanted, with_signal[grid.mask]
