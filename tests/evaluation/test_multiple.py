"""Corrected p-values."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from bids_decoder.evaluation.multiple import holm


@pytest.mark.parametrize("n", [1, 2, 40])
def test_holm_is_that_of_statsmodels(n):
    rng = np.random.default_rng(n)
    p_values = rng.uniform(size=n) ** 4
    p_values[n // 2] = p_values[0]  # a tie
    wanted = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), wanted, rtol=1e-12)


def test_tests_that_were_not_made_do_not_count():
    np.testing.assert_allclose(holm([0.04, np.nan, 0.01, 0.6]), [0.08, np.nan, 0.03, 0.6])
    assert np.isnan(holm([np.nan])).all()
    assert holm([]).shape == (0,)
