"""Learning curves: score of held-out trials by number of training runs, and its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import fold_inflation
from bids_decoder.evaluation.similarity import cosine_similarity

N_BOOTSTRAP = 1000


def label_hits(scores: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return which labels are right.

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_classes)
    truth : ndarray of int, shape (n_trials,)

    Returns
    -------
    dict of str to ndarray, shape (n_trials,)
        0 or 1, by metric.
    """
    return {"balanced_accuracy": (scores.argmax(axis=1) == truth).astype(np.float32)}


def stimulus_hits(
    predicted: np.ndarray, gallery: np.ndarray, truth: np.ndarray, pool_size: int
) -> dict[str, np.ndarray]:
    """Return how well the stimulus of each trial is found among those that were tested.

    Parameters
    ----------
    predicted : ndarray, shape (n_trials, n_dims)
    gallery : ndarray, shape (n_ids, n_dims)
        Of which only the rows in *truth* are searched.
    truth : ndarray of int, shape (n_trials,)
        Row of the right stimulus in *gallery*.
    pool_size : int
        Stimuli in a pool; the score is the expected value over all pools of this size.

    Returns
    -------
    dict of str to ndarray, shape (n_trials,)
        Values from 0 to 1, by metric.
    """
    tested, own = np.unique(truth, return_inverse=True)
    similarity = cosine_similarity(predicted, gallery[tested])
    right = similarity[np.arange(len(own)), own][:, None]
    others = len(tested) - 1
    above, tied = (similarity > right).sum(axis=1), (similarity == right).sum(axis=1) - 1
    ahead = above + tied / 2
    drawn = min(pool_size, len(tested)) - 1
    # The probability that none of the better ones is drawn is a product of shares.
    shares = [np.clip(1 - ahead / (others - k), 0, 1) for k in range(drawn)]
    first = np.prod(shares, axis=0) if shares else np.ones(len(own))
    return {
        "top1": first.astype(np.float32),
        "two_way": (1 - ahead / max(others, 1)).astype(np.float32),
    }


@dataclass(frozen=True, eq=False)
class Hits:
    """Scores of the same held-out trials after training on subsets of different size.

    Parameters
    ----------
    values : ndarray, shape (n_sizes, n_draws, n_trials)
        From 0 to 1; trials of all folds.
    strata : ndarray of int, shape (n_trials,)
        Label of each trial, from 0, where a score is a mean over labels; otherwise 0.
    clusters : ndarray of int, shape (n_trials,)
        Run, or stimulus, of each trial, from 0.
    inflation : float
        Of the variance, by training trials that folds share (:func:`curve_inflation`).
    """

    values: np.ndarray
    strata: np.ndarray
    clusters: np.ndarray
    inflation: float = 1.0

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit."""
        n_trials = self.values.shape[-1]
        if self.values.ndim != 3 or not n_trials == len(self.strata) == len(self.clusters):
            raise InputError(
                "learning curve", f"hits {self.values.shape}, {len(self.strata)} labels, "
                f"{len(self.clusters)} clusters", "this is a fault of the program, please report it"
            )

    def curve(self) -> np.ndarray:
        """Return the score of each size, mean over draws, (n_sizes,)."""
        mean, n_strata = self.values.mean(axis=1, dtype=np.float64), self.strata.max() + 1
        counts = np.bincount(self.strata, minlength=n_strata)
        sums = np.stack([np.bincount(self.strata, row, n_strata) for row in mean])
        return (sums[:, counts > 0] / counts[counts > 0]).mean(axis=1)


def curve_inflation(n_test: np.ndarray, n_train: np.ndarray) -> float:
    """Return the factor by which shared training trials inflate the variance of a curve.

    Parameters
    ----------
    n_test, n_train : ndarray of int, shape (n_folds,)
        Trials of each fold, at the largest size.

    Returns
    -------
    float
        That of :func:`.intervals.fold_inflation`. With one fold ``1 + n_test / n_train`` (Nadeau
        and Bengio 2003, Machine Learning 52), because the curve is to hold for other training
        trials.
    """
    if len(n_test) > 1:
        return fold_inflation(np.arange(len(n_test)))
    return 1.0 + float(n_test[0] / n_train[0])


def resample_curve(
    hits: Hits, rng: np.random.Generator, n_bootstrap: int = N_BOOTSTRAP
) -> np.ndarray:
    """Draw curves as they might have come out with other runs, trials and subsets.

    Draws of subsets are resampled together with clusters of trials (runs, which also are the folds,
    or stimuli) and, independently, with single trials. The two deviations are added, and scaled at
    each size so that the variance is the larger one of both, as in
    :func:`.intervals.proportion_interval`: few clusters alone say little about their variance. It
    is then inflated for what folds share.

    Parameters
    ----------
    hits : Hits
    rng : numpy.random.Generator
    n_bootstrap : int

    Returns
    -------
    ndarray, shape (n_bootstrap, n_sizes)
        Not clipped; centred on :meth:`Hits.curve`.
    """
    single = np.arange(len(hits.clusters))
    n_clusters = int(hits.clusters.max()) + 1
    parts = [_deviations(hits, single, rng, n_bootstrap)]
    if 1 < n_clusters < len(single):
        parts.append(_deviations(hits, hits.clusters, rng, n_bootstrap))
    variances = np.var(parts, axis=1)
    scale = np.sqrt(variances.max(axis=0) / np.maximum(variances.sum(axis=0), 1e-300))
    return hits.curve() + np.sqrt(hits.inflation) * scale * sum(parts)


def _deviations(
    hits: Hits, clusters: np.ndarray, rng: np.random.Generator, n_bootstrap: int
) -> np.ndarray:
    """Return curves of resampled clusters and draws, less their mean, (n_bootstrap, n_sizes)."""
    n_sizes, n_draws, _ = hits.values.shape
    n_strata, n_clusters = int(hits.strata.max()) + 1, int(clusters.max()) + 1
    cell = clusters * n_strata + hits.strata
    cells, place = np.unique(cell, return_inverse=True)
    cluster_of, stratum_of = cells // n_strata, cells % n_strata
    counts = np.bincount(place).astype(np.float64)
    flat = hits.values.reshape(-1, hits.values.shape[-1])
    sums = np.stack([np.bincount(place, row, len(cells)) for row in flat])
    sums = sums.reshape(n_sizes, n_draws, len(cells))
    kept = np.bincount(stratum_of, counts, n_strata) > 0
    of_stratum = np.eye(n_strata)[stratum_of][:, kept]
    n_effective = _effective(cluster_of, stratum_of)
    found = np.empty((n_bootstrap, n_sizes))
    for number in range(n_bootstrap):
        weight = _draw_weights(cluster_of, stratum_of, n_clusters, rng)
        draws = rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws)) / n_draws
        size = (weight * counts) @ of_stratum
        parts = (np.tensordot(draws, sums, ([0], [1])) * weight) @ of_stratum
        found[number] = _mean_of_present(parts, size)
    return (found - found.mean(axis=0)) * np.sqrt(n_effective / (n_effective - 1))


def _mean_of_present(parts: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the mean over the strata that were drawn, (n_sizes,)."""
    return (parts[:, size > 0] / size[size > 0]).mean(axis=1)


def _effective(cluster_of: np.ndarray, stratum_of: np.ndarray) -> float:
    """Return the number of clusters that are resampled against each other."""
    if _is_nested(cluster_of):
        return max(2.0, float(np.bincount(stratum_of).mean()))
    return float(max(2, len(np.unique(cluster_of))))


def _is_nested(cluster_of: np.ndarray) -> bool:
    """Return whether every cluster is in one stratum only."""
    return bool(np.bincount(cluster_of).max() == 1)


def _draw_weights(
    cluster_of: np.ndarray, stratum_of: np.ndarray, n_clusters: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw how often each cell counts; clusters of one stratum each are drawn within it."""
    if not _is_nested(cluster_of):
        return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters))[cluster_of]
    weight = np.zeros(len(cluster_of))
    for stratum in np.unique(stratum_of):
        rows = np.flatnonzero(stratum_of == stratum)
        weight[rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)))
    return weight
