"""Scores of predicted labels, for many labellings at once, and the influence of each trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.evaluation.intervals import fold_inflation, proportion_interval
from bids_decoder.evaluation.similarity import among_best

_CELLS = 10**7
"""Number of cells of confusion matrices counted at a time."""


@dataclass(frozen=True, eq=False)
class Guesses:
    """Labels predicted for held-out trials.

    Parameters
    ----------
    first : ndarray of int, shape (n_trials,)
        Predicted class.
    second : ndarray or None, shape (n_trials, n_classes)
        Probability of each class to be among the best two; None with two classes.
    n_classes : int
    """

    first: np.ndarray
    second: np.ndarray | None
    n_classes: int


def guesses_of(scores: np.ndarray) -> Guesses:
    """Return the classes predicted by class scores, (n_trials, n_classes)."""
    n_classes = scores.shape[1]
    second = among_best(scores, 2) if n_classes > 2 else None
    return Guesses(scores.argmax(axis=1), second, n_classes)


def label_metrics(true: np.ndarray, guesses: Guesses) -> dict[str, np.ndarray]:
    """Score one set of predictions against one or many labellings.

    Parameters
    ----------
    true : ndarray of int, shape (n_labellings, n_trials)
    guesses : Guesses

    Returns
    -------
    dict of str to ndarray of float64, shape (n_labellings,)
        ``balanced_accuracy`` (mean recall of the classes that were tested), ``accuracy``,
        ``macro_f1`` (mean over classes that were tested or predicted) and, from three classes on,
        ``top2``.
    """
    n_classes = guesses.n_classes
    step = max(1, _CELLS // n_classes**2)
    parts = [
        _from_counts(confusion_counts(true[k : k + step], guesses.first, n_classes))
        for k in range(0, max(len(true), 1), step)
    ]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if guesses.second is not None:
        trials = np.arange(true.shape[1])
        values["top2"] = np.array([guesses.second[trials, row].mean() for row in true])
    return values


def confusion_counts(true: np.ndarray, guess: np.ndarray, n_classes: int) -> np.ndarray:
    """Count true (rows) against predicted classes, (n_labellings, n_classes, n_classes)."""
    cells = true * n_classes + guess + np.arange(len(true))[:, None] * n_classes**2
    counts = np.bincount(cells.ravel(), minlength=len(true) * n_classes**2)
    return counts.reshape(len(true), n_classes, n_classes).astype(np.float64)


def _from_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    hits = np.diagonal(counts, axis1=1, axis2=2)
    truths, both = counts.sum(axis=2), counts.sum(axis=1) + counts.sum(axis=2)
    return {
        "balanced_accuracy": _ratio(hits, truths).sum(axis=1) / (truths > 0).sum(axis=1),
        "accuracy": hits.sum(axis=1) / counts.sum(axis=(1, 2)),
        "macro_f1": _ratio(2 * hits, both).sum(axis=1) / (both > 0).sum(axis=1),
    }


def label_intervals(
    true: np.ndarray, guesses: Guesses, clusters: np.ndarray, folds: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Compute the 95 % interval of each score of :func:`label_metrics`.

    Parameters
    ----------
    true : ndarray of int, shape (n_trials,)
    guesses : Guesses
    clusters : ndarray of int, shape (n_trials,)
        Run of each trial, from 0.
    folds : ndarray, shape (n_trials,)
        Fold in which each trial was test.

    Returns
    -------
    dict of str to (low, high)
        See :func:`.intervals.proportion_interval`.
    """
    values, inflation = label_metrics(true[None], guesses), fold_inflation(folds)
    counts = np.bincount(true)
    harmonic = float(np.count_nonzero(counts) ** 2 / (1 / counts[counts > 0]).sum())
    # Under cross-validation the trials that a decoder for one class alone gets right vary less
    # than its accuracy does over training sets: their variance would be too small a minimum.
    fixed = independent_trials(true, guesses.first) if inflation == 1 else harmonic
    n_trials = {"balanced_accuracy": fixed, "macro_f1": harmonic}
    return {
        name: proportion_interval(
            float(values[name][0]), influence, clusters, n_trials.get(name, len(true)),
            strata=true if name in n_trials else None, inflation=inflation,
        )
        for name, influence in label_influence(true, guesses).items()
    }


def independent_trials(true: np.ndarray, guess: np.ndarray) -> float:
    """Return the number of trials with whose binomial variance a mean recall varies.

    Trials of a class are binomial with the recall of that class. Where recalls differ, their mean
    varies less than the share of hits among as many trials that are all equally hard.

    Parameters
    ----------
    true, guess : ndarray of int, shape (n_trials,)
        True and predicted class.

    Returns
    -------
    float
        At equal recalls the number of classes times the harmonic mean of their numbers of trials.
        Each class counts half a hit and half a miss more than were observed, so that the variance
        is not zero where all trials of each class are right, or all are wrong.
    """
    truths = np.bincount(true)
    hits, used = np.bincount(true[true == guess], minlength=len(truths)), truths > 0
    hits, truths = hits[used], truths[used]
    recall = (hits + 0.5) / (truths + 1)
    variance = (recall * (1 - recall) / truths).sum() / len(truths) ** 2
    return float(recall.mean() * (1 - recall.mean()) / variance)


def label_influence(true: np.ndarray, guesses: Guesses) -> dict[str, np.ndarray]:
    """Compute the change of each score per unit of weight of each trial, (n_trials,) each."""
    n_trials, guess = len(true), guesses.first
    counts = confusion_counts(true[None], guess, guesses.n_classes)[0]
    hits, truths = np.diagonal(counts), counts.sum(axis=1)
    both = truths + counts.sum(axis=0)
    recall, f1 = _ratio(hits, truths), _ratio(2 * hits, both)
    right = (true == guess).astype(np.float64)
    found = {
        "balanced_accuracy": (right - recall[true]) / truths[true] / np.count_nonzero(truths),
        "accuracy": (right - right.mean()) / n_trials,
        "macro_f1": (
            2 * right / both[true] - f1[true] / both[true] - f1[guess] / both[guess]
        ) / np.count_nonzero(both),
    }
    if guesses.second is not None:
        among = guesses.second[np.arange(n_trials), true]
        found["top2"] = (among - among.mean()) / n_trials
    return found


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
