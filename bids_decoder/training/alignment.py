"""Functional alignment: decoders trained on others' trials, brought to a participant's voxels.

Two participants who saw the same stimuli, or stimuli with the same labels, share mean responses to
them. From these a transformation between their voxels, or a space that all share, is estimated
(:mod:`.transformations`) and applied to the single trials of the others. Only training trials of
the new participant enter.

Procrustes and SRM are zero outside the span of the mean responses, so that they are computed in a
basis of it, without a matrix of voxels by voxels. A transport plan is such a matrix: it is for
regions of at most :data:`MOST_VOXELS` voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.linalg
from sklearn.svm import LinearSVC

from bids_decoder.errors import InputError
from bids_decoder.evaluation.baselines import (
    assert_sides,
    coordinates,
    scores_of_classes,
)
from bids_decoder.evaluation.folds import assert_disjoint, assert_no_test
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.training.transformations import (
    N_FEATURES,
    fit_procrustes,
    fit_srm,
    fit_transport,
    fit_weights,
)
from bids_decoder.trials import Person, Targets

LEAST_SHARED = {True: 2, False: 10}
"""Targets that two participants must share: where the same ones are trained on and tested (labels),
and where each is a stimulus."""

MOST_VOXELS = 5000
"""Voxels of a region between which a transport plan is computed."""

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
    voxels : ndarray, shape (n_trials, n_voxels), optional
        The same trials in all voxels, for optimal transport.
    """

    betas: np.ndarray
    rows: np.ndarray
    runs: np.ndarray
    voxels: np.ndarray | None = None

    def means(self, shared: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return mean responses to targets, less their mean, (n_shared, n_dims).

        Parameters
        ----------
        shared : ndarray of int, shape (n_shared,)
            Rows of the targets.
        rows : ndarray of int, shape (n_trials,), optional
            Permuted targets of the trials.
        """
        return _centred(self.betas, self.rows if rows is None else rows, shared)

    def voxel_means(self, shared: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the same in all voxels, (n_shared, n_voxels)."""
        assert self.voxels is not None, "trials are in all voxels where transport is asked for"
        return _centred(self.voxels, self.rows if rows is None else rows, shared)


def _centred(betas: np.ndarray, rows: np.ndarray, shared: np.ndarray) -> np.ndarray:
    means = mean_responses(betas, rows, shared)
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


def reduce_source(person: Person, targets: Targets, names: Sequence[str]) -> Trials:
    """Return training trials of a source participant in the span of their mean responses.

    Parameters
    ----------
    person : Person
        Training trials.
    targets : Targets
    names : sequence of str
        Some of :data:`METHODS`; optimal transport needs the trials in all voxels, too.

    Raises
    ------
    LeakageError
        When a trial is no training trial.
    InputError
        When there are too many voxels for optimal transport.
    """
    assert_no_test(person.trials, np.arange(len(person.trials)))
    means = mean_responses(person.betas, person.target_rows, np.unique(person.target_rows))
    basis = scipy.linalg.qr(means.T, mode="economic")[0]
    runs = np.char.add(f"{person.label}/", person.run_groups)
    return Trials(
        _project(person.betas, basis), person.target_rows, runs, _voxels(person, names)
    )


def _voxels(person: Person, names: Sequence[str]) -> np.ndarray | None:
    """Return trials in all voxels where optimal transport needs them."""
    if "ot" not in names:
        return None
    n_voxels = person.betas.shape[1]
    if n_voxels > MOST_VOXELS:
        raise InputError(
            f"sub-{person.label}: --alignment ot", f"its responses have {n_voxels} voxels, and a "
            f"transport plan is computed between at most {MOST_VOXELS}",
            "give a mask of a smaller region (--region), or use procrustes or srm",
        )
    return person.betas


def _project(betas: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return trials in a basis, in double precision without a copy of all voxels in it."""
    starts = range(0, len(betas), _ROWS)
    return np.concatenate([
        np.asarray(betas[row:row + _ROWS], dtype=np.float64) @ basis for row in starts
    ])


def _span(betas: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of trials, (n_voxels, n_dims); all voxels with many trials."""
    n_trials, n_voxels = betas.shape
    if n_trials >= n_voxels:
        return np.eye(n_voxels)
    return scipy.linalg.qr(np.asarray(betas.T, dtype=np.float64), mode="economic")[0]


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


def reduce_newcomer(
    train: Person, test: Person, targets: Targets, names: Sequence[str]
) -> Newcomer:
    """Return the trials of a fold in the span of its training trials.

    Parameters
    ----------
    train, test : Person
    targets : Targets
    names : sequence of str
        Some of :data:`METHODS`, as in :func:`reduce_source`.

    Returns
    -------
    Newcomer
        Linear decoders of training trials, and of what is brought to their span, predict the same
        as in all voxels.

    Raises
    ------
    LeakageError
        When training and test share a trial, or a stimulus where stimuli are decoded.
    InputError
        When there are too many voxels for optimal transport.
    """
    assert_sides(train, test, targets)
    basis = _span(train.betas)
    own, held_out = (
        Trials(_project(side.betas, basis), side.target_rows,
               np.char.add(f"{side.label}/", side.run_groups), _voxels(side, names))
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
    # There are hardly more dimensions than trials: the primal problem converges where the dual
    # one does not.
    machine = LinearSVC(C=1.0, dual=False, random_state=0).fit(train.betas, train.rows)
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


def _transport(group: Group, newcomer: Newcomer, rows: np.ndarray) -> Features:
    """Bring each source to the voxels of the newcomer, by the targets that both share."""
    aligned = []
    for source in group.sources:
        shared = np.intersect1d(source.rows, rows)
        plan = fit_transport(source.voxel_means(shared), newcomer.train.voxel_means(shared, rows))
        aligned.append(source.voxels @ plan)
    own, test = newcomer.train.voxels, newcomer.test.voxels
    assert own is not None and test is not None, "as those of the sources"
    # In their span linear decoders predict the same, and are fitted in fewer dimensions.
    basis = _span(np.concatenate([*aligned, own]))
    return [_project(one, basis) for one in aligned], _project(own, basis), _project(test, basis)


METHODS: Mapping[str, Callable[[Group, Newcomer, np.ndarray], Features]] = {
    "procrustes": _procrustes, "srm": _srm, "ot": _transport,
}
"""Methods of alignment by name."""
