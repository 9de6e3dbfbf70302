"""Scores of decoded category labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.label_scores import (
    Guesses,
    confusion_counts,
    label_intervals,
    label_metrics,
)
from bids_decoder.evaluation.similarity import among_best
from bids_decoder.evaluation.statistics import permutation_p, permutations_within, smallest_p
from bids_decoder.evaluation.tables import METRIC_COLUMNS


def score_classification(
    scores: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    runs: np.ndarray,
    folds: np.ndarray,
    *,
    settings: Evaluation,
    rng: np.random.Generator,
    model: str = "decoder",
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Score class scores of held-out trials.

    Intervals take runs as clusters (:func:`.intervals.proportion_interval`), because trials
    within a run depend on each other; they are not-a-number with a single run. For p the true
    labels are permuted within runs, or between whole runs when each run has one label only.

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_classes)
        The larger, the likelier; comparable within a trial. All folds together.
    labels : ndarray of str, shape (n_trials,)
        True labels.
    classes : tuple of str
        Labels in the order of the columns of *scores*.
    runs : ndarray of str, shape (n_trials,)
    folds : ndarray of int, shape (n_trials,)
        Fold in which each trial was test.
    settings : Evaluation
    rng : numpy.random.Generator
        Give each model a generator of the same seed.
    model : str

    Returns
    -------
    metrics : DataFrame
        ``balanced_accuracy`` (chance: 1 / number of tested classes), ``accuracy`` (chance: the
        share of the most frequent class), ``macro_f1`` (chance: mean under permutation) and,
        from three classes on, ``top2`` (chance: share of the two most frequent classes).
    confusion : DataFrame
        Column ``label`` (true), then one column of counts per predicted class.
    predictions : DataFrame
        Per trial: run, fold, true label, predicted label, their scores.

    Raises
    ------
    InputError
        For shapes that do not fit, unknown labels, or scores that are not finite.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels).astype(str)
    _check(scores, labels, classes)
    position = {name: k for k, name in enumerate(classes)}
    true = np.array([position[name] for name in labels], dtype=np.intp)
    run_of = pd.factorize(np.asarray(runs))[0]
    second = among_best(scores, 2) if len(classes) > 2 else None
    guesses = Guesses(scores.argmax(axis=1), second, len(classes))
    labels_of, blocks, unit_of = exchanged_labels(true, run_of)
    permutations = permutations_within(blocks, settings.n_permutations, rng)
    nulls = label_metrics(labels_of[permutations][:, unit_of], guesses)
    guess = guesses.first
    split = "cv" if len(np.unique(folds)) > 1 else "test"
    metrics = _table(true, guesses, run_of, nulls).assign(
        model=model, split=split, n=len(true), pool_size=len(classes),
        p_min=smallest_p(labels_of, blocks, settings.n_permutations),
    )
    names = np.asarray(classes, dtype=object)
    trials = np.arange(len(true))
    predictions = pd.DataFrame({
        "run_group": np.asarray(runs), "fold": np.asarray(folds), "label": labels,
        "predicted_label": names[guess], "score_label": scores[trials, true],
        "score_predicted": scores[trials, guess],
    })
    counts = confusion_counts(true[None], guess, len(classes))[0]
    confusion = pd.DataFrame(counts.astype(int), columns=names)
    confusion.insert(0, "label", names)
    return metrics[list(METRIC_COLUMNS)], confusion, predictions


def _table(
    true: np.ndarray, guesses: Guesses, run_of: np.ndarray, nulls: dict[str, np.ndarray]
) -> pd.DataFrame:
    chance, limits = _chance(true, nulls), label_intervals(true, guesses, run_of)
    rows = [
        {"metric": metric, "value": float(value[0]), "chance": chance[metric],
         "ci_low": limits[metric][0], "ci_high": limits[metric][1],
         "p": permutation_p(float(value[0]), nulls[metric])}
        for metric, value in label_metrics(true[None], guesses).items()
    ]
    absent = pd.array([None] * len(rows), dtype="Int64")
    return pd.DataFrame(rows).assign(
        direction=None, unit="single", similarity=None, n_draws=absent
    )


def _check(scores: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    unknown = sorted(set(labels.tolist()) - set(classes))
    problems = {
        f"scores {scores.shape}, {len(labels)} labels, {len(classes)} classes":
            scores.shape != (len(labels), len(classes)) or not len(labels),
        "scores are not finite": not np.isfinite(scores).all(),
        f"labels without a class: {unknown[:5]}": bool(unknown),
    }
    for why, bad in problems.items():
        if bad:
            raise InputError("labels cannot be scored", why, "check targets and split")


def exchanged_labels(
    true: np.ndarray, run_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find what the permutation test exchanges: labels within runs, or those of whole runs.

    Parameters
    ----------
    true : ndarray, shape (n_trials,)
        Labels.
    run_of : ndarray of int, shape (n_trials,)
        Number of the run of each trial.

    Returns
    -------
    labels, blocks : ndarray, shape (n_units,)
        Labels are exchanged within blocks. Whole runs where each run has one label only.
    unit_of : ndarray of int, shape (n_trials,)
        The unit whose label a trial gets.
    """
    pairs = pd.DataFrame({"run": run_of, "label": true}).drop_duplicates()
    if pairs["run"].duplicated().any():
        return true, run_of, np.arange(len(true))
    label_of_run = pairs.sort_values("run")["label"].to_numpy()
    return label_of_run, np.zeros(len(label_of_run), dtype=int), run_of


def _chance(true: np.ndarray, nulls: dict[str, np.ndarray]) -> dict[str, float]:
    shares = np.sort(np.bincount(true) / len(true))[::-1]
    return {
        "balanced_accuracy": 1 / np.count_nonzero(shares), "accuracy": float(shares[0]),
        "macro_f1": float(nulls["macro_f1"].mean()), "top2": float(shares[:2].sum()),
    }
