"""Scores of decoded category labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.label_scores import (
    Guesses,
    confusion_counts,
    guesses_of,
    label_intervals,
    label_metrics,
)
from bids_decoder.evaluation.nulls import Exchange, find_exchange, p_values
from bids_decoder.evaluation.tables import (
    METRIC_COLUMNS,
    NULL_VALUES,
    Nulls,
    make_nulls,
    split_nulls,
)

CHANCE_DRAWS = 1000
"""Exchanges of labels from which the chance level of the macro F1 is computed."""


@dataclass(frozen=True, eq=False)
class Heldout:
    """Class scores of held-out trials, all folds together.

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_classes)
        Larger is more likely; comparable within a trial.
    labels : ndarray of str, shape (n_trials,)
        True labels.
    classes : tuple of str
        Labels in the order of the columns of *scores*.
    runs : ndarray of str, shape (n_trials,)
    folds : ndarray of int, shape (n_trials,)
        Fold in which each trial was test.
    trains_on_tested : bool
        Whether trials that are test in one fold are training trials of others. Otherwise no
        prediction depends on a label in *labels*.
    """

    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    runs: np.ndarray
    folds: np.ndarray
    trains_on_tested: bool = True

    @property
    def is_crossed(self) -> bool:
        """Whether predictions come from more than one fold."""
        return len(np.unique(self.folds)) > 1

    @cached_property
    def true(self) -> np.ndarray:
        """Class number of each trial, (n_trials,)."""
        position = {name: k for k, name in enumerate(self.classes)}
        names = np.asarray(self.labels).astype(str)
        return np.array([position[name] for name in names], dtype=np.intp)

    @cached_property
    def guesses(self) -> Guesses:
        """Predicted labels."""
        return guesses_of(self.scores)


@dataclass(frozen=True, eq=False)
class Refitted:
    """Predictions of the whole pipeline when it is fitted again on permuted labels.

    Parameters
    ----------
    true : ndarray of int, shape (n_permutations, n_trials)
        Permuted class of each held-out trial.
    scores : ndarray, shape (n_permutations, n_trials, n_classes)
        Class scores of the same trials, fitted on the permuted labels of the others.
    exchange : dict
        How labels were exchanged (:meth:`.nulls.Exchange.describe`).
    """

    true: np.ndarray
    scores: np.ndarray
    exchange: dict[str, Any]


class LabelScores(NamedTuple):
    """Tables of :func:`score_classification`."""

    metrics: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame
    nulls: Nulls


def score_classification(
    heldout: Heldout,
    *,
    settings: Evaluation,
    rng: np.random.Generator,
    model: str = "decoder",
    refitted: Refitted | None = None,
) -> LabelScores:
    """Score class scores of held-out trials.

    Intervals take runs as clusters (:func:`.intervals.proportion_interval`), because trials
    within a run depend on each other; they are NaN with a single run. Under cross-validation they
    are for the expected accuracy, over datasets, of this procedure with as many training trials.

    Parameters
    ----------
    heldout : Heldout
    settings : Evaluation
    rng : numpy.random.Generator
        Use a generator of the same seed for each model.
    model : str
    refitted : Refitted, optional
        Null predictions. Under cross-validation there is no p-value without them: held-out
        predictions depend on each other through the training labels. With one fold, or where no
        tested trial is ever a training trial, test labels are exchanged against the fixed
        predictions, which is exact (:mod:`.nulls`).

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
    nulls : Nulls
        Null distribution of each metric; empty where there is no p-value.

    Raises
    ------
    InputError
        For shapes that do not fit, unknown labels, or scores that are not finite.
    """
    _check(heldout)
    exchange = find_exchange(heldout.true, heldout.runs, heldout.folds)
    fixed = label_metrics(exchange.draw(settings.n_permutations, rng), heldout.guesses)
    nulls, scheme = _null_metrics(heldout, refitted, fixed, exchange)
    kind, least = scheme["Null"], exchange.smallest_p(len(nulls["accuracy"]))
    chance = _chance(heldout, exchange.draw(CHANCE_DRAWS, rng))
    metrics, null_table = split_nulls(_rows(heldout, nulls, chance))
    metrics = metrics.assign(
        model=model, split="cv" if heldout.is_crossed else "test", n=len(heldout.true),
        null=kind, p_min=np.nan if kind == "none" else least,
    ).reindex(columns=list(METRIC_COLUMNS))
    return LabelScores(
        metrics, _confusion(heldout), _predictions(heldout),
        make_nulls(null_table, model, scheme),
    )


def _null_metrics(
    heldout: Heldout, refitted: Refitted | None, fixed: dict[str, np.ndarray], exchange: Exchange
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Choose the null distributions that are valid, and describe them for a sidecar."""
    if refitted is not None:
        return _refitted_metrics(refitted), {"Null": "refitted", **refitted.exchange}
    if heldout.is_crossed and heldout.trains_on_tested:
        return {name: np.zeros(0) for name in fixed}, {"Null": "none"}
    return fixed, {"Null": "fixed", **exchange.describe()}


def _confusion(heldout: Heldout) -> pd.DataFrame:
    n_classes = len(heldout.classes)
    counts = confusion_counts(heldout.true[None], heldout.guesses.first, n_classes)[0]
    names = np.asarray(heldout.classes, dtype=object)
    confusion = pd.DataFrame(counts.astype(int), columns=names)
    confusion.insert(0, "label", names)
    return confusion


def _refitted_metrics(refitted: Refitted) -> dict[str, np.ndarray]:
    """Score each permutation's own predictions against its own labels."""
    found = [
        label_metrics(true[None], guesses_of(scores))
        for true, scores in zip(refitted.true, refitted.scores, strict=True)
    ]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _rows(
    heldout: Heldout, nulls: dict[str, np.ndarray], chance: dict[str, float]
) -> list[dict[str, Any]]:
    run_of = pd.factorize(np.asarray(heldout.runs))[0]
    limits = label_intervals(heldout.true, heldout.guesses, run_of, heldout.folds)
    rows = []
    for metric, (value,) in label_metrics(heldout.true[None], heldout.guesses).items():
        null = nulls[metric]
        rows.append({
            "metric": metric, "unit": "single", "value": float(value), "chance": chance[metric],
            "ci_low": limits[metric][0], "ci_high": limits[metric][1],
            **p_values(float(value), null), "pool_size": len(heldout.classes), NULL_VALUES: null,
        })
    return rows


def _predictions(heldout: Heldout) -> pd.DataFrame:
    names = np.asarray(heldout.classes, dtype=object)
    trials, guess = np.arange(len(heldout.true)), heldout.guesses.first
    return pd.DataFrame({
        "run_group": np.asarray(heldout.runs), "fold": np.asarray(heldout.folds),
        "label": np.asarray(heldout.labels), "predicted_label": names[guess],
        "score_label": heldout.scores[trials, heldout.true],
        "score_predicted": heldout.scores[trials, guess],
    })


def _check(heldout: Heldout) -> None:
    scores, labels, classes = heldout.scores, heldout.labels, heldout.classes
    unknown = sorted(set(np.asarray(labels).astype(str).tolist()) - set(classes))
    problems = {
        f"scores {scores.shape}, {len(labels)} labels, {len(classes)} classes":
            scores.shape != (len(labels), len(classes)) or not len(labels),
        "scores are not finite": not np.isfinite(scores).all(),
        f"labels without a class: {unknown[:5]}": bool(unknown),
    }
    for why, bad in problems.items():
        if bad:
            raise InputError("labels cannot be scored", why, "check targets and split")


def _chance(heldout: Heldout, exchanged: np.ndarray) -> dict[str, float]:
    """Compute chance levels; of the macro F1 from *exchanged* labels (n_draws, n_trials)."""
    shares = np.sort(np.bincount(heldout.true) / len(heldout.true))[::-1]
    return {
        "balanced_accuracy": 1 / np.count_nonzero(shares), "accuracy": float(shares[0]),
        "macro_f1": float(label_metrics(exchanged, heldout.guesses)["macro_f1"].mean()),
        "top2": float(shares[:2].sum()),
    }
