"""People whose categories light up blobs at known places."""

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from bids_decoder.trials import Person, Targets, VoxelGrid

SHAPE = (12, 12, 4)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def blobs(n_classes, seed, shape=SHAPE):
    """One smooth bump per class, all at different places, shape (n_classes, *shape)."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n_classes, *shape))
    for number in range(n_classes):
        centre = tuple(rng.integers(1, size - 1) for size in shape)
        found[(number, *centre)] = 1
        found[number] = gaussian_filter(found[number], 1.2)
        found[number] /= found[number].max()
    return found


def make_person(label, patterns, *, seed, strength=3.0, n_runs=4, repeats=3, first=0, shape=SHAPE):
    """Trials of each class in each run; the mask is a random 90 % of the grid."""
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < 0.9
    grid = VoxelGrid(mask, AFFINE)
    classes = np.tile(np.repeat(np.arange(len(patterns)), repeats), n_runs)
    noise = rng.standard_normal((len(classes), *shape))
    values = (strength * patterns[classes] + noise)[:, mask]
    values = (values - values.mean(0)) / values.std(0)
    runs = np.repeat([f"run-{n}" for n in range(n_runs)], len(patterns) * repeats)
    trials = pd.DataFrame({
        "trial": np.arange(1, len(classes) + 1), "run_group": runs, "split": "train",
        "stimulus": [f"s{n}" for n in range(len(classes))],
    })
    return Person(label, grid, values.astype(np.float32), trials, classes + first)


def label_targets(names):
    return Targets(tuple(names), np.eye(len(names), dtype=np.float32), "category")
