"""Calibration of models of crossnobis distances: false positives, and coverage of intervals.

    python benchmarks/rsa.py --datasets 400
    python benchmarks/rsa.py regions --datasets 400
    python benchmarks/rsa.py differences --datasets 160

Eight conditions, six runs, four trials of each condition per run, 60 voxels, correlated noise.
False positives: responses differ between conditions, the three models are random. Coverage: the
true correlation of a model is that with the distances of the true patterns, whitened likewise.
Regions: five, each with patterns of its own, and three random models. Differences: two models that
fit equally well over all conditions there might be, in one participant, and in eight who
weigh the models differently.
"""

from __future__ import annotations

import argparse

import numpy as np

from bids_decoder.evaluation.dissimilarity import (
    measure_geometry,
    vectorise,
    whitened_correlation,
)
from bids_decoder.evaluation.rdm_inference import fit_models
from bids_decoder.evaluation.rdm_models import compare_models, compare_regions

N_CONDITIONS, N_RUNS, N_REPEATS, N_VOXELS, N_MODELS, N_REGIONS = 8, 6, 4, 60, 3, 5
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


def least_of_regions(seed: int, n_permutations: int) -> tuple[float, float]:
    """Return the smallest p, and the smallest corrected one, of random models in five regions."""
    rng = np.random.default_rng(seed)
    geometries = []
    for _ in range(N_REGIONS):
        patterns = 0.4 * rng.normal(size=(N_CONDITIONS, N_VOXELS))
        betas = patterns[CONDITIONS] + rng.normal(size=(len(RUNS), N_VOXELS)) @ NOISE
        geometries.append(measure_geometry(betas, CONDITIONS, RUNS))
    found = compare_regions(geometries, draw_models(rng), n_permutations, rng)
    return found.p.min(), found.p_max.min()


def difference_p(seed: int, n_people: int, n_conditions: int) -> float:
    """Return the p-value of the difference of two models that fit equally well on average."""
    rng, n_voxels, n_runs = np.random.default_rng(seed), 40, 4
    one, other = rng.normal(size=(2, n_conditions, 4))
    conditions = np.tile(np.repeat(np.arange(n_conditions), 2), n_runs)
    runs = np.repeat(np.arange(n_runs), 2 * n_conditions)
    distances = []
    for _ in range(n_people):
        own = rng.normal(size=(n_conditions, 4))
        if n_people > 1:
            first, second = rng.normal(1, 0.25, 2)
            mixing = rng.normal(size=(12, n_voxels))
        else:
            # One participant is all that counts, so that nothing may favour one of the models.
            first = second = 1.0
            basis = np.linalg.qr(rng.normal(size=(n_voxels, 12)))[0]
            mixing = basis.T * np.sqrt(n_voxels)
        patterns = 0.18 * np.hstack([first * one, second * other, own]) @ mixing
        betas = patterns[conditions] + rng.normal(size=(len(conditions), n_voxels))
        distances.append(measure_geometry(betas, conditions, runs).distances())
    models = np.stack([np.square(each[:, None] - each[None]).sum(-1) for each in (one, other)])
    fits = fit_models(np.stack(distances), models, rng, 200)
    return fits.estimate(np.array([1.0, -1.0, 0.0, 0.0])).p


def show_regions(n_datasets: int, n_permutations: int) -> None:
    """Print how often something is significant in regions without relation to the models."""
    rows = np.array([least_of_regions(seed, n_permutations) for seed in range(n_datasets)])
    plain, corrected = (rows <= 0.05).mean(axis=0)
    print(f"{n_datasets} datasets, any of {N_REGIONS} regions and {N_MODELS} models: p <= .05 "
          f"{plain:.3f}, corrected {corrected:.3f}")


def show_differences(n_datasets: int) -> None:
    """Print how often equally good models differ significantly."""
    for n_people in (1, 8):
        for n_conditions in (12, 20, 30):
            p = np.array([difference_p(seed, n_people, n_conditions)
                          for seed in range(n_datasets)])
            print(f"{n_people} participant(s), {n_conditions} conditions: p <= .05 "
                  f"{(p <= .05).mean():.3f}", flush=True)


def show_models(n_datasets: int, n_permutations: int) -> None:
    """Print false positives of random models, and how often intervals cover."""
    rows = [one_dataset(seed, n_permutations) for seed in range(n_datasets)]
    p, corrected, covered = (np.array(column) for column in zip(*rows, strict=True))
    print(f"{len(rows)} datasets; one model, p <= .05: {(p <= .05).mean():.3f}, <= .01: "
          f"{(p <= .01).mean():.3f}; any of {N_MODELS}, corrected p <= .05: "
          f"{(corrected <= .05).mean():.3f}; intervals cover {covered.mean():.3f}")


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("models", "regions", "differences"),
                        default="models")
    parser.add_argument("--datasets", type=int, default=400)
    parser.add_argument("--permutations", type=int, default=199)
    options = parser.parse_args()
    if options.what == "regions":
        return show_regions(options.datasets, options.permutations)
    if options.what == "differences":
        return show_differences(options.datasets)
    return show_models(options.datasets, options.permutations)


if __name__ == "__main__":
    main()
