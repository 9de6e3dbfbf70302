import numpy as np
import pytest
from nibabel.affines import apply_affine

from bids_decoder.preprocessing import geometry


@pytest.mark.parametrize("seed", range(3))
def test_rigid_parameters_round_trip(seed):
    rng = np.random.default_rng(seed)
    parameters = np.r_[rng.uniform(-9, 9, 3), rng.uniform(-0.4, 0.4, 3)]
    centre = rng.uniform(-30, 30, 3)
    matrix = geometry.rigid_matrix(parameters, centre)
    np.testing.assert_allclose(geometry.rigid_parameters(matrix, centre), parameters, atol=1e-12)
    np.testing.assert_allclose(apply_affine(matrix, centre[None])[0],
                               centre + parameters[:3], atol=1e-12)


def test_simple_itk_image_keeps_positions():
    tilt = geometry.rigid_matrix(np.array([4, -3, 20, 0.3, -0.2, 0.1]), np.zeros(3))
    affine = tilt @ np.diag([-2.0, 3.1, 3.75, 1.0])
    volume = np.arange(60.0).reshape(3, 4, 5)
    image = geometry.to_sitk(volume, affine)
    lps = np.array(image.TransformIndexToPhysicalPoint((2, 1, 4)))
    np.testing.assert_allclose(
        lps * [-1, -1, 1], apply_affine(affine, np.array([[2, 1, 4]]))[0], atol=1e-5
    )
    assert image.GetPixel(2, 1, 4) == volume[2, 1, 4]
