import numpy as np
from epi_phantom import T1W_LEVELS

from bids_decoder.preprocessing.bias import correct_bias


def test_bias_becomes_flat(small_head):
    head = small_head
    tissue = head.intensity(T1W_LEVELS)[::2, ::2, ::2]
    affine = head.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    place = np.linspace(-1, 1, tissue.shape[1])[None, :, None]
    field = 1 + 0.4 * place + 0.2 * place**2
    white = head.shares[::2, ::2, ::2, 3] > 0.95
    found = correct_bias(tissue * field, affine)
    before = (tissue * field)[white].std() / (tissue * field)[white].mean()
    after = found[white].std() / found[white].mean()
    assert before > 0.1
    assert after < 0.05
    assert found.shape == tissue.shape
    assert np.isfinite(found).all()
