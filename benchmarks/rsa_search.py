"""Models of distances in spheres: speed and agreement beside rsatoolbox, and false positives.

    python benchmarks/rsa_search.py speed    the same distances and correlations with rsatoolbox
    python benchmarks/rsa_search.py brain    spheres of 8 mm in a brain of 230,000 voxels of 2 mm
    python benchmarks/rsa_search.py null     family-wise errors of random models

One core. rsatoolbox's own ``get_searchlight_RDMs`` knows no runs, and no covariance of a sphere, so
that its spheres (``get_volume_searchlight``) are filled with its ``calc_rdm`` (crossnobis),
``prec_from_residuals`` and ``compare``, some of them, since all would take long.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time

import numpy as np
from searchlight import AFFINE, SomeSpheres, brain_grid, peak_gb

from bids_decoder.evaluation.dissimilarity import Design, vectorise
from bids_decoder.evaluation.rdm_models import draw_orders
from bids_decoder.evaluation.search_maps import compute_maps, correct_together
from bids_decoder.simulate.fields import Smoother
from bids_decoder.training.search_rdm import search_distances, search_models
from bids_decoder.training.spheres import Spheres
from bids_decoder.trials import VoxelGrid

N_CONDITIONS, N_RUNS, N_TRIALS, N_MODELS, RADIUS = 8, 8, 80, 3, 8.0
N_RSATOOLBOX = 40


def draw_models(rng: np.random.Generator) -> np.ndarray:
    """Draw random symmetric dissimilarities, (N_MODELS, N_CONDITIONS, N_CONDITIONS)."""
    points = rng.normal(size=(N_MODELS, N_CONDITIONS, 3))
    return np.square(points[:, :, None] - points[:, None]).sum(axis=-1)


def draw(grid: VoxelGrid, n_runs: int, n_trials: int, rng: np.random.Generator):
    """Draw smooth noise and smooth patterns of conditions."""
    runs = np.repeat(np.arange(n_runs), n_trials)
    conditions = np.tile(np.arange(N_CONDITIONS), len(runs) // N_CONDITIONS)
    smooth = Smoother(grid.mask.shape, 1.5)
    patterns = 0.4 * smooth.draw(rng, N_CONDITIONS)[:, grid.mask]
    return smooth.draw(rng, len(runs))[:, grid.mask] + patterns[conditions], conditions, runs


def beside_rsatoolbox() -> None:
    """Print times per sphere and the largest difference."""
    import rsatoolbox
    from rsatoolbox.data.noise import prec_from_residuals
    from rsatoolbox.rdm import RDMs, calc_rdm, compare
    from rsatoolbox.util.searchlight import get_volume_searchlight

    rng = np.random.default_rng(0)
    grid = VoxelGrid(np.ones((16, 16, 16), dtype=bool), AFFINE)
    betas, conditions, runs = draw(grid, N_RUNS, N_TRIALS, rng)
    models, design, spheres = draw_models(rng), Design(conditions, runs), Spheres(grid, RADIUS)
    values = np.empty((N_MODELS, 1, grid.n_voxels))
    began = time.process_time()
    search_models(betas, design, spheres, models, [], values)
    own = (time.process_time() - began) / grid.n_voxels
    _, neighbours = get_volume_searchlight(
        grid.mask, RADIUS / AFFINE[0, 0] + 1e-4, 0.0, truncate_at_boundary=True
    )
    some = rng.choice(grid.n_voxels, N_RSATOOLBOX, replace=False)
    gap, began = 0.0, time.process_time()
    for centre in some:
        part = betas[:, neighbours[centre]].astype(np.float64)
        cells = runs * N_CONDITIONS + conditions
        means = np.stack([part[cells == cell].mean(axis=0) for cell in range(cells.max() + 1)])
        precision = prec_from_residuals(
            part - means[cells], dof=len(part) - len(means), method="shrinkage_diag"
        )
        data = rsatoolbox.data.Dataset(part, obs_descriptors={"c": conditions, "r": runs})
        found = calc_rdm(data, "crossnobis", "c", noise=precision, cv_descriptor="r")
        fits = compare(RDMs(vectorise(models)), found, method="corr_cov")[:, 0]
        gap = max(gap, np.abs(fits - values[:, 0, centre]).max())
    theirs = (time.process_time() - began) / N_RSATOOLBOX
    print(f"{grid.n_voxels:,} spheres of {spheres.sizes().mean():.0f} voxels (mean), {len(betas)} "
          f"trials: {own * 1e3:.2f} ms per sphere; rsatoolbox ({N_RSATOOLBOX} of them): "
          f"{theirs * 1e3:.1f} ms, {theirs / own:.0f} times as long; largest difference of "
          f"correlations {gap:.1e}")


def whole_brain(every: int) -> None:
    """Print time and memory of a whole brain, from every n-th block of spheres."""
    SomeSpheres.every = every
    grid, rng = brain_grid(), np.random.default_rng(0)
    betas = rng.standard_normal((N_RUNS * N_TRIALS, grid.n_voxels), dtype=np.float32)
    runs = np.repeat(np.arange(N_RUNS), N_TRIALS)
    design = Design(np.tile(np.arange(N_CONDITIONS), len(runs) // N_CONDITIONS), runs)
    before, began = peak_gb(), time.process_time()
    n_done = sum(
        len(centres)
        for centres, _, _ in search_distances(betas, design, SomeSpheres(grid, RADIUS))
    )
    seconds = (time.process_time() - began) * grid.n_voxels / n_done
    print(f"{grid.n_voxels:,} spheres: {seconds / 60:.1f} min of one core (from {n_done:,} "
          f"spheres); peak memory {peak_gb():.2f} GB, of which responses {before:.2f} GB")


def false_positives(n_datasets: int, n_permutations: int = 39) -> None:
    """Print how often a map of a random model has a significant sphere."""
    mask = np.indices((8, 8, 5)).sum(axis=0) > 2
    grid = VoxelGrid(mask, AFFINE)
    spheres = Spheres(grid, 4.0)
    found = np.zeros((n_datasets, 3))
    for number in range(n_datasets):
        rng = np.random.default_rng(number)
        betas, conditions, runs = draw(grid, 4, 16, rng)
        orders = draw_orders(N_CONDITIONS, n_permutations, rng)
        values = np.empty((N_MODELS, 1 + n_permutations, grid.n_voxels))
        search_models(betas, Design(conditions, runs), spheres, draw_models(rng), orders, values)
        maps = correct_together([compute_maps([each], grid, chance=0.0) for each in values])
        found[number] = [
            min(getattr(each, name).min() for each in maps) for name in ("p", "p_max", "p_tfce")
        ]
    shares = (found <= 0.05).mean(axis=0)
    error = np.sqrt(0.05 * 0.95 / n_datasets)
    print(f"{n_datasets} datasets, {N_MODELS} random models, {grid.n_voxels} spheres, "
          f"{n_permutations} permutations; share with a sphere of p <= .05 (standard error of .05: "
          f"{error:.3f}): uncorrected {shares[0]:.3f}, largest value {shares[1]:.3f}, cluster "
          f"enhancement {shares[2]:.3f}")


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=["speed", "brain", "null"])
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--datasets", type=int, default=250)
    options = parser.parse_args()
    if options.part == "speed":
        beside_rsatoolbox()
    elif options.part == "brain":
        whole_brain(options.every)
    else:
        false_positives(options.datasets)


if __name__ == "__main__":
    main()
