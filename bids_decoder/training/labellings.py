"""The closed-form decoder of labels, fitted to many labellings of the same trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bids_decoder.config import Network, Troi
from bids_decoder.evaluation.folds import assert_no_test
from bids_decoder.evaluation.similarity import normalise
from bids_decoder.stimuli.targets import TargetSpace, fit_target_space
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.selectors import (
    SELECT_FROM_MAP,
    SelectionTask,
    is_learned,
    select_of_each,
)
from bids_decoder.training.signal import SIGNAL_SHARES
from bids_decoder.trials import Person, Targets

MAX_COMPONENTS = 256

_MAX_BATCH, _BATCH_BYTES = 100, 4 << 20


def fits_in_closed_form(target_kind: str, network: Network, troi: Troi) -> bool:
    """Return whether a decoder without pretraining is fitted without any training by gradients.

    So it is for labels, unless the settings ask for training: a selector that learns, a number
    of epochs of fine-tuning, or a trunk that is trained too. A trunk of the participant's own
    and fine-tuning do not make predictions of labels better; see ``docs/statistics.md``.

    Parameters
    ----------
    target_kind : {"category", "image", "features"}
    network : Network
    troi : Troi
    """
    asked = network.finetune_epochs or troi.stage2_trunk != "frozen" or is_learned(troi.selector)
    return target_kind == "category" and not asked


def fits_in_batches(target_kind: str, network: Network, troi: Troi) -> bool:
    """Return whether :func:`scores_of_labellings` repeats this decoder without pretraining."""
    return (
        network.decoder == "troi" and troi.selector in SELECT_FROM_MAP
        and fits_in_closed_form(target_kind, network, troi)
    )


def fit_space(
    targets: Targets, rows_of_people: list[np.ndarray], whitening: float
) -> TargetSpace:
    """Fit the target space on the stimuli, or labels, of training trials."""
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
    """Fit the decoder of labels to each labelling and score the test trials.

    Parameters
    ----------
    train : Person
        Training trials; their own labels are not used.
    test_betas : ndarray, shape (n_test, n_voxels)
    targets : Targets
        Categories.
    train_rows : ndarray of int, shape (n_labellings, n_train)
        Row of the label of each training trial in the targets.
    network : Network
    troi : Troi
        For which :func:`fits_in_batches` is true.
    progress : callable, optional
        Called with (labellings done, labellings in all).

    Returns
    -------
    ndarray of float32, shape (n_labellings, n_test, n_classes)
        As one fit after the other gives: responses are the same for all labellings, so that
        evidence, signal fields and voxels of many are computed together.
    """
    assert_no_test(train.trials, np.arange(len(train.trials)))
    scores = np.empty((len(train_rows), len(test_betas), len(targets.ids)), dtype=np.float32)
    done = 0
    for members in _same_labels(train_rows, len(targets.ids)):
        space = fit_space(targets, [train_rows[members[0]]], network.target_whitening or 0.0)
        vectors = space.transform(targets.vectors)
        for batch in np.array_split(members, -(-len(members) // _batch_size(train))):
            wanted = vectors[train_rows[batch]]
            latents = _fit_latents(train, test_betas, wanted, troi)
            scores[batch] = latents @ normalise(vectors).T
            done += len(batch)
            if progress is not None:
                progress(done, len(train_rows))
    return scores


def _same_labels(train_rows: np.ndarray, n_classes: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the labellings in which the same labels occur."""
    occurs = (train_rows[:, :, None] == np.arange(n_classes)).any(axis=1)
    group_of = np.unique(occurs, axis=0, return_inverse=True)[1].ravel()
    for group in range(group_of.max(initial=-1) + 1):
        yield np.flatnonzero(group_of == group)


def _batch_size(train: Person) -> int:
    bytes_of_one = 8 * 3 * len(SIGNAL_SHARES) * train.grid.n_voxels
    return int(np.clip(_BATCH_BYTES // bytes_of_one, 1, _MAX_BATCH))


def _fit_latents(
    train: Person, test_betas: np.ndarray, wanted: np.ndarray, troi: Troi
) -> np.ndarray:
    """Select voxels and fit the input layer for each set of targets; latents of test trials."""
    task = SelectionTask(train, wanted[0], troi, _no_gates, 0, closed_form=True)
    runs, found = np.unique(train.run_groups, return_inverse=True)[1], []
    for own, selection in zip(wanted, select_of_each(task, wanted), strict=True):
        fit = fit_input_layer(train.betas, own, runs, selection.weights, "evidence")
        found.append(fit.latents(test_betas))
    return np.stack(found)


def _no_gates(*_: object) -> None:
    raise RuntimeError("a selector in closed form learns no gates")
