"""Retrieval: which image was seen, among a pool of images.

Directions are named by query and gallery, because the literature swaps them: ``b2i`` asks a
brain response for its image, ``i2b`` asks an image for its brain response.

A pool is a set of images and one response of each: the mean of the normalised predictions of
all repeats (unit ``averaged``), or one trial, a different one in each draw (unit ``single``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import median_interval, ratio_interval
from bids_decoder.evaluation.nulls import exchange_images, p_values, permutation_blocks
from bids_decoder.evaluation.similarity import (
    LARGEST_TRANSPORT,
    among_best,
    centre,
    cosine_similarity,
    csls,
    inference_of,
    normalise,
    sinkhorn,
)
from bids_decoder.evaluation.statistics import paired_difference
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_VALUES, Nulls, split_nulls

DIRECTIONS = ("b2i", "i2b")
TOP = (1, 5)
N_NEAREST = 5


@dataclass(frozen=True, eq=False)
class Embedded:
    """Predicted embeddings of held-out trials, and the images among which they are searched.

    Parameters
    ----------
    predicted : ndarray, shape (n_trials, n_dims)
        Finite.
    stimuli : ndarray of str, shape (n_trials,)
        What was seen in each trial.
    runs : ndarray of str, shape (n_trials,)
    gallery : ndarray, shape (n_gallery, n_dims)
        Embeddings of images. Images that were not tested are not used.
    gallery_ids : ndarray of str, shape (n_gallery,)
        Unique.
    """

    predicted: np.ndarray
    stimuli: np.ndarray
    runs: np.ndarray
    gallery: np.ndarray
    gallery_ids: np.ndarray

    def tested(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the tested images, the image number of each trial and each image's embedding.

        Raises
        ------
        InputError
            For shapes that do not fit, ids not in the gallery, or fewer than two images.
        """
        predicted, gallery = self.predicted, self.gallery
        images, image_of = np.unique(np.asarray(self.stimuli).astype(str), return_inverse=True)
        position = {name: row for row, name in enumerate(np.asarray(self.gallery_ids).astype(str))}
        absent = [name for name in images if name not in position]
        n_trials = len(self.stimuli)
        problems = {
            f"predictions {predicted.shape}, {n_trials} trials, gallery {gallery.shape}":
                predicted.shape != (n_trials, gallery.shape[1]),
            "predictions are not finite": not np.isfinite(predicted).all(),
            "gallery ids are not unique": len(position) != len(self.gallery_ids),
            f"no embedding of {absent[:5]}": bool(absent),
            f"{len(images)} image(s) tested, two are needed": len(images) < 2,
        }
        for why, bad in problems.items():
            if bad:
                raise InputError("retrieval cannot be scored", why, "check targets and split")
        return images, image_of, gallery[[position[name] for name in images]]


@dataclass(frozen=True, eq=False)
class _Case:
    """Similarities of all responses to all images, for one unit and one kind of similarity."""

    unit: str
    similarity: str
    matrix: np.ndarray  # (n_responses, n_images)
    transduce: Callable[[np.ndarray], np.ndarray] | None = None

    def squares(self, pools: _Pools) -> Iterator[np.ndarray]:
        """Yield the square of one response per image for each draw, (n_images, n_images)."""
        square = None
        for rows in pools.rows(self.unit):
            # Averages are the same in all draws.
            if square is None or self.unit == "single":
                square = self.matrix[rows]
                square = self.transduce(square) if self.transduce else square
            yield square


@dataclass(frozen=True, eq=False)
class _Pools:
    """Fixed pools: the same for all models scored with the same seed."""

    members: np.ndarray  # (n_draws, pool_size), image numbers
    trials: np.ndarray  # (n_draws, n_images), the trial that stands for each image

    @property
    def shape(self) -> tuple[int, int]:
        return self.members.shape

    def rows(self, unit: str) -> np.ndarray:
        """Return the rows of a :class:`_Case` in each draw; averages are the same in all."""
        n_draws, n_images = self.trials.shape
        everything = np.broadcast_to(np.arange(n_images), (n_draws, n_images))
        return self.trials if unit == "single" else everything

    def only(self, n_draws: int) -> _Pools:
        return _Pools(self.members[:n_draws], self.trials[:n_draws])


class RetrievalScores(NamedTuple):
    """Tables of :func:`score_retrieval`."""

    metrics: pd.DataFrame
    predictions: pd.DataFrame
    nulls: Nulls


def score_retrieval(
    trials: Embedded, settings: Evaluation, rng: np.random.Generator, *,
    training_mean: np.ndarray | None = None, model: str = "decoder",
) -> RetrievalScores:
    """Score predicted embeddings of held-out trials.

    Top-1 and top-5 are means over ``n_draws`` fixed pools of ``pool_size`` images; when more
    images than that were tested, they are also computed for the pool of all of them, and so is the
    median rank (of the mean rank over draws). Ties count in part. Intervals take images as
    clusters, with the pools fixed (:mod:`.intervals`). For p-values the pairing of images and
    responses is permuted, an image with all its repeats at a time, and within runs when each
    image was shown in one run only. Neighbours of CSLS are chosen from all tested images and one
    response of each, so that they do not depend on the pairing; so is the plan of optimal transport
    (``sinkhorn``, up to :data:`.similarity.LARGEST_TRANSPORT` images). Rows of both are marked
    as ``transductive``.

    Parameters
    ----------
    trials : Embedded
    settings : Evaluation
    rng : numpy.random.Generator
        Use a generator of the same seed for each model: pools and permutations are then equal.
    training_mean : ndarray, shape (n_dims,), optional
        Mean prediction of training trials; adds rows with similarity ``centred``.
    model : str
        Value of the column of this name.

    Returns
    -------
    metrics : DataFrame
        Columns as in :data:`.tables.METRIC_COLUMNS`. There are rows with unit ``averaged``
        when some image has repeats.
    predictions : DataFrame
        One row per trial, see :func:`_predictions`.
    nulls : Nulls
        Null distribution of each row of *metrics*.
    """
    _, image_of, vectors = trials.tested()
    sampled, full = _draw_pools(image_of, settings, rng)
    exchange = exchange_images(permutation_blocks(image_of, np.asarray(trials.runs)))
    permutations = exchange.draw(settings.n_permutations, rng)
    rows = []
    for case in _cases(trials.predicted, image_of, vectors, training_mean, settings):
        if sampled is not None:
            rows += _score_top(case, sampled, permutations)
        complete = full if case.unit == "single" else full.only(1)
        rows += _score_top(case, complete, permutations)
        rows += _score_rank(case, complete, permutations)
    metrics, nulls = split_nulls(rows)
    metrics = metrics.assign(
        model=model, split="test", null="fixed", p_min=exchange.smallest_p(settings.n_permutations)
    )
    return RetrievalScores(
        metrics.reindex(columns=list(METRIC_COLUMNS)), _predictions(trials),
        exchange.fixed_nulls(nulls, model),
    )


def score_headline(
    trials: Embedded, settings: Evaluation, rng: np.random.Generator
) -> tuple[dict[str, Any], float]:
    """Score the headline alone: top-1 of single trials, brain to image, by cosine, smallest pool.

    Returns
    -------
    row : dict
        Value, chance, interval, p-values and null distribution (:data:`.tables.NULL_VALUES`), equal
        to those of :func:`score_retrieval` with the same *rng*.
    p_min : float
        The smallest p-value possible.
    """
    _, image_of, vectors = trials.tested()
    sampled, full = _draw_pools(image_of, settings, rng)
    exchange = exchange_images(permutation_blocks(image_of, np.asarray(trials.runs)))
    permutations = exchange.draw(settings.n_permutations, rng)
    case = _Case("single", "cosine", cosine_similarity(trials.predicted, vectors))
    rows = _score_top(case, sampled or full, permutations)
    (row,) = (r for r in rows if (r["metric"], r["direction"]) == ("top1", "b2i"))
    return row, exchange.smallest_p(settings.n_permutations)


def compare_retrieval(
    first: Embedded, second: Embedded, settings: Evaluation, rng: np.random.Generator
) -> dict[str, Any]:
    """Compare two models on the same images and pools: top-1 of single trials by cosine.

    Parameters
    ----------
    first, second : Embedded
        The same trials and images, with embeddings in a space of each model's own.
    settings : Evaluation
    rng : numpy.random.Generator

    Returns
    -------
    dict
        Columns of :data:`.comparison.COMPARISON_COLUMNS` without the names: first minus second,
        its interval over images, and p from exchanging the models at random for each image.
    """
    start, hits = rng.bit_generator.state, []
    for trials in (first, second):
        rng.bit_generator.state = start
        _, image_of, vectors = trials.tested()
        sampled, full = _draw_pools(image_of, settings, rng)
        pools = sampled or full
        case = _Case("single", "cosine", cosine_similarity(trials.predicted, vectors))
        hits.append(np.diagonal(_hit_counts(case, pools)["b2i", 1]))
    size = np.bincount(pools.members.ravel(), minlength=len(vectors))
    gap = paired_difference(*hits, size, rng=rng, n_permutations=settings.n_permutations)
    return {
        "metric": "top1", "direction": "b2i", "unit": "single", "similarity": "cosine",
        "pool_size": pools.shape[1], "value": gap.value, "ci_low": gap.ci_low,
        "ci_high": gap.ci_high, "p": gap.p, "test": "exchange of images", "n": len(vectors),
    }


def _draw_pools(
    image_of: np.ndarray, settings: Evaluation, rng: np.random.Generator
) -> tuple[_Pools | None, _Pools]:
    """Draw the pools, and return the pool of all images in which each trial is used."""
    counts = np.bincount(image_of)
    n_images, size = len(counts), settings.pool_size
    by_image = np.split(np.argsort(image_of, kind="stable"), np.cumsum(counts)[:-1])
    start = rng.integers(counts)
    members = np.stack([
        np.sort(rng.choice(n_images, min(size, n_images), replace=False))
        for _ in range(settings.n_draws)
    ])
    # Draws take turns with the trials of an image, so that all trials are used equally.
    trials = np.stack([
        [rows[(start[i] + draw) % len(rows)] for i, rows in enumerate(by_image)]
        for draw in range(settings.n_draws)
    ])
    n_full = min(int(counts.max()), settings.n_draws)
    everything = np.tile(np.arange(n_images), (n_full, 1))
    full = _Pools(everything, trials[:n_full])
    return (_Pools(members, trials) if n_images > size else None), full


def _cases(
    predicted: np.ndarray, image_of: np.ndarray, vectors: np.ndarray,
    training_mean: np.ndarray | None, settings: Evaluation,
) -> Iterator[_Case]:
    embeddings = {"cosine": predicted}
    if training_mean is not None:
        embeddings["centred"] = centre(predicted, training_mean)
    repeated = len(image_of) > len(vectors)
    for name, embedding in embeddings.items():
        units = {"single": embedding}
        if repeated:
            units["averaged"] = average_repeats(embedding, image_of)
        for unit, responses in units.items():
            matrix = cosine_similarity(responses, vectors)
            yield _Case(unit, name, matrix)
            if name == "cosine":
                local = partial(csls, n_neighbours=settings.csls_neighbours)
                yield _Case(unit, "csls", matrix, local)
                if len(vectors) <= LARGEST_TRANSPORT:
                    yield _Case(unit, "sinkhorn", matrix, sinkhorn)


def average_repeats(predicted: np.ndarray, image_of: np.ndarray) -> np.ndarray:
    """Average the normalised predictions of the trials of each image, (n_images, n_dims)."""
    frame = pd.DataFrame(normalise(predicted))
    return frame.groupby(image_of).mean().to_numpy()


def _hit_counts(case: _Case, pools: _Pools) -> dict[tuple[str, int], np.ndarray]:
    """Count, over pools, how often a gallery item is among the best of a query.

    Every image is a query in every pool, in it or not: the score of a permuted pairing is then
    read from the counts. Keys are direction and k; shape (n_queries, n_images).
    """
    n_images = case.matrix.shape[1]
    counts = {
        (direction, k): np.zeros((n_images, n_images), dtype=np.float32)
        for direction in DIRECTIONS for k in TOP if k < pools.shape[1]
    }
    for members, square in zip(pools.members, case.squares(pools), strict=True):
        for direction, matrix in zip(DIRECTIONS, (square, square.T), strict=True):
            against = np.ascontiguousarray(matrix[:, members])
            for k in TOP:
                if k < pools.shape[1]:
                    counts[direction, k][:, members] += among_best(against, k)
    return counts


def _score_top(case: _Case, pools: _Pools, permutations: np.ndarray) -> list[dict]:
    pool_size = pools.shape[1]
    n_images = case.matrix.shape[1]
    size = np.bincount(pools.members.ravel(), minlength=n_images).astype(float)
    n_trials = len(np.unique(pools.rows(case.unit)))
    rows = []
    for (direction, k), counts in _hit_counts(case, pools).items():
        hits = np.diagonal(counts).astype(float)
        value = hits.sum() / size.sum()
        null = _paired(counts, permutations).sum(axis=1, dtype=float) / size.sum()
        low, high = ratio_interval(hits, size, n_trials)
        rows.append({
            **_identity(case, pools), "metric": f"top{k}", "direction": direction,
            "value": value, "chance": k / pool_size, "ci_low": low, "ci_high": high,
            **p_values(float(value), null), NULL_VALUES: null,
        })
    return rows


def _score_rank(case: _Case, pools: _Pools, permutations: np.ndarray) -> list[dict]:
    n_images = case.matrix.shape[1]
    ranks = {direction: np.zeros((n_images, n_images)) for direction in DIRECTIONS}
    for square in case.squares(pools):
        for direction, matrix in zip(DIRECTIONS, (square, square.T), strict=True):
            ranks[direction] += scipy.stats.rankdata(-matrix, axis=1) / pools.shape[0]
    rows = []
    for direction, mean_rank in ranks.items():
        own = np.diagonal(mean_rank)
        null = np.median(_paired(mean_rank, permutations), axis=1)
        low, high = median_interval(own, n_images)
        rows.append({
            **_identity(case, pools), "metric": "median_rank", "direction": direction,
            "value": np.median(own), "chance": (n_images + 1) / 2, "ci_low": low,
            "ci_high": high, **p_values(float(np.median(own)), null, "less"), NULL_VALUES: null,
        })
    return rows


def _identity(case: _Case, pools: _Pools) -> dict:
    return {
        "unit": case.unit, "similarity": case.similarity,
        "inference": inference_of(case.similarity), "n": case.matrix.shape[1],
        "pool_size": pools.shape[1], "n_draws": pools.shape[0],
    }


def _paired(values: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    """Look up the values of permuted pairs, shape (n_permutations, n_images)."""
    return values[np.arange(len(values)), permutations]


def _predictions(trials: Embedded) -> pd.DataFrame:
    """Return one row per trial, by raw cosine among all ``pool_size`` tested images.

    ``stimulus``, ``run_group``, the rank and the cosine of the true image (``rank_b2i``,
    ``similarity``), the nearest images ``top1`` to ``top5`` (None where there are fewer), and the
    cosine of the first of them (``similarity_top1``).
    """
    images, image_of, vectors = trials.tested()
    similarity = cosine_similarity(trials.predicted, vectors)
    own = similarity[np.arange(len(similarity)), image_of]
    above = (similarity > own[:, None]).sum(axis=1)
    tied = (similarity == own[:, None]).sum(axis=1)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :N_NEAREST]
    found = {f"top{k + 1}": images[nearest[:, k]] for k in range(nearest.shape[1])}
    absent = {f"top{k + 1}": None for k in range(nearest.shape[1], N_NEAREST)}
    return pd.DataFrame({
        "stimulus": images[image_of], "run_group": np.asarray(trials.runs),
        "rank_b2i": above + (tied + 1) / 2,
        **found, **absent, "similarity": own, "similarity_top1": similarity.max(axis=1),
        "pool_size": len(images),
    })
