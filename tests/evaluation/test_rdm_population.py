"""Models of distances over participants: rows of the table, correction, and calibration."""

import numpy as np
import pandas as pd
import pytest

from bids_decoder.evaluation.population import Measure
from bids_decoder.evaluation.rdm_population import (
    RSA_GROUP_COLUMNS,
    RSA_STATISTICS,
    PeopleDistances,
    compare_people,
)

N_PEOPLE, N_CONDITIONS = 8, 10


def square_distances(points):
    return np.square(points[..., :, None, :] - points[..., None, :, :]).sum(axis=-1)


def measure_of(values, p):
    return Measure(pd.DataFrame({
        "participant": [f"sub-{n}" for n in range(len(values))], "value": values, "chance": 0.0,
        "ci_low": np.nan, "ci_high": np.nan, "p": p, "p_min": 0.01, "n": N_CONDITIONS,
    }), {}, [np.empty(0)] * len(values))


def family(seed, signal, n_regions=3):
    """One region follows the first model, the others follow none."""
    rng = np.random.default_rng(seed)
    models = {
        name: square_distances(rng.normal(size=(N_CONDITIONS, 3))) for name in ("one", "other")
    }
    found = []
    for number in range(n_regions):
        own = square_distances(rng.normal(size=(N_PEOPLE, N_CONDITIONS, 4)))
        distances = own + (signal * models["one"] if number == 0 else 0)
        measures = {name: measure_of(np.zeros(N_PEOPLE), np.linspace(0.01, 0.3, N_PEOPLE))
                    for name in models}
        found.append(PeopleDistances(f"region{number}", distances, models, measures))
    return found


@pytest.fixture(scope="module")
def table():
    return compare_people(family(0, 2.0), 1)


def test_rows_of_all_regions_models_and_pairs(table):
    assert list(table.columns) == list(RSA_GROUP_COLUMNS)
    assert set(table["statistic"]) <= set(RSA_STATISTICS)
    counts = table.groupby("statistic").size()
    assert counts["mean"] == 6 and counts["difference"] == 3 and counts["ceiling_lower"] == 3
    assert counts["prevalence_bayesian"] == 6
    assert set(table["method"].dropna()) >= {"participants like these, and these conditions"}


def test_the_model_is_found_where_it_is(table):
    means = table[table["statistic"] == "mean"].set_index(["region", "model"])
    assert means["p_max"].idxmin() == ("region0", "one")
    assert means.loc[("region0", "one"), "p_max"] <= 0.01
    assert (means["p_max"].drop(("region0", "one")) > 0.05).all()
    gaps = table[table["statistic"] == "difference"].set_index("region")
    assert gaps.loc["region0", "p_holm"] < 0.01 < gaps["p_holm"].drop("region0").min()
    assert (gaps["p_holm"] >= gaps["p"]).all()


def test_means_are_those_of_participants(table):
    from bids_decoder.evaluation.dissimilarity import vectorise, whitened_correlation

    one = family(0, 2.0)[1]
    expected = whitened_correlation(
        vectorise(one.distances), vectorise(one.models["other"])[None], N_CONDITIONS
    ).mean()
    own = table[(table["region"] == "region1") & (table["model"] == "other")]
    row = own[own["statistic"] == "mean"].iloc[0]
    assert row["value"] == pytest.approx(expected)
    below = own[own["statistic"] == "below_ceiling"].iloc[0]
    ceiling = table[(table["region"] == "region1") & (table["statistic"] == "ceiling_lower")]
    assert below["value"] == pytest.approx(ceiling["value"].iloc[0] - expected)


def test_without_signal_corrected_p_values_are_rarely_small():
    found = [compare_people(family(seed, 0.0, 2), seed) for seed in range(1, 31)]
    least = [one["p_max"].min() for one in found]
    assert np.mean(np.array(least) <= 0.1) < 0.35
