"""The closed-form decoder of labels and values, fitted to many labellings of the same trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.folds import assert_no_test
from bids_decoder.evaluation.similarity import normalise
from bids_decoder.stimuli.targets import TargetSpace, fit_target_space, fit_value_space
from bids_decoder.training.likely_filter import candidate_filters, choose_candidate
from bids_decoder.training.likely_ridge import CentredTrials, SharedFits
from bids_decoder.training.penalties import likely_candidates
from bids_decoder.training.selection.task import SelectionTask
from bids_decoder.training.selectors import (
    SELECT_FROM_MAP,
    is_learned,
    learn_no_gates,
    select_of_each,
)
from bids_decoder.training.shared_noise import is_subtracted
from bids_decoder.training.signal import SIGNAL_SHARES
from bids_decoder.trials import Person, Targets

MAX_COMPONENTS = 256

_MAX_BATCH, _BATCH_BYTES = 250, 64 << 20
"""Labellings whose kernels are computed together."""

_MAX_MAPS, _MAP_BYTES = 128, 16 << 20
"""Labellings whose signal is mapped together; more do not fit into the cache of a processor."""


def fits_in_closed_form(
    target_kind: str, network: Network, troi: Troi, *, few_stimuli: bool = False
) -> bool:
    """Return whether a decoder without pretraining is fitted without any training by gradients.

    So it is for values, whose training has no loss, and, unless the settings ask for training,
    for labels and for few stimuli. A trunk of the participant's own and fine-tuning do not make
    predictions of labels better, and a dozen stimuli are too few to train one; see
    ``docs/statistics.md``. After pretraining the input layer of labels is not trained either
    (:func:`.finetune.fit_weights`).

    Parameters
    ----------
    target_kind : str
        One of :data:`bids_decoder.trials.KINDS`.
    network : Network
    troi : Troi
    few_stimuli : bool
        Whether stimuli are cross-validated: :func:`.folds.is_crossed`.
    """
    trains = bool(asks_for_training(network, troi))
    return target_kind == "value" or ((target_kind == "category" or few_stimuli) and not trains)


def asks_for_training(network: Network, troi: Troi) -> list[str]:
    """Return the settings that ask for training by gradients, as they are written.

    These are a selector that learns, a number of epochs of fine-tuning, and a trunk that is
    trained too.
    """
    asked = {
        f"--troi {troi.selector}": is_learned(troi.selector),
        f"[network] finetune_epochs = {network.finetune_epochs}": network.finetune_epochs > 0,
        f"[troi] stage2_trunk = {troi.stage2_trunk}": troi.stage2_trunk != "frozen",
    }
    return [option for option, is_asked in asked.items() if is_asked]


def fits_in_batches(target_kind: str, network: Network, troi: Troi) -> bool:
    """Return whether :func:`scores_of_labellings` repeats this decoder without pretraining."""
    return (
        network.decoder == "troi" and troi.selector in SELECT_FROM_MAP
        and fits_in_closed_form(target_kind, network, troi)
    )


def fit_space(
    targets: Targets, rows_of_people: list[np.ndarray], whitening: float
) -> TargetSpace:
    """Fit the target space on the stimuli, labels or values of training trials.

    Parameters
    ----------
    targets : Targets
    rows_of_people : list of ndarray of int, each of shape (n_trials,)
        Row of the target of each training trial, by participant.
    whitening : float
        Exponent, 0 (none) to 1; not for values.
    """
    if targets.kind == "value":
        return fit_value_space(targets.vectors[np.concatenate(rows_of_people)])
    rows = np.unique(np.concatenate(rows_of_people))
    limit = None if targets.kind == "category" else min(MAX_COMPONENTS, len(rows) - 1)
    return fit_target_space(
        targets.vectors[rows], limit, variance=0.99, whitening=whitening
    )


def scores_of_labellings(
    train: Person,
    test_betas: np.ndarray,
    targets: Targets,
    train_rows: np.ndarray,
    network: Network,
    troi: Troi,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Fit the decoder of labels or values to each labelling and predict the test trials.

    Parameters
    ----------
    train : Person
        Training trials; their own labels are not used.
    test_betas : ndarray, shape (n_test, n_voxels)
    targets : Targets
        Categories or values.
    train_rows : ndarray of int, shape (n_labellings, n_train)
        Row of the label, or value, of each training trial in the targets.
    network : Network
    troi : Troi
        For which :func:`fits_in_batches` is true.
    progress : callable, optional
        Called with (labellings done, labellings in all).

    Returns
    -------
    ndarray of float32, shape (n_labellings, n_test, n_classes or n_columns)
        Class scores, or predicted values. As one fit after the other gives: responses are the same
        for all labellings, so that evidence, signal fields and voxels of many are computed
        together.
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    is_value = targets.kind == "value"
    width = targets.vectors.shape[1] if is_value else len(targets.ids)
    scores = np.empty((len(train_rows), len(test_betas), width), dtype=np.float32)
    trials = _FilteredTrials.of(train, test_betas, targets, troi)
    done, alike = 0, _same_values if is_value else _same_labels
    for members in alike(train_rows, len(targets.ids)):
        space = fit_space(targets, [train_rows[members[0]]], network.target_whitening or 0.0)
        vectors = space.transform(targets.vectors)
        gallery = None if is_value else normalise(vectors).T
        candidates = likely_candidates(
            train.run_groups, vectors.shape[1], is_category=not is_value
        )
        for batch in np.array_split(members, -(-len(members) // _batch_size(train))):
            wanted = vectors[train_rows[batch]]
            weights = np.concatenate([
                _weights_of_each(train, part, troi)
                for part in np.array_split(wanted, -(-len(wanted) // _n_maps(train)))
            ])
            fits = trials.fit(wanted, weights, candidates)
            scores[batch] = fits.latents @ gallery if not is_value else space.inverse_transform(
                fits.latents * fits.gains[:, None, None]
            )
            done += len(batch)
            if progress is not None:
                progress(done, len(train_rows))
    return scores


@dataclass(frozen=True, eq=False)
class _FilteredTrials:
    """Training and test trials as they are, and by each filter that is tried.

    Parameters
    ----------
    views : list of (CentredTrials, ndarray)
        The second is the test responses (n_test, n_voxels).
    less_shared_noise : bool
        See :meth:`.CentredTrials.fit`.
    """

    views: list[tuple[CentredTrials, np.ndarray]]
    less_shared_noise: bool

    @classmethod
    def of(
        cls, train: Person, test_betas: np.ndarray, targets: Targets, troi: Troi
    ) -> _FilteredTrials:
        """Filter trials; none of it depends on targets."""
        pairs = [(train.betas, test_betas), *(
            (one.apply(train.betas), one.apply(test_betas))
            for one in candidate_filters(train, targets, troi)
        )]
        views = [(CentredTrials.of(own, train.run_groups), test) for own, test in pairs]
        return cls(views, targets.kind != "value" and is_subtracted(train))

    def fit(self, wanted: np.ndarray, weights: np.ndarray, candidates: np.ndarray) -> SharedFits:
        """Fit each set with the likeliest filter; parameters as of :meth:`.CentredTrials.fit`."""
        tried = [
            trials.fit(
                wanted, weights, betas, candidates, less_shared_noise=self.less_shared_noise
            ) for trials, betas in self.views
        ]
        evidence = np.stack([fits.evidence for fits in tried])
        return SharedFits.choose(tried, choose_candidate(evidence))


def _same_labels(train_rows: np.ndarray, n_classes: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the labellings in which the same labels occur."""
    occurs = (train_rows[:, :, None] == np.arange(n_classes)).any(axis=1)
    group_of = np.unique(occurs, axis=0, return_inverse=True)[1].ravel()
    for group in range(group_of.max(initial=-1) + 1):
        yield np.flatnonzero(group_of == group)


def _same_values(train_rows: np.ndarray, n_values: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the labellings in which the same values occur equally often."""
    del n_values
    group_of = np.unique(np.sort(train_rows, axis=1), axis=0, return_inverse=True)[1].ravel()
    for group in range(group_of.max(initial=-1) + 1):
        yield np.flatnonzero(group_of == group)


def _batch_size(train: Person) -> int:
    """Return of how many labellings kernels and weights of voxels are held at a time."""
    bytes_of_one = 8 * len(train.betas) ** 2 + 4 * train.grid.n_voxels
    return int(np.clip(_BATCH_BYTES // bytes_of_one, 1, _MAX_BATCH))


def _n_maps(train: Person) -> int:
    """Return of how many labellings evidence and posterior of voxels are held at a time."""
    bytes_of_one = 8 * 3 * len(SIGNAL_SHARES) * train.grid.n_voxels
    return int(np.clip(_MAP_BYTES // bytes_of_one, 1, _MAX_MAPS))


def _weights_of_each(train: Person, wanted: np.ndarray, troi: Troi) -> np.ndarray:
    """Select voxels for each set of targets; weights of (n_sets, n_voxels)."""
    task = SelectionTask(train, wanted[0], troi, learn_no_gates, 0, closed_form=True)
    return np.stack([selection.weights for selection in select_of_each(task, wanted)])
