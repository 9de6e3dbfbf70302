"""Calibration of models of crossnobis distances: false positives, and coverage of intervals.

    python benchmarks/rsa.py --datasets 400

Eight conditions, six runs, four trials of each condition per run, 60 voxels, correlated noise.
False positives: responses differ between conditions, the three models are random. Coverage: the
true correlation of a model is that with the distances of the true patterns, whitened likewise.
"""

from __future__ import annotations

import argparse

import numpy as np

from bids_decoder.evaluation.dissimilarity import (
    measure_geometry,
    vectorise,
    whitened_correlation,
)
from bids_decoder.evaluation.rdm_models import compare_models

N_CONDITIONS, N_RUNS, N_REPEATS, N_VOXELS, N_MODELS = 8, 6, 4, 60, 3
CONDITIONS = np.tile(np.repeat(np.arange(N_CONDITIONS), N_REPEATS), N_RUNS)
RUNS = np.repeat(np.arange(N_RUNS), N_CONDITIONS * N_REPEATS)
NOISE = np.eye(N_VOXELS) + 0.3 * np.random.default_rng(0).normal(
    size=(N_VOXELS, N_VOXELS)) / np.sqrt(N_VOXELS)


def draw_models(rng: np.random.Generator) -> np.ndarray:
    """Draw random symmetric dissimilarities, (N_MODELS, N_CONDITIONS, N_CONDITIONS)."""
    points = rng.normal(size=(N_MODELS, N_CONDITIONS, 3))
    return np.square(points[:, :, None] - points[:, None]).sum(axis=-1)


def true_distances(patterns: np.ndarray) -> np.ndarray:
    """Return the Mahalanobis distances of the patterns themselves."""
    whitened = np.linalg.solve(NOISE.T, patterns.T).T
    return np.square(whitened[:, None] - whitened[None]).sum(axis=-1)


def one_dataset(seed: int, n_permutations: int) -> tuple[float, float, bool]:
    """Return the smallest p and corrected p of random models, and whether an interval covers."""
    rng = np.random.default_rng(seed)
    patterns = 0.4 * rng.normal(size=(N_CONDITIONS, N_VOXELS))
    betas = patterns[CONDITIONS] + rng.normal(size=(len(RUNS), N_VOXELS)) @ NOISE
    geometry = measure_geometry(betas, CONDITIONS, RUNS)
    found = compare_models(geometry, draw_models(rng), n_permutations, rng)
    # A model that partly fits: coordinates of the patterns and others.
    own = np.concatenate([patterns[:, :6], rng.normal(0, 0.3, (N_CONDITIONS, 6))], axis=1)
    model = np.square(own[:, None] - own[None]).sum(axis=-1)
    fit = compare_models(geometry, model[None], 0, rng)
    truth = whitened_correlation(
        vectorise(model)[None], vectorise(true_distances(patterns))[None], N_CONDITIONS
    )[0, 0]
    return found.p[0], found.p_max.min(), bool(fit.low[0] <= truth <= fit.high[0])


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=400)
    parser.add_argument("--permutations", type=int, default=199)
    options = parser.parse_args()
    rows = [one_dataset(seed, options.permutations) for seed in range(options.datasets)]
    p, corrected, covered = (np.array(column) for column in zip(*rows, strict=True))
    print(f"{len(rows)} datasets; one model, p <= .05: {(p <= .05).mean():.3f}, <= .01: "
          f"{(p <= .01).mean():.3f}; any of {N_MODELS}, corrected p <= .05: "
          f"{(corrected <= .05).mean():.3f}; intervals cover {covered.mean():.3f}")


if __name__ == "__main__":
    main()
