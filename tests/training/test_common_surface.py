"""What the source participants' vertices say about a new participant's, on a standard surface."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import surface_derivatives as surface
from sklearn.metrics import roc_auc_score

from bids_decoder.grids.surface import Mesh
from bids_decoder.training.common_space import CommonMaps, gather_common
from bids_decoder.training.field import map_signal
from bids_decoder.training.identification import row_cosines
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.trials import Person, VoxelGrid

POINTS, TRIANGLES = surface.sphere(3)
N, N_LATENTS, SPACE = len(POINTS), 6, "fsaverage5"
MESH = Mesh(np.concatenate([POINTS, POINTS]), np.concatenate([TRIANGLES, TRIANGLES + N]), N)
PATCH = np.r_[surface.patch_of(POINTS, 30), np.zeros(N, bool)]
TUNING = np.random.default_rng(9).standard_normal((N_LATENTS, 2 * N)) * PATCH
N_SOURCE, N_OWN = 120, 24


def draw(label, n_trials, first, *, gap=0):
    """A participant with signal in the patch; some vertices of the right side have no data."""
    rng = np.random.default_rng(int(label))
    vectors = rng.standard_normal((n_trials, N_LATENTS)).astype(np.float32)
    tuning = 0.4 * (TUNING + 0.3 * rng.standard_normal(TUNING.shape) * PATCH)
    betas = vectors @ tuning + rng.standard_normal((n_trials, 2 * N))
    mask = np.ones(2 * N, bool)
    mask[2 * N - gap:] = False
    table = pd.DataFrame({"run_group": np.repeat(["a", "b", "c", "d"], n_trials // 4)})
    grid = VoxelGrid(mask[:, None, None], np.eye(4), MESH)
    betas = (betas[:, mask] / betas[:, mask].std(axis=0)).astype(np.float32)
    return Person(label, grid, betas, table, first + np.arange(n_trials), SPACE), vectors


@pytest.fixture(scope="module")
def cohort():
    drawn = [draw(f"{k}", N_SOURCE, (k - 1) * N_SOURCE, gap=k) for k in (1, 2, 3)]
    new, own = draw("4", N_OWN, 3 * N_SOURCE, gap=2)
    vectors = np.concatenate([*(part for _, part in drawn), own])
    return [person for person, _ in drawn], new, vectors


@pytest.fixture(scope="module")
def maps(cohort):
    sources, _, vectors = cohort
    return gather_common(sources, vectors)


def restored(maps):
    """The maps as a model on disk has them, without a mesh."""
    parts = {name.removeprefix("common."): part for name, part in maps.tensors().items()}
    return CommonMaps.restore(maps.card(), parts)


def test_vertices_of_others_find_the_patch_and_lift_decoding(cohort, maps):
    _, new, vectors = cohort
    wanted, patch = vectors[new.target_rows], PATCH[new.grid.mask.ravel()]
    prior = restored(maps).prior_of(new)
    assert not prior.resampled
    alone, helped = (
        map_signal(new, wanted, chances).share for chances in (None, prior.chances)
    )
    assert roc_auc_score(patch, helped) > roc_auc_score(patch, alone)
    assert roc_auc_score(patch, helped) > 0.95
    tested, truth = draw("5", 40, 0, gap=2)
    score = {
        name: row_cosines(fit_input_layer(
            new.betas, wanted, new.run_groups, alone, group_weight=weight
        ).latents(tested.betas), truth).mean()
        for name, weight in (("alone", None), ("helped", prior.weight))
    }
    assert score["helped"] > score["alone"] + 0.02


def test_weights_stay_at_their_vertices_and_in_their_hemisphere(cohort, maps):
    _, new, _ = cohort
    used = new.grid.mask.ravel()
    strength = np.linalg.norm(restored(maps).prior_of(new).weight, axis=1)
    left = np.r_[np.ones(N, bool), np.zeros(N, bool)][used]
    assert strength[PATCH[used]].mean() > 3 * strength[~PATCH[used]].mean()
    assert strength[left].mean() > 1.3 * strength[~left].mean()
    layer = maps.layer_of(new.grid)
    assert layer.shape == (new.grid.n_voxels, N_LATENTS) and np.isfinite(layer).all()


def test_vertices_of_another_mesh_have_no_prior(cohort, maps):
    _, new, _ = cohort
    fewer = VoxelGrid(new.grid.mask[1:], np.eye(4), replace(MESH, n_left=N - 1))
    assert restored(maps).prior_of(replace(new, grid=fewer)) is None
    bare = replace(new, grid=VoxelGrid(new.grid.mask, np.eye(4)))
    assert restored(maps).prior_of(bare) is None
    assert restored(maps).prior_of(replace(new, space="fsaverage6")) is None
