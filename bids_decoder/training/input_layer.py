"""The input layer in closed form: kernel ridge from weighted voxels to latents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bids_decoder.normal_equations import NormalEquations, PenalisedProducts, TrialStream
from bids_decoder.training.kernels import OneKernel
from bids_decoder.training.penalties import (
    choose_penalty,
    choose_streamed_penalty,
    likeliest_penalties,
)
from bids_decoder.training.run_means import (
    centre_products,
    centre_runs,
    degrees_of_freedom,
    run_members,
)

_VALUES = 1 << 24


@dataclass(frozen=True, eq=False)
class InputFit:
    """Fitted linear layer from voxels to latents.

    Parameters
    ----------
    weight : ndarray of float32, shape (n_voxels, n_latents)
    bias : ndarray of float32, shape (n_latents,)
    penalty : float
        Relative ridge penalty.
    n_trials : int
        Number of training trials.
    gain : float
        Factor of the latents that makes them predictions of ridge regression, as deviations from
        the mean of the training trials.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    n_trials: int
    gain: float = 1.0

    def latents(self, betas: np.ndarray) -> np.ndarray:
        """Map betas (n, n_voxels) to latents (n, n_latents)."""
        return np.asarray(betas, dtype=np.float32) @ self.weight + self.bias


def fit_input_layer(
    betas: np.ndarray, latents: np.ndarray, run_groups: np.ndarray,
    voxel_weights: np.ndarray | None = None, penalty: float | np.ndarray | None = None,
    group_weight: np.ndarray | None = None,
) -> InputFit:
    """Fit ridge regression from voxels to latents, on training trials only.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        z-scored responses of training trials.
    latents : ndarray, shape (n_trials, n_latents)
        Target of each trial.
    run_groups : ndarray of str, shape (n_trials,)
        Run of each trial; means of runs are projected out of the fit.
    voxel_weights : ndarray, shape (n_voxels,), optional
        Prior standard deviation of each voxel's weights, up to a factor; zero drops a voxel.
    penalty : float or ndarray, optional
        Relative penalty, or candidates of which :func:`likeliest_penalties` takes one; chosen by
        cross-validation over runs by default.
    group_weight : ndarray, shape (n_voxels, n_latents), optional
        Input layer of other participants for the same voxels. Ridge regression is fitted to its
        residuals, and it is scaled so that the sum of both predicts held-out trials best.

    Returns
    -------
    InputFit
        Its weights have Frobenius norm ``sqrt(n_latents)``, its latents mean zero.
    """
    scales = np.ones(betas.shape[1]) if voxel_weights is None else np.asarray(voxel_weights)
    used = np.flatnonzero(scales)
    targets = np.asarray(latents, dtype=np.float64)
    mean = np.mean(betas, axis=0, dtype=np.float64)
    given = None
    if group_weight is not None:
        # Zeros instead of fewer columns: a copy of the used voxels may not fit into memory.
        group_weight = np.where(scales[:, None] != 0, group_weight, 0).astype(np.float32)
        given = centre_runs(np.asarray(betas, dtype=np.float32) @ group_weight, run_groups)
    trials = _Trials(betas, mean, used, scales[used], run_groups)
    # Both give the same fit; the memory is the square of the smaller number.
    few_voxels = 0 < len(used) < len(betas)
    fit = _from_products if few_voxels else _from_kernel
    own, factor, penalty = fit(trials, targets, penalty, given)
    weight = np.zeros((betas.shape[1], targets.shape[1]), dtype=np.float32)
    if group_weight is not None:
        weight += factor * group_weight
    weight[used] += scales[used, None] * own
    # Shrinkage depends on participant and number of trials; the trunk expects one scale.
    gain = max(float(np.linalg.norm(weight)), 1e-12) / np.sqrt(weight.shape[1])
    weight /= gain
    bias = -mean @ weight
    return InputFit(weight, bias.astype(np.float32), float(penalty), len(betas), float(gain))


class _Own(NamedTuple):
    """Weights of the participant's trials (n_used, n_latents), beside given ones."""

    weight: np.ndarray
    factor: float
    penalty: float


@dataclass(frozen=True, eq=False)
class _Trials:
    """Weighted responses that a layer is fitted to, of which a part is copied at a time.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    mean : ndarray of float64, shape (n_voxels,)
        Of all trials.
    voxels : ndarray of int, shape (n_used,)
    scales : ndarray, shape (n_used,)
        Factor of each of these voxels.
    run_groups : ndarray of str, shape (n_trials,)
    """

    betas: np.ndarray
    mean: np.ndarray
    voxels: np.ndarray
    scales: np.ndarray
    run_groups: np.ndarray

    def kernel(self) -> np.ndarray:
        """Return inner products of the trials without their mean, (n_trials, n_trials)."""
        kernel = np.zeros(2 * (len(self.betas),))
        # Single precision is enough for the products over voxels, by far the longest part.
        for part in self._parts():
            kernel += part @ part.T
        return kernel

    def loads(self, dual: np.ndarray) -> np.ndarray:
        """Multiply voxels by *dual* (n_trials, n_latents), whose columns have mean zero."""
        single = dual.astype(np.float32)
        return np.concatenate([part.T @ single for part in self._parts()])

    def stream(self) -> TrialStream:
        """Return the same responses a few trials at a time, without means of runs."""
        everything, member = np.arange(len(self.betas)), run_members(self.run_groups)[0]
        return TrialStream.of(self.betas, everything, member, self.voxels, self.scales)

    def _parts(self) -> Iterator[np.ndarray]:
        size = max(1, _VALUES // len(self.betas))
        for start in range(0, max(1, len(self.voxels)), size):
            own = self.voxels[start:start + size]
            part = self.betas[:, own].astype(np.float32)
            part -= self.mean[own].astype(np.float32)
            part *= self.scales[start:start + size].astype(np.float32)
            yield part


def _from_kernel(
    trials: _Trials, targets: np.ndarray, penalty: float | np.ndarray | None,
    given: np.ndarray | None,
) -> _Own:
    """Fit by inner products of trials, whose number squared is the memory."""
    kernel, groups = trials.kernel(), trials.run_groups
    if penalty is None:
        penalty = choose_penalty(kernel, targets, groups)
    centre_products(kernel, groups)
    rest, factor = centre_runs(targets, groups), 0.0
    size = max(float(np.trace(kernel)) / len(kernel), 1e-12)
    penalised = PenalisedProducts(kernel)
    if isinstance(penalty, np.ndarray):
        penalty = likeliest_penalties(
            OneKernel(penalised, rest), np.array([size]), degrees_of_freedom(groups), penalty
        )[0][0]
    penalised.factorise(penalty * size)
    if given is not None:
        # The leave-one-out residual is (A y)_i / A_ii with A the inverse of the penalised kernel.
        diagonal = penalised.inverse_diagonal()[:, None]
        factor = _factor_beside_ridge(*(penalised.solve(v) / diagonal for v in (rest, given)))
        rest = rest - factor * given
    dual = centre_runs(penalised.solve(rest), groups)
    return _Own(trials.loads(dual), factor, penalty)


def _from_products(
    trials: _Trials, targets: np.ndarray, penalty: float | np.ndarray | None,
    given: np.ndarray | None,
) -> _Own:
    """Fit by products of voxels, with a few trials at a time."""
    stream, groups = trials.stream(), trials.run_groups
    if penalty is None:
        penalty = choose_streamed_penalty(stream, targets, groups)
    rest, factor = centre_runs(targets, groups), 0.0
    equations = NormalEquations(stream, rest)
    if isinstance(penalty, np.ndarray):
        size = np.array([equations.size])
        penalty = likeliest_penalties(
            equations, size, degrees_of_freedom(groups), penalty
        )[0][0]
    loads, absolute = equations.loads, penalty * equations.size
    if given is not None:
        factor = _factor_beside_ridge(*equations.left_out(absolute, (rest, given)))
        loads = loads - factor * stream.loads(given)
    return _Own(equations.solve(absolute, loads), factor, penalty)


def _factor_beside_ridge(own: np.ndarray, others: np.ndarray) -> float:
    """Choose the factor of given latents for the best prediction of held-out trials.

    Ridge regression is fitted to the residuals. Its leave-one-out residuals are linear in the
    targets, so the best factor (not below 0) is a regression of those of the targets (*own*) on
    those of the given latents (*others*).
    """
    size = float(np.square(others).sum())
    return max(0.0, float((own * others).sum()) / size) if size else 0.0
