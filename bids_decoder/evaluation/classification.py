"""Scores of decoded category labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.similarity import among_best
from bids_decoder.evaluation.statistics import (
    bootstrap_weights,
    percentile_interval,
    permutation_p,
    permutations_within,
)
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

    Intervals come from a bootstrap over runs (percentile), because trials within a run depend
    on each other; they are not-a-number with a single run. For p the true labels are permuted
    within runs, or between whole runs when each run has one label only.

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
    guess = scores.argmax(axis=1)
    second = among_best(scores, 2) if len(classes) > 2 else None
    observed = _metrics(true, guess, second, len(classes))
    samples = _bootstrap(true, guess, second, run_of, len(classes), settings, rng)
    nulls = pd.DataFrame([
        _metrics(shuffled, guess, second, len(classes))
        for shuffled in _permuted(true, run_of, settings.n_permutations, rng)
    ], columns=list(observed))
    split = "cv" if len(np.unique(folds)) > 1 else "test"
    metrics = _table(observed, samples, nulls, _chance(true, nulls)).assign(
        model=model, split=split, n=len(true), pool_size=len(classes),
    )
    names = np.asarray(classes, dtype=object)
    trials = np.arange(len(true))
    predictions = pd.DataFrame({
        "run_group": np.asarray(runs), "fold": np.asarray(folds), "label": labels,
        "predicted_label": names[guess], "score_label": scores[trials, true],
        "score_predicted": scores[trials, guess],
    })
    confusion = pd.DataFrame(_confusion(true, guess, len(classes)).astype(int), columns=names)
    confusion.insert(0, "label", names)
    return metrics[list(METRIC_COLUMNS)], confusion, predictions


def _table(
    observed: dict[str, float], samples: pd.DataFrame, nulls: pd.DataFrame, chance: dict[str, float]
) -> pd.DataFrame:
    rows = []
    for metric, value in observed.items():
        low, high = percentile_interval(samples[metric].to_numpy(dtype=float))
        rows.append({
            "metric": metric, "value": value, "chance": chance[metric], "ci_low": low,
            "ci_high": high, "p": permutation_p(value, nulls[metric].to_numpy(dtype=float)),
        })
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


def _confusion(
    true: np.ndarray, guess: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Give (weighted) counts, rows true, columns guessed."""
    cells = np.bincount(true * n_classes + guess, weights=weights, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(float)


def _metrics(
    true: np.ndarray, guess: np.ndarray, second: np.ndarray | None, n_classes: int,
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    counts = _confusion(true, guess, n_classes, weights)
    hits, truths, guesses = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    tested, met = truths > 0, truths + guesses > 0
    values = {
        "balanced_accuracy": (hits[tested] / truths[tested]).mean(),
        "accuracy": hits.sum() / counts.sum(),
        "macro_f1": (2 * hits[met] / (truths + guesses)[met]).mean(),
    }
    if second is not None:
        values["top2"] = np.average(second[np.arange(len(true)), true], weights=weights)
    return {name: float(value) for name, value in values.items()}


def _bootstrap(
    true: np.ndarray, guess: np.ndarray, second: np.ndarray | None, run_of: np.ndarray,
    n_classes: int, settings: Evaluation, rng: np.random.Generator,
) -> pd.DataFrame:
    n_runs = run_of.max() + 1
    names = list(_metrics(true, guess, second, n_classes))
    if n_runs < 2:
        return pd.DataFrame(columns=names, dtype=float)
    weights = bootstrap_weights(n_runs, settings.n_bootstrap, rng)
    samples = [_metrics(true, guess, second, n_classes, drawn[run_of]) for drawn in weights]
    return pd.DataFrame(samples, columns=names)


def _permuted(
    true: np.ndarray, run_of: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    pairs = pd.DataFrame({"run": run_of, "label": true}).drop_duplicates()
    if pairs["run"].duplicated().any():
        for order in permutations_within(run_of, n_permutations, rng):
            yield true[order]
    else:
        label_of_run = pairs.sort_values("run")["label"].to_numpy()
        together = np.zeros(len(label_of_run), dtype=int)
        for order in permutations_within(together, n_permutations, rng):
            yield label_of_run[order][run_of]


def _chance(true: np.ndarray, nulls: pd.DataFrame) -> dict[str, float]:
    shares = np.sort(np.bincount(true) / len(true))[::-1]
    return {
        "balanced_accuracy": 1 / np.count_nonzero(shares), "accuracy": float(shares[0]),
        "macro_f1": float(nulls["macro_f1"].mean()), "top2": float(shares[:2].sum()),
    }
