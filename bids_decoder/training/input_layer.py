"""The input layer in closed form: kernel ridge from weighted voxels to latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bids_decoder.evaluation.folds import MOST_TRIALS_TO_CHOOSE, spread_runs
from bids_decoder.normal_equations import NormalEquations, PenalisedProducts, TrialStream
from bids_decoder.training.kernels import OneKernel
from bids_decoder.training.penalties import (
    DEFAULT_PENALTY,
    can_choose,
    choose_penalties,
    choose_streamed_penalties,
    likeliest_penalties,
)
from bids_decoder.training.run_means import (
    centre_products,
    centre_runs,
    degrees_of_freedom,
    run_members,
)

_VALUES = 1 << 24

NEGLIGIBLE = 1e-5
"""Share of the squared weights of all voxels below which voxels together do not enter a fit."""

MANY_TRIALS = 1000
"""With so many trials or fewer all voxels enter a fit, as in refits of many labellings."""


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
    evidence : float
        See :class:`.Likeliest`; NaN where the penalty was not chosen by it.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    n_trials: int
    gain: float = 1.0
    evidence: float = np.nan

    def latents(self, betas: np.ndarray) -> np.ndarray:
        """Map betas (n, n_voxels) to latents (n, n_latents)."""
        return np.asarray(betas, dtype=np.float32) @ self.weight + self.bias


def fit_input_layer(
    betas: np.ndarray, latents: np.ndarray, run_groups: np.ndarray,
    voxel_weights: np.ndarray | None = None, penalty: float | np.ndarray | None = None,
    group_weight: np.ndarray | None = None, few_runs_penalty: float = DEFAULT_PENALTY,
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
        cross-validation over runs by default, where there are enough of them.
    group_weight : ndarray, shape (n_voxels, n_latents), optional
        Input layer of other participants for the same voxels. Ridge regression is fitted to its
        residuals, and it is scaled so that the sum of both predicts held-out trials best.
    few_runs_penalty : float
        Relative penalty where none is given and runs are too few to choose one.

    Returns
    -------
    InputFit
        Its weights have Frobenius norm ``sqrt(n_latents)``, its latents mean zero.
    """
    unscaled = np.ones((1, latents.shape[1]))
    return fit_input_layers(
        betas, latents, unscaled, run_groups, voxel_weights, penalty, group_weight,
        few_runs_penalty,
    )[0]


def fit_input_layers(
    betas: np.ndarray, latents: np.ndarray, scalings: np.ndarray, run_groups: np.ndarray,
    voxel_weights: np.ndarray | None = None, penalty: float | np.ndarray | None = None,
    group_weight: np.ndarray | None = None, few_runs_penalty: float = DEFAULT_PENALTY,
) -> list[InputFit]:
    """Fit as :func:`fit_input_layer` does, with several scalings of the targets.

    Ridge regression is linear in the targets. Only penalty and sums over latents depend on their
    scaling, so that nearly all is computed once.

    Parameters
    ----------
    betas, latents
        As of :func:`fit_input_layer`.
    scalings : ndarray, shape (n_scalings, n_latents)
        Factors of the targets.
    run_groups, voxel_weights, penalty, group_weight, few_runs_penalty
        As of :func:`fit_input_layer`.

    Returns
    -------
    list of InputFit
        One for each scaling.
    """
    if penalty is None and not can_choose(run_groups):
        penalty = few_runs_penalty
    scales = np.ones(betas.shape[1]) if voxel_weights is None else np.asarray(voxel_weights)
    is_large = len(betas) > MANY_TRIALS
    used = _voxels_that_count(scales) if is_large else np.flatnonzero(scales)
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
    return [
        _joined(trials, own, group_weight)
        for own in fit(trials, targets, scalings, penalty, given)
    ]


def _voxels_that_count(scales: np.ndarray) -> np.ndarray:
    """Return the voxels that are left without those whose weights are negligible together.

    With many trials the weights of voxels without signal are nearly zero. They would hardly change
    predictions, and take most of the time.
    """
    squares = np.square(scales, dtype=np.float64)
    order = np.argsort(squares, kind="stable")
    total = np.cumsum(squares[order])
    return np.sort(order[total > NEGLIGIBLE * total[-1:]])


def _joined(trials: _Trials, own: _Own, group_weight: np.ndarray | None) -> InputFit:
    """Add given weights to those of the participant's trials, and scale the sum."""
    weight = np.zeros((trials.betas.shape[1], own.weight.shape[1]), dtype=np.float32)
    if group_weight is not None:
        weight += own.factor * group_weight
    weight[trials.voxels] += trials.scales[:, None] * own.weight
    # Shrinkage depends on participant and number of trials; the trunk expects one scale.
    gain = max(float(np.linalg.norm(weight)), 1e-12) / np.sqrt(weight.shape[1])
    weight /= gain
    bias = (-trials.mean @ weight).astype(np.float32)
    return InputFit(
        weight, bias, float(own.penalty), len(trials.betas), float(gain), own.evidence
    )


class _Own(NamedTuple):
    """Weights of the participant's trials (n_used, n_latents), beside given ones."""

    weight: np.ndarray
    factor: float
    penalty: float
    evidence: float


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

    def kernel(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return inner products of all trials or of some, without the mean of all."""
        kernel = np.zeros(2 * (len(self.betas if rows is None else rows),))
        # Single precision is enough for the products over voxels, by far the longest part.
        for part in self._parts(rows):
            kernel += part @ part.T
        return kernel

    def loads(self, dual: np.ndarray) -> np.ndarray:
        """Multiply voxels by *dual* (n_trials, n_latents), whose columns have mean zero."""
        single = dual.astype(np.float32)
        found = np.concatenate([
            np.asarray(self.betas[:, own], dtype=np.float32).T @ single for own in self._places()
        ])
        found *= self.scales[:, None].astype(np.float32)
        return found

    def stream(self) -> TrialStream:
        """Return the same responses a few trials at a time, without means of runs."""
        everything, member = np.arange(len(self.betas)), run_members(self.run_groups)[0]
        return TrialStream.of(self.betas, everything, member, self.voxels, self.scales)

    def _parts(self, rows: np.ndarray | None) -> Iterator[np.ndarray]:
        start = 0
        for own in self._places():
            part = self.betas[:, own]
            part = part if rows is None else part[rows]
            part = part - self.mean[own].astype(np.float32)
            part = part.astype(np.float32, copy=False)
            part *= self.scales[start:start + part.shape[1]].astype(np.float32)
            start += part.shape[1]
            yield part

    def _places(self) -> Iterator[slice | np.ndarray]:
        """Yield the columns of some voxels, as a slice where all voxels are used."""
        size = max(1, _VALUES // len(self.betas))
        everything = len(self.voxels) == self.betas.shape[1]
        for start in range(0, max(1, len(self.voxels)), size):
            part = slice(start, start + size)
            yield part if everything else self.voxels[part]


def _from_kernel(
    trials: _Trials, targets: np.ndarray, scalings: np.ndarray,
    penalty: float | np.ndarray | None, given: np.ndarray | None,
) -> Iterator[_Own]:
    """Fit by inner products of trials, whose number squared is the memory."""
    kernel, groups = trials.kernel(), trials.run_groups
    penalties: Sequence[float | np.ndarray] = (
        choose_penalties(kernel, targets, groups, scalings) if penalty is None
        else [penalty] * len(scalings)
    )
    centre_products(kernel, groups)
    size = max(float(np.trace(kernel)) / len(kernel), 1e-12)
    penalised, centred = PenalisedProducts(kernel), centre_runs(targets, groups)
    for scaling, candidates in zip(scalings, penalties, strict=True):
        rest, factor = centred * scaling, 0.0
        chosen, evidence = _likeliest(OneKernel(penalised, rest), size, groups, candidates)
        penalised.factorise(chosen * size)
        if given is not None:
            # The leave-one-out residual is (A y)_i / A_ii with A the inverse of the penalised
            # kernel.
            diagonal = penalised.inverse_diagonal()[:, None]
            factor = _factor_beside_ridge(*(penalised.solve(v) / diagonal for v in (rest, given)))
            rest = rest - factor * given
        dual = centre_runs(penalised.solve(rest), groups)
        yield _Own(trials.loads(dual), factor, chosen, evidence)


def _from_products(
    trials: _Trials, targets: np.ndarray, scalings: np.ndarray,
    penalty: float | np.ndarray | None, given: np.ndarray | None,
) -> Iterator[_Own]:
    """Fit by products of voxels, with a few trials at a time."""
    stream, groups = trials.stream(), trials.run_groups
    penalties: Sequence[float | np.ndarray] = (
        _penalties_of_stream(trials, stream, targets, scalings) if penalty is None
        else [penalty] * len(scalings)
    )
    unscaled = NormalEquations(stream, centre_runs(targets, groups))
    for scaling, candidates in zip(scalings, penalties, strict=True):
        equations, factor = unscaled.scaled(scaling), 0.0
        chosen, evidence = _likeliest(equations, equations.size, groups, candidates)
        loads, absolute = equations.loads, chosen * equations.size
        if given is not None:
            others = stream.loads(given)
            found = equations.left_out(absolute, (equations.targets, given), (loads, others))
            factor = _factor_beside_ridge(*found)
            loads = loads - factor * others
        yield _Own(equations.solve(absolute, loads), factor, chosen, evidence)


def _likeliest(
    form: OneKernel | NormalEquations, size: float, run_groups: np.ndarray,
    candidates: float | np.ndarray,
) -> tuple[float, float]:
    """Return the likeliest of several relative penalties and its evidence, or the given one."""
    if not isinstance(candidates, np.ndarray):
        return candidates, np.nan
    freedom = degrees_of_freedom(run_groups)
    found = likeliest_penalties(form, np.array([size]), freedom, candidates)
    return float(found.penalties[0]), float(found.evidence[0])


def _penalties_of_stream(
    trials: _Trials, stream: TrialStream, targets: np.ndarray, scalings: np.ndarray
) -> list[float]:
    """Choose penalties by some of the trials, from products of these or of the voxels."""
    groups = trials.run_groups
    rows = spread_runs(groups, MOST_TRIALS_TO_CHOOSE)
    # The smaller matrix, of a fit to four of five folds.
    if 0.8 * len(rows) > len(trials.voxels):
        return choose_streamed_penalties(stream, targets, groups, scalings)
    return choose_penalties(trials.kernel(rows), targets[rows], groups[rows], scalings)


def _factor_beside_ridge(own: np.ndarray, others: np.ndarray) -> float:
    """Choose the factor of given latents for the best prediction of held-out trials.

    Ridge regression is fitted to the residuals. Its leave-one-out residuals are linear in the
    targets, so the best factor (not below 0) is a regression of those of the targets (*own*) on
    those of the given latents (*others*).
    """
    size = float(np.square(others).sum())
    return max(0.0, float((own * others).sum()) / size) if size else 0.0
