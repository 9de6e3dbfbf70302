"""The input layer in closed form: kernel ridge from weighted voxels to latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bids_decoder.evaluation.folds import inner_folds
from bids_decoder.training.normal_equations import NormalEquations, TrialStream
from bids_decoder.training.run_means import centre_runs, degrees_of_freedom, run_members
from bids_decoder.training.tridiagonal import Tridiagonal

RELATIVE_PENALTIES = np.logspace(-2.5, 1.5, 9)
"""Candidate ridge penalties, as multiples of the mean eigenvalue of the kernel."""

DEFAULT_PENALTY = 0.1
"""Relative penalty with fewer than :data:`MIN_RUNS_TO_CHOOSE` runs, and of labels in closed form
with few trials (:func:`penalty_for_labels`)."""

MIN_RUNS_TO_CHOOSE = 4
"""With fewer training runs, cross-validation over runs is too noisy to choose by."""

MIN_TRIALS_PER_DIMENSION = 4
"""With fewer trials for each dimension of labels, the evidence for a penalty is not used."""

LARGEST_FOR_LABELS = 1.0
"""Stronger penalties are no candidates for labels."""

TOLERANCE = 0.01
"""A stronger penalty is preferred if it loses less than this share of the identifiability."""


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
    n_trials = len(betas)
    given = None
    if group_weight is not None:
        # Zeros instead of fewer columns: a copy of the used voxels may not fit into memory.
        group_weight = np.where(scales[:, None] != 0, group_weight, 0).astype(np.float32)
        given = centre_runs(np.asarray(betas, dtype=np.float32) @ group_weight, run_groups)
    # Both give the same fit; the memory is the square of the smaller number.
    fit = _from_products if 0 < len(used) < n_trials else _from_kernel
    own, factor, penalty = fit(betas, used, scales[used], targets, run_groups, penalty, given)
    weight = np.zeros((betas.shape[1], targets.shape[1]), dtype=np.float32)
    if group_weight is not None:
        weight += factor * group_weight
    weight[used] += scales[used, None] * own
    # Shrinkage depends on participant and number of trials; the trunk expects one scale.
    gain = max(float(np.linalg.norm(weight)), 1e-12) / np.sqrt(weight.shape[1])
    weight /= gain
    bias = -np.mean(betas, axis=0, dtype=np.float64) @ weight
    return InputFit(weight, bias.astype(np.float32), float(penalty), n_trials, float(gain))


class _Own(NamedTuple):
    """Weights of the participant's trials (n_used, n_latents), beside given ones."""

    weight: np.ndarray
    factor: float
    penalty: float


def _from_kernel(
    betas: np.ndarray, used: np.ndarray, scales: np.ndarray, targets: np.ndarray,
    run_groups: np.ndarray, penalty: float | np.ndarray | None, given: np.ndarray | None,
) -> _Own:
    """Fit by inner products of trials, whose number squared is the memory."""
    # Single precision is enough for the products over voxels, by far the longest part.
    scaled = np.asarray(betas[:, used], dtype=np.float32) * scales.astype(np.float32)
    kernel = (scaled @ scaled.T).astype(np.float64)
    if penalty is None:
        penalty = choose_penalty(kernel, targets, run_groups)
    centred = centre_runs(centre_runs(kernel, run_groups).T, run_groups)
    rest, factor = centre_runs(targets, run_groups), 0.0
    if isinstance(penalty, np.ndarray):
        forms = Tridiagonal.of(centred[None], rest[None])
        size = max(np.trace(centred) / len(centred), 1e-12)
        penalty = likeliest_penalties(
            forms, np.array([size]), degrees_of_freedom(run_groups), penalty
        )[0]
    if given is not None:
        # The leave-one-out residual is (A y)_i / A_ii with A the inverse of the penalised kernel.
        inverse = _solve(centred, np.eye(len(centred)), penalty)
        factor = _factor_beside_ridge(*(
            inverse @ part / np.diagonal(inverse)[:, None] for part in (rest, given)
        ))
        rest = rest - factor * given
    dual = centre_runs(_solve(centred, rest, penalty), run_groups)
    return _Own(scaled.T @ dual.astype(np.float32), factor, penalty)


def _from_products(
    betas: np.ndarray, used: np.ndarray, scales: np.ndarray, targets: np.ndarray,
    run_groups: np.ndarray, penalty: float | np.ndarray | None, given: np.ndarray | None,
) -> _Own:
    """Fit by products of voxels, with a few trials at a time."""
    everything = np.arange(len(betas))
    stream = TrialStream.of(betas, everything, run_members(run_groups)[0], used, scales)
    if penalty is None:
        penalty = _choose_streamed_penalty(stream, targets, run_groups)
    rest, factor = centre_runs(targets, run_groups), 0.0
    equations = NormalEquations(stream, rest)
    if isinstance(penalty, np.ndarray):
        size = np.array([equations.size])
        penalty = likeliest_penalties(equations, size, degrees_of_freedom(run_groups), penalty)[0]
    loads = equations.loads
    if given is not None:
        factor = _factor_beside_ridge(*equations.left_out(penalty, (rest, given)))
        loads = loads - factor * stream.loads(given)
    return _Own(equations.solve(penalty, loads), factor, penalty)


def _choose_streamed_penalty(
    stream: TrialStream, targets: np.ndarray, run_groups: np.ndarray
) -> float:
    """Choose as :func:`choose_penalty` does, from a stream of trials."""
    def scores(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        groups = run_groups[train]
        inner = TrialStream.of(
            stream.betas, train, run_members(groups)[0], stream.voxels, stream.scales
        )
        equations = NormalEquations(inner, centre_runs(targets[train], groups))
        wanted = targets[test] - targets[train].mean(axis=0)
        shown = TrialStream(
            stream.betas, test, stream.voxels, stream.scales,
            np.zeros(len(test), dtype=int), inner.mean[None],
        )
        return np.array([
            identifiability(shown.project(equations.solve(penalty)), wanted).sum()
            for penalty in RELATIVE_PENALTIES
        ])

    return _best_penalty(run_groups, scores)


def likeliest_penalties(
    forms: Tridiagonal | NormalEquations, sizes: np.ndarray, freedom: int, candidates: np.ndarray
) -> np.ndarray:
    """Choose the relative ridge penalty of each set by marginal likelihood (empirical Bayes).

    Parameters
    ----------
    forms : Tridiagonal or NormalEquations
        Inner products of (weighted) responses, means of runs projected out, and the targets
        without means of runs.
    sizes : ndarray, shape (n_sets,)
        Mean eigenvalue of each kernel over all trials.
    freedom : int
        Number of trials minus that of the means.
    candidates : ndarray, shape (n_candidates,)
        Relative penalties.

    Returns
    -------
    ndarray, shape (n_sets,)
        Among the candidates.

    Notes
    -----
    Targets are Gaussian with covariance ``s2 (K + penalty I)``, the evidence of ridge regression
    (Rasmussen and Williams 2006, 5.4); ``s2`` is set to its maximum likelihood value.
    """
    penalties = candidates * sizes[:, None]
    energies, spread = forms.energies(penalties)
    # Kernels of all trials have an eigenvalue of zero for each mean.
    spread -= (forms.n_rows - freedom) * np.log(penalties)
    evidence = -freedom * np.log(energies + 1e-300) - spread
    return candidates[evidence.argmax(axis=1)]


def penalties_for_labels(run_groups: np.ndarray, n_latents: int) -> np.ndarray:
    """Return the candidates for the penalty of labels in closed form.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)
    n_latents : int
        Dimensions of the targets, one fewer than labels.

    Returns
    -------
    ndarray
        Relative penalties up to :data:`LARGEST_FOR_LABELS`; :data:`DEFAULT_PENALTY` alone with
        fewer than :data:`MIN_TRIALS_PER_DIMENSION` trials for each dimension, less the means of
        runs.

    Notes
    -----
    With one trial of each label the evidence of :func:`likeliest_penalties` is highest where
    ``K + penalty I`` is closest to a multiple of the identity (means of eigenvalues, arithmetic
    and geometric), which is the strongest penalty, whatever the responses are. With few trials
    it still is too strong. Noise that voxels share is no part of the model: where it is strong,
    the evidence prefers penalties that leave little but its directions. See ``docs/troi.md``.
    """
    enough = degrees_of_freedom(run_groups) >= MIN_TRIALS_PER_DIMENSION * n_latents
    if not enough:
        return np.array([DEFAULT_PENALTY])
    return RELATIVE_PENALTIES[RELATIVE_PENALTIES < 1.01 * LARGEST_FOR_LABELS]


def choose_penalty(kernel: np.ndarray, targets: np.ndarray, run_groups: np.ndarray) -> float:
    """Choose the relative ridge penalty by cross-validation over runs.

    The criterion is :func:`identifiability` in the held-out runs, relative to the mean of the
    training targets.

    Parameters
    ----------
    kernel : ndarray, shape (n_trials, n_trials)
        Inner products of (weighted) responses.
    targets : ndarray, shape (n_trials, n_latents)
    run_groups : ndarray of str, shape (n_trials,)

    Returns
    -------
    float
        :data:`DEFAULT_PENALTY` with fewer than :data:`MIN_RUNS_TO_CHOOSE` runs.
    """
    return _best_penalty(
        run_groups, lambda train, test: _fold_scores(kernel, targets, run_groups, train, test)
    )


def _best_penalty(
    run_groups: np.ndarray, scores_of: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float:
    """Choose by the scores of all penalties in each fold (training rows, test rows)."""
    if len(np.unique(run_groups)) < MIN_RUNS_TO_CHOOSE:
        return DEFAULT_PENALTY
    scores = np.zeros(len(RELATIVE_PENALTIES))
    for train, test in inner_folds(run_groups, 5):
        scores += scores_of(train, test)
    # The curve is flat towards weak penalties; the strongest good one has the least variance.
    good = np.flatnonzero(scores >= scores.max() - TOLERANCE * abs(scores.max()))
    return float(RELATIVE_PENALTIES[good[-1]])


def _fold_scores(
    kernel: np.ndarray, targets: np.ndarray, run_groups: np.ndarray, train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    groups = run_groups[train]
    inner = centre_runs(centre_runs(kernel[np.ix_(train, train)], groups).T, groups)
    values, vectors = np.linalg.eigh(inner)
    values = np.clip(values, 0, None)
    projected = vectors.T @ centre_runs(targets[train], groups)
    cross = kernel[np.ix_(test, train)] - kernel[np.ix_(train, train)].mean(axis=0)
    cross = centre_runs(cross.T, groups).T @ vectors
    wanted = targets[test] - targets[train].mean(axis=0)
    size = max(values.mean(), 1e-12)
    scores = []
    for penalty in RELATIVE_PENALTIES:
        predicted = cross @ (projected / (values + penalty * size)[:, None])
        scores.append(identifiability(predicted, wanted).sum())
    return np.array(scores)


def identifiability(predicted: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Measure how well each prediction identifies its own target among all targets.

    Parameters
    ----------
    predicted, wanted : ndarray, shape (n, d)

    Returns
    -------
    ndarray, shape (n,)
        Cosine with the own target, as z-score over the cosines with all targets. Unlike the
        plain cosine it does not favour predictions that are shrunk to a few strong dimensions.
    """
    cosines = unit_rows(predicted) @ unit_rows(wanted).T
    spread = cosines.std(axis=1)
    own = np.diagonal(cosines) - cosines.mean(axis=1)
    return own / np.maximum(spread, 1e-12)


def distinctness(
    predicted: np.ndarray, rows: np.ndarray, vectors: np.ndarray, chunk: int = 2048
) -> np.ndarray:
    """Measure how well predictions identify their own targets among those that occur.

    Parameters
    ----------
    predicted : ndarray, shape (n, d)
    rows : ndarray of int, shape (n,)
        Row of each prediction's own target; all rows that occur are candidates.
    vectors : ndarray, shape (n_ids, d)
    chunk : int
        Number of predictions processed together.

    Returns
    -------
    ndarray, shape (n,)
        :func:`identifiability`, with every candidate counted once.
    """
    names, own = np.unique(rows, return_inverse=True)
    candidates = unit_rows(vectors[names]).T
    parts = []
    for start in range(0, len(predicted), chunk):
        cosines = unit_rows(predicted[start:start + chunk]) @ candidates
        mine = cosines[np.arange(len(cosines)), own[start:start + chunk]]
        spread = np.maximum(cosines.std(axis=1), 1e-12)
        parts.append((mine - cosines.mean(axis=1)) / spread)
    return np.concatenate(parts)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale each row to unit length, (n, d)."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def row_cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Compute the cosine of each row of *left* with the same row of *right*, both (n, d)."""
    return (unit_rows(left) * unit_rows(right)).sum(axis=1)


def _factor_beside_ridge(own: np.ndarray, others: np.ndarray) -> float:
    """Choose the factor of given latents for the best prediction of held-out trials.

    Ridge regression is fitted to the residuals. Its leave-one-out residuals are linear in the
    targets, so the best factor (not below 0) is a regression of those of the targets (*own*) on
    those of the given latents (*others*).
    """
    size = float(np.square(others).sum())
    return max(0.0, float((own * others).sum()) / size) if size else 0.0


def _solve(kernel: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    size = max(np.trace(kernel) / len(kernel), 1e-12)
    return np.linalg.solve(kernel + penalty * size * np.eye(len(kernel)), targets)
