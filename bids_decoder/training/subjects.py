"""Classification of participants from one volume each: the shallow CNN and its comparators."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from bids_decoder.config import Volumes
from bids_decoder.evaluation.folds import assert_disjoint
from bids_decoder.evaluation.subjects import subject_folds
from bids_decoder.models.relevance import choose_window, evenly_spaced, occlusion_map
from bids_decoder.models.volumes import ShallowNetwork, fresh_network
from bids_decoder.seeds import derive_seed
from bids_decoder.training.classifier import Labelled, fit_classifier, log_probabilities
from bids_decoder.training.cnn3d import shallow_recipe
from bids_decoder.training.confounds import confound_design, remove_confounds
from bids_decoder.training.controls import classify

VALIDATION_SHARE = 0.2
MAX_COMPONENTS = 50
EXTERNAL = -1
"""Class of participants who take part neither in fits nor in folds."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """One standardised volume per participant.

    Parameters
    ----------
    volumes : ndarray of float32, shape (n_people, i, j, k)
        Grey values 0 … 1; may be memory-mapped.
    classes : ndarray of int, shape (n_people,)
        :data:`EXTERNAL` for participants with external labels.
    names : tuple of str
        Participant labels.
    labels : tuple of str
        Labels in the order of the classes.
    removed : DataFrame, n_people rows, or None
        Confounds that are regressed out of what is decoded from.
    """

    volumes: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    labels: tuple[str, ...]
    removed: pd.DataFrame | None = None

    @property
    def inner(self) -> np.ndarray:
        """Rows of the participants who are cross-validated."""
        return np.flatnonzero(self.classes != EXTERNAL)

    @property
    def outer(self) -> np.ndarray:
        """Rows of the external participants."""
        return np.flatnonzero(self.classes == EXTERNAL)

    def clean(self, features: np.ndarray, train: np.ndarray) -> np.ndarray:
        """Regress confounds out of features, with weights of the training participants.

        Parameters
        ----------
        features : ndarray of float32, shape (n_people, n_features)
        train : ndarray of int
            Rows of the training participants.

        Returns
        -------
        ndarray of float32, shape (n_people, n_features)
            *features* themselves where nothing is removed.
        """
        if self.removed is None:
            return features
        is_train = np.isin(np.arange(len(self.classes)), train)
        design = np.hstack([
            _design(self.removed[name], is_train) for name in self.removed
        ])
        return remove_confounds(features, design, is_train)

    def cleaned(self, train: np.ndarray) -> Cohort:
        """Return the cohort with volumes from which confounds are regressed out."""
        if self.removed is None:
            return self
        flat = self.clean(self.volumes.reshape(len(self.volumes), -1), train)
        return replace(self, volumes=flat.reshape(self.volumes.shape), removed=None)


def _design(values: pd.Series, is_train: np.ndarray) -> np.ndarray:
    return confound_design(values, np.full(len(values), "all"), is_train)


RoundFit = Callable[[Cohort, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class RepeatResult:
    """Result of one repetition of the cross-validation.

    Parameters
    ----------
    scores : ndarray, shape (n_inner, n_classes)
        Class probabilities of participants when they were held out.
    external : ndarray, shape (n_outer, n_classes)
        Class probabilities of external participants, mean over the networks of the folds.
    maps : ndarray, shape (n_classes, i, j, k), or None
        Occlusion maps of held-out participants, mean over folds.
    n_epochs : tuple of int
        Epochs trained in each fold.
    """

    scores: np.ndarray
    external: np.ndarray
    maps: np.ndarray | None
    n_epochs: tuple[int, ...]


def fit_network(
    cohort: Cohort, rows: np.ndarray, settings: Volumes, *, seed: int, device: str
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train the shallow CNN on some participants, a fifth of them held out for early stopping.

    Parameters
    ----------
    cohort : Cohort
    rows : ndarray of int
        Participants to train on.
    settings : Volumes
    seed : int
    device : str

    Returns
    -------
    network : torch.nn.Module
        On the CPU, in evaluation mode.
    history : list of dict
    """
    classes = cohort.classes[rows]
    # At least one participant of each label must be held out.
    n_aside = max(math.ceil(VALIDATION_SHARE * len(rows)), len(np.unique(classes)))
    splitter = StratifiedShuffleSplit(1, test_size=n_aside, random_state=seed)
    fitted, aside = next(splitter.split(classes[:, None], classes))
    network = fresh_network(
        ShallowNetwork, cohort.volumes.shape[1:], len(cohort.labels), settings.kernel,
        seed=derive_seed(seed, "start"),
    )
    parts = [Labelled(cohort.volumes[rows[part]], classes[part]) for part in (fitted, aside)]
    history = fit_classifier(
        network, *parts, shallow_recipe(settings, settings.epochs), seed=seed, device=device
    )
    return network, history


def cross_validate(
    cohort: Cohort, folds: np.ndarray, settings: Volumes, *, seed: int, device: str,
    explains: bool = False,
) -> RepeatResult:
    """Train one network per fold and score the participants held out of it.

    Parameters
    ----------
    cohort : Cohort
    folds : ndarray of int, shape (n_inner,)
        Test fold of each participant.
    settings : Volumes
    seed : int
    device : str
    explains : bool
        Whether to compute occlusion maps of the held-out participants.
    """
    inner = cohort.inner
    scores = np.zeros((len(inner), len(cohort.labels)))
    external, maps, n_epochs = [], [], []
    for fold in np.unique(folds):
        train, test = inner[folds != fold], inner[folds == fold]
        assert_disjoint((cohort.names[n] for n in train), (cohort.names[n] for n in test))
        people = cohort.cleaned(train)
        network, history = fit_network(
            people, train, settings, seed=derive_seed(seed, "fold", fold), device=device
        )
        scores[folds == fold] = np.exp(log_probabilities(network, people.volumes[test]))
        if len(cohort.outer):
            external.append(np.exp(log_probabilities(network, people.volumes[cohort.outer])))
        if explains:
            mean = people.volumes[train].mean(axis=0)
            maps.append(occlusion_of_classes(network, people, test, mean, settings))
        n_epochs.append(len(history))
    return RepeatResult(
        scores, np.mean(external, axis=0) if external else np.zeros((0, len(cohort.labels))),
        np.nanmean(maps, axis=0) if explains else None, tuple(n_epochs),
    )


def occlusion_of_classes(
    network: nn.Module, cohort: Cohort, rows: np.ndarray, fill: np.ndarray, settings: Volumes
) -> np.ndarray:
    """Compute the occlusion map of each class from some of its participants.

    Parameters
    ----------
    network : torch.nn.Module
    cohort : Cohort
    rows : ndarray of int
        Participants to explain.
    fill : ndarray, shape (i, j, k)
        Content of the window: the mean of the training participants. A window of zeros would
        mimic a disease with low uptake and invert its map.
    settings : Volumes

    Returns
    -------
    ndarray, shape (n_classes, i, j, k)
        NaN for classes without participants.
    """
    shape = cohort.volumes.shape[1:]
    window, stride = choose_window(shape, settings.window)
    found = np.full((len(cohort.labels), *shape), np.nan, dtype=np.float32)
    for number in range(len(cohort.labels)):
        members = evenly_spaced(
            rows[cohort.classes[rows] == number], settings.explained_trials
        )
        if len(members):
            volumes = torch.from_numpy(np.ascontiguousarray(cohort.volumes[members]))
            classes = torch.full((len(members),), number)
            found[number] = occlusion_map(
                network, volumes, classes, fill=torch.from_numpy(fill), window=window,
                stride=stride,
            ).numpy()
    return found


def linear_scores(
    features: np.ndarray, cohort: Cohort, folds: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit logistic regression to fixed features, in the same folds.

    Parameters
    ----------
    features : ndarray, shape (n_people, n_features)
        From a frozen backbone, or grey values; reduced to at most :data:`MAX_COMPONENTS`
        principal components of the training participants.
    cohort : Cohort
    folds : ndarray of int, shape (n_inner,)
    seed : int

    Returns
    -------
    scores : ndarray, shape (n_inner, n_classes)
    external : ndarray, shape (n_outer, n_classes)
    """
    inner, outer = cohort.inner, cohort.outer
    scores = np.zeros((len(inner), len(cohort.labels)))
    external = np.zeros((len(outer), len(cohort.labels)))
    for fold in np.unique(folds):
        train = inner[folds != fold]
        n_components = min(MAX_COMPONENTS, len(train) - 1, features.shape[1])
        head = make_pipeline(
            PCA(n_components, random_state=seed, svd_solver="randomized"), StandardScaler(),
            LogisticRegression(max_iter=1000),
        )
        cleaned = cohort.clean(features, train)
        head.fit(cleaned[train], cohort.classes[train])
        scores[folds == fold] = head.predict_proba(cleaned[inner[folds == fold]])
        if len(outer):
            external += head.predict_proba(cleaned[outer]) / len(np.unique(folds))
    return scores, external


def confound_scores(
    values: pd.Series, cohort: Cohort, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decode labels from one confound alone, in the same folds.

    Parameters
    ----------
    values : Series, n_people rows
        Numbers or words, for instance age or scanner.
    cohort : Cohort
    folds : ndarray of int, shape (n_inner,)

    Returns
    -------
    scores : ndarray, shape (n_inner, n_classes)
        Class probabilities of :func:`.controls.classify`.
    external : ndarray, shape (n_outer, n_classes)
    """
    inner, outer, n_classes = cohort.inner, cohort.outer, len(cohort.labels)
    scores, external = np.zeros((len(inner), n_classes)), np.zeros((len(outer), n_classes))
    for fold in np.unique(folds):
        train, test = inner[folds != fold], inner[folds == fold]
        design = _design(values, np.isin(np.arange(len(values)), train))
        found = softmax(classify(
            design[train], cohort.classes[train], design[np.concatenate([test, outer])], n_classes
        ), axis=1)
        scores[folds == fold] = found[:len(test)]
        external += found[len(test):] / len(np.unique(folds))
    return scores, external


def permuted_rounds(
    cohort: Cohort, permuted: np.ndarray, n_splits: int, fit: RoundFit, seed: int
) -> np.ndarray:
    """Cross-validate once under each labelling, with folds of its own.

    Parameters
    ----------
    cohort : Cohort
    permuted : ndarray of int, shape (n_permutations, n_inner)
        Classes of the participants who are cross-validated.
    n_splits : int
    fit : callable (cohort, folds, seed) -> ndarray, shape (n_inner, n_classes)
        Scores of held-out participants.
    seed : int

    Returns
    -------
    ndarray of float32, shape (n_permutations, n_inner, n_classes)
    """
    found = []
    for number, classes in enumerate(permuted):
        own = derive_seed(seed, "permuted", number)
        everybody = cohort.classes.copy()
        everybody[cohort.inner] = classes
        folds = subject_folds(classes, n_splits, 1, own)[0]
        found.append(fit(replace(cohort, classes=everybody), folds, own))
    return np.stack(found).astype(np.float32)


def embed(features: np.ndarray, seed: int) -> tuple[np.ndarray, str]:
    """Embed participants in two dimensions, without using their labels.

    Parameters
    ----------
    features : ndarray, shape (n_people, n_features)
    seed : int

    Returns
    -------
    places : ndarray, shape (n_people, 2)
    method : {"UMAP", "PCA"}
        UMAP if umap-learn is installed, else the first two principal components.
    """
    n_components = min(MAX_COMPONENTS, *features.shape)
    reduced = PCA(n_components, random_state=seed, svd_solver="randomized").fit_transform(
        np.asarray(features, dtype=np.float64)
    )
    try:
        from umap import UMAP
    except ImportError:
        return reduced[:, :2], "PCA"
    plane = UMAP(n_neighbors=min(15, len(features) - 1), random_state=seed, n_jobs=1)
    return plane.fit_transform(reduced), "UMAP"
