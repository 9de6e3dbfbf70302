"""Discs of vertices against distances that are known."""

import numpy as np
import pytest
import surface_derivatives as surface
from scipy.sparse.csgraph import dijkstra
from sklearn.linear_model import RidgeClassifier

from bids_decoder.evaluation.search_maps import SearchMaps, find_peaks
from bids_decoder.grids.paths import path_lengths, triangle_areas
from bids_decoder.grids.surface import Mesh
from bids_decoder.training.searchlight import Fold, search_spheres
from bids_decoder.training.spheres import Spheres
from bids_decoder.trials import VoxelGrid

RADIUS = surface.RADIUS
POINTS, TRIANGLES = surface.sphere(4)
N = len(POINTS)


def grid_of(points, triangles, mask=None, n_left=0):
    mesh = Mesh(points, triangles, n_left)
    used = np.ones(len(points), bool) if mask is None else mask
    return VoxelGrid(used[:, None, None], np.eye(4), mesh)


def two_hemispheres(mask=None):
    """Two spheres that touch each other, so that distances in space are no guide."""
    other = POINTS + [2 * RADIUS, 0, 0]
    return grid_of(
        np.concatenate([POINTS, other]), np.concatenate([TRIANGLES, TRIANGLES + N]), mask, N
    )


def flat(n=15, step=1.0):
    """Return a plane of squares, each of two triangles with the same diagonal."""
    x, y = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    number = np.arange(n * n).reshape(n, n)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[:-1, 1:], number[1:, 1:]
    triangles = np.concatenate([
        np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3),
    ])
    return step * np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(float), triangles


def test_paths_are_about_as_long_as_arcs():
    lengths = dijkstra(path_lengths(POINTS, TRIANGLES), indices=[0, 77])
    cosines = np.clip(POINTS[[0, 77]] @ POINTS.T / RADIUS**2, -1, 1)
    arcs = RADIUS * np.arccos(cosines)
    far = arcs > 0.1 * RADIUS
    ratio = lengths[far] / arcs[far]
    assert ratio.min() > 0.99 and ratio.mean() < 1.03 and ratio.max() < 1.06


def test_lines_across_two_triangles_shorten_paths_in_a_plane():
    points, triangles = flat()
    lengths = dijkstra(path_lengths(points, triangles), indices=[0])[0]
    # Along the diagonal that no triangle has, edges alone make a detour of the factor √2.
    assert lengths[-1] == pytest.approx(14 * np.sqrt(2))
    true = np.linalg.norm(points - points[0], axis=1)
    assert (lengths >= true - 1e-9).all()
    assert (lengths[1:] / true[1:]).max() < 1.09


def test_a_fold_is_as_long_as_the_way_across_it():
    points, triangles = flat(3)
    points[points[:, 0] > 1] -= [1, 0, -1]
    lengths = dijkstra(path_lengths(points, triangles), indices=[1])[0]
    # Vertex 7 is opposite of 1 across the fold: two steps over the edge, √2 in space.
    assert np.linalg.norm(points[7] - points[1]) == pytest.approx(np.sqrt(2))
    assert lengths[7] == pytest.approx(2)


def test_peaks_are_kept_apart_along_the_surface():
    grid = two_hemispheres()
    # The hemispheres touch each other here: next to each other in space, far along the surface.
    left, right = POINTS[:, 0].argmax(), N + POINTS[:, 0].argmin()
    neighbour = grid.geometry.within(np.array([left]), 8.0)[0]
    values = np.zeros(grid.n_voxels)
    values[[left, right]], values[neighbour[neighbour != left]] = (0.9, 0.8), 0.5
    none = np.zeros(0)
    maps = SearchMaps(values, 0.0, None, None, None, None, none, none, 0.0)
    peaks = find_peaks(maps, grid, np.ones(grid.n_voxels), 8.0)
    assert peaks["value"].tolist() == [0.9, 0.8]
    assert np.linalg.norm(grid.coordinates[left] - grid.coordinates[right]) < 8.0


def test_discs_stay_in_their_hemisphere_and_within_the_radius():
    grid = two_hemispheres()
    lengths = dijkstra(path_lengths(grid.layout.points, grid.layout.triangles), indices=[5, N + 5])
    for disc, row in zip(grid.geometry.within(np.array([5, N + 5]), 12.0), lengths, strict=True):
        np.testing.assert_array_equal(disc, np.flatnonzero(row <= 12))
        assert 30 < len(disc) < 300


@pytest.mark.parametrize("n_vertices", [1, 7, 200])
def test_nearest_vertices_are_those_with_the_shortest_paths(n_vertices):
    mask = np.random.default_rng(0).random(2 * N) < 0.5
    grid = two_hemispheres(mask)
    used = np.flatnonzero(mask)
    centres = np.array([0, 1, len(used) - 1])
    paths = path_lengths(grid.layout.points, grid.layout.triangles)
    lengths = dijkstra(paths, indices=used[centres])[:, used]
    for disc, row, centre in zip(
        grid.geometry.nearest(centres, n_vertices), lengths, centres, strict=True
    ):
        assert len(disc) == n_vertices and centre in disc
        assert row[disc].max() <= np.sort(row)[n_vertices - 1] + 1e-9


def test_a_small_part_of_the_surface_gives_what_it_has():
    mask = np.zeros(2 * N, bool)
    mask[[3, 9, N + 1]] = True
    found = two_hemispheres(mask).geometry.nearest(np.arange(3), 50)
    assert [disc.tolist() for disc in found] == [[0, 1], [0, 1], [2]]


def test_blocks_hold_every_disc_once_and_its_vertices():
    mask = np.random.default_rng(1).random(2 * N) < 0.9
    grid = two_hemispheres(mask)
    for size in ({"radius_mm": 6.0}, {"n_voxels": 20}):
        spheres, seen = Spheres(grid, **size), []
        sizes = spheres.sizes()
        for block in spheres.blocks():
            seen += block.centres.tolist()
            assert (block.members.sum(axis=1) == sizes[block.centres]).all()
            (disc,) = spheres.of(block.centres[:1])
            np.testing.assert_array_equal(np.sort(disc), block.voxels[block.members[0]])
        assert sorted(seen) == list(range(grid.n_voxels))


def test_areas_are_those_of_a_sphere():
    area = triangle_areas(POINTS, TRIANGLES).sum()
    assert area == pytest.approx(4 * np.pi * RADIUS**2, rel=0.01)
    per_vertex = grid_of(POINTS, TRIANGLES).geometry.area_per_vertex
    assert per_vertex == pytest.approx(area / N)


def test_forms_of_discs_equal_those_of_each_disc():
    points, triangles = surface.sphere(2)
    # Two vertices at one place cannot be told apart by their positions.
    points = np.concatenate([points, points[:1]])
    grid = grid_of(points, np.concatenate([triangles, [[len(points) - 1, 0, triangles[0, 1]]]]))
    rng = np.random.default_rng(2)
    labels = np.tile([0, 1], 20)
    betas = rng.standard_normal((40, grid.n_voxels)).astype(np.float32)
    fold = Fold(betas[:30], betas[30:], labels[None, :30], 2)
    spheres = Spheres(grid, radius_mm=25.0)
    found = {}
    for centres, scores in search_spheres(
        fold, spheres, "ridge", 0.3, lambda scores, rows: scores.reshape(len(scores), -1).T
    ):
        found |= dict(zip(centres, scores.T, strict=True))
    assert sorted(found) == list(range(grid.n_voxels))
    for centre in (0, 1, grid.n_voxels - 1):
        (disc,) = spheres.of(np.array([centre]))
        penalty = 0.3 / 0.7 * 30 * fold.variance
        model = RidgeClassifier(alpha=penalty).fit(betas[:30][:, disc], labels[:30])
        scores = found[centre].reshape(10, 2)
        np.testing.assert_allclose(
            scores[:, 1], model.decision_function(betas[30:][:, disc]), atol=1e-3
        )
