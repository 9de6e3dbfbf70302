"""Least squares, separate (LSS) or all trials at once (LSA), in closed form.

Source: Mumford et al. 2012, NeuroImage 59:2636. By the theorem of Frisch, Waugh and Lovell the
nuisance can be projected out of trials and data beforehand. What is left of each LSS model has
two columns, so that its solution is written down directly, and the whole run becomes one matrix
of shape (n_trials, n_scans) that is applied to all voxels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.glm.base import (
    Estimates,
    EstimatorOptions,
    RunShape,
    TrialRun,
    check_nuisance,
    check_runs,
    chunks,
    nuisance_basis,
    residualise,
)
from bids_decoder.glm.hrf import get_hrf

AR_BINS = 100
SINGULAR = 1e-10


def lss_weights(trials: np.ndarray) -> np.ndarray:
    """Compute the matrix that maps data to LSS weights.

    Parameters
    ----------
    trials : ndarray, shape (n_scans, n_trials)
        Trial regressors from which the nuisance was projected out.

    Returns
    -------
    ndarray, shape (n_trials, n_scans)
        Row *i* yields the weight of trial *i* in the model (trial *i*, sum of all others).
        If the two are collinear, the solution of least norm is used.
    """
    others = trials.sum(axis=1, keepdims=True) - trials
    own = np.einsum("st,st->t", trials, trials)
    rest = np.einsum("st,st->t", others, others)
    shared = np.einsum("st,st->t", trials, others)
    determinant = own * rest - shared**2
    singular = determinant <= SINGULAR * own * np.maximum(rest, own)
    safe = np.where(singular, 1.0, determinant)
    weights = ((rest / safe) * trials - (shared / safe) * others).T
    for trial in np.flatnonzero(singular):
        pair = np.stack([trials[:, trial], others[:, trial]], axis=1)
        weights[trial] = np.linalg.pinv(pair, rcond=np.sqrt(SINGULAR))[0]
    return weights


def lsa_weights(trials: np.ndarray) -> np.ndarray:
    """Compute the matrix that maps data to LSA weights.

    Parameters
    ----------
    trials : ndarray, shape (n_scans, n_trials)
        Trial regressors from which the nuisance was projected out.

    Returns
    -------
    ndarray, shape (n_trials, n_scans)
        The pseudo-inverse; collinear trials share their weight.
    """
    return np.linalg.pinv(trials, rcond=np.sqrt(SINGULAR))


def whiten(columns: np.ndarray, rho: float) -> np.ndarray:
    """Remove AR(1) correlation from *columns* (n_scans, n), as nilearn's ``ARModel``."""
    whitened = columns.copy()
    whitened[1:] -= rho * columns[:-1]
    return whitened


@dataclass(frozen=True)
class LeastSquares(ABC):
    """Base class of LSS and LSA: chunks of voxels and optional prewhitening.

    With ``noise_model="ar1"`` the coefficient of each voxel is estimated once from the
    residuals of an ordinary fit and rounded down to hundredths, as nilearn does it. For LSA
    that fit is the model itself; for LSS it is the model with one column for all trials, in
    place of one fit per trial.
    """

    options: EstimatorOptions = field(default_factory=EstimatorOptions)

    @abstractmethod
    def weights(self, trials: np.ndarray) -> np.ndarray:
        """Map residual trial regressors to the matrix of weights."""

    @abstractmethod
    def noise_columns(self, trials: np.ndarray) -> np.ndarray:
        """Return the trial regressors of the model from which the noise is estimated."""

    def check(self, shape: RunShape) -> None:
        """Refuse runs with too few volumes for the nuisance and two columns of trials."""
        check_nuisance(shape)

    def estimate(self, runs: Sequence[TrialRun], out: Sequence[np.ndarray]) -> Estimates:
        """Fill *out*; see :class:`bids_decoder.glm.base.SingleTrialEstimator`."""
        check_runs(self, runs, out)
        hrf = get_hrf(self.options.hrf)
        estimable = tuple(run.estimable(hrf) for run in runs)
        for run, place, usable in zip(runs, out, estimable, strict=True):
            self._estimate_run(run, run.regressors(hrf), place, usable)
        return Estimates(estimable, notes=(f"response model {self.options.hrf}",))

    def _estimate_run(
        self, run: TrialRun, trials: np.ndarray, out: np.ndarray, usable: np.ndarray
    ) -> None:
        def solver(rho: float) -> np.ndarray:
            basis = nuisance_basis(whiten(run.nuisance, rho))
            rows = self.weights(residualise(basis, whiten(trials, rho)))
            # The pseudo-inverse may leave a trace of the nuisance; the data keep theirs.
            rows = residualise(basis, rows.T).T * usable[:, None]
            return rows.astype(np.float32)

        cached = lru_cache(maxsize=2 * AR_BINS)(solver)
        noise = nuisance_basis(np.column_stack([run.nuisance, self.noise_columns(trials)]))
        for chunk in chunks(run.bold.shape[1], self.options.chunk_voxels):
            data = np.asarray(run.bold[:, chunk], dtype=np.float32)
            if self.options.noise_model == "ols":
                out[:, chunk] = cached(0.0) @ data
                continue
            rho = autocorrelation(residualise(noise, data.astype(np.float64)))
            for value in np.unique(rho):
                columns = np.flatnonzero(rho == value)
                block = cached(float(value)) @ whiten(data[:, columns], np.float32(value))
                out[:, chunk.start + columns] = block


def autocorrelation(residuals: np.ndarray) -> np.ndarray:
    """Estimate AR(1) coefficients in steps of one hundredth, rounded towards zero.

    As nilearn: Yule-Walker, each covariance divided by its own number of terms.

    Parameters
    ----------
    residuals : ndarray, shape (n_scans, n_voxels)

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        Zero for voxels without residuals.
    """
    power = np.einsum("sv,sv->v", residuals, residuals, dtype=np.float64)
    lagged = np.einsum("sv,sv->v", residuals[1:], residuals[:-1], dtype=np.float64)
    lagged *= len(residuals) / (len(residuals) - 1)
    rho = np.divide(lagged, power, out=np.zeros_like(power), where=power > 0)
    return np.trunc(rho * AR_BINS) / AR_BINS


class LeastSquaresSeparate(LeastSquares):
    """LSS: each trial against the sum of all others; robust when responses overlap."""

    def weights(self, trials: np.ndarray) -> np.ndarray:
        """Map residual trial regressors to the matrix of weights."""
        return lss_weights(trials)

    def noise_columns(self, trials: np.ndarray) -> np.ndarray:
        """Return one column for all trials."""
        return trials.sum(axis=1, keepdims=True)


class LeastSquaresAll(LeastSquares):
    """LSA: all trials in one model; unbiased, noisy when responses overlap."""

    def weights(self, trials: np.ndarray) -> np.ndarray:
        """Map residual trial regressors to the matrix of weights."""
        return lsa_weights(trials)

    def noise_columns(self, trials: np.ndarray) -> np.ndarray:
        """Return the regressors of all trials."""
        return trials

    def check(self, shape: RunShape) -> None:
        """Refuse runs with more regressors than volumes."""
        check_degrees_of_freedom(shape)


def check_degrees_of_freedom(shape: RunShape) -> None:
    """Refuse a model of all trials that has no residual left.

    Raises
    ------
    InputError
        When trials and nuisance are as many as the volumes, or more.
    """
    check_nuisance(shape)
    if shape.n_trials + shape.n_nuisance >= shape.n_scans:
        raise InputError(
            "model of all trials",
            f"{shape.n_trials} trials and {shape.n_nuisance} nuisance regressors for "
            f"{shape.n_scans} volumes",
            "use the estimator lss, or fewer confounds",
        )
