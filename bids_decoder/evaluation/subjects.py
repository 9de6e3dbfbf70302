"""Scores of people's labels under repeated cross-validation over people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.metrics import roc_curve
from sklearn.model_selection import StratifiedKFold

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.statistics import percentile_interval, permutation_p
from bids_decoder.evaluation.tables import METRIC_COLUMNS
from bids_decoder.seeds import derive_seed

MAX_BOOTSTRAP = 500
"""Each sample scores all repeats, which takes time."""


def subject_folds(classes: np.ndarray, n_splits: int, n_repeats: int, seed: int) -> np.ndarray:
    """Deal people out to folds, each class evenly, several times over.

    Parameters
    ----------
    classes : ndarray of int, shape (n_people,)
    n_splits, n_repeats : int
    seed : int

    Returns
    -------
    ndarray of int, shape (n_repeats, n_people)
        Fold in which each person is tested, from 1.
    """
    folds = np.zeros((n_repeats, len(classes)), dtype=int)
    for repeat in range(n_repeats):
        splitter = StratifiedKFold(
            n_splits, shuffle=True, random_state=derive_seed(seed, "repeat", repeat)
        )
        for number, (_, test) in enumerate(splitter.split(classes[:, None], classes), start=1):
            folds[repeat, test] = number
    return folds


def score_subjects(
    scores: np.ndarray, classes: np.ndarray, *, model: str, settings: Evaluation,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Score class probabilities of held-out people, mean over repeats.

    Intervals come from a bootstrap over people: repeats of the cross-validation look at the same
    people again, so that their spread alone would promise too much.

    Parameters
    ----------
    scores : ndarray, shape (n_repeats, n_people, n_classes)
        Probabilities, or scores of which the largest wins.
    classes : ndarray of int, shape (n_people,)
    model : str
    settings : Evaluation
    rng : numpy.random.Generator
        Give each model a generator of the same seed.

    Returns
    -------
    DataFrame
        Columns of :data:`METRIC_COLUMNS`; ``balanced_accuracy``, ``accuracy``, ``nmi``
        (normalised mutual information of true and predicted labels; its chance is the mean
        under permutation) and ``macro_auc`` (one class against the rest; without p).
    """
    observed = _mean_metrics(scores, classes)
    n_people, n_classes = len(classes), scores.shape[2]
    samples = []
    for _ in range(min(settings.n_bootstrap, MAX_BOOTSTRAP)):
        rows = rng.integers(n_people, size=n_people)
        if len(np.unique(classes[rows])) == n_classes:
            samples.append(_mean_metrics(scores[:, rows], classes[rows]))
    guesses = scores.argmax(axis=2)
    nulls = pd.DataFrame([
        _mean_label_metrics(classes[rng.permutation(n_people)], guesses, n_classes)
        for _ in range(settings.n_permutations)
    ])
    chance = {
        "balanced_accuracy": 1 / n_classes, "accuracy": np.bincount(classes).max() / n_people,
        "nmi": nulls["nmi"].mean(), "macro_auc": 0.5,
    }
    rows = []
    for name, value in observed.items():
        low, high = percentile_interval(np.array([sample[name] for sample in samples]))
        rows.append({
            "model": model, "metric": name, "split": "cv", "unit": "single", "value": value,
            "chance": chance[name], "ci_low": low, "ci_high": high,
            "p": permutation_p(value, nulls[name].to_numpy()) if name in nulls else np.nan,
            "n": n_people,
            "pool_size": n_classes,
        })
    table = pd.DataFrame(rows).assign(
        direction=None, similarity=None, n_draws=pd.array([None] * len(rows), dtype="Int64")
    )
    return table[list(METRIC_COLUMNS)]


def _mean_metrics(scores: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    found = [_metrics(part, classes) for part in scores]
    return {name: float(np.mean([entry[name] for entry in found])) for name in found[0]}


def _metrics(scores: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    n_classes = scores.shape[1]
    there = np.bincount(classes, minlength=n_classes)
    ranks = scipy.stats.rankdata(scores, axis=0)
    own = np.array([ranks[classes == k, k].sum() for k in range(n_classes)])
    # The sum of ranks of Mann and Whitney, scaled, is the area under the curve.
    areas = (own - there * (there + 1) / 2) / (there * (len(classes) - there))
    return {
        **_label_metrics(classes, scores.argmax(axis=1), n_classes),
        "macro_auc": float(areas.mean()),
    }


def _label_metrics(classes: np.ndarray, guess: np.ndarray, n_classes: int) -> dict[str, float]:
    counts = np.bincount(classes * n_classes + guess, minlength=n_classes**2)
    share = counts.reshape(n_classes, n_classes) / len(classes)
    hits, there, guessed = share.diagonal(), share.sum(axis=1), share.sum(axis=0)
    both = _entropy(there) + _entropy(guessed)
    shared = both - _entropy(share.ravel())
    return {
        "balanced_accuracy": float((hits[there > 0] / there[there > 0]).mean()),
        "accuracy": float(hits.sum()),
        "nmi": float(2 * shared / both) if both > 0 else 0.0,
    }


def _entropy(shares: np.ndarray) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())


def _mean_label_metrics(
    classes: np.ndarray, guesses: np.ndarray, n_classes: int
) -> dict[str, float]:
    found = [_label_metrics(classes, guess, n_classes) for guess in guesses]
    return {name: float(np.mean([entry[name] for entry in found])) for name in found[0]}


def roc_table(scores: np.ndarray, classes: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Give the curves of each class against the rest, mean scores over repeats.

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
    """How well the site alone tells the label.

    Parameters
    ----------
    balanced_accuracy : float
        Of guessing the label that is most frequent at the site.
    chance : float
        Its mean when labels are permuted, which is more than one over the number of labels:
        the guess looks at the labels that it is tested on.
    p : float
    """

    balanced_accuracy: float
    chance: float
    p: float

    @property
    def is_serious(self) -> bool:
        """Whether a model could profit from knowing the site."""
        return self.p < 0.05 and self.balanced_accuracy > self.chance


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
