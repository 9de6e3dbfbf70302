"""On-off model: one column for all training trials.

It is used to choose a response shape per voxel and as a map of explained variance. Every other
trial of the run is projected out with its own column, so that its response has no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_decoder.glm.base import TrialRun, chunks, nuisance_basis, residualise
from bids_decoder.glm.hrf import Hrf

MIN_RUNS = 3
CLEAR_ERRORS = 2.0


@dataclass(frozen=True, eq=False)
class _Probe:
    """One run under one response shape."""

    basis: np.ndarray
    column: np.ndarray
    energy: float


@dataclass(frozen=True, eq=False)
class _Fit:
    """Sums of products per run and response shape.

    Shapes: *cross* and *power* (n_runs, n_hrfs, n_voxels), *energy* (n_runs, n_hrfs, 1).
    """

    cross: np.ndarray
    power: np.ndarray
    energy: np.ndarray


def held_in_nuisance(run: TrialRun, hrf: Hrf) -> np.ndarray:
    """Return the nuisance columns and one column per trial that is not for training."""
    return np.column_stack([run.nuisance, run.regressors(hrf)[:, ~run.train]])


def _probe(run: TrialRun, hrf: Hrf) -> _Probe:
    basis = nuisance_basis(held_in_nuisance(run, hrf))
    together = run.regressors(hrf)[:, run.train].sum(axis=1, keepdims=True)
    column = residualise(basis, together)[:, 0]
    return _Probe(basis.astype(np.float32), column.astype(np.float32), float(column @ column))


def _fit(runs: Sequence[TrialRun], probes: list[list[_Probe]], voxels: slice) -> _Fit:
    cross, power = [], []
    for run, shapes in zip(runs, probes, strict=True):
        data = np.asarray(run.bold[:, voxels], dtype=np.float32)
        total = np.einsum("sv,sv->v", data, data, dtype=np.float64)
        cross.append(np.stack([p.column for p in shapes]) @ data)
        # Without other trials the basis is the same under each shape.
        unique = shapes if (~run.train).any() else shapes[:1]
        left = [total - ((p.basis.T @ data).astype(np.float64) ** 2).sum(axis=0) for p in unique]
        power.append(np.broadcast_to(np.stack(left), (len(shapes), total.size)))
    energy = np.array([[[p.energy] for p in shapes] for shapes in probes])
    return _Fit(np.array(cross, dtype=np.float64), np.array(power), energy)


def _errors(fit: _Fit) -> np.ndarray:
    """Compute the squared error per run, shape and voxel, with the height from other runs."""
    cross, energy = fit.cross, fit.energy
    if len(cross) == 1:
        weight = cross / np.maximum(energy, np.finfo(float).tiny)
    else:
        rest = energy.sum(axis=0) - energy
        weight = (cross.sum(axis=0) - cross) / np.maximum(rest, np.finfo(float).tiny)
    return fit.power - 2 * weight * cross + weight**2 * energy


def _share(error: np.ndarray, power: np.ndarray) -> np.ndarray:
    # Voxels without signal are left with rounding errors of the subtraction in float32.
    alive = power > 1e-9
    return np.where(alive, 1.0 - error / np.where(alive, power, 1.0), 0.0)


def _explained(fit: _Fit) -> np.ndarray:
    """Compute the explained share of variance per shape and voxel, across runs if several."""
    return _share(_errors(fit).sum(axis=0), fit.power.sum(axis=0))


def _clear_winner(fit: _Fit) -> np.ndarray:
    """Choose the best shape of each voxel if it is clearly better than the first one."""
    best = _explained(fit).argmax(axis=0)
    if len(fit.cross) < MIN_RUNS:
        return np.zeros_like(best)
    shares = _share(_errors(fit), fit.power)
    gain = np.take_along_axis(shares, best[None, None, :], axis=1)[:, 0] - shares[:, 0]
    noise = gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
    return np.where(gain.mean(axis=0) > CLEAR_ERRORS * noise, best, 0)


def explained_variance(
    runs: Sequence[TrialRun], hrfs: Sequence[Hrf], chunk_voxels: int = 5000
) -> np.ndarray:
    """Compute the variance that the training trials explain with one height per voxel.

    Parameters
    ----------
    runs : sequence of TrialRun
        Runs without training trials are not read.
    hrfs : sequence of Hrf
    chunk_voxels : int

    Returns
    -------
    ndarray of float32, shape (n_hrfs, n_voxels)
        Share of the variance left after removing the nuisance. With several runs it is
        cross-validated (height from the other runs) and may be negative; with one run it is
        the share within that run. Zero for voxels that do not vary, and everywhere when no
        trial is for training.
    """
    return preferred_shapes(runs, hrfs, chunk_voxels)[1]


def preferred_shapes(
    runs: Sequence[TrialRun], hrfs: Sequence[Hrf], chunk_voxels: int = 5000
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the response shape of each voxel.

    Parameters
    ----------
    runs : sequence of TrialRun
        Runs without training trials are not read.
    hrfs : sequence of Hrf
        The first is kept unless another one explains more by two standard errors over runs: with
        closely spaced trials all shapes fit similarly, and the best of twenty is best by chance.
        With fewer than three runs it is kept everywhere.
    chunk_voxels : int

    Returns
    -------
    shapes : ndarray of int, shape (n_voxels,)
        Number of the response in *hrfs*.
    explained : ndarray of float32, shape (n_hrfs, n_voxels)
        See :func:`explained_variance`.
    """
    n_voxels = runs[0].bold.shape[1]
    chosen = [run for run in runs if run.train.any()]
    shapes = np.zeros(n_voxels, dtype=np.intp)
    explained = np.zeros((len(hrfs), n_voxels), dtype=np.float32)
    if not chosen:
        return shapes, explained
    probes = [[_probe(run, hrf) for hrf in hrfs] for run in chosen]
    for voxels in chunks(n_voxels, chunk_voxels):
        fit = _fit(chosen, probes, voxels)
        explained[:, voxels] = _explained(fit)
        shapes[voxels] = _clear_winner(fit)
    return shapes, explained
