"""Grayordinates: what is done on them is what is done on each of their parts."""

import cifti_derivatives as cifti
import numpy as np
import pandas as pd
import pytest

from bids_decoder.config import Troi
from bids_decoder.grids.grayordinates import Grayordinates
from bids_decoder.grids.surface import Mesh
from bids_decoder.training.likely_filter import filters_are_tried
from bids_decoder.training.spatial_prior import prior_is_tried
from bids_decoder.training.spheres import Spheres
from bids_decoder.trials import Person, Targets, VoxelGrid

MODELS, N = cifti.brain_models(), cifti.N_SIDE
MESH = Mesh(
    np.concatenate([cifti.POINTS - [50, 0, 0], cifti.POINTS + [50, 0, 0]]),
    np.concatenate([cifti.TRIANGLES, cifti.TRIANGLES + N]), N,
)
USED = np.random.default_rng(5).random(len(MODELS)) < 0.9


@pytest.fixture
def parts():
    """The whole grid, and its surface and volume as grids of their own."""
    layout = Grayordinates(MODELS, MESH)
    whole = VoxelGrid(USED[:, None, None], np.eye(4), layout)
    on_mesh = np.zeros(2 * N, bool)
    on_mesh[layout.vertices[USED & MODELS.surface_mask]] = True
    mask = np.zeros(cifti.SHAPE, bool)
    mask[tuple(MODELS.voxel[USED & MODELS.volume_mask].T)] = True
    surface = VoxelGrid(on_mesh[:, None, None], np.eye(4), MESH)
    return whole, surface, VoxelGrid(mask, cifti.AFFINE)


def split(values):
    """Values of used rows in the order of the surface, and in that of the volume."""
    rows = np.flatnonzero(USED)
    cortex = MODELS.surface_mask[rows]
    vertices = Grayordinates(MODELS, MESH).vertices[rows[cortex]]
    order = np.lexsort(MODELS.voxel[rows[~cortex]].T[::-1])
    return values[..., cortex][..., np.argsort(vertices)], values[..., ~cortex][..., order]


def test_positions_are_those_of_the_parts(parts):
    whole, *both = parts
    for found, part in zip(split(whole.coordinates.T), both, strict=True):
        np.testing.assert_allclose(found.T, part.coordinates)
    assert whole.has_neighbours and not whole.has_geometry
    assert whole.geometry.kind == "grayordinates" and len(whole.geometry.densities) == 2


def test_kernels_fields_and_clusters_are_those_of_the_parts(parts):
    whole, *both = parts
    rng = np.random.default_rng(0)
    values = rng.normal(size=whole.n_voxels)
    kernel = whole.geometry.kernel(12.0)
    for name in ("mean", "total", "adjoint"):
        for found, own, part in zip(
            split(getattr(kernel, name)(values)), split(values), both, strict=True
        ):
            same = getattr(part.geometry.kernel(12.0), name)(own)
            np.testing.assert_allclose(found, same)
        several = np.stack([values, values[::-1]])
        np.testing.assert_allclose(
            getattr(kernel, name)(several),
            [getattr(kernel, name)(one) for one in several],
        )
        single = getattr(kernel, name)(values.astype(np.float32))
        np.testing.assert_allclose(single, getattr(kernel, name)(values), rtol=1e-4, atol=1e-4)
    assert kernel.mean(values.astype(np.float32)).dtype == np.float32
    field = whole.geometry.random_field(12.0)
    left, right = rng.normal(size=(2, field.n_waves)), rng.normal(size=(2, whole.n_voxels))
    np.testing.assert_allclose(field.field(left) @ right.T, left @ field.adjoint(right).T)
    above = values > 0.5
    number = whole.geometry.clusters(above)
    assert ((number > 0) == above).all()
    counts = [len(np.unique(p.geometry.clusters(own))) - 1
              for p, own in zip(both, split(above), strict=True)]
    assert len(np.unique(number)) - 1 == sum(counts) and min(counts) > 1


@pytest.mark.parametrize("size", [{"radius_mm": 12.0}, {"n_voxels": 9}])
def test_spheres_hold_rows_of_one_part(parts, size):
    whole, *both = parts
    spheres, seen = Spheres(whole, **size), []
    for found, part in zip(split(spheres.sizes()), both, strict=True):
        np.testing.assert_array_equal(found, Spheres(part, **size).sizes())
    is_voxel = MODELS.volume_mask[USED]
    for block in spheres.blocks():
        seen += block.centres.tolist()
        for centre, members in zip(block.centres, block.members, strict=True):
            around = block.voxels[members]
            assert centre in around and (is_voxel[around] == is_voxel[centre]).all()
    assert sorted(seen) == list(range(whole.n_voxels))


def test_without_a_mesh_only_voxels_have_neighbours():
    grid = VoxelGrid(USED[:, None, None], np.eye(4), Grayordinates(MODELS))
    values = np.random.default_rng(1).normal(size=grid.n_voxels)
    smooth = grid.geometry.kernel(12.0).mean(values)
    is_voxel = MODELS.volume_mask[USED]
    np.testing.assert_array_equal(smooth[~is_voxel], values[~is_voxel])
    assert np.std(smooth[is_voxel]) < 0.7 * np.std(values[is_voxel])
    assert grid.has_neighbours and grid.geometry.densities == ()


@pytest.mark.parametrize("mesh", [MESH, None])
def test_responses_are_filtered_where_the_neighbours_of_all_are_known(mesh):
    """A vertex alone would be taken for the mean of its surroundings."""
    grid = VoxelGrid(USED[:, None, None], np.eye(4), Grayordinates(MODELS, mesh))
    betas = np.zeros((60, grid.n_voxels), np.float32)
    trials = pd.DataFrame({"run_group": np.repeat(["a", "b"], 30)})
    person = Person("01", grid, betas, trials, np.arange(60) % 4)
    labels = Targets(tuple("abcd"), np.eye(4, dtype=np.float32), "category")
    assert filters_are_tried(person, labels, Troi()) is (mesh is not None)
    pictures = Targets(labels.ids, labels.vectors, "image")
    assert prior_is_tried(person, pictures, Troi()) is (mesh is not None)
