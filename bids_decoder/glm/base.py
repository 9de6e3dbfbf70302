"""Interface of the single-trial estimators, and the linear algebra they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import scipy.linalg

from bids_decoder.errors import InputError
from bids_decoder.glm.design import Timing, trial_regressors, trials_within
from bids_decoder.glm.hrf import Hrf

RANK_TOLERANCE = 1e-10
TRIVIAL_ENERGY = 1e-6


class Matrix(Protocol):
    """Array-like that is indexed in blocks of columns: an array, a memory map, a generator."""

    shape: tuple[int, ...]

    def __getitem__(self, key: tuple[slice, np.ndarray | slice]) -> np.ndarray: ...


@dataclass(frozen=True)
class RunShape:
    """Size of one run, known before any volume is loaded.

    Parameters
    ----------
    n_scans, n_trials : int
    n_nuisance : int
        Number of nuisance regressors, including the constant.
    """

    n_scans: int
    n_trials: int
    n_nuisance: int


@dataclass(frozen=True, eq=False)
class TrialRun:
    """One run: data, trials and nuisance.

    Parameters
    ----------
    bold : array of float32, shape (n_scans, n_voxels)
        Percent signal change (:func:`percent_signal_change`); read in blocks of voxels.
    timing : Timing
    onsets, durations : ndarray of float, shape (n_trials,)
        Seconds, not-a-number where unknown.
    nuisance : ndarray of float, shape (n_scans, n_nuisance)
        Includes the constant.
    train : ndarray of bool, shape (n_trials,)
        Training trials, on which hyperparameters may be tuned. All others are only modelled.
    conditions : ndarray of str, shape (n_trials,)
        Stimulus of each trial; equal text means a repeat.
    labels : ndarray of str, shape (n_trials,), or None
        Category of each trial, if known.
    crossed : ndarray of bool, shape (n_trials,), or None
        Trials that are test trials in one fold and training trials in others. They may be used
        only for choices that depend neither on labels nor on repeats.
    """

    bold: Matrix
    timing: Timing
    onsets: np.ndarray
    durations: np.ndarray
    nuisance: np.ndarray
    train: np.ndarray
    conditions: np.ndarray
    labels: np.ndarray | None = None
    crossed: np.ndarray | None = None

    @property
    def untested(self) -> np.ndarray:
        """Trials outside any fixed test set, shape (n_trials,)."""
        return self.train if self.crossed is None else self.train | self.crossed

    @property
    def n_trials(self) -> int:
        """Number of all trials."""
        return len(self.onsets)

    @property
    def shape(self) -> RunShape:
        """Numbers of volumes, trials and nuisance regressors."""
        return RunShape(self.timing.n_scans, self.n_trials, self.nuisance.shape[1])

    def regressors(self, hrf: Hrf) -> np.ndarray:
        """One column per trial, shape (n_scans, n_trials)."""
        return trial_regressors(self.onsets, self.durations, self.timing, hrf)

    def estimable(self, hrf: Hrf) -> np.ndarray:
        """Return which trials can be estimated, shape (n_trials,).

        The response must be within the run and must not be explained by the nuisance.
        """
        columns = self.regressors(hrf)
        left = residualise(nuisance_basis(self.nuisance), columns)
        energy, kept = (columns**2).sum(axis=0), (left**2).sum(axis=0)
        distinct = kept > TRIVIAL_ENERGY * energy
        return distinct & trials_within(self.onsets, self.durations, self.timing, hrf)


@dataclass(frozen=True)
class EstimatorOptions:
    """Settings that all estimators understand.

    Parameters
    ----------
    hrf : str
        Name for :func:`bids_decoder.glm.hrf.get_hrf`.
    noise_model : {"ols", "ar1"}
    chunk_voxels : int
        Number of voxels processed together, which bounds the memory.
    """

    hrf: str = "spm"
    noise_model: str = "ols"
    chunk_voxels: int = 5000


@dataclass(frozen=True, eq=False)
class Estimates:
    """Output of an estimator in addition to the weights.

    Parameters
    ----------
    estimable : tuple of ndarray of bool
        Per run, shape (n_trials,); the weights of other trials are zero.
    maps : dict of str to ndarray, each of shape (n_voxels,)
        Choices made per voxel, for instance ``hrf``.
    notes : tuple of str
        Choices made and steps skipped, with the reason.
    """

    estimable: tuple[np.ndarray, ...]
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class SingleTrialEstimator(Protocol):
    """Estimator of one weight per trial and voxel from BOLD runs."""

    def check(self, shape: RunShape) -> None:
        """Refuse a run with too few volumes for the model.

        Raises
        ------
        InputError
        """
        ...

    def estimate(self, runs: Sequence[TrialRun], out: Sequence[np.ndarray]) -> Estimates:
        """Fill *out* with weights.

        Parameters
        ----------
        runs : sequence of TrialRun
            All runs of one participant, the same voxels in each.
        out : sequence of ndarray of float32
            Per run, shape (n_trials, n_voxels); may be memory maps. All values are written
            and finite; rows of trials that cannot be estimated are zero.

        Returns
        -------
        Estimates
        """
        ...


def chunks(n_voxels: int, size: int) -> Iterator[slice]:
    """Divide the voxels into blocks of at most *size*."""
    for start in range(0, n_voxels, size):
        yield slice(start, min(start + size, n_voxels))


def percent_signal_change(bold: np.ndarray) -> np.ndarray:
    """Scale a run to percent of each voxel's mean, in place.

    Parameters
    ----------
    bold : ndarray of float32, shape (n_scans, n_voxels)
        Voxels whose mean is not positive and finite, or that do not vary, become zero.

    Returns
    -------
    ndarray of bool, shape (n_voxels,)
        Voxels that were scaled.
    """
    mean = bold.mean(axis=0, dtype=np.float64)
    varies = np.ptp(bold, axis=0) > 0
    good = np.isfinite(mean) & (mean > 0) & varies & np.isfinite(bold).all(axis=0)
    divisor = np.where(good, mean, 1.0).astype(np.float32)
    bold /= divisor
    bold -= 1.0
    bold *= 100.0
    bold[:, ~good] = 0.0
    return good


def nuisance_basis(nuisance: np.ndarray) -> np.ndarray:
    """Compute an orthonormal basis of nuisance columns by QR with column pivoting.

    Parameters
    ----------
    nuisance : ndarray, shape (n_scans, n_nuisance)
        May be rank deficient; columns of zeros are left out.

    Returns
    -------
    ndarray of float64, shape (n_scans, rank)
    """
    norms = np.linalg.norm(nuisance, axis=0)
    scaled = nuisance[:, norms > 0] / norms[norms > 0]
    if scaled.shape[1] == 0:
        return np.zeros((nuisance.shape[0], 0))
    basis, triangle, _ = scipy.linalg.qr(scaled, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(triangle))
    return basis[:, : int((diagonal > RANK_TOLERANCE * diagonal[0]).sum())]


def residualise(basis: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Project *columns* (n_scans, n) onto the orthogonal complement of *basis*."""
    return columns - basis @ (basis.T @ columns)


def check_runs(
    estimator: SingleTrialEstimator, runs: Sequence[TrialRun], out: Sequence[np.ndarray]
) -> None:
    """Compare the shapes of runs and outputs with each other and with what a model needs.

    Raises
    ------
    InputError
        When anything does not fit, or no degrees of freedom are left.
    """
    n_voxels = {run.bold.shape[1] for run in runs}
    fits = len(runs) == len(out) and len(n_voxels) == 1 and all(
        run.bold.shape[0] == run.timing.n_scans == len(run.nuisance)
        and place.shape == (run.n_trials, run.bold.shape[1])
        for run, place in zip(runs, out, strict=False)
    )
    if not fits:
        raise InputError(
            "single-trial GLM", "numbers of volumes, trials or voxels differ between inputs",
            "give the same mask for all runs and the confounds and trials of each run",
        )
    for run in runs:
        estimator.check(run.shape)


def check_nuisance(shape: RunShape) -> None:
    """Refuse a run whose nuisance regressors leave less than two degrees of freedom.

    Raises
    ------
    InputError
    """
    if shape.n_scans <= shape.n_nuisance + 2:
        raise InputError(
            "single-trial GLM",
            f"{shape.n_scans} volumes for {shape.n_nuisance} nuisance regressors",
            "use fewer confounds or a lower high-pass cut-off",
        )
