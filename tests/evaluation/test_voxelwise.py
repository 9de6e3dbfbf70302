"""Accuracy per voxel, intervals, ceilings, comparisons, identification."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import mean_interval
from bids_decoder.evaluation.tables import ENCODING_COLUMNS
from bids_decoder.evaluation.voxelwise import (
    COMPARISON_COLUMNS,
    Encoded,
    Measured,
    best_voxels,
    common_selection,
    compare_encoders,
    contributions,
    identify,
    score_encoding,
    voxel_correlations,
    voxel_maps,
)

SETTINGS = Evaluation(pool_size=10, n_draws=3, n_permutations=199)
N_IMAGES, N_REPEATS, N_GOOD, N_BAD = 30, 2, 12, 20


def make_case(rng, sizes=(1.0,), with_ceiling=True):
    """Voxels of which some follow what models predict, each model with noise of its own."""
    n_voxels = N_GOOD + N_BAD
    signal = rng.standard_normal((N_IMAGES, n_voxels)) * (np.arange(n_voxels) < N_GOOD)
    rows = np.repeat(np.arange(N_IMAGES), N_REPEATS)
    ids = np.array([f"i{i:02d}" for i in range(N_IMAGES)])
    betas = signal[rows] + rng.standard_normal((len(rows), n_voxels))
    ceiling = np.where(np.arange(n_voxels) < N_GOOD, (2 / 3) ** 0.5, 0.1)
    measured = Measured(betas, ids[rows], np.full(len(rows), "r"),
                        ceiling if with_ceiling else None)
    models = {}
    for number, size in enumerate(sizes):
        raw = signal + size * rng.standard_normal(signal.shape)
        scores = 0.5 * (np.arange(n_voxels) < N_GOOD) + 0.01 * rng.random(n_voxels)
        models[f"m{number}"] = Encoded(raw, raw, scores, best_voxels(scores, N_GOOD))
    return measured, models


@pytest.fixture
def case():
    measured, models = make_case(np.random.default_rng(0), (0.5, 2.0))
    return measured, models, common_selection(models, N_GOOD)


def row_of(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return row


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 25, 4))
    first[:, 3] = 2.5
    found = voxel_correlations(first, second)
    expected = [pearsonr(first[:, v], second[:, v]).statistic for v in range(3)]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-6)
    assert found[3] == 0


def test_repeats_are_averaged():
    measured = Measured(np.array([[1.0], [5.0], [3.0]]), np.array(["b", "a", "b"]),
                        np.full(3, "r"), None)
    assert measured.images.tolist() == ["a", "b"]
    assert measured.averaged().ravel().tolist() == [5.0, 2.0]


@pytest.mark.parametrize("share", [0.0, 0.6, 0.95])
def test_contributions_add_up_and_vary_as_resampled_correlations(share):
    rng = np.random.default_rng(2)
    first = rng.standard_normal((400, 1))
    second = share * first + (1 - share**2) ** 0.5 * rng.standard_normal((400, 1))
    parts = contributions(first, second)
    assert parts.mean() == pytest.approx(voxel_correlations(first, second)[0], abs=1e-6)
    resampled = [
        voxel_correlations(first[rows], second[rows])[0]
        for rows in rng.integers(400, size=(600, 400))
    ]
    assert parts.std() / 400**0.5 == pytest.approx(np.std(resampled), rel=0.15)


def test_table_of_a_known_case(case):
    measured, models, common = case
    table, _ = score_encoding(measured, models, common, settings=SETTINGS, seed=0)
    assert list(table.columns) == list(ENCODING_COLUMNS)
    best = row_of(table, model="m0", metric="correlation", voxels="common")
    target = measured.averaged()[:, common]
    expected = voxel_correlations(models["m0"].raw[:, common], target).mean()
    assert best["value"] == pytest.approx(expected, abs=1e-6)
    assert best["ci_low"] < best["value"] < best["ci_high"]
    assert best["p"] == 1 / 200
    normalised = row_of(table, model="m0", metric="correlation_normalised", voxels="common")
    assert normalised["value"] == pytest.approx(best["value"] / (2 / 3) ** 0.5)
    share = row_of(table, model="m0", metric="share_significant", voxels="region")
    assert share["value"] == pytest.approx(N_GOOD / (N_GOOD + N_BAD), abs=0.07)
    assert row_of(table, model="m0", metric="correlation", voxels="region")["n_voxels"] == 32
    single = row_of(table, model="m0", metric="top1", voxels="selected", direction="b2i",
                    unit="single", similarity="cosine", pool_size=10)
    assert single["value"] > 0.6 and single["chance"] == 0.1


def test_null_distributions_say_of_which_voxels(case):
    measured, models, common = case
    table, nulls = score_encoding(measured, models, common, settings=SETTINGS, seed=0)
    tested = table[table["metric"] == "correlation"]
    assert set(tested["null"]) == {"fixed"} and set(tested["n_null"]) == {SETTINGS.n_permutations}
    keys = ["model", "metric", "voxels"]
    own = nulls.table[nulls.table["metric"] == "correlation"]
    assert set(own["voxels"]) == {"region", "common", "selected"}
    assert set(own.groupby(keys)["permutation"].nunique()) == {SETTINGS.n_permutations}
    assert not own.duplicated([*keys, "permutation"]).any()


def test_interval_covers_the_bootstrap_of_the_mean(case):
    measured, models, common = case
    target = measured.averaged()[:, common]
    raw = models["m0"].raw[:, common]
    parts = contributions(raw, target).mean(axis=1) / N_IMAGES
    rng = np.random.default_rng(3)
    low, high = mean_interval(parts * N_IMAGES)
    means = [voxel_correlations(raw[rows], target[rows]).mean()
             for rows in rng.integers(N_IMAGES, size=(1000, N_IMAGES))]
    assert high - low == pytest.approx(np.diff(np.quantile(means, [0.025, 0.975]))[0], rel=0.35)


def test_no_ceiling_no_normalised_rows():
    measured, models = make_case(np.random.default_rng(0), with_ceiling=False)
    common = common_selection(models, N_GOOD)
    table, _ = score_encoding(measured, models, common, settings=SETTINGS, seed=0)
    assert "correlation_normalised" not in set(table["metric"])
    maps = voxel_maps(measured, models["m0"], SETTINGS, 0)
    assert set(maps) == {"correlation", "score", "logq"}


def test_the_better_encoder_wins_the_comparison_and_the_same_one_does_not(case):
    measured, models, common = case
    models["again"] = models["m0"]
    pairs = (("m0", "m1", "noise"), ("m0", "again", "nothing"), ("m0", "absent", ""))
    table = compare_encoders(measured, models, common, pairs, settings=SETTINGS, seed=0)
    assert list(table.columns) == list(COMPARISON_COLUMNS)
    assert len(table) == 4
    better = row_of(table, second="m1", voxels="common")
    accuracy = [voxel_correlations(models[m].raw[:, common], measured.averaged()[:, common]).mean()
                for m in ("m0", "m1")]
    assert better["value"] == pytest.approx(accuracy[0] - accuracy[1], abs=1e-6)
    assert better["ci_low"] > 0 and better["p"] < 0.05
    assert row_of(table, second="again", voxels="common")["value"] == 0


def test_permuted_predictions_are_at_chance():
    p_values, shares = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        measured, models = make_case(rng, (0.5,))
        model = models["m0"]
        order = rng.permutation(N_IMAGES)
        mixed = {"m0": Encoded(model.raw[order], model.calibrated[order], model.scores,
                               model.selected)}
        table, _ = score_encoding(measured, mixed, model.selected, settings=SETTINGS, seed=seed)
        p_values.append(row_of(table, metric="correlation", voxels="common")["p"])
        shares.append(row_of(table, metric="share_significant", voxels="region")["value"])
    assert np.mean(np.array(p_values) < 0.05) <= 0.2
    assert 0.3 < np.mean(p_values) < 0.7
    assert np.mean(shares) < 0.03


def test_permutations_stay_within_runs():
    """Responses that tell only the run must not look like accuracy."""
    rng = np.random.default_rng(4)
    run = np.repeat(np.arange(5), 6)
    level = rng.standard_normal(5)[run][:, None] * np.ones((1, 8))
    noise = rng.standard_normal((2, 30, 8))
    ids = np.array([f"i{i:02d}" for i in range(30)])
    measured = Measured(level + noise[0], ids, run.astype(str), None)
    everything = np.ones(8, bool)
    models = {"m": Encoded(level + noise[1], level, np.ones(8), everything)}
    table, _ = score_encoding(measured, models, everything, settings=SETTINGS, seed=0)
    row = row_of(table, metric="correlation", voxels="region")
    assert row["value"] > 0.2 and row["p"] > 0.05


def test_maps_know_where_the_responses_are(case):
    measured, models, _ = case
    maps = voxel_maps(measured, models["m0"], SETTINGS, 0)
    good = np.arange(N_GOOD + N_BAD) < N_GOOD
    assert (maps["logq"][good] > -np.log10(0.05)).all()
    assert (maps["logq"] >= 0).all()
    np.testing.assert_allclose(
        maps["normalised"][good], maps["correlation"][good] / (2 / 3) ** 0.5, rtol=1e-5
    )
    assert not maps["normalised"][~good].any()


def test_identified_trials(case):
    measured, models, _ = case
    metrics, trials, _ = identify(measured, models["m0"], SETTINGS, 0)
    assert len(trials) == len(measured.stimuli)
    assert (trials["top1"] == trials["stimulus"]).mean() > 0.5
    assert set(metrics["direction"]) == {"b2i", "i2b"}


def test_too_few_images_are_refused(case):
    measured, models, common = case
    two = Measured(measured.betas[:4], measured.stimuli[:4], measured.runs[:4], None)
    with pytest.raises(InputError, match="three are needed"):
        score_encoding(two, models, common, settings=SETTINGS, seed=0)
