"""Scores of aligned decoders, beside the decoder and beside own data alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import WHOLE
from bids_decoder.evaluation.classification import Heldout as HeldoutLabels
from bids_decoder.evaluation.classification import LabelScores, score_classification
from bids_decoder.evaluation.comparison import COMPARISON_COLUMNS, compare_labels
from bids_decoder.evaluation.multiple import correct_scores
from bids_decoder.evaluation.retrieval import (
    RetrievalScores,
    compare_retrieval,
    score_retrieval,
)
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.evaluation.tables import Nulls, join_nulls
from bids_decoder.interfaces.heldout import Heldout
from bids_decoder.interfaces.null_predictions import FoldNulls, join_folds
from bids_decoder.training.refit import DECODER
from bids_decoder.trials import Targets

_OWN = {"category": "svm-all"}


def own_model(kind: str) -> str:
    """Return the baseline that is trained on own data with the estimator of aligned decoders."""
    return _OWN.get(kind, WHOLE)


def join_models(aligned: Heldout, decoded: Heldout, kind: str) -> Heldout:
    """Return the aligned decoders of a fold with the decoder and the baseline on own data.

    Parameters
    ----------
    aligned, decoded : Heldout
        Predictions for the same trials.
    kind : str
        ``Targets.kind``.
    """
    wanted = (DECODER, own_model(kind))
    return Heldout(
        aligned.trials, {**{name: decoded.models[name] for name in wanted}, **aligned.models}
    )


class Scored(NamedTuple):
    """Tables of :func:`score_aligned`."""

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    nulls: Nulls


def score_aligned(
    folds: Sequence[Heldout], targets: Targets, settings: Evaluation, seed: int,
    nulls: Sequence[FoldNulls] = (),
) -> Scored:
    """Score aligned decoders with the pools and permutations of the decoder.

    Parameters
    ----------
    folds : sequence of Heldout
        Of :func:`join_models`; one for a fixed split.
    targets : Targets
    settings : Evaluation
    seed : int
        That of the scores of the decoder.
    nulls : sequence of FoldNulls
        Of the same folds.

    Returns
    -------
    metrics, comparisons : DataFrame
        The decoder less each aligned one, and each aligned one less own data alone.
    nulls : Nulls
    """
    own = own_model(targets.kind)
    names = [name for name in folds[0].models if name not in (DECODER, own)]
    score, compare = (
        (_score_labels, _compare_labels) if targets.kind == "category"
        else (_score_stimuli, _compare_stimuli)
    )
    found = [score(folds, targets, settings, seed, name, nulls) for name in names]
    metrics = pd.concat([one.metrics for one in found], ignore_index=True)
    pairs = [(DECODER, name) for name in names] + [(name, own) for name in names]
    rows = [
        {"first": pair[0], "second": pair[1], **compare(folds, targets, settings, seed, pair)}
        for pair in pairs
    ]
    return Scored(
        correct_scores(metrics, targets.kind),
        pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS)),
        join_nulls([one.nulls for one in found]),
    )


def _labels(folds: Sequence[Heldout], targets: Targets, name: str) -> HeldoutLabels:
    trials = pd.concat([fold.trials for fold in folds], ignore_index=True)
    scores = [label_scores(fold.models[name].values, fold.models[name].gallery) for fold in folds]
    return HeldoutLabels(
        np.concatenate(scores), trials["label"].to_numpy(str), targets.ids,
        trials["run_group"].to_numpy(str),
        trials["fold"].replace("", "1").astype(int).to_numpy(),
    )


def _score_labels(
    folds: Sequence[Heldout], targets: Targets, settings: Evaluation, seed: int, name: str,
    nulls: Sequence[FoldNulls],
) -> LabelScores:
    return score_classification(
        _labels(folds, targets, name), settings=settings, rng=np.random.default_rng(seed),
        model=name, refitted=join_folds(list(nulls), name),
    )


def _compare_labels(
    folds: Sequence[Heldout], targets: Targets, settings: Evaluation, seed: int,
    pair: tuple[str, str],
) -> dict[str, Any]:
    first, second = (_labels(folds, targets, name) for name in pair)
    return compare_labels(
        first, second, n_permutations=settings.n_permutations, rng=np.random.default_rng(seed)
    )


def _score_stimuli(
    folds: Sequence[Heldout], targets: Targets, settings: Evaluation, seed: int, name: str,
    nulls: Sequence[FoldNulls],
) -> RetrievalScores:
    del nulls
    (fold,) = folds
    return score_retrieval(
        fold.embedded(name, targets.ids), settings, np.random.default_rng(seed), model=name
    )


def _compare_stimuli(
    folds: Sequence[Heldout], targets: Targets, settings: Evaluation, seed: int,
    pair: tuple[str, str],
) -> dict[str, Any]:
    (fold,) = folds
    first, second = (fold.embedded(name, targets.ids) for name in pair)
    return compare_retrieval(first, second, settings, np.random.default_rng(seed))
