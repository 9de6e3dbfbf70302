import numpy as np
import pytest

from bids_decoder.agreement import same_grid

AFFINE = np.array([[2, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(("shape", "shift_mm", "tolerance_mm", "is_same"), [
    ((5, 4, 3), 0.0, 1e-3, True),
    # The fourth axis counts volumes.
    ((5, 4, 3, 20), 0.0009, 1e-3, True),
    ([5, 4, 3], 0.0011, 1e-3, False),
    # Far from the origin, too, the tolerance is not relative.
    ((5, 4, 3), -0.0015, 1e-3, False),
    ((5, 4, 3), 0.0011, 1e-2, True),
    ((5, 4, 4), 0.0, 1e-3, False),
])
def test_grids_are_compared_by_shape_and_affine(shape, shift_mm, tolerance_mm, is_same):
    moved = AFFINE.copy()
    moved[:3, 3] += shift_mm
    assert same_grid(((5, 4, 3), AFFINE), (shape, moved), tolerance_mm) is is_same
