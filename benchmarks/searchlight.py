"""Searchlights: speed and agreement beside nilearn, a whole brain, and false positives.

    python benchmarks/searchlight.py            all tables, each in a process of its own
    python benchmarks/searchlight.py nilearn    the same estimators in nilearn's SearchLight
    python benchmarks/searchlight.py brain      one fold of 230,000 spheres of 8 mm, voxels of 2 mm
    python benchmarks/searchlight.py null       family-wise errors on datasets without signal

Each process uses one core. nilearn decodes only some of the spheres, since all would take hours;
the times given are per sphere. The folds of a whole brain take equally long; one is measured, with
``--every 20`` on every twentieth block of spheres only, from which the time is extrapolated.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import resource
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
from nilearn.decoding import SearchLight
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.naive_bayes import GaussianNB

from bids_decoder.evaluation.nulls import find_exchange
from bids_decoder.evaluation.search_maps import Accuracy, Distance, class_weights, compute_maps
from bids_decoder.grids.base import BLOCK_EDGE
from bids_decoder.simulate.fields import Smoother
from bids_decoder.training.searchlight import Fold, estimate_shrinkage, search_spheres
from bids_decoder.training.spheres import Spheres
from bids_decoder.trials import VoxelGrid

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
N_RUNS, N_TRIALS, N_CLASSES, RADIUS = 8, 80, 8, 8.0
N_NILEARN = 40
WHOLE_BRAIN = 230_000


def peak_gb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def draw(grid: VoxelGrid, signal: float, rng: np.random.Generator):
    """Draw smooth noise, and patterns of labels whose strength rises along the first axis."""
    runs = np.repeat(np.arange(N_RUNS), N_TRIALS)
    labels = np.tile(np.arange(N_CLASSES), N_RUNS * N_TRIALS // N_CLASSES)
    noise = Smoother(grid.mask.shape, 1.5).draw(rng, len(labels))[:, grid.mask]
    strength = signal * np.linspace(0, 1, grid.mask.shape[0])[grid.indices[:, 0]]
    patterns = rng.standard_normal((N_CLASSES, grid.n_voxels)) * strength
    return (noise + patterns[labels]).astype(np.float32), labels, runs


def search(betas, labellings, runs, spheres, estimator, shrinkage):
    """Return the maps of all folds together, (n_labellings, n_voxels)."""
    weights = class_weights(labellings, labellings.max() + 1)
    hits = np.zeros((len(labellings), spheres.grid.n_voxels), dtype=np.float32)
    for run in np.unique(runs):
        test = runs == run
        fold = Fold(betas[~test], betas[test], labellings[:, ~test], weights.shape[1])
        measure = Accuracy(labellings[:, test], weights)
        if estimator == "crossnobis":
            measure = Distance(labellings[:, test], len(np.unique(runs)))
        for centres, found in search_spheres(fold, spheres, estimator, shrinkage, measure):
            hits[:, centres] += found
    return hits


def beside_nilearn() -> None:
    """Print times per sphere and agreement with the same estimators."""
    rng = np.random.default_rng(0)
    grid = VoxelGrid(np.ones((16, 16, 16), dtype=bool), AFFINE)
    betas, labels, runs = draw(grid, 0.12, rng)
    spheres = Spheres(grid, RADIUS)
    first = betas[runs > 0]
    shrinkage = estimate_shrinkage(first, spheres, rng)
    penalty = len(first) * shrinkage * first.var(axis=0).mean() / (1 - shrinkage)
    others = {
        "lda": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage),
        "ridge": RidgeClassifier(alpha=penalty), "gnb": GaussianNB(),
    }
    some = rng.choice(grid.n_voxels, N_NILEARN, replace=False)
    chosen = np.zeros(grid.n_voxels)
    chosen[some] = 1
    images = nib.Nifti1Image(grid.to_volume(betas), AFFINE)
    mask, centres = (
        nib.Nifti1Image(grid.to_volume(values).astype(np.int8), AFFINE)
        for values in (np.ones(grid.n_voxels), chosen)
    )
    print(f"{grid.n_voxels:,} spheres of {spheres.sizes().mean():.0f} voxels (mean), shrinkage "
          f"{shrinkage:.3f}; nilearn: {N_NILEARN} of them\n")
    print("| estimator | ms per sphere | nilearn | times faster | correlation | largest gap |")
    print("|---|---|---|---|---|---|")
    for name, model in others.items():
        began = time.process_time()
        accuracy = search(betas, labels[None], runs, spheres, name, shrinkage)[0]
        own = (time.process_time() - began) / grid.n_voxels
        theirs = SearchLight(mask, centres, radius=RADIUS, estimator=model, n_jobs=1,
                             scoring="balanced_accuracy", cv=LeaveOneGroupOut(), verbose=0)
        began = time.process_time()
        theirs.fit(images, labels, groups=runs)
        each = (time.process_time() - began) / N_NILEARN
        expected = theirs.scores_[grid.mask][chosen > 0]
        found = accuracy[chosen > 0]
        print(f"| {name} | {own * 1e3:.2f} | {each * 1e3:.0f} | {each / own:.0f} | "
              f"{np.corrcoef(found, expected)[0, 1]:.5f} | {np.abs(found - expected).max():.4f} |")
    print(f"\npeak memory of the process: {peak_gb():.1f} GB")


def brain_grid() -> VoxelGrid:
    """Make an ellipsoid of the size of a brain."""
    shape = np.array([76, 92, 76])
    places = (np.indices(shape).reshape(3, -1).T - (shape - 1) / 2) / (shape / 2)
    away = (places**2).sum(axis=1)
    inside = np.zeros(shape.prod(), dtype=bool)
    inside[np.argsort(away, kind="stable")[:WHOLE_BRAIN]] = True
    return VoxelGrid(inside.reshape(shape), AFFINE)


class SomeSpheres(Spheres):
    """The spheres of every n-th block."""

    every = 1

    def blocks(self):
        """Iterate over some of the blocks; the others are not even made."""
        cells = self.grid.indices // BLOCK_EDGE
        number = np.ravel_multi_index(cells.T, cells.max(axis=0) + 1)
        order = np.argsort(number, kind="stable")
        ends = np.flatnonzero(np.diff(number[order])) + 1
        for centres in np.split(order, ends)[::self.every]:
            yield self._block(centres)


def whole_brain(estimator: str, every: int) -> None:
    """Print time and memory of one fold of a whole brain."""
    SomeSpheres.every = every
    grid, rng = brain_grid(), np.random.default_rng(0)
    n_trials = N_RUNS * N_TRIALS
    betas = rng.standard_normal((n_trials, grid.n_voxels), dtype=np.float32)
    labels = np.tile(np.arange(N_CLASSES), n_trials // N_CLASSES)[None]
    spheres = SomeSpheres(grid, RADIUS)
    fold = Fold(betas[N_TRIALS:], betas[:N_TRIALS], labels[:, N_TRIALS:], N_CLASSES)
    before = peak_gb()
    measure = Accuracy(labels[:, :N_TRIALS], class_weights(labels, N_CLASSES))
    found = search_spheres(fold, spheres, estimator, 0.2, measure)
    start, wall = time.process_time(), time.perf_counter()
    n_first = len(next(found)[0])
    # What is computed once for a fold is not multiplied by the number of spheres.
    first = time.process_time()
    n_done = sum(len(centres) for centres, _ in found)
    wall = time.perf_counter() - wall
    each = (time.process_time() - first) / n_done
    seconds = first - start + each * (grid.n_voxels - n_first)
    print(f"{estimator}: {grid.n_voxels:,} spheres of {spheres.sizes().mean():.0f} voxels (mean), "
          f"one of {N_RUNS} folds: {seconds:.0f} s of one core (measured on {n_done:,} spheres, "
          f"{each * 1e3:.2f} ms each, {first - start:.0f} s once; {wall:.0f} s passed); "
          f"all folds on two cores: {seconds * N_RUNS / 2 / 60:.1f} min")
    print(f"peak memory {peak_gb():.2f} GB, of which responses and copies {before:.2f} GB")


def false_positives(n_datasets: int, estimator: str, n_permutations: int = 39) -> None:
    """Print how often a map without signal has a significant sphere."""
    mask = np.indices((8, 8, 5)).sum(axis=0) > 2
    grid, rng = VoxelGrid(mask, AFFINE), np.random.default_rng(1)
    spheres, smooth = Spheres(grid, 4.0), Smoother(mask.shape, 2.0)
    runs = np.repeat(np.arange(4), 12)
    found = np.zeros((n_datasets, 3))
    for number in range(n_datasets):
        betas = smooth.draw(rng, len(runs))[:, mask].astype(np.float32)
        labels = np.concatenate([rng.permutation(np.arange(12) % 2) for _ in range(4)])
        drawn = find_exchange(labels, runs.astype(str), runs).draw(n_permutations, rng)
        hits = search(betas, np.vstack([labels, drawn]), runs, spheres, estimator, 0.2)
        chance, error = (0.0, None) if estimator == "crossnobis" else (0.5, 0.5 / len(runs) ** 0.5)
        maps = compute_maps([hits], grid, chance=chance, error=error)
        found[number] = maps.p.min(), maps.p_max.min(), maps.p_tfce.min()
    shares = (found <= 0.05).mean(axis=0)
    error = np.sqrt(0.05 * 0.95 / n_datasets)
    print(f"{estimator}: {n_datasets} datasets without signal, {grid.n_voxels} spheres, "
          f"{n_permutations} permutations; share with a sphere of p <= .05 (standard error of .05: "
          f"{error:.3f}): uncorrected {shares[0]:.3f}, largest value {shares[1]:.3f}, cluster "
          f"enhancement {shares[2]:.3f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="?", choices=["nilearn", "brain", "null"])
    parser.add_argument("--estimator", default="lda", choices=["lda", "ridge", "gnb", "crossnobis"])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--datasets", type=int, default=400)
    options = parser.parse_args()
    if options.part is None:
        for part in ("nilearn", "brain", "null"):
            subprocess.run([sys.executable, __file__, part, *sys.argv[1:]], check=True)
    elif options.part == "nilearn":
        beside_nilearn()
    elif options.part == "brain":
        whole_brain(options.estimator, options.every)
    else:
        false_positives(options.datasets, options.estimator)


if __name__ == "__main__":
    main()
