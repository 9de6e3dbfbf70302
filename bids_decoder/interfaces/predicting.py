"""Predictions of held-out trials by a decoder and by the baselines, in one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bids_decoder.evaluation.baselines import baseline_names, run_baselines
from bids_decoder.evaluation.folds import is_crossed
from bids_decoder.interfaces.heldout import Predicted, training_mean
from bids_decoder.models.store import Model
from bids_decoder.trials import Person, Targets


def predict_test(
    decoder: Any, model: Model, train: Person, test: Person, targets: Targets
) -> Predicted:
    """Return the predictions of a fitted decoder; in folds of stimuli also as target vectors."""
    values = decoder.predict(model, test.betas)
    crossed = not targets.over_runs and is_crossed(train.trials)
    return Predicted(
        values, decoder.gallery(model, targets), decoder.predict(model, train.betas).mean(axis=0),
        decoder.feature_vectors(model, values) if crossed else None,
    )


def predict_baselines(
    train: Person, test: Person, targets: Targets, mask: np.ndarray, seed: int,
    names: Sequence[str] | None = None,
) -> dict[str, Predicted]:
    """Return baselines in the shape of decoder predictions; stimuli relative to their mean.

    Parameters
    ----------
    train, test : Person
    targets : Targets
    mask : ndarray of bool, shape (n_voxels,)
        Voxels of the decoder.
    seed : int
    names : sequence of str, optional
        Some of :func:`~bids_decoder.evaluation.baselines.baseline_names`; all by default.
    """
    predicted = run_baselines(
        train, test, targets, mask, seed=seed,
        names=baseline_names(targets.kind) if names is None else names,
    )
    if targets.over_runs:
        own = targets.vectors
        return {name: Predicted(values, own, None) for name, values in predicted.items()}
    mean = training_mean(train, targets)
    gallery = targets.vectors - mean
    return {name: Predicted(values - mean, gallery, None) for name, values in predicted.items()}
