"""Responses to conditions with correlated noise, and random models of them."""

import numpy as np

N_CONDITIONS, N_RUNS, N_REPEATS, N_VOXELS = 6, 4, 4, 20
CONDITIONS = np.tile(np.repeat(np.arange(N_CONDITIONS), N_REPEATS), N_RUNS)
RUNS = np.repeat(np.arange(N_RUNS), N_CONDITIONS * N_REPEATS)


def draw(seed, signal=0.7, n_voxels=N_VOXELS, patterns=None):
    rng = np.random.default_rng(seed)
    mixing = np.eye(n_voxels) + 0.3 * rng.normal(size=(n_voxels, n_voxels)) / np.sqrt(n_voxels)
    if patterns is None:
        patterns = signal * rng.normal(size=(N_CONDITIONS, n_voxels))
    return patterns[CONDITIONS] + rng.normal(size=(len(RUNS), n_voxels)) @ mixing


def random_models(n, seed=0):
    models = np.random.default_rng(seed).random((n, N_CONDITIONS, N_CONDITIONS))
    models += models.transpose(0, 2, 1)
    models[:, np.arange(N_CONDITIONS), np.arange(N_CONDITIONS)] = 0
    return models
