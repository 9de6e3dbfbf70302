"""The field between two images with opposite phase encoding."""

import numpy as np
import pytest
from epi_phantom import EPI_LEVELS, brain_mask, sample
from nibabel.affines import apply_affine

from bids_decoder.preprocessing.distortion import Epi, PhaseEncoding
from bids_decoder.preprocessing.geometry import grid_centre, rigid_matrix
from bids_decoder.preprocessing.opposite_phases import are_opposite, field_of_pair
from bids_decoder.simulate.distortion import distort, field_on_grid, susceptibility_field

SHAPE = (38, 44, 24)
MM = 5.0
AFFINE = np.array([[-MM, 0, 0, 92], [0, MM, 0, -107], [0, 0, MM, -58], [0, 0, 0, 1.0]])
READOUT = 0.04
PEAK_HZ = 60.0


def image(head, way, seed, matrix=None):
    """An EPI of a head that lies elsewhere; its field moves with it."""
    matrix = np.eye(4) if matrix is None else matrix
    clean = sample(head.intensity(EPI_LEVELS), head.affine, SHAPE, AFFINE, matrix)
    points = apply_affine(matrix @ AFFINE, np.indices(SHAPE).reshape(3, -1).T.astype(float))
    field = susceptibility_field(points, PEAK_HZ).reshape(SHAPE)
    noise = 0.02 * np.random.default_rng(seed).standard_normal(SHAPE)
    volume = distort(clean, field * way.voxels_per_hz, way.axis) + noise
    return Epi((1000 * volume).astype(np.float32), AFFINE, way)


def residual_mm(found, head):
    truth = field_on_grid(SHAPE, AFFINE, PEAK_HZ)
    shift = READOUT * MM
    inside = brain_mask(head, SHAPE, AFFINE) & (np.abs(truth * shift) > 1.0)
    return float(np.median(np.abs(truth)[inside]) * shift), float(
        np.median(np.abs(found - truth)[inside]) * shift
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_field_is_found(small_head, sign):
    pair = [image(small_head, PhaseEncoding(1, s * sign, READOUT), s + 1) for s in (1, -1)]
    found = field_of_pair(*pair)
    before, after = residual_mm(found.field, small_head)
    assert before > 1.5 and after < 0.3
    assert found.agreement[1] > 0.98 > found.agreement[0]


def test_head_moves_between_the_images(small_head):
    away = rigid_matrix(
        np.r_[1.5, 0.0, -1.0, np.radians([1.0, 0.5, -1.5])], grid_centre(SHAPE, AFFINE)
    )
    pair = [
        image(small_head, PhaseEncoding(1, 1, READOUT), 1),
        image(small_head, PhaseEncoding(1, -1, READOUT), 2, away),
    ]
    assert residual_mm(field_of_pair(*pair).field, small_head)[1] < 0.5


def test_what_is_opposite():
    flipped = AFFINE.copy()
    flipped[:, 1] *= -1
    plus, minus = PhaseEncoding(1, 1, READOUT), PhaseEncoding(1, -1, READOUT)
    assert are_opposite(AFFINE, plus, AFFINE, minus)
    assert not are_opposite(AFFINE, plus, AFFINE, plus)
    assert are_opposite(AFFINE, plus, flipped, plus)
    assert not are_opposite(AFFINE, plus, AFFINE, PhaseEncoding(0, -1, READOUT))
    with pytest.raises(ValueError, match="opposite"):
        field_of_pair(*(Epi(np.ones(SHAPE), AFFINE, plus) for _ in range(2)))
