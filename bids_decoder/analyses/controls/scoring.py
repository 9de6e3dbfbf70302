"""Scores of decoding from confounds: the measures of the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.classification import Heldout, Refitted, score_classification
from bids_decoder.evaluation.identification import score_identification
from bids_decoder.evaluation.multiple import holm
from bids_decoder.evaluation.retrieval import Embedded, score_retrieval
from bids_decoder.evaluation.values import HeldoutValues, RefittedValues, score_values
from bids_decoder.interfaces.heldout import training_mean
from bids_decoder.training.controls import ControlFold
from bids_decoder.trials import Person, Targets


@dataclass(frozen=True, eq=False)
class Tested:
    """The trials of one fold, and what a confound says about those that are test.

    Parameters
    ----------
    train, test : Person
    found : ControlFold
    """

    train: Person
    test: Person
    found: ControlFold


def score_control(
    name: str, folds: list[Tested], targets: Targets, settings: Evaluation, seed: int
) -> pd.DataFrame:
    """Score one confound as the decoder is scored.

    Parameters
    ----------
    name : str
        Value of the column ``model``.
    folds : list of Tested
    targets : Targets
    settings : Evaluation
    seed : int
        That of the scores of the decoder, so that pools and permutations are the same.

    Returns
    -------
    DataFrame
        Columns of :data:`~bids_decoder.evaluation.tables.METRIC_COLUMNS`, or
        :data:`~bids_decoder.evaluation.tables.VALUE_COLUMNS`.
    """
    rng = np.random.default_rng(seed)
    if targets.kind == "category":
        return score_classification(
            _labels(folds, targets), settings=settings, rng=rng, model=name,
            refitted=_refitted(folds),
        ).metrics
    if targets.kind == "value":
        return score_values(
            _values(folds, targets), settings=settings, rng=rng, model=name,
            refitted=_refitted_values(folds),
        ).metrics
    if folds[0].found.match is not None:
        return _score_folds(name, [fold.found for fold in folds])
    (fold,) = folds
    mean = training_mean(fold.train, targets)
    trials = fold.test.trials
    embedded = Embedded(
        fold.found.scores - mean, trials["stimulus"].to_numpy(str),
        trials["run_group"].to_numpy(str), targets.vectors - mean, np.array(targets.ids),
    )
    return score_retrieval(embedded, settings, rng, model=name)[0]


def _score_folds(name: str, folds: list[ControlFold]) -> pd.DataFrame:
    """Score one confound in folds of stimuli."""
    matches = [fold.match for fold in folds if fold.match is not None]
    nulls = [fold.null_match for fold in folds if fold.null_match is not None]
    return score_identification(
        matches, nulls, folds[0].exchange, folds[0].least_p, name
    ).metrics


def _labels(folds: list[Tested], targets: Targets) -> Heldout:
    trials = pd.concat([fold.test.trials for fold in folds], ignore_index=True)
    return Heldout(
        np.concatenate([fold.found.scores for fold in folds]), trials["label"].to_numpy(str),
        targets.ids, trials["run_group"].to_numpy(str),
        trials["fold"].fillna(1).astype(int).to_numpy(),
    )


def _refitted(folds: list[Tested]) -> Refitted | None:
    rows: list[Any] = [fold.found.null_rows for fold in folds]
    scores: list[Any] = [fold.found.null_scores for fold in folds]
    if rows[0] is None:
        return None
    return Refitted(
        np.concatenate(rows, axis=1), np.concatenate(scores, axis=1), folds[0].found.exchange
    )


def _values(folds: list[Tested], targets: Targets) -> HeldoutValues:
    trials = pd.concat([fold.test.trials for fold in folds], ignore_index=True)
    means = [targets.vectors[fold.train.target_rows].mean(axis=0) for fold in folds]
    n_test = [len(fold.test.betas) for fold in folds]
    return HeldoutValues(
        np.concatenate([fold.found.scores for fold in folds]), np.repeat(means, n_test, axis=0),
        np.concatenate([fold.test.target_rows for fold in folds]), targets.vectors,
        targets.columns, trials["run_group"].to_numpy(str),
        trials["fold"].fillna(1).astype(int).to_numpy(),
    )


def _refitted_values(folds: list[Tested]) -> RefittedValues | None:
    drawn = _refitted(folds)
    if drawn is None:
        return None
    means: list[Any] = [
        np.repeat(fold.found.null_means[:, None], len(fold.test.betas), axis=1)
        for fold in folds if fold.found.null_means is not None
    ]
    return RefittedValues(
        drawn.true, drawn.scores, np.concatenate(means, axis=1), drawn.exchange
    )


def correct_controls(metrics: pd.DataFrame) -> pd.DataFrame:
    """Add ``p_holm``, corrected within each measure for the number of confounds."""
    names = ("metric", "direction", "unit", "similarity", "pool_size", "target")
    measure = [name for name in names if name in metrics]
    corrected = metrics.groupby(measure, dropna=False)["p"].transform(
        lambda p: holm(p.to_numpy())
    )
    return metrics.assign(p_holm=corrected)
