"""Put together a fitted decoder with what its use on new data needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.evaluation.calibration import (
    cross_fitted,
    expected_calibration_error,
    fit_slope,
    reliability,
)
from bids_decoder.evaluation.kinds import number_trials
from bids_decoder.evaluation.shift import latent_measures, latent_size, voxel_measures
from bids_decoder.glm.normalise import shrink_variance, statistics_of_rows
from bids_decoder.models.store import Model
from bids_decoder.training.fitted import (
    Calibration,
    FittedDecoder,
    Reference,
    TrainingStatistics,
    score_targets,
)
from bids_decoder.trials import KINDS, Targets, VoxelGrid


@dataclass(frozen=True, eq=False)
class HeldoutFold:
    """Predictions of a decoder for trials that were held out of its fit.

    Parameters
    ----------
    trials : DataFrame, n_trials rows
    embedding : ndarray, shape (n_trials, n_dims)
        Predicted embeddings, or values.
    gallery : ndarray, shape (n_ids, n_dims)
        All targets in the space of the embeddings.
    """

    trials: pd.DataFrame
    embedding: np.ndarray
    gallery: np.ndarray


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted, and what decoders of the folds predicted.

    Parameters
    ----------
    model : Model
        Fitted on all training trials.
    targets : Targets
    heldout : sequence of HeldoutFold
        Without any, there is no calibration.
    """

    model: Model
    targets: Targets
    heldout: Sequence[HeldoutFold]


@dataclass(frozen=True, eq=False)
class Responses:
    """All trials of the participant.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        In the units of the beta series; may be memory-mapped.
    trials : DataFrame, n_trials rows
    train : ndarray of bool, shape (n_trials,)
        Training trials.
    groups : ndarray of str, shape (n_trials,)
        Session or run within which trials are z-scored.
    grid : VoxelGrid
    """

    betas: np.ndarray
    trials: pd.DataFrame
    train: np.ndarray
    groups: np.ndarray
    grid: VoxelGrid


def complete_fit(
    fit: Fit, responses: Responses, unit: str, *, boldref: np.ndarray | None = None,
    facts: dict[str, Any] | None = None,
) -> FittedDecoder:
    """Add to a fitted decoder what its use on new data needs.

    Parameters
    ----------
    fit : Fit
    responses : Responses
    unit : {"session", "run"}
        What the groups of the responses are.
    boldref : ndarray, shape (i, j, k), optional
        Reference image on the grid of the responses.
    facts : dict, optional
        See :class:`~bids_decoder.training.fitted.FittedDecoder`; ``runs``, ``seen`` and
        ``residual_sd`` are added.
    """
    known = {
        "runs": number_trials(responses.trials, responses.train), **_seen(fit, responses),
        **_residuals(fit), **(facts or {}),
    }
    return FittedDecoder(
        fit.model, fit.targets, responses.grid, _statistics(responses, unit),
        _reference(responses, fit), known, calibrate(fit.targets, fit.heldout), boldref,
    )


def _seen(fit: Fit, responses: Responses) -> dict[str, list[str]]:
    """Return the stimuli of the training trials, where stimuli are decoded."""
    if KINDS[fit.targets.kind].over_runs:
        return {}
    names = responses.trials.loc[responses.train, KINDS[fit.targets.kind].column]
    return {"seen": sorted(set(names.astype(str)))}


def _statistics(responses: Responses, unit: str) -> TrainingStatistics:
    groups, train = responses.groups, responses.train
    names = np.unique(groups[train])
    rows = [train, *(train & (groups == name) for name in names)]
    found = [statistics_of_rows(responses.betas, np.flatnonzero(own)) for own in rows]
    return TrainingStatistics(
        unit, tuple(names.tolist()),
        np.array([mean for mean, _ in found], dtype=np.float32),
        np.array([spread for _, spread in found], dtype=np.float32),
    )


def _reference(responses: Responses, fit: Fit) -> Reference:
    """Measure every run against all others: voxels of training trials, latents of held-out ones."""
    found = list(_measure_voxels(responses.betas, responses.trials, responses.train))
    mean, size = np.zeros(1), 0.0
    # Folds of stimuli have target spaces of their own, which the fitted decoder does not share.
    if fit.heldout and (fit.targets.over_runs or len(fit.heldout) == 1):
        values = np.concatenate([fold.embedding for fold in fit.heldout])
        runs = np.concatenate([fold.trials["run_group"].to_numpy(str) for fold in fit.heldout])
        found += _measure_latents(values, runs)
        mean = values.mean(axis=0, dtype=np.float64)
        size = latent_size(values, mean)
    measures: dict[str, dict[str, float]] = {}
    for run, own in found:
        measures.setdefault(run, {}).update(own)
    return Reference(tuple(measures), tuple(measures.values()), mean, size)


def _measure_voxels(
    betas: np.ndarray, trials: pd.DataFrame, train: np.ndarray
) -> Iterator[tuple[str, dict[str, float]]]:
    runs = trials["run_group"].to_numpy(dtype=str)
    names = np.unique(runs[train])
    if len(names) < 2:
        return
    # Run by run, twice: all responses may not fit into memory as double precision.
    sums = sum(_sums(betas[train & (runs == name)]) for name in names)
    for name in names.tolist():
        own = betas[train & (runs == name)]
        n_others = int(train.sum()) - len(own)
        total, squares = sums - _sums(own)
        mean = total / n_others
        variance = np.maximum(squares / n_others - mean ** 2, 0.0)
        yield name, voxel_measures(own, *shrink_variance(mean, variance, n_others))


def _sums(rows: np.ndarray) -> np.ndarray:
    """Return the sum and the sum of squares of each voxel, shape (2, n_voxels)."""
    wide = rows.astype(np.float64)
    return np.array([wide.sum(axis=0), (wide ** 2).sum(axis=0)])


def _measure_latents(
    values: np.ndarray, runs: np.ndarray
) -> Iterator[tuple[str, dict[str, float]]]:
    for name in np.unique(runs).tolist():
        own, others = values[runs == name], values[runs != name]
        if len(others):
            mean = others.mean(axis=0, dtype=np.float64)
            yield name, latent_measures(own, mean, latent_size(others, mean))


def calibrate(targets: Targets, heldout: Sequence[HeldoutFold]) -> Calibration | None:
    """Calibrate probabilities on held-out trials.

    Parameters
    ----------
    targets : Targets
    heldout : sequence of HeldoutFold

    Returns
    -------
    Calibration or None
        None for values, and without such trials.
    """
    kind = targets.kind
    if kind == "value" or not heldout:
        return None
    ids = [fold.trials[KINDS[kind].column].to_numpy(str) for fold in heldout]
    # Stimuli are told apart from the other tested ones, labels from all labels.
    rows = np.arange(len(targets.ids)) if kind == "category" else targets.rows_of(
        np.unique(np.concatenate(ids))
    )
    scores = np.concatenate([
        score_targets(kind, fold.embedding, fold.gallery[rows]) for fold in heldout
    ])
    place = {int(row): number for number, row in enumerate(rows)}
    true = np.array([place[row] for row in targets.rows_of(np.concatenate(ids)).tolist()])
    runs = np.concatenate([fold.trials["run_group"].to_numpy(str) for fold in heldout])
    source = "cross-validation" if len(heldout) > 1 else "test trials"
    return calibrate_scores(scores, true, runs, source)


def calibrate_scores(
    scores: np.ndarray, true: np.ndarray, groups: np.ndarray, source: str
) -> Calibration:
    """Calibrate probabilities on scores of held-out trials.

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_candidates)
    true : ndarray of int, shape (n_trials,)
        Column of the right answer.
    groups : ndarray of str, shape (n_trials,)
        Run, or participant, of each trial.
    source : str
        See :class:`.fitted.Calibration`.
    """
    error, bins = None, ()
    if len(np.unique(groups)) > 1:
        chances = cross_fitted(scores, true, groups)
        error = round(expected_calibration_error(chances, true), 6)
        bins = tuple(reliability(chances, true).to_dict("records"))
    return Calibration(fit_slope(scores, true), len(true), scores.shape[1], error, source, bins)


def _residuals(fit: Fit) -> dict[str, list[float]]:
    """Return the root mean squared error of each column of values in held-out trials."""
    if fit.targets.kind != "value" or not fit.heldout:
        return {}
    errors = np.concatenate([
        fold.embedding
        - fit.targets.vectors[fit.targets.rows_of(fold.trials["value"].to_numpy(str))]
        for fold in fit.heldout
    ])
    return {"residual_sd": np.sqrt(np.mean(errors ** 2, axis=0)).tolist()}
