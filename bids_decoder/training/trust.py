"""How far a participant's own trials support the pretrained trunk.

Source participants may differ from the new one. On training runs that are held out, the pretrained
trunk is compared with the identity, which leaves the closed-form fit to the participant's own
trials, and with trunks in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bids_decoder.evaluation.folds import enough_folds, inner_folds
from bids_decoder.training.adaptation import Adaptation, SharedModel
from bids_decoder.training.episodes import MIN_CALIBRATION_TRIALS, VoxelWeighting

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Candidates: 1 is the pretrained trunk, 0 the identity."""

STANDARD_ERRORS = 2.0
"""By how many standard errors the identity must be better for the pretrained trunk to be shrunk."""

_N_FOLDS = 3


def choose_share(
    adaptation: Adaptation, weighting: VoxelWeighting
) -> tuple[float, dict[str, Any]]:
    """Choose how much of the pretrained trunk is used, on held-out training runs.

    All of it, unless the identity is better by :data:`STANDARD_ERRORS`; then the best share.
    Input layers are fitted as to all training trials. Voxels are weighted without the held-out
    runs, as in the episodes that the trunk was trained on, unless *weighting* knows them.

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
        JSON-able: ``trunk_share``, and ``trunk_gains``, the mean gain in distinctness over the
        pretrained trunk by share.
    """
    person = adaptation.person
    folds = inner_folds(person.run_groups, _N_FOLDS) if _has_runs(person.run_groups) else []
    if not folds or min(len(train) for train, _ in folds) < MIN_CALIBRATION_TRIALS:
        return 1.0, {"trunk_share": 1.0, "trunk_gains": {}}
    models = [adaptation.shared.shrunk(share) for share in SHARES]
    found = np.concatenate([
        _score(adaptation, models, weighting, *fold) for fold in enough_folds(folds)
    ])
    gains = found - found[:, :1]
    error = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    means = gains.mean(axis=0)
    does_harm = means[-1] > STANDARD_ERRORS * error[-1]
    share = SHARES[int(np.argmax(means))] if does_harm else 1.0
    listed = {str(s): round(float(g), 4) for s, g in zip(SHARES, means, strict=True)}
    return share, {"trunk_share": share, "trunk_gains": listed}


def _has_runs(run_groups: np.ndarray) -> bool:
    return len(np.unique(run_groups)) > 1


def _score(
    adaptation: Adaptation, models: list[SharedModel], weighting: VoxelWeighting,
    train: np.ndarray, test: np.ndarray,
) -> np.ndarray:
    """Return the distinctness of each held-out trial through each model, (n_test, n_models)."""
    person = adaptation.person
    inner = adaptation.with_person(person.subset(train))
    fit = inner.closed_form(weighting(inner.person, inner.wanted))
    latents = fit.latents(person.betas[test])
    rows = person.target_rows[test]
    return np.stack([
        model.distinctness(latents, fit.n_trials, rows) for model in models
    ], axis=1)
