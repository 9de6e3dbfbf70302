"""Corrected p-values."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from bids_decoder.evaluation.multiple import (
    correct_scores,
    headline_of,
    holm,
    is_headline,
)


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


def test_transductive_scores_are_a_family_of_their_own():
    p_values = [0.01, 0.02, 0.03, 0.04, 0.001]
    similarities = ["cosine", "cosine", "cosine", "csls", "sinkhorn"]
    metrics = pd.DataFrame({
        **{name: [value] * 5 for name, value in headline_of("image").items()},
        "model": "decoder", "pool_size": 10.0, "p": p_values, "similarity": similarities,
        "metric": [headline_of("image")["metric"], *["other"] * 4],
        "inference": ["inductive"] * 3 + ["transductive"] * 2,
    })
    corrected = correct_scores(metrics, "image")["p_holm"]
    np.testing.assert_allclose(corrected, [np.nan, 0.04, 0.04, 0.04, 0.002])
    only = correct_scores(metrics.drop(columns="inference"), "image")["p_holm"]
    np.testing.assert_allclose(only, [np.nan, 0.06, 0.06, 0.06, 0.004])
    unknown = metrics.assign(inference=[np.nan] * 3 + ["transductive"] * 2)
    np.testing.assert_allclose(correct_scores(unknown, "image")["p_holm"], corrected)
