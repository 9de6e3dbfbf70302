"""Put together the file of a fitted decoder from what the nodes of decoding leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.evaluation.calibration import (
    cross_fitted,
    expected_calibration_error,
    fit_slope,
    reliability,
)
from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.evaluation.kinds import number_trials
from bids_decoder.evaluation.shift import latent_measures, latent_size, voxel_measures
from bids_decoder.files import read_json
from bids_decoder.glm.normalise import shrink_variance, voxel_statistics
from bids_decoder.interfaces.heldout import Heldout
from bids_decoder.interfaces.person_outputs import read_grid
from bids_decoder.interfaces.responses import ARRAY, SPACE, TABLE, groups_of, read_trials
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
class Fit:
    """What decoding has fitted and predicted.

    Parameters
    ----------
    model : Model
        Fitted on all training trials.
    targets : Targets
    heldout : sequence of Heldout
        Predictions of held-out trials, one for each fold.
    """

    model: Model
    targets: Targets
    heldout: Sequence[Heldout]


def collect_fitted(
    fit: Fit, folder: Path, normalise: str, *, boldref: Path | None = None,
    facts: dict[str, Any] | None = None,
) -> FittedDecoder:
    """Add to a fitted decoder what its use on new data needs.

    Parameters
    ----------
    fit : Fit
    folder : Path
        Joined responses (of ``CollectResponses``).
    normalise : {"session", "run"}
    boldref : Path, optional
        Reference image on the grid of the responses.
    facts : dict, optional
        Added to the facts: ``participant``, ``dataset``, ``t_r``.

    Returns
    -------
    FittedDecoder
    """
    trials = resolve_fold(read_trials(folder / TABLE), None)
    train = (trials["split"] == "train").to_numpy()
    betas = np.load(folder / ARRAY, mmap_mode="r")
    reference = _reference(betas, trials, train, fit)
    grid = read_grid(folder)
    return FittedDecoder(
        fit.model, fit.targets, grid, _statistics(betas, trials, train, normalise), reference,
        {"space": read_json(folder / SPACE)["space"], "runs": number_trials(trials, train),
         **_residuals(fit), **(facts or {})},
        _calibration(fit), None if boldref is None else _read_boldref(boldref, grid),
    )


def _read_boldref(path: Path, grid: VoxelGrid) -> np.ndarray | None:
    """Return the reference image; None where it is on another grid than the responses."""
    image = nib.load(path)
    if image.shape[:3] != grid.mask.shape or not np.allclose(image.affine, grid.affine, atol=1e-3):
        return None
    return np.asarray(image.dataobj, dtype=np.float32).reshape(grid.mask.shape)


def _statistics(
    betas: np.ndarray, trials: pd.DataFrame, train: np.ndarray, normalise: str
) -> TrainingStatistics:
    groups = groups_of(trials, normalise)
    names = np.unique(groups[train])
    rows = [train, *(train & (groups == name) for name in names)]
    found = [voxel_statistics(betas[own]) for own in rows]
    return TrainingStatistics(
        normalise, tuple(names.tolist()),
        np.array([mean for mean, _ in found], dtype=np.float32),
        np.array([spread for _, spread in found], dtype=np.float32),
    )


def _reference(
    betas: np.ndarray, trials: pd.DataFrame, train: np.ndarray, fit: Fit
) -> Reference:
    """Measure every run against all others: voxels of training trials, latents of held-out ones."""
    values = np.concatenate([fold.models["decoder"].values for fold in fit.heldout])
    runs = np.concatenate([fold.trials["run_group"].to_numpy(str) for fold in fit.heldout])
    measures: dict[str, dict[str, float]] = {}
    for run, found in (*_measure_voxels(betas, trials, train), *_measure_latents(values, runs)):
        measures.setdefault(run, {}).update(found)
    mean = values.mean(axis=0, dtype=np.float64)
    return Reference(
        tuple(measures), tuple(measures.values()), mean, latent_size(values, mean)
    )


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


def _calibration(fit: Fit) -> Calibration | None:
    """Calibrate probabilities on held-out trials; None for values."""
    kind = fit.targets.kind
    if kind == "value":
        return None
    ids = [fold.trials[KINDS[kind].column].to_numpy(str) for fold in fit.heldout]
    # Stimuli are told apart from the other tested ones, labels from all labels.
    rows = np.arange(len(fit.targets.ids)) if kind == "category" else fit.targets.rows_of(
        np.unique(np.concatenate(ids))
    )
    parts = [fold.models["decoder"] for fold in fit.heldout]
    scores = np.concatenate([score_targets(kind, p.values, p.gallery[rows]) for p in parts])
    place = {int(row): number for number, row in enumerate(rows)}
    true = np.array([place[row] for row in fit.targets.rows_of(np.concatenate(ids)).tolist()])
    runs = np.concatenate([fold.trials["run_group"].to_numpy(str) for fold in fit.heldout])
    error, bins = None, ()
    if len(np.unique(runs)) > 1:
        chances = cross_fitted(scores, true, runs)
        error = round(expected_calibration_error(chances, true), 6)
        bins = tuple(reliability(chances, true).to_dict("records"))
    return Calibration(
        fit_slope(scores, true), len(true), len(rows), error,
        "cross-validation" if len(parts) > 1 else "test trials", bins,
    )


def _residuals(fit: Fit) -> dict[str, list[float]]:
    """Return the root mean squared error of each column of values in held-out trials."""
    if fit.targets.kind != "value":
        return {}
    errors = np.concatenate([
        fold.models["decoder"].values
        - fit.targets.vectors[fit.targets.rows_of(fold.trials["value"].to_numpy(str))]
        for fold in fit.heldout
    ])
    return {"residual_sd": np.sqrt(np.mean(errors ** 2, axis=0)).tolist()}
