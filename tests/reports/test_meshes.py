"""Maps on hemispheres in the page: what is packed is what was there."""

import numpy as np
import pytest
import surface_derivatives as surface

from bids_decoder.reports.meshes import Hemisphere, mesh_map, pack_integers
from bids_decoder.reports.packed import Look, unpack

POINTS, TRIANGLES = surface.sphere(1)
N = len(POINTS)


def numbers_of(packed):
    """Undo what pack_integers documents."""
    planes = unpack(packed).astype(np.int64)
    codes = sum(planes[..., place] << 8 * place for place in range(4))
    return np.cumsum(np.where(codes % 2, -(codes + 1) // 2, codes // 2), axis=0)


@pytest.mark.parametrize("most", [1, 255, 400_000])
def test_whole_numbers_are_kept(most):
    columns = np.random.default_rng(0).integers(0, most + 1, (50, 3))
    np.testing.assert_array_equal(numbers_of(pack_integers(columns)), columns)


def test_surfaces_values_and_the_peak_are_kept(tmp_path):
    values = np.linspace(-1, 3, N).astype(np.float32)
    values[4] = np.nan
    halves = [Hemisphere((POINTS, TRIANGLES), values), Hemisphere((-POINTS, TRIANGLES), -values)]
    packed = mesh_map(halves, Look("A map", "signed", 3.0))
    assert (packed.n_left, packed.clipped) == (N, False)
    assert np.abs(np.r_[values, -values])[packed.peak] == pytest.approx(3)
    low, high = packed.span
    stored = unpack(packed.values)
    shown = low + (stored.astype(float) - 1) / 254 * (high - low)
    assert stored[4] == 0 and stored[N + 4] == 0
    kept = np.arange(2 * N) % N != 4
    np.testing.assert_allclose(shown[kept], np.r_[values, -values][kept], atol=0.013)
    for half, mesh in zip(halves, packed.meshes, strict=True):
        np.testing.assert_array_equal(numbers_of(mesh.triangles), TRIANGLES)
        points, size = half.mesh[0], np.ptp(POINTS, axis=0).max()
        np.testing.assert_allclose(
            numbers_of(mesh.points) / 4095 * size, points - points.min(axis=0), atol=size / 4000
        )


def test_maps_share_their_surfaces():
    one, two = (
        mesh_map([Hemisphere((POINTS, TRIANGLES), np.full(N, size))] * 2, Look("m", "positive"))
        for size in (1.0, 2.0)
    )
    assert [part.key for part in one.shared] == [part.key for part in two.shared]
    assert two.clipped is False and one.look.card["kind"] == "positive"
