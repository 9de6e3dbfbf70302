"""Models of distances in spheres against the same in regions, and against rsatoolbox."""

import numpy as np
import pytest
from rdm_data import CONDITIONS, N_CONDITIONS, N_RUNS, RUNS, random_models

from bids_decoder.evaluation.dissimilarity import Design, measure_geometry
from bids_decoder.evaluation.rdm_models import compare_regions, draw_orders
from bids_decoder.training.search_rdm import search_distances, search_models
from bids_decoder.training.spheres import Spheres
from bids_decoder.trials import VoxelGrid


@pytest.fixture(scope="module")
def grid():
    mask = np.ones((5, 5, 4), dtype=bool)
    mask[0, 0, :2] = mask[3, 2, 2] = False
    return VoxelGrid(mask, np.diag([2.0, 2.0, 3.0, 1.0]))


@pytest.fixture(scope="module")
def betas(grid):
    rng = np.random.default_rng(2)
    mixing = np.eye(grid.n_voxels) + rng.normal(size=2 * (grid.n_voxels,)) / grid.n_voxels**0.5
    patterns = 0.7 * rng.normal(size=(N_CONDITIONS, grid.n_voxels))
    noise = rng.normal(size=(len(RUNS), grid.n_voxels)) @ mixing
    return (patterns[CONDITIONS] + noise).astype(np.float32)


def in_all(betas, rows, spheres):
    """Return distances and shrinkages of all spheres, in order."""
    distances = np.empty((spheres.grid.n_voxels, N_CONDITIONS, N_CONDITIONS))
    shrinkage = np.empty(spheres.grid.n_voxels)
    design = Design(CONDITIONS[rows], RUNS[rows])
    for centres, found, weights in search_distances(betas[rows], design, spheres):
        distances[centres], shrinkage[centres] = found, weights
    return distances, shrinkage


ONCE = np.unique(RUNS * N_CONDITIONS + CONDITIONS, return_index=True)[1]


@pytest.mark.parametrize("rows", [
    np.arange(len(RUNS)), ONCE, np.flatnonzero((CONDITIONS != 2) | (RUNS > 0)),
], ids=["repeated", "once per run", "absent from a run"])
def test_distances_are_those_of_the_voxels_of_the_sphere(betas, grid, rows):
    spheres = Spheres(grid, 4.5)
    distances, shrinkage = in_all(betas, rows, spheres)
    for centre in range(0, grid.n_voxels, 9):
        (voxels,) = spheres.of(np.array([centre]))
        alone = measure_geometry(betas[rows][:, voxels], CONDITIONS[rows], RUNS[rows])
        np.testing.assert_allclose(distances[centre], alone.distances(), atol=1e-9)
        assert shrinkage[centre] == pytest.approx(alone.shrinkage, abs=1e-9)
    assert (shrinkage < 1).any()


def test_distances_are_those_of_rsatoolbox(betas, grid):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    from rsatoolbox.data.noise import prec_from_residuals

    spheres = Spheres(grid, 4.5)
    distances, _ = in_all(betas, np.arange(len(RUNS)), spheres)
    values = betas.astype(np.float64)
    means = np.stack([values[(run == RUNS) & (one == CONDITIONS)].mean(axis=0)
                      for run in range(N_RUNS) for one in range(N_CONDITIONS)])
    left = values - means[RUNS * N_CONDITIONS + CONDITIONS]
    for centre in (0, 40, 91):
        (voxels,) = spheres.of(np.array([centre]))
        precision = prec_from_residuals(
            left[:, voxels], dof=len(left) - len(means), method="shrinkage_diag"
        )
        data = rsatoolbox.data.Dataset(
            values[:, voxels], obs_descriptors={"c": CONDITIONS, "r": RUNS}
        )
        theirs = rsatoolbox.rdm.calc_rdm(
            data, method="crossnobis", descriptor="c", cv_descriptor="r", noise=precision
        ).get_matrices()[0]
        np.testing.assert_allclose(distances[centre], theirs, atol=1e-9)


def test_values_and_nulls_are_those_of_regions(betas, grid):
    spheres, models = Spheres(grid, n_voxels=15), random_models(2)
    orders = draw_orders(N_CONDITIONS, 12, np.random.default_rng(3))
    values = np.full((2, 13, grid.n_voxels), np.nan)
    done = []
    facts = search_models(betas, Design(CONDITIONS, RUNS), spheres, models, orders, values,
                          lambda *counts: done.append(counts))
    expected = compare_regions(
        (measure_geometry(betas[:, voxels], CONDITIONS, RUNS)
         for voxels in spheres.of(np.arange(grid.n_voxels))),
        models, 12, np.random.default_rng(3),
    )
    np.testing.assert_allclose(values[:, 0].T, expected.values, atol=1e-8)
    np.testing.assert_allclose(values[:, 1:].transpose(1, 2, 0), expected.null, atol=1e-8)
    assert done[-1] == (grid.n_voxels, grid.n_voxels)
    assert facts["n_empty"] == 0 and 0 < facts["shrinkage"] < 1
    assert facts["residuals"] == "single trials within runs"


def test_spheres_of_constant_voxels_are_zero_and_counted(betas, grid):
    spheres, dead = Spheres(grid, 2.5), grid.indices[:, 0] < 3
    values = np.full((1, 3, grid.n_voxels), np.nan)
    orders = draw_orders(N_CONDITIONS, 2, np.random.default_rng(0))
    facts = search_models(
        np.where(dead, 0, betas), Design(CONDITIONS, RUNS), spheres, random_models(1), orders,
        values,
    )
    empty = [dead[voxels].all() for voxels in spheres.of(np.arange(grid.n_voxels))]
    assert facts["n_empty"] == sum(empty) > 0
    assert (values[:, :, empty] == 0).all()
    assert np.isfinite(values).all() and (values[:, :, np.logical_not(empty)] != 0).all()


def test_exact_distances_fit_their_model(grid):
    rng = np.random.default_rng(6)
    patterns = rng.normal(size=(N_CONDITIONS, grid.n_voxels))
    noise = 0.05 * rng.normal(size=(len(RUNS), grid.n_voxels))
    true = np.square(patterns[:, None] - patterns[None]).sum(axis=-1)
    values = np.empty((1, 1, grid.n_voxels))
    search_models(patterns[CONDITIONS] + noise, Design(CONDITIONS, RUNS),
                  Spheres(grid, n_voxels=grid.n_voxels), true[None], [], values)
    assert (values > 0.9).all()
