"""Corrected p-values."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from bids_decoder.evaluation.multiple import headline_of, holm, is_headline


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


def test_headline_is_the_smallest_pool_of_each_model_and_the_first_target():
    rows = [
        {"model": model, "pool_size": pool, "target": target, **headline_of("image"),
         **({"metric": "other"} if changed else {})}
        for model in ("decoder", "ridge") for pool in (50.0, 10.0) for target in ("x", "y")
        for changed in (False, True)
    ]
    metrics = pd.DataFrame(rows)
    chosen = metrics[is_headline(metrics, "image")]
    assert chosen["model"].tolist() == ["decoder", "ridge"]
    assert (chosen["pool_size"] == 10).all()
    assert (chosen["target"] == "x").all()
    assert (chosen["metric"] == headline_of("image")["metric"]).all()
    without = is_headline(metrics.assign(pool_size=np.nan), "image")
    assert without.sum() == 4
