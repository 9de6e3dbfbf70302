"""Threshold-free cluster enhancement against a naive implementation."""

import numpy as np
import pytest

from bids_decoder.evaluation.tfce import enhance_clusters
from bids_decoder.grids.surface import Mesh
from bids_decoder.trials import VoxelGrid


def naive(volume, step):
    """Enhance by searching neighbours through faces, one voxel after the other."""
    found = np.zeros(volume.shape)
    for number in range(1, int(volume.max() / step) + 1):
        left = {tuple(place) for place in np.argwhere(volume >= number * step)}
        while left:
            cluster, border = set(), [left.pop()]
            while border:
                place = border.pop()
                cluster.add(place)
                for axis in range(3):
                    for side in (-1, 1):
                        near = tuple(p + side * (axis == a) for a, p in enumerate(place))
                        if near in left:
                            left.remove(near)
                            border.append(near)
            for place in cluster:
                found[place] += len(cluster) ** 0.5 * (number * step) ** 2 * step
    return found


def test_agrees_with_a_naive_implementation():
    rng = np.random.default_rng(0)
    mask = rng.random((7, 6, 5)) < 0.8
    grid = VoxelGrid(mask, np.eye(4))
    values = rng.normal(0.5, 1, mask.sum())
    volume = grid.to_volume(values)
    np.testing.assert_allclose(
        enhance_clusters(values, grid, 0.13), naive(volume, 0.13)[mask], rtol=1e-9
    )


def test_a_block_has_the_sum_of_its_levels():
    grid = VoxelGrid(np.ones((4, 4, 4), dtype=bool), np.eye(4))
    volume = np.zeros((4, 4, 4))
    volume[:2, :2, :2] = 1.0
    found = grid.to_volume(enhance_clusters(volume[grid.mask], grid, 0.1))
    expected = sum(8**0.5 * (k / 10) ** 2 * 0.1 for k in range(1, 11))
    assert found[0, 0, 0] == pytest.approx(expected)
    assert (found[2:] == 0).all()


def test_nothing_below_zero_and_gaps_in_the_mask_part_clusters():
    mask = np.ones((5, 2, 1), dtype=bool)
    assert (enhance_clusters(-np.ones(10), VoxelGrid(mask, np.eye(4))) == 0).all()
    whole = enhance_clusters(np.ones(10), VoxelGrid(mask, np.eye(4)))[0]
    mask[2] = False
    parts = enhance_clusters(np.ones(8), VoxelGrid(mask, np.eye(4)))
    assert (parts < whole).all()
    np.testing.assert_allclose(parts / whole, (2 / 5) ** 0.5)


def test_vertices_of_a_strip_are_enhanced_as_voxels_in_a_row():
    rng, n = np.random.default_rng(3), 60
    values = rng.normal(0.5, 1, n)
    points = np.stack([np.arange(n), np.arange(n) % 2, np.zeros(n)], axis=1).astype(float)
    triangles = np.array([[k, k + 1, k + 2] for k in range(0, n - 2)])
    mesh = Mesh(points, triangles, n)
    # Every second vertex is used, so that each has the one before and the one behind it.
    used = np.arange(n) % 2 == 0
    on_mesh = VoxelGrid(used[:, None, None], np.eye(4), mesh)
    row = VoxelGrid(np.ones((used.sum(), 2, 1), bool) & np.array([[True], [False]]), np.eye(4))
    np.testing.assert_allclose(
        enhance_clusters(values[used], on_mesh, 0.13), enhance_clusters(values[used], row, 0.13)
    )
    assert enhance_clusters(values[used], on_mesh).max() > 0
