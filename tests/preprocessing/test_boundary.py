"""Contrast across the boundary of grey and white matter."""

import numpy as np
import pytest
from epi_phantom import EPI_LEVELS

from bids_decoder.preprocessing.boundary import boundary_contrast, boundary_points


@pytest.fixture(scope="module")
def points(coarse_head):
    return boundary_points(coarse_head.shares[..., :4].argmax(axis=-1), coarse_head.affine)


def test_points_are_on_their_sides(points):
    apart = points.white - points.grey
    np.testing.assert_allclose(np.linalg.norm(apart, axis=1), 4.0, rtol=1e-6)
    # White matter is inside.
    assert (np.einsum("ij,ij->i", apart, points.white) < 0).mean() > 0.7


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_contrast_falls_with_misalignment(points, coarse_head, scale):
    volume = scale * coarse_head.intensity(EPI_LEVELS)
    contrasts = []
    for shift in (0.0, 4.0, 10.0):
        matrix = np.eye(4)
        matrix[1, 3] = shift
        contrasts.append(boundary_contrast(volume, coarse_head.affine, points, matrix))
    assert contrasts[0].contrast > contrasts[1].contrast > contrasts[2].contrast
    assert contrasts[0].share > 0.8 and contrasts[2].share < contrasts[0].share - 0.05
    assert contrasts[0].contrast == pytest.approx(
        boundary_contrast(volume / scale, coarse_head.affine, points, np.eye(4)).contrast, rel=1e-4
    )


def test_nothing_in_the_field_of_view(points, coarse_head):
    away = np.eye(4)
    away[0, 3] = 1000.0
    found = boundary_contrast(np.ones((4, 4, 4)), coarse_head.affine, points, away)
    assert np.isnan(found.contrast) and found.n_points == 0
