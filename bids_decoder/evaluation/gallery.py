"""Retrieval among many images: the tested ones and a gallery of others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.averages import average_rows
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.intervals import median_interval, ratio_interval
from bids_decoder.evaluation.nulls import exchange_images, p_values, permutation_blocks
from bids_decoder.evaluation.retrieval import Embedded, average_repeats
from bids_decoder.evaluation.similarity import csls, inference_of, normalise
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_VALUES, Nulls, split_nulls

TOP = (1, 5, 10)
N_LISTED = 10

_CHUNK = 256


def nearest(queries: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the images most similar to each query.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, n_dims)
    gallery : ndarray, shape (n_gallery, n_dims)
    k : int
        At most the size of the gallery.

    Returns
    -------
    rows : ndarray of int, shape (n_queries, k)
        Rows of *gallery*, the nearest first; among equal ones the first.
    similarity : ndarray of float32, shape (n_queries, k)
        Cosines.
    """
    k = min(k, len(gallery))
    units = normalise(gallery).astype(np.float32)
    rows, values = [], []
    for start in range(0, len(queries), _CHUNK):
        cosines = normalise(queries[start : start + _CHUNK]).astype(np.float32) @ units.T
        best = np.sort(np.argpartition(-cosines, k - 1, axis=1)[:, :k], axis=1)
        found = np.take_along_axis(cosines, best, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        rows.append(np.take_along_axis(best, order, axis=1))
        values.append(np.take_along_axis(found, order, axis=1))
    return np.concatenate(rows), np.concatenate(values)


def rank_tested(cosines: np.ndarray, n_tested: int) -> np.ndarray:
    """Rank each tested image among all images, for each query.

    Parameters
    ----------
    cosines : ndarray, shape (n_queries, n_images)
        Tested images first.
    n_tested : int

    Returns
    -------
    ndarray of float64, shape (n_queries, n_tested)
        1 is best; ties share their mean rank.
    """
    ranks = np.empty((len(cosines), n_tested))
    for query, row in enumerate(cosines):
        ordered, own = np.sort(row), row[:n_tested]
        above = len(row) - np.searchsorted(ordered, own, side="right")
        tied = np.searchsorted(ordered, own, side="right") - np.searchsorted(ordered, own)
        ranks[query] = above + (tied + 1) / 2
    return ranks


def score_gallery(
    trials: Embedded, distractors: np.ndarray, settings: Evaluation, rng: np.random.Generator,
    *, model: str = "decoder",
) -> tuple[pd.DataFrame, Nulls]:
    """Score retrieval among the tested images and a gallery.

    Parameters
    ----------
    trials : Embedded
    distractors : ndarray, shape (n_distractors, n_dims)
        Images that were not shown in these trials.
    settings : Evaluation
    rng : numpy.random.Generator
    model : str

    Returns
    -------
    metrics : DataFrame
        Columns as in :data:`.tables.METRIC_COLUMNS`: top-1, top-5, top-10 and median rank, brain
        to image, for single trials and averaged repeats, and with CSLS where there is one
        response per image. Intervals and p as in ``score_retrieval``; the hits of the trials of
        one image are averaged.
    nulls : Nulls
        Null distribution of each row of *metrics*.
    """
    images, image_of, vectors = trials.tested()
    units = normalise(np.concatenate([vectors, distractors])).astype(np.float32)
    exchange = exchange_images(permutation_blocks(image_of, np.asarray(trials.runs)))
    permutations = exchange.draw(settings.n_permutations, rng)
    repeated = len(image_of) > len(images)
    responses = {"single": (trials.predicted, image_of)}
    if repeated:
        averaged = average_repeats(trials.predicted, image_of)
        responses["averaged"] = (averaged, np.arange(len(images)))
    rows = []
    for unit, (queries, seen) in responses.items():
        cosines = normalise(queries).astype(np.float32) @ units.T
        similarities = {"cosine": cosines}
        if unit == "averaged" or not repeated:
            similarities["csls"] = csls(cosines, settings.csls_neighbours)
        for name, similarity in similarities.items():
            ranks = rank_tested(similarity, len(images))
            rows += [
                {"unit": unit, "similarity": name, "inference": inference_of(name),
                 "n": len(images), "pool_size": len(units), "n_draws": 1, "direction": "b2i", **row}
                for row in _rows(ranks, seen, len(units), permutations)
            ]
    table, nulls = split_nulls(rows)
    table = table.assign(
        model=model, split="test", null="fixed", p_min=exchange.smallest_p(settings.n_permutations)
    )
    return table.reindex(columns=list(METRIC_COLUMNS)), exchange.fixed_nulls(nulls, model)


def _rows(
    ranks: np.ndarray, seen: np.ndarray, n_images: int, permutations: np.ndarray
) -> list[dict]:
    """Score the mean over trials of each seen image, for every image as the answer."""
    rows = []
    for k in (k for k in TOP if k < n_images):
        hits = average_rows((ranks <= k).astype(float), seen)
        own = np.diagonal(hits)
        low, high = ratio_interval(own, np.ones(len(own)), len(seen))
        null = hits[np.arange(len(own)), permutations].mean(axis=1)
        rows.append({
            "metric": f"top{k}", "value": own.mean(), "chance": k / n_images, "ci_low": low,
            "ci_high": high, **p_values(float(own.mean()), null), NULL_VALUES: null,
        })
    mean_ranks = average_rows(ranks.astype(float), seen)
    own = np.diagonal(mean_ranks)
    low, high = median_interval(own, n_images)
    null = np.median(mean_ranks[np.arange(len(own)), permutations], axis=1)
    value = float(np.median(own))
    rows.append({
        "metric": "median_rank", "value": value, "chance": (n_images + 1) / 2, "ci_low": low,
        "ci_high": high, **p_values(value, null, "less"), NULL_VALUES: null,
    })
    return rows


def list_nearest(
    trials: Embedded, distractors: np.ndarray, distractor_ids: np.ndarray
) -> pd.DataFrame:
    """List the nearest images of each tested image's averaged response.

    Parameters are those of :func:`score_gallery`, with the names of the distractors.

    Returns
    -------
    DataFrame
        ``stimulus``, ``n_trials``, ``rank``, ``similarity`` (cosine with the true image),
        ``pool_size``, then ``top1`` … ``top10`` and ``similarity1`` … ``similarity10``.
    """
    images, image_of, vectors = trials.tested()
    names = np.concatenate([images, np.asarray(distractor_ids, dtype=str)])
    pool = np.concatenate([vectors, distractors])
    queries = average_repeats(trials.predicted, image_of)
    cosines = normalise(queries).astype(np.float32) @ normalise(pool).astype(np.float32).T
    ranks = np.diagonal(rank_tested(cosines, len(images)))
    rows, similarity = nearest(queries, pool, N_LISTED)
    best = {f"top{k + 1}": names[rows[:, k]] for k in range(rows.shape[1])}
    values = {f"similarity{k + 1}": similarity[:, k] for k in range(rows.shape[1])}
    return pd.DataFrame({
        "stimulus": images, "n_trials": np.bincount(image_of), "rank": ranks,
        "similarity": np.diagonal(cosines), "pool_size": len(pool), **best, **values,
    })
