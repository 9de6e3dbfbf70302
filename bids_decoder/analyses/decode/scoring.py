"""From held-out predictions of all folds to tables of metrics and predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import merge_random_draws
from bids_decoder.evaluation.classification import score_classification
from bids_decoder.evaluation.retrieval import score_retrieval
from bids_decoder.evaluation.similarity import cosine_similarity, normalise
from bids_decoder.interfaces.heldout import Heldout, Predicted
from bids_decoder.trials import Targets

N_BEST = 5


def score_heldout(
    folds: list[Heldout], targets: Targets, settings: Evaluation, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score decoder and baselines on the same trials, pools and permutations.

    Parameters
    ----------
    folds : list of Heldout
        One for a fixed split, several for cross-validation.
    targets : Targets
    settings : Evaluation
    seed : int
        Every model gets a generator of this seed.

    Returns
    -------
    metrics, predictions : DataFrame
        Long table over models; one row per test trial, of the decoder only.
    """
    trials = pd.concat([fold.trials for fold in folds], ignore_index=True)
    metrics = []
    for name in folds[0].models:
        rng = np.random.default_rng(seed)
        parts = [fold.models[name] for fold in folds]
        if targets.kind == "category":
            metrics.append(_score_labels(name, parts, trials, targets, settings, rng))
        else:
            metrics.append(_score_stimuli(name, parts, trials, targets, settings, rng))
    table = merge_random_draws(pd.concat(metrics, ignore_index=True))
    return table, _predictions([fold.models["decoder"] for fold in folds], trials, targets)


def class_scores(result: Predicted) -> np.ndarray:
    """Give the score of every target for every trial, (n_trials, n_ids)."""
    return np.asarray(result.values) @ normalise(result.gallery).T


def _score_labels(
    name: str, parts: list[Predicted], trials: pd.DataFrame, targets: Targets,
    settings: Evaluation, rng: np.random.Generator,
) -> pd.DataFrame:
    folds = trials["fold"].replace("", "1").astype(int).to_numpy()
    metrics, _, _ = score_classification(
        np.concatenate([class_scores(part) for part in parts]), trials["label"].to_numpy(str),
        targets.ids, trials["run_group"].to_numpy(str), folds, settings=settings, rng=rng,
        model=name,
    )
    return metrics


def _score_stimuli(
    name: str, parts: list[Predicted], trials: pd.DataFrame, targets: Targets,
    settings: Evaluation, rng: np.random.Generator,
) -> pd.DataFrame:
    (part,) = parts
    metrics, _ = score_retrieval(
        part.values, trials["stimulus"].to_numpy(str), part.gallery, np.array(targets.ids),
        settings=settings, runs=trials["run_group"].to_numpy(str), rng=rng,
        training_mean=part.training_mean, model=name,
    )
    return metrics


def _predictions(
    parts: list[Predicted], trials: pd.DataFrame, targets: Targets
) -> pd.DataFrame:
    """One row per test trial: what was seen, the nearest targets, the rank of the right one."""
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
