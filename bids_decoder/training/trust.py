"""How far a participant's own trials support the pretrained trunk.

Source participants may differ from the new one. On training runs that are held out, the pretrained
trunk is compared with the identity, which leaves the closed-form fit to the participant's own
trials, and with trunks in between.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax

from bids_decoder.evaluation.folds import enough_folds, inner_folds
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.training.adaptation import Adaptation, SharedModel
from bids_decoder.training.episodes import MIN_CALIBRATION_TRIALS, VoxelWeighting

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""Candidates: 1 is the pretrained trunk, 0 the identity."""

PRIOR = 3.0
"""Logarithm of the likelihood that the identity must gain on the pretrained trunk, of labels.

Shares between them must gain the square of the difference to 1 times as much.
"""

SLOPES = np.geomspace(0.1, 10, 21)
"""Inverse temperatures of labels' scores of unit spread, of which each share takes the best."""

STANDARD_ERRORS = 2.0
"""By how many standard errors the identity must be better for a trunk of stimuli to be shrunk."""

_N_FOLDS = 3


def choose_share(
    adaptation: Adaptation, weighting: VoxelWeighting
) -> tuple[float, dict[str, Any]]:
    """Choose how much of the pretrained trunk is used, on held-out training runs.

    With a linear trunk the participant is decoded by the weighted mean of two decoders: the
    pretrained one, and that of the own trials alone. For labels the weight is the one with which
    the labels of held-out trials are likeliest (stacking, with weights that are not negative), each
    label as important as the others, however rare. For stimuli it is 1, unless the identity is
    better by :data:`STANDARD_ERRORS`; then it is the best one. Input layers are fitted as to all
    training trials. Voxels are weighted without the held-out runs, as in the episodes that the
    trunk was trained on, unless *weighting* knows them.

    Parameters
    ----------
    adaptation : Adaptation
        Of the participant's training trials, with the pretrained trunk.
    weighting : callable
        Computes voxel weights from the trials of the other runs.

    Returns
    -------
    share : float
        One of :data:`SHARES`; see :meth:`.Trunk.shrunk`. With a single run, or folds with fewer
        than :data:`.MIN_CALIBRATION_TRIALS` trials, 1.
    notes : dict
        JSON-able: ``trunk_share``, and ``trunk_gains``, the mean gain over the pretrained trunk by
        share: in the logarithm of the likelihood of labels, or in the distinctness of stimuli.

    References
    ----------
    Breiman (1996), Stacked regressions, Machine Learning 24:49.
    """
    person, shared = adaptation.person, adaptation.shared
    folds = inner_folds(person.run_groups, _N_FOLDS) if _has_runs(person.run_groups) else []
    if not folds or min(len(train) for train, _ in folds) < MIN_CALIBRATION_TRIALS:
        return 1.0, {"trunk_share": 1.0, "trunk_gains": {}}
    models = [shared.shrunk(share) for share in SHARES]
    heldout = [_decode(adaptation, weighting, *fold) for fold in enough_folds(folds)]
    choose = _likeliest if shared.is_category else _without_harm
    number, gains = choose(heldout, models)
    share = SHARES[number]
    listed = {str(s): round(float(g), 4) for s, g in zip(SHARES, gains, strict=True)}
    return share, {"trunk_share": share, "trunk_gains": listed}


def _has_runs(run_groups: np.ndarray) -> bool:
    return len(np.unique(run_groups)) > 1


class _HeldOut(NamedTuple):
    """Held-out trials of a fold, read by an input layer that was fitted on *n_trials* others.

    Parameters
    ----------
    latents : ndarray of float32, shape (n_test, n_latents)
    n_trials : int
    target_rows : ndarray of int, shape (n_test,)
    """

    latents: np.ndarray
    n_trials: int
    target_rows: np.ndarray


def _decode(
    adaptation: Adaptation, weighting: VoxelWeighting, train: np.ndarray, test: np.ndarray
) -> _HeldOut:
    person = adaptation.person
    inner = adaptation.with_person(person.subset(train))
    fit = inner.closed_form(weighting(inner.person, inner.wanted))
    return _HeldOut(fit.latents(person.betas[test]), fit.n_trials, person.target_rows[test])


def _likeliest(heldout: list[_HeldOut], models: list[SharedModel]) -> tuple[int, np.ndarray]:
    """Return the number of the likeliest share of labels, and gains in the mean likelihood."""
    rows = np.concatenate([fold.target_rows for fold in heldout])
    likelihood = np.empty(len(models))
    for number, model in enumerate(models):
        embedding = np.concatenate([model.embed(one.latents, one.n_trials) for one in heldout])
        likelihood[number] = _log_likelihood(embedding, rows, model.vectors)
    expected = PRIOR * np.square(1 - np.array(SHARES))
    return int(np.argmax(likelihood - expected)), (likelihood - likelihood[0]) / len(rows)


def _log_likelihood(embedding: np.ndarray, rows: np.ndarray, vectors: np.ndarray) -> float:
    """Return the likelihood of labels with the best of :data:`SLOPES`.

    Trials count by the inverse frequency of their labels, as in balanced accuracy: else the share
    would be that with which the frequent one is named most often.
    """
    scores = label_scores(embedding, vectors)
    scores /= scores.std() or 1.0
    log_p = log_softmax(SLOPES[:, None, None] * scores, axis=2)[:, np.arange(len(rows)), rows]
    weights = 1 / np.bincount(rows)[rows]
    return float((log_p @ weights).max() * len(rows) / weights.sum())


def _without_harm(heldout: list[_HeldOut], models: list[SharedModel]) -> tuple[int, np.ndarray]:
    """Return the number of the best share of stimuli if all of the trunk does harm, else 0."""
    found = np.concatenate([
        np.stack([model.distinctness(*fold) for model in models]) for fold in heldout
    ], axis=1)
    gains = found - found[0]
    error = gains[-1].std(ddof=1) / np.sqrt(gains.shape[1])
    means = gains.mean(axis=1)
    does_harm = means[-1] > STANDARD_ERRORS * error
    return int(np.argmax(means)) if does_harm else 0, means
