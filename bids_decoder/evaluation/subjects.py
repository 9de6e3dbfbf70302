"""Scores of participants' labels under repeated cross-validation over participants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.metrics import roc_curve
from sklearn.model_selection import StratifiedKFold

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.intervals import (
    bounded_interval,
    fold_inflation,
    proportion_interval,
    spread_inflation,
)
from bids_decoder.evaluation.label_scores import Guesses, label_influence
from bids_decoder.evaluation.nulls import p_values
from bids_decoder.evaluation.statistics import ALPHA, permutation_p, permutations_within, smallest_p
from bids_decoder.evaluation.tables import (
    METRIC_COLUMNS,
    NULL_VALUES,
    Nulls,
    make_nulls,
    split_nulls,
)
from bids_decoder.seeds import derive_seed


def subject_folds(classes: np.ndarray, n_splits: int, n_repeats: int, seed: int) -> np.ndarray:
    """Assign participants to folds, stratified by class, several times.

    Parameters
    ----------
    classes : ndarray of int, shape (n_people,)
    n_splits, n_repeats : int
    seed : int

    Returns
    -------
    ndarray of int, shape (n_repeats, n_people)
        Fold in which each participant is tested, from 1.
    """
    folds = np.zeros((n_repeats, len(classes)), dtype=int)
    for repeat in range(n_repeats):
        splitter = StratifiedKFold(
            n_splits, shuffle=True, random_state=derive_seed(seed, "repeat", repeat)
        )
        for number, (_, test) in enumerate(splitter.split(classes[:, None], classes), start=1):
            folds[repeat, test] = number
    return folds


@dataclass(frozen=True, eq=False)
class PermutedRounds:
    """Rounds of cross-validation that were fitted on permuted labels.

    Parameters
    ----------
    classes : ndarray of int, shape (n_permutations, n_people)
        Folds were assigned anew for each permutation, stratified by the permuted classes: folds
        stratified by the true classes only would raise the observed score above the null.
    scores : ndarray, shape (n_permutations, n_people, n_classes)
        One round each. The observed score is a mean over rounds, which varies less, so that
        its p-value is conservative.
    blocks : ndarray of int, shape (n_people,)
        Labels were exchanged within these (sites).
    """

    classes: np.ndarray
    scores: np.ndarray
    blocks: np.ndarray


def permute_people(
    classes: np.ndarray, sites: np.ndarray | None, n_permutations: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Exchange labels of participants, within sites where these are known.

    Returns
    -------
    permuted : ndarray of int, shape (n_permutations, n_people)
    blocks : ndarray of int, shape (n_people,)
    """
    blocks = np.zeros(len(classes), int) if sites is None else pd.factorize(sites)[0]
    orders = permutations_within(blocks, n_permutations, np.random.default_rng(seed))
    return classes[orders], blocks


def score_subjects(
    scores: np.ndarray, classes: np.ndarray, *, n_splits: int, model: str, settings: Evaluation,
    rng: np.random.Generator, permuted: PermutedRounds | None = None,
) -> tuple[pd.DataFrame, Nulls]:
    """Score class probabilities of held-out participants, mean over repeats.

    Intervals take participants as units (:mod:`.intervals`): repeats of the cross-validation use
    the same participants again, so that their spread alone would be too small. They are inflated
    for training participants that folds share.

    Parameters
    ----------
    scores : ndarray, shape (n_repeats, n_people, n_classes)
        Probabilities, or scores of which the largest is the prediction.
    classes : ndarray of int, shape (n_people,)
    n_splits : int
        Number of folds.
    model : str
    settings : Evaluation
    rng : numpy.random.Generator
        Use a generator of the same seed for each model; for the chance level of ``nmi``.
    permuted : PermutedRounds, optional
        Without it there are no p-values: held-out participants of one fold are training
        participants of the others, so that labels cannot be exchanged against fixed predictions
        (:mod:`.nulls`).

    Returns
    -------
    metrics : DataFrame
        Columns of :data:`METRIC_COLUMNS`; ``balanced_accuracy``, ``accuracy``, ``nmi``
        (normalised mutual information of true and predicted labels; its chance is the mean
        under permutation) and ``macro_auc`` (one class against the rest).
    nulls : Nulls
        Null distribution of each metric; empty without *permuted*.
    """
    observed = _mean_metrics(scores, classes)
    n_people, n_classes = len(classes), scores.shape[2]
    chance = _chance(scores, classes, settings.n_permutations, rng)
    nulls, least = _nulls(permuted, list(observed)), np.nan
    if permuted is not None:
        least = smallest_p(classes, permuted.blocks, len(permuted.classes))
    limits = _limits(scores, classes, observed, np.arange(n_people) % n_splits)
    rows = []
    for name, value in observed.items():
        low, high = limits[name]
        rows.append({
            "model": model, "metric": name, "split": "cv", "unit": "single", "value": value,
            "chance": chance[name], "ci_low": low, "ci_high": high,
            **p_values(value, nulls[name]), "p_min": least, "n": n_people,
            "null": "none" if permuted is None else "refitted", "pool_size": n_classes,
            NULL_VALUES: nulls[name],
        })
    table, null_table = split_nulls(rows)
    return (
        table.reindex(columns=list(METRIC_COLUMNS)),
        make_nulls(null_table, model, _scheme(permuted)),
    )


def _chance(
    scores: np.ndarray, classes: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> dict[str, float]:
    """Compute chance levels; of mutual information, the mean over permuted labels."""
    n_people, n_classes = len(classes), scores.shape[2]
    guesses = scores.argmax(axis=2)
    guessed = [
        _mean_label_metrics(classes[rng.permutation(n_people)], guesses, n_classes)["nmi"]
        for _ in range(n_permutations)
    ]
    return {
        "balanced_accuracy": 1 / n_classes, "accuracy": np.bincount(classes).max() / n_people,
        "nmi": float(np.mean(guessed)) if guessed else np.nan, "macro_auc": 0.5,
    }


def _scheme(permuted: PermutedRounds | None) -> dict[str, Any]:
    """Describe how labels were permuted, for the sidecar of the null distributions."""
    if permuted is None:
        return {}
    return {
        "Null": "refitted", "ExchangedUnits": "participants",
        "NumberOfUnits": len(permuted.blocks), "NumberOfBlocks": len(np.unique(permuted.blocks)),
    }


def _nulls(permuted: PermutedRounds | None, names: list[str]) -> dict[str, np.ndarray]:
    if permuted is None:
        return {name: np.zeros(0) for name in names}
    found = [
        _metrics(*pair) for pair in zip(permuted.scores, permuted.classes, strict=True)
    ]
    return {name: np.array([one[name] for one in found]) for name in names}


def _limits(
    scores: np.ndarray, classes: np.ndarray, observed: dict[str, float], folds: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Compute the interval of each score from participants' mean influences over repeats.

    Mutual information has none: it is biased upwards in few participants, and an interval around
    it would miss the value of the population.
    """
    influences, inflation = [_influences(part, classes) for part in scores], fold_inflation(folds)
    mean = {
        name: np.mean([part[name] for part in influences], axis=0) for name in influences[0]
    }
    counts = np.bincount(classes, minlength=scores.shape[2])
    balanced = float(np.count_nonzero(counts) ** 2 / (1 / counts[counts > 0]).sum())
    return {
        "balanced_accuracy": proportion_interval(
            observed["balanced_accuracy"], mean["balanced_accuracy"], n_trials=balanced,
            strata=classes, inflation=inflation,
        ),
        "accuracy": proportion_interval(
            observed["accuracy"], mean["accuracy"], inflation=inflation
        ),
        "nmi": (np.nan, np.nan),
        "macro_auc": bounded_interval(
            observed["macro_auc"], mean["macro_auc"], spread_inflation(folds)
        ),
    }


def _influences(scores: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the influence of each participant on each score of one repeat, (n_people,) each."""
    found = label_influence(classes, Guesses(scores.argmax(axis=1), None, scores.shape[1]))
    return {**found, "macro_auc": _auc_influence(scores, classes)}


def _auc_influence(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Compute influences from placements (DeLong et al. 1988, Biometrics 44:837)."""
    n_classes = scores.shape[1]
    total = np.zeros(len(classes))
    for number in range(n_classes):
        own = classes == number
        pairs = scores[own, number][:, None] - scores[~own, number][None, :]
        wins = (pairs > 0) + 0.5 * (pairs == 0)
        total[own] += (wins.mean(axis=1) - wins.mean()) / own.sum()
        total[~own] += (wins.mean(axis=0) - wins.mean()) / (~own).sum()
    return total / n_classes


def _mean_metrics(scores: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    found = [_metrics(part, classes) for part in scores]
    return {name: float(np.mean([entry[name] for entry in found])) for name in found[0]}


def _metrics(scores: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    n_classes = scores.shape[1]
    there = np.bincount(classes, minlength=n_classes)
    ranks = scipy.stats.rankdata(scores, axis=0)
    own = np.array([ranks[classes == k, k].sum() for k in range(n_classes)])
    # The scaled rank sum of Mann and Whitney is the area under the curve.
    areas = (own - there * (there + 1) / 2) / (there * (len(classes) - there))
    return {
        **_label_metrics(classes, scores.argmax(axis=1), n_classes),
        "macro_auc": float(areas.mean()),
    }


def _label_metrics(classes: np.ndarray, guess: np.ndarray, n_classes: int) -> dict[str, float]:
    counts = np.bincount(classes * n_classes + guess, minlength=n_classes**2)
    share = counts.reshape(n_classes, n_classes) / len(classes)
    hits, there = share.diagonal(), share.sum(axis=1)
    return {
        "balanced_accuracy": float((hits[there > 0] / there[there > 0]).mean()),
        "accuracy": float(hits.sum()),
        "nmi": _information(share),
    }


def _information(counts: np.ndarray) -> float:
    """Compute the normalised mutual information of a table of true and predicted classes."""
    share = counts / counts.sum()
    both = _entropy(share.sum(axis=1)) + _entropy(share.sum(axis=0))
    return float(2 * (both - _entropy(share.ravel())) / both) if both > 0 else 0.0


def _entropy(shares: np.ndarray) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())


def _mean_label_metrics(
    classes: np.ndarray, guesses: np.ndarray, n_classes: int
) -> dict[str, float]:
    found = [_label_metrics(classes, guess, n_classes) for guess in guesses]
    return {name: float(np.mean([entry[name] for entry in found])) for name in found[0]}


def roc_table(scores: np.ndarray, classes: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Compute the ROC curve of each class against the rest, from mean scores over repeats.

    Parameters
    ----------
    scores : ndarray, shape (n_repeats, n_people, n_classes)
    classes : ndarray of int, shape (n_people,)
    names : list of str
        Labels in the order of the classes.

    Returns
    -------
    DataFrame
        ``label``, ``false_positive_rate``, ``true_positive_rate``.
    """
    mean = scores.mean(axis=0)
    curves = []
    for number, name in enumerate(names):
        false, true, _ = roc_curve(classes == number, mean[:, number])
        curves.append(pd.DataFrame({
            "label": name, "false_positive_rate": false, "true_positive_rate": true,
        }))
    return pd.concat(curves, ignore_index=True)


@dataclass(frozen=True)
class SiteConfound:
    """Accuracy of predicting the label from the site alone.

    Parameters
    ----------
    balanced_accuracy : float
        Of predicting the label that is most frequent at the site.
    chance : float
        Its mean when labels are permuted, which is more than one over the number of labels:
        the prediction is fitted on the labels that it is tested on.
    p : float
    """

    balanced_accuracy: float
    chance: float
    p: float

    @property
    def is_serious(self) -> bool:
        """Whether a model could profit from knowing the site."""
        return self.p <= ALPHA and self.balanced_accuracy > self.chance


def site_confound(
    labels: np.ndarray, sites: np.ndarray, rng: np.random.Generator, n_permutations: int = 500
) -> SiteConfound:
    """Test whether the site predicts the label.

    Parameters
    ----------
    labels, sites : ndarray of str, shape (n_people,)
    rng : numpy.random.Generator
    n_permutations : int
    """
    classes, site = np.unique(labels, return_inverse=True)[1], pd.factorize(sites)[0]
    value = _score_of_sites(classes, site)
    nulls = np.array([
        _score_of_sites(rng.permutation(classes), site) for _ in range(n_permutations)
    ])
    return SiteConfound(value, float(nulls.mean()), permutation_p(value, nulls))


def _score_of_sites(classes: np.ndarray, site: np.ndarray) -> float:
    n_classes = classes.max() + 1
    counts = np.zeros((site.max() + 1, n_classes))
    np.add.at(counts, (site, classes), 1.0)
    guess = counts.argmax(axis=1)[site]
    return _label_metrics(classes, guess, n_classes)["balanced_accuracy"]
