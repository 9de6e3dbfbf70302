"""Score held-out predictions of all folds: tables of metrics and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import merge_random_draws
from bids_decoder.evaluation.classification import Heldout as HeldoutLabels
from bids_decoder.evaluation.classification import LabelScores, score_classification
from bids_decoder.evaluation.comparison import COMPARISON_COLUMNS, compare_labels
from bids_decoder.evaluation.multiple import correct_scores
from bids_decoder.evaluation.retrieval import (
    RetrievalScores,
    compare_retrieval,
    score_retrieval,
)
from bids_decoder.evaluation.similarity import cosine_similarity, normalise
from bids_decoder.evaluation.tables import Nulls, join_nulls
from bids_decoder.interfaces.heldout import Heldout, Predicted
from bids_decoder.interfaces.null_predictions import FoldNulls, join_folds
from bids_decoder.training.ablations import PREFIX
from bids_decoder.trials import Targets

N_BEST = 5


class Scored(NamedTuple):
    """Tables of :func:`score_heldout`."""

    metrics: pd.DataFrame
    predictions: pd.DataFrame
    nulls: Nulls
    comparisons: pd.DataFrame


def score_heldout(
    folds: list[Heldout], targets: Targets, settings: Evaluation, seed: int,
    nulls: Sequence[FoldNulls] = (),
) -> Scored:
    """Score decoder and baselines on the same trials, pools and permutations.

    Parameters
    ----------
    folds : list of Heldout
        One for a fixed split, several for cross-validation.
    targets : Targets
    settings : Evaluation
    seed : int
        Every model has a generator with this seed.
    nulls : sequence of FoldNulls
        Of the same folds, where all steps were fitted again on permuted labels.

    Returns
    -------
    metrics, predictions, comparisons : DataFrame
        Long table over models; one row per test trial, of the decoder only; the decoder against
        each baseline.
    nulls : Nulls
        Of all models.
    """
    trials = pd.concat([fold.trials for fold in folds], ignore_index=True)
    found: list[LabelScores | RetrievalScores] = []
    for name in folds[0].models:
        rng = np.random.default_rng(seed)
        if targets.kind == "category":
            labels = _labels_of(name, folds, trials, targets)
            found.append(score_classification(
                labels, settings=settings, rng=rng, model=name,
                refitted=join_folds(list(nulls), name),
            ))
        else:
            found.append(score_retrieval(
                folds[0].embedded(name, targets.ids), settings, rng,
                training_mean=folds[0].models[name].training_mean, model=name,
            ))
    return Scored(
        correct_scores(
            merge_random_draws(pd.concat([one.metrics for one in found], ignore_index=True)),
            targets.kind,
        ),
        _predictions([fold.models["decoder"] for fold in folds], trials, targets),
        join_nulls([one.nulls for one in found]),
        _compare(folds, trials, targets, settings, seed),
    )


def _compare(
    folds: list[Heldout], trials: pd.DataFrame, targets: Targets, settings: Evaluation, seed: int
) -> pd.DataFrame:
    """Compare the decoder with each baseline on the headline metric."""
    rows = []
    for name in folds[0].models:
        if name == "decoder" or name.startswith(PREFIX):
            continue
        rng, pair = np.random.default_rng(seed), ("decoder", name)
        if targets.kind == "category":
            found = compare_labels(
                *(_labels_of(model, folds, trials, targets) for model in pair),
                n_permutations=settings.n_permutations, rng=rng,
            )
        else:
            models = (folds[0].embedded(model, targets.ids) for model in pair)
            found = compare_retrieval(*models, settings, rng)
        rows.append({"first": "decoder", "second": name, **found})
    return merge_random_draws(pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS)), "second")


def class_scores(result: Predicted) -> np.ndarray:
    """Return the score of every target for every trial, (n_trials, n_ids)."""
    return np.asarray(result.values) @ normalise(result.gallery).T


def _labels_of(
    name: str, folds: list[Heldout], trials: pd.DataFrame, targets: Targets
) -> HeldoutLabels:
    return HeldoutLabels(
        np.concatenate([class_scores(fold.models[name]) for fold in folds]),
        trials["label"].to_numpy(str), targets.ids, trials["run_group"].to_numpy(str),
        trials["fold"].replace("", "1").astype(int).to_numpy(),
    )


def _predictions(
    parts: list[Predicted], trials: pd.DataFrame, targets: Targets
) -> pd.DataFrame:
    """Return one row per test trial: stimulus, nearest targets, rank of the right one."""
    is_category = targets.kind == "category"
    truth = trials["label" if is_category else "stimulus"].to_numpy(str)
    candidates = np.arange(len(targets.ids)) if is_category else targets.rows_of(np.unique(truth))
    scores = np.concatenate([
        class_scores(part) if is_category
        else cosine_similarity(part.values, part.gallery[candidates])
        for part in parts
    ])
    names = np.array(targets.ids)[candidates]
    order = np.argsort(-scores, axis=1, kind="stable")
    best = names[order]
    table = trials[["run_group", "trial", "stimulus", "label", "split", "fold"]].copy()
    table["rank_b2i"] = 1 + (best == truth[:, None]).argmax(axis=1)
    for place in range(min(N_BEST, len(names))):
        table[f"top{place + 1}"] = best[:, place]
    table["predicted_label"] = best[:, 0] if is_category else None
    table["correct"] = best[:, 0] == truth
    return table
