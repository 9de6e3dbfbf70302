from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.multiple import is_headline
from bids_decoder.evaluation.retrieval import (
    Embedded,
    compare_retrieval,
    score_headline,
    score_retrieval,
)
from bids_decoder.evaluation.tables import METRIC_COLUMNS

FAST = Evaluation(pool_size=50, n_draws=10, n_permutations=99)


def make(n_images=80, n_repeats=3, noise=1.0, seed=0, n_dims=32):
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(n_images, n_dims))
    ids = np.array([f"im{i:04d}" for i in range(n_images)])
    order = rng.permutation(np.tile(np.arange(n_images), n_repeats))
    predicted = gallery[order] + noise * rng.normal(size=(len(order), n_dims))
    runs = np.array([f"run-{i % 6}" for i in range(len(order))])
    return {"predicted": predicted, "stimuli": ids[order], "gallery": gallery,
            "gallery_ids": ids, "runs": runs}


def score(data, settings=FAST, seed=1, **options):
    return score_retrieval(Embedded(**data), settings, np.random.default_rng(seed), **options)


def pick(metrics, **wanted):
    rows = metrics
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_columns_and_rows():
    metrics, predictions, _ = score(make(), training_mean=np.zeros(32), model="ridge")
    assert list(metrics) == list(METRIC_COLUMNS)
    key = ["metric", "direction", "unit", "similarity", "pool_size"]
    assert not metrics.duplicated(key).any()
    # 2 directions x 2 units x 4 similarities x (top1, top5 in pools; top1, top5, rank in all)
    assert len(metrics) == 2 * 2 * 4 * 5
    together = metrics[metrics["inference"] == "transductive"]
    assert set(together["similarity"]) == {"csls", "sinkhorn"}
    assert set(metrics.drop(together.index)["inference"]) == {"inductive"}
    assert not is_headline(metrics, "image")[together.index].any()
    assert set(metrics["model"]) == {"ridge"}
    assert metrics[["value", "chance", "ci_low", "ci_high", "p"]].notna().all(axis=None)
    assert metrics["value"].between(metrics["ci_low"], metrics["ci_high"]).all()
    assert len(predictions) == 240


def test_values_match_a_plain_loop():
    data = make(n_images=20, n_repeats=1, noise=2.0)
    metrics, predictions, _ = score(data)
    order = np.argsort(data["stimuli"])
    a, b = data["predicted"][order], data["gallery"]
    similarity = np.array([[np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for y in b]
                           for x in a])
    b2i = np.mean([similarity[i].argmax() == i for i in range(20)])
    i2b = np.mean([similarity[:, j].argmax() == j for j in range(20)])
    rank = np.median([(similarity[i] >= similarity[i, i]).sum() for i in range(20)])
    assert pick(metrics, metric="top1", direction="b2i", similarity="cosine").value == b2i
    assert pick(metrics, metric="top1", direction="i2b", similarity="cosine").value == i2b
    assert pick(metrics, metric="median_rank", direction="b2i", similarity="cosine").value == rank
    assert b2i != i2b
    correct = predictions["top1"] == predictions["stimulus"]
    assert correct.mean() == b2i
    assert ((predictions["rank_b2i"] == 1) == correct).all()


def test_pool_values_match_a_plain_loop_over_the_same_pools():
    data = make(n_images=40, n_repeats=1, noise=2.0)
    settings = replace(FAST, pool_size=10, n_draws=400)
    row = pick(score(data, settings)[0], metric="top1", direction="b2i", similarity="cosine",
               pool_size=10)
    order = np.argsort(data["stimuli"])
    a = data["predicted"][order] / np.linalg.norm(data["predicted"][order], axis=1)[:, None]
    b = data["gallery"] / np.linalg.norm(data["gallery"], axis=1)[:, None]
    similarity = a @ b.T
    better = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    # Chance that none of the 9 rivals, drawn from 39, is one of the better ones.
    exact = scipy.stats.hypergeom.pmf(0, 39, better, 9).mean()
    assert row.value == pytest.approx(exact, abs=0.03)


def test_swap_trap_a_hub_lowers_b2i_not_i2b():
    data = make(n_images=200, n_repeats=1, noise=0.5)
    clean = score(data)[0]
    hub = data["predicted"] + 1.0 * data["gallery"][7]
    hubbed = score({**data, "predicted": hub})[0]
    wanted = {"metric": "top1", "similarity": "cosine", "pool_size": 200}
    fall = {d: pick(clean, direction=d, **wanted).value - pick(hubbed, direction=d, **wanted).value
            for d in ("b2i", "i2b")}
    assert fall["b2i"] > 0.5
    assert fall["i2b"] < fall["b2i"] - 0.3
    csls = pick(hubbed, metric="top1", similarity="csls", pool_size=200, direction="b2i").value
    assert csls > pick(hubbed, direction="b2i", **wanted).value + 0.3
    mean = hub.mean(axis=0) - data["gallery"].mean(axis=0)
    centred = score({**data, "predicted": hub}, training_mean=mean)[0]
    value = pick(centred, metric="top1", similarity="centred", pool_size=200, direction="b2i").value
    assert value > 0.95


def test_permuted_labels_give_chance():
    data = make(n_images=300, noise=0.1)
    rng = np.random.default_rng(2)
    mixed = dict(zip(data["gallery_ids"], rng.permutation(data["gallery_ids"]), strict=True))
    data["stimuli"] = np.array([mixed[name] for name in data["stimuli"]])
    metrics = score(data)[0]
    top = metrics[(metrics["metric"] == "top1") & (metrics["pool_size"] == 50)]
    limits = scipy.stats.binom.interval(0.999, 300, 1 / 50)
    assert top["value"].between(limits[0] / 300, limits[1] / 300).all()
    assert (metrics["p"] > 0.001).all()


def test_high_signal_is_solved():
    metrics = score(make(n_images=300, noise=0.3, n_dims=64))[0]
    assert (metrics.loc[metrics["metric"] == "top1", "value"] > 0.95).all()
    assert (metrics["p"] == 1 / 100).all()


def test_averaging_repeats_helps():
    metrics = score(make(n_images=200, noise=3.0))[0]
    wanted = {"metric": "top1", "similarity": "cosine", "direction": "b2i", "pool_size": 50}
    single, averaged = (pick(metrics, unit=u, **wanted).value for u in ("single", "averaged"))
    assert averaged > single + 0.1


def test_full_gallery_uses_every_trial_once():
    data = make(n_images=30, n_repeats=4, noise=2.0)
    metrics, predictions, _ = score(data)
    row = pick(metrics, metric="top1", direction="b2i", similarity="cosine", unit="single")
    assert (row.pool_size, row.n_draws, row.n) == (30, 4, 30)
    assert row.value == pytest.approx((predictions["top1"] == predictions["stimulus"]).mean())
    averaged = pick(metrics, metric="top1", direction="b2i", similarity="cosine", unit="averaged")
    assert averaged.n_draws == 1


def test_intervals_count_all_trials_that_were_used():
    """Four trials of each image tell as much as four times as many images of one trial."""
    metrics = score(make(n_images=30, n_repeats=4, noise=2.0))[0]
    row = pick(metrics, metric="top1", direction="b2i", similarity="cosine", unit="single")
    half = 1.96 * np.sqrt(row.value * (1 - row.value) / 120)
    assert 0.9 < (row.ci_high - row.ci_low) / (2 * half) < 1.5


def test_hits_among_all_images_of_a_pool_are_no_score():
    for n_images, names in ((5, {"top1", "median_rank"}), (6, {"top1", "top5", "median_rank"})):
        metrics = score(make(n_images, 1))[0]
        assert set(metrics["metric"]) == names
    ranks = score(make(5, 1))[0].query("metric == 'median_rank'")
    assert (ranks[["chance", "ci_low", "ci_high"]] == [3, 1, 5]).all(axis=None)


def test_constant_predictions_score_at_chance():
    data = make(n_images=60, n_repeats=1)
    metrics = score({**data, "predicted": np.ones_like(data["predicted"])})[0]
    i2b = metrics[(metrics["direction"] == "i2b") & (metrics["similarity"] == "cosine")]
    np.testing.assert_allclose(i2b["value"], i2b["chance"], rtol=1e-6)


def test_p_values_are_uniform_under_the_null():
    p = []
    settings = replace(FAST, pool_size=20, n_draws=5)
    for seed in range(120):
        data = make(n_images=40, n_repeats=2, seed=seed)
        data["predicted"] = np.random.default_rng(seed + 999).normal(size=data["predicted"].shape)
        metrics = score(data, settings, seed)[0]
        chosen = metrics[(metrics["metric"] == "top5") & (metrics["pool_size"] == 20)
                         & (metrics["direction"] == "b2i") & (metrics["unit"] == "single")]
        p.append(chosen.set_index("similarity")["p"])
    for _, values in pd.DataFrame(p).items():
        assert scipy.stats.kstest(values, "uniform").pvalue > 0.005


def test_run_offsets_alone_are_not_significant():
    # Every run has its own pattern and its own kind of image: only runs are decodable.
    rng = np.random.default_rng(3)
    kind = rng.normal(size=(8, 32))
    run_of = np.repeat(np.arange(8), 10)
    data = {
        "predicted": 2 * kind[run_of] + rng.normal(size=(80, 32)),
        "gallery": 2 * kind[run_of] + rng.normal(size=(80, 32)),
        "stimuli": np.array([f"{i:02d}" for i in range(80)]),
        "gallery_ids": np.array([f"{i:02d}" for i in range(80)]),
        "runs": run_of.astype(str),
    }
    row = {"metric": "top5", "direction": "b2i", "similarity": "cosine", "pool_size": 80}
    within = pick(score(data)[0], **row)
    assert within.value > 3 * within.chance
    assert within.p > 0.05
    free = pick(score({**data, "runs": np.zeros(80, int).astype(str)})[0], **row)
    assert free.p == 1 / 100


def test_order_of_trials_and_extra_gallery_do_not_matter():
    data = make(n_repeats=1)
    base = score(data)[0]
    order = np.random.default_rng(4).permutation(80)
    moved = {**data, **{k: data[k][order] for k in ("predicted", "stimuli", "runs")}}
    moved["gallery"] = np.concatenate([data["gallery"], np.ones((5, 32))])
    moved["gallery_ids"] = np.concatenate([data["gallery_ids"], [f"x{i}" for i in range(5)]])
    columns = ["value", "pool_size"]
    pd.testing.assert_frame_equal(base[columns], score(moved)[0][columns])


def test_same_seed_same_result():
    first, second = score(make())[0], score(make())[0]
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_comparison_is_paired():
    good, bad = make(n_images=150, noise=2.0), make(n_images=150, noise=2.3)
    gap = compare_retrieval(
        Embedded(**good), Embedded(**bad), FAST, np.random.default_rng(0)
    )
    values = {}
    for name, data in (("a", good), ("b", bad)):
        row = pick(score(data, seed=0)[0], metric="top1", direction="b2i", unit="single",
                   similarity="cosine", pool_size=50)
        values[name] = row.value
    assert gap["value"] == pytest.approx(values["a"] - values["b"])
    assert gap["ci_low"] <= gap["value"] <= gap["ci_high"]
    assert gap["value"] > 0


@pytest.mark.parametrize(("change", "why"), [
    ({"predicted": np.full((240, 32), np.nan)}, "finite"),
    ({"predicted": np.zeros((240, 31))}, "gallery"),
    ({"gallery_ids": np.array(["im0000"] * 80)}, "unique"),
    ({"stimuli": np.array(["nobody"] * 240)}, "nobody"),
    ({"stimuli": np.array(["im0001"] * 240)}, "two are needed"),
])
def test_bad_input_is_named(change, why):
    with pytest.raises(InputError, match=why):
        score({**make(), **change})


def test_as_many_images_as_in_nsd():
    data = make(n_images=1000, n_repeats=3, noise=3.0, n_dims=64)
    metrics = score(data, Evaluation(n_permutations=199, n_draws=5))[0]
    assert (metrics["p"] == 1 / 200).all()


def test_predictions_list_the_nearest_images():
    data = make(n_images=4, n_repeats=2, noise=0.1)
    _, predictions, _ = score(data)
    assert (predictions["top1"] == predictions["stimulus"]).all()
    assert (predictions[["top1", "top2", "top3", "top4"]].nunique(axis=1) == 4).all()
    assert predictions["top5"].isna().all()
    np.testing.assert_allclose(predictions["similarity"], predictions["similarity_top1"])
    data["gallery"][1] = data["gallery"][0]
    tied = score(data)[1].groupby("stimulus")["rank_b2i"]
    assert tied.first().iloc[[0, 2, 3]].tolist() == [1.5, 1, 1]


@pytest.mark.parametrize("pool_size", [10, 1000])
def test_the_headline_alone_is_that_of_all_scores(pool_size):
    data, settings = make(24, 2, 2.0), replace(FAST, pool_size=pool_size)
    row, p_min = score_headline(Embedded(**data), settings, np.random.default_rng(3))
    metrics = score_retrieval(Embedded(**data), settings, np.random.default_rng(3)).metrics
    (expected,) = metrics[is_headline(metrics, "image")].to_dict("records")
    assert row["pool_size"] == min(pool_size, 24)
    for name in ("value", "chance", "ci_low", "ci_high", "p", "n_null", "n"):
        assert row[name] == expected[name]
    assert p_min == expected["p_min"]
