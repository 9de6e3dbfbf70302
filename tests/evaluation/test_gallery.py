from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.gallery import list_nearest, nearest, rank_tested, score_gallery
from bids_decoder.evaluation.retrieval import Embedded

FEW = Evaluation(n_permutations=199)


def case(noise, n_images=30, n_repeats=2, n_distractors=400, n_dims=24, seed=0):
    rng = np.random.default_rng(seed)
    gallery = rng.standard_normal((n_images, n_dims))
    distractors = rng.standard_normal((n_distractors, n_dims))
    rows = np.repeat(np.arange(n_images), n_repeats)
    predicted = gallery[rows] + noise * rng.standard_normal((len(rows), n_dims))
    ids = np.array([f"im{i:03d}" for i in range(n_images)])
    runs = np.array([f"run{i % 4}" for i in range(len(rows))])
    return Embedded(predicted, ids[rows], runs, gallery, ids), distractors


def score(trials, distractors, settings=FEW):
    return score_gallery(trials, distractors, settings, np.random.default_rng(1))[0]


def value(metrics, metric, unit="single", similarity="cosine"):
    chosen = metrics[(metrics["metric"] == metric) & (metrics["unit"] == unit)
                     & (metrics["similarity"] == similarity)]
    return chosen.iloc[0]


def test_nearest_agrees_with_a_literal_sort():
    rng = np.random.default_rng(0)
    queries, gallery = rng.standard_normal((7, 5)), rng.standard_normal((300, 5))
    gallery[40] = gallery[7]
    rows, similarity = nearest(queries, gallery, 9)
    for query, found, values in zip(queries, rows, similarity, strict=True):
        cosines = gallery @ query / np.linalg.norm(gallery, axis=1) / np.linalg.norm(query)
        assert np.array_equal(found, np.argsort(-np.float32(cosines), kind="stable")[:9])
        np.testing.assert_allclose(values, cosines[found], atol=1e-6)
    assert nearest(queries, gallery[:3], 9)[0].shape == (7, 3)


def test_ranks_agree_with_scipy():
    cosines = np.random.default_rng(0).integers(0, 9, (6, 40)).astype(float)
    expected = scipy.stats.rankdata(-cosines, axis=1)[:, :10]
    assert np.array_equal(rank_tested(cosines, 10), expected)


def test_good_predictions_are_found_among_many():
    metrics = score(*case(0.8))
    averaged, single = value(metrics, "top1", "averaged"), value(metrics, "top1")
    assert averaged["value"] > single["value"] > 0.3
    assert single["pool_size"] == 430 and single["chance"] == 1 / 430
    assert single["ci_low"] < single["value"] < single["ci_high"] and single["p"] == 1 / 200
    assert value(metrics, "median_rank", "averaged")["value"] < 3
    assert value(metrics, "top1", "averaged", "csls")["value"] > 0.3


def test_noise_is_at_chance():
    metrics = score(*case(1e6, n_images=60))
    assert value(metrics, "median_rank")["value"] == pytest.approx(230.5, rel=0.25)
    assert value(metrics, "top10")["p"] > 0.02


def test_constant_predictions_find_nothing():
    trials, distractors = case(0.5)
    metrics = score(replace(trials, predicted=np.ones_like(trials.predicted)), distractors)
    assert value(metrics, "top1")["value"] < 0.05
    assert value(metrics, "median_rank")["p"] > 0.1


def test_lists_name_the_true_image_and_the_gallery():
    trials, distractors = case(0.6)
    names = np.array([f"gallery/{i}" for i in range(len(distractors))])
    table = list_nearest(trials, distractors, names)
    assert (table["n_trials"] == 2).all() and (table["pool_size"] == 430).all()
    first = table["rank"] == 1
    assert first.mean() > 0.5
    assert (table.loc[first, "top1"] == table.loc[first, "stimulus"]).all()
    assert table["top2"].str.startswith("gallery/").any()
    cosines = table[[f"similarity{k}" for k in range(1, 11)]].to_numpy()
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_named_among_ten_thousand_images():
    trials, distractors = case(
        0.8, n_images=200, n_repeats=3, n_distractors=10_000, n_dims=256
    )
    names = np.array([f"gallery/{i}" for i in range(len(distractors))])
    table = list_nearest(trials, distractors, names)
    assert (table["rank"] == 1).mean() > 0.9
