"""Functional alignment: decoders trained on others' trials, brought to a participant's voxels.

Two participants who saw the same stimuli, or stimuli with the same labels, share mean responses to
them. From these an orthogonal transformation between their voxels is estimated (Procrustes [1]_),
or a space that all share (deterministic shared response model, SRM [2]_). It is then applied to the
single trials of the others. Only training trials of the new participant enter.

Both transformations are zero outside the span of the mean responses, so that everything is computed
in a basis of it: no matrix of voxels by voxels is made, whatever the size of the region.

References
----------
.. [1] Haxby et al. (2011), A common, high-dimensional model of the representational space in human
   ventral temporal cortex, Neuron 72:404.
.. [2] Chen et al. (2015), A reduced-dimension fMRI shared response model, NeurIPS 28.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.linalg
from sklearn.svm import LinearSVC

from bids_decoder.evaluation.baselines import (
    assert_sides,
    coordinates,
    ridge_predict,
    scores_of_classes,
)
from bids_decoder.evaluation.folds import assert_disjoint, assert_no_test
from bids_decoder.trials import Person, Targets

LEAST_SHARED = {True: 2, False: 10}
"""Targets that two participants must share: where the same ones are trained on and tested (labels),
and where each is a stimulus."""

N_FEATURES, N_ITERATIONS = 50, 10
"""Largest number of dimensions of the shared space, and updates of it; those of BrainIAK."""

TOLERANCE = 1e-6
"""Singular values below this share of the largest are noise of the arithmetic."""

_ROWS = 1000

SIDES = ("others", "both")
"""On whose trials decoders are trained: those of the others, or also the participant's own."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Single trials of one participant in a basis of a part of the space of voxels.

    Parameters
    ----------
    betas : ndarray of float64, shape (n_trials, n_dims)
    rows : ndarray of int, shape (n_trials,)
        Row of the target of each trial in the :class:`~bids_decoder.trials.Targets`.
    runs : ndarray of str, shape (n_trials,)
        Runs, with different names in different participants.
    """

    betas: np.ndarray
    rows: np.ndarray
    runs: np.ndarray

    def means(self, shared: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return mean responses to targets, less their mean, (n_shared, n_dims).

        Parameters
        ----------
        shared : ndarray of int, shape (n_shared,)
            Rows of the targets.
        rows : ndarray of int, shape (n_trials,), optional
            Permuted targets of the trials.
        """
        means = mean_responses(self.betas, self.rows if rows is None else rows, shared)
        return means - means.mean(axis=0)


def mean_responses(betas: np.ndarray, rows: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Return the mean response to each target, (n_shared, n_voxels).

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    rows : ndarray of int, shape (n_trials,)
    shared : ndarray of int, shape (n_shared,)
        Each occurs in *rows*.
    """
    return np.stack([np.mean(betas[rows == row], axis=0, dtype=np.float64) for row in shared])


def reduce_source(person: Person, targets: Targets) -> Trials:
    """Return training trials of a source participant in the span of their mean responses.

    Parameters
    ----------
    person : Person
        Training trials.
    targets : Targets

    Raises
    ------
    LeakageError
        When a trial is no training trial.
    """
    assert_no_test(person.trials, np.arange(len(person.trials)))
    means = mean_responses(person.betas, person.target_rows, np.unique(person.target_rows))
    basis = scipy.linalg.qr(means.T, mode="economic")[0]
    runs = np.char.add(f"{person.label}/", person.run_groups)
    return Trials(_project(person.betas, basis), person.target_rows, runs)


def _project(betas: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return trials in a basis, in double precision without a copy of all voxels in it."""
    starts = range(0, len(betas), _ROWS)
    return np.concatenate([
        np.asarray(betas[row:row + _ROWS], dtype=np.float64) @ basis for row in starts
    ])


class Procrustes(NamedTuple):
    """An orthogonal transformation with a scale.

    Parameters
    ----------
    rotation : ndarray, shape (n_source_dims, n_target_dims)
        Zero outside the span of the responses it was estimated from.
    scale : float
    """

    rotation: np.ndarray
    scale: float

    def apply(self, betas: np.ndarray) -> np.ndarray:
        """Bring trials (n_trials, n_source_dims) to the dimensions of the target."""
        return self.scale * betas @ self.rotation


def fit_procrustes(source: np.ndarray, target: np.ndarray) -> Procrustes:
    """Estimate the orthogonal transformation and the scale that bring *source* to *target*.

    Parameters
    ----------
    source : ndarray, shape (n_shared, n_source_dims)
    target : ndarray, shape (n_shared, n_target_dims)
        Responses to the same targets.

    Returns
    -------
    Procrustes
        Minimises ``||scale * source @ rotation - target||``.
    """
    left, values, right = np.linalg.svd(source.T @ target, full_matrices=False)
    kept = values > TOLERANCE * values.max(initial=0.0)
    power = np.square(source).sum()
    scale = float(values[kept].sum() / power) if power > 0 else 0.0
    return Procrustes(left[:, kept] @ right[kept], scale)


def fit_srm(
    responses: Sequence[np.ndarray], n_features: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Fit the deterministic shared response model.

    Parameters
    ----------
    responses : sequence of ndarray, shape (n_shared, n_dims)
        Of the participants, to the same targets.
    n_features : int
        Dimensions of the shared space.

    Returns
    -------
    weights : list of ndarray, shape (n_dims, n_features)
        Orthonormal columns, by participant.
    shared : ndarray, shape (n_shared, n_features)
        Shared responses; they start as the principal components of all participants' responses, so
        that no random start is needed.
    """
    left, values, _ = np.linalg.svd(np.hstack(responses), full_matrices=False)
    shared = left[:, :n_features] * values[:n_features]
    weights: list[np.ndarray] = []
    for _ in range(N_ITERATIONS):
        weights = [fit_weights(one, shared) for one in responses]
        shared = np.mean([one @ w for one, w in zip(responses, weights, strict=True)], axis=0)
    return weights, shared


def fit_weights(responses: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Return the orthonormal weights of a participant in a shared space, (n_dims, n_features).

    Parameters
    ----------
    responses : ndarray, shape (n_shared, n_dims)
    shared : ndarray, shape (n_shared, n_features)
    """
    left, _, right = np.linalg.svd(responses.T @ shared, full_matrices=False)
    return left @ right


class Decoded(NamedTuple):
    """What a decoder on aligned trials says about test trials.

    Parameters
    ----------
    values : ndarray, shape (n_test, n_classes or n_dims)
        Class scores or predicted vectors.
    train_rows : ndarray of int, shape (n_trained,)
        Targets of the trials it was trained on.
    """

    values: np.ndarray
    train_rows: np.ndarray


Features = tuple[list[np.ndarray], np.ndarray, np.ndarray]
"""Trials of each source, own training trials and test trials, in one space."""


@dataclass(frozen=True, eq=False)
class Group:
    """The source participants.

    Parameters
    ----------
    sources : sequence of Trials
    """

    sources: Sequence[Trials]
    _models: dict[bytes, tuple[list[np.ndarray], np.ndarray]] = field(default_factory=dict)

    def shared_space(self, shared: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return :func:`fit_srm` of the responses to some targets, fitted once."""
        key = shared.tobytes()
        if key not in self._models:
            means = [source.means(shared) for source in self.sources]
            n_features = min(N_FEATURES, len(shared) - 1, *(one.shape[1] for one in means))
            self._models[key] = fit_srm(means, n_features)
        return self._models[key]


@dataclass(frozen=True, eq=False)
class Newcomer:
    """The participant who is decoded: training and test trials of one fold, in the same basis.

    Parameters
    ----------
    train, test : Trials
    """

    train: Trials
    test: Trials


def reduce_newcomer(train: Person, test: Person, targets: Targets) -> Newcomer:
    """Return the trials of a fold in the span of its training trials.

    Parameters
    ----------
    train, test : Person
    targets : Targets

    Returns
    -------
    Newcomer
        Linear decoders of training trials, and of what is brought to their span, predict the same
        as in all voxels.

    Raises
    ------
    LeakageError
        When training and test share a trial, or a stimulus where stimuli are decoded.
    """
    assert_sides(train, test, targets)
    n_trials, n_voxels = train.betas.shape
    basis = np.eye(n_voxels)
    if n_trials < n_voxels:
        basis = scipy.linalg.qr(np.asarray(train.betas.T, dtype=np.float64), mode="economic")[0]
    own, held_out = (
        Trials(_project(side.betas, basis), side.target_rows,
               np.char.add(f"{side.label}/", side.run_groups))
        for side in (train, test)
    )
    return Newcomer(own, held_out)


def decode_aligned(
    names: Sequence[str], group: Group, newcomer: Newcomer, targets: Targets,
    train_rows: np.ndarray | None = None,
) -> dict[str, Decoded]:
    """Train decoders on aligned trials, and predict the test trials.

    Parameters
    ----------
    names : sequence of str
        Some of :data:`METHODS`.
    group : Group
    newcomer : Newcomer
    targets : Targets
        Categories, or stimuli with vectors.
    train_rows : ndarray of int, shape (n_train,), optional
        Permuted targets of the newcomer's training trials, from which everything is estimated
        again.

    Returns
    -------
    dict of str to Decoded
        By method and :data:`SIDES`, as ``procrustes-others``. Labels are decoded with linear
        support vector machines, stimuli with the ridge regression of the baselines.

    Raises
    ------
    LeakageError
        When a source participant was shown a stimulus that is tested.
    """
    if not targets.over_runs:
        for source in group.sources:
            assert_disjoint(*(
                [targets.ids[row] for row in np.unique(trials.rows)]
                for trials in (source, newcomer.test)
            ))
    rows = newcomer.train.rows if train_rows is None else train_rows
    found = {}
    for name in names:
        others, own, test = METHODS[name](group, newcomer, rows)
        sources = group.sources
        trials = Trials(
            np.concatenate(others), np.concatenate([one.rows for one in sources]),
            np.concatenate([one.runs for one in sources]),
        )
        joined = Trials(
            np.concatenate([trials.betas, own]), np.concatenate([trials.rows, rows]),
            np.concatenate([trials.runs, newcomer.train.runs]),
        )
        for side, part in zip(SIDES, (trials, joined), strict=True):
            decode = _classify if targets.kind == "category" else _regress
            found[f"{name}-{side}"] = Decoded(decode(part, test, targets), part.rows)
    return found


def _classify(train: Trials, test: np.ndarray, targets: Targets) -> np.ndarray:
    # Dimensions are not scaled: those of a basis have no unit of their own, as voxels have.
    machine = LinearSVC(C=1.0, random_state=0).fit(train.betas, train.rows)
    return scores_of_classes(machine, test, len(targets.ids))


def _regress(train: Trials, test: np.ndarray, targets: Targets) -> np.ndarray:
    space = coordinates(train.rows, targets)
    return space.restore(ridge_predict(train.betas, space.scores, test, train.runs))


def _procrustes(group: Group, newcomer: Newcomer, rows: np.ndarray) -> Features:
    """Bring each source to the dimensions of the newcomer, by the targets that both share."""
    aligned = []
    for source in group.sources:
        shared = np.intersect1d(source.rows, rows)
        fitted = fit_procrustes(source.means(shared), newcomer.train.means(shared, rows))
        aligned.append(fitted.apply(source.betas))
    return aligned, newcomer.train.betas, newcomer.test.betas


def _srm(group: Group, newcomer: Newcomer, rows: np.ndarray) -> Features:
    """Bring everybody to the shared space of the sources, by the targets that all share."""
    shared = np.unique(rows)
    for source in group.sources:
        shared = np.intersect1d(shared, source.rows)
    weights, responses = group.shared_space(shared)
    own = fit_weights(newcomer.train.means(shared, rows), responses)
    others = [one.betas @ w for one, w in zip(group.sources, weights, strict=True)]
    return others, newcomer.train.betas @ own, newcomer.test.betas @ own


METHODS: Mapping[str, Callable[[Group, Newcomer, np.ndarray], Features]] = {
    "procrustes": _procrustes, "srm": _srm,
}
"""Methods of alignment by name."""
