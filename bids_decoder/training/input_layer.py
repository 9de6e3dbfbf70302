"""The input layer in closed form: kernel ridge from weighted voxels to latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.evaluation.splits import inner_folds

RELATIVE_PENALTIES = np.logspace(-2.5, 1.5, 9)
"""Ridge penalties tried, as multiples of the mean eigenvalue of the kernel."""

DEFAULT_PENALTY = 0.1
"""Relative penalty when there is too little to choose from (one run)."""

MIN_RUNS_TO_CHOOSE = 4
"""With fewer training runs, what cross-validation over runs would choose is noise."""

TOLERANCE = 0.01
"""Loss of identifiability, as a share of the best, for which a stronger penalty is taken."""


@dataclass(frozen=True, eq=False)
class InputFit:
    """A fitted linear way from voxels to latents.

    Parameters
    ----------
    weight : ndarray of float32, shape (n_voxels, n_latents)
    bias : ndarray of float32, shape (n_latents,)
    penalty : float
        Relative ridge penalty used.
    n_trials : int
        Training trials used.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    n_trials: int

    def latents(self, betas: np.ndarray) -> np.ndarray:
        """Map betas (n, n_voxels) to latents (n, n_latents)."""
        return np.asarray(betas, dtype=np.float32) @ self.weight + self.bias


def fit_input_layer(
    betas: np.ndarray,
    latents: np.ndarray,
    run_groups: np.ndarray,
    voxel_weights: np.ndarray | None = None,
    penalty: float | None = None,
) -> InputFit:
    """Fit ridge from voxels to latents on training trials only.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        z-scored responses of training trials.
    latents : ndarray, shape (n_trials, n_latents)
        What each trial should be mapped to.
    run_groups : ndarray of str, shape (n_trials,)
        Runs; offsets of runs are projected out of the fit, and the penalty is chosen by
        leaving runs out.
    voxel_weights : ndarray, shape (n_voxels,), optional
        Prior standard deviation of each voxel's weights, up to a factor; zero drops a voxel.
    penalty : float, optional
        Relative penalty; chosen by cross-validation over runs if absent.

    Returns
    -------
    InputFit
        Its weights have Frobenius norm ``sqrt(n_latents)``, its latents mean zero.
    """
    scales = np.ones(betas.shape[1]) if voxel_weights is None else np.asarray(voxel_weights)
    used = np.flatnonzero(scales)
    scaled = np.asarray(betas[:, used], dtype=np.float64) * scales[used]
    targets = np.asarray(latents, dtype=np.float64)
    if penalty is None:
        penalty = choose_penalty(scaled @ scaled.T, targets, run_groups)
    centred, centred_targets = _without_run_offsets(scaled, targets, run_groups)
    dual = _solve(centred @ centred.T, centred_targets, penalty)
    weight = np.zeros((betas.shape[1], targets.shape[1]), dtype=np.float32)
    weight[used] = scales[used, None] * (centred.T @ dual)
    # Shrinkage differs between people and calibration lengths; the trunk wants one scale.
    weight /= max(float(np.linalg.norm(weight)), 1e-12) / np.sqrt(weight.shape[1])
    bias = -np.asarray(betas, dtype=np.float64).mean(axis=0) @ weight
    return InputFit(weight, bias.astype(np.float32), float(penalty), len(betas))


def choose_penalty(kernel: np.ndarray, targets: np.ndarray, run_groups: np.ndarray) -> float:
    """Choose the relative ridge penalty by leaving runs out.

    The criterion is :func:`identifiability` in the left-out runs, relative to the mean of the
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
        :data:`DEFAULT_PENALTY` when there are fewer than four runs: the choice would be noise.
    """
    if len(np.unique(run_groups)) < MIN_RUNS_TO_CHOOSE:
        return DEFAULT_PENALTY
    scores = np.zeros(len(RELATIVE_PENALTIES))
    for train, test in inner_folds(run_groups, 5):
        scores += _fold_scores(kernel, targets, run_groups, train, test)
    # The curve is flat towards weak penalties; the strongest of the good ones varies least.
    good = np.flatnonzero(scores >= scores.max() - TOLERANCE * abs(scores.max()))
    return float(RELATIVE_PENALTIES[good[-1]])


def _fold_scores(
    kernel: np.ndarray,
    targets: np.ndarray,
    run_groups: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    centre = _run_centring(run_groups[train])
    inner = centre @ kernel[np.ix_(train, train)] @ centre.T
    values, vectors = np.linalg.eigh(inner)
    values = np.clip(values, 0, None)
    projected = vectors.T @ (centre @ targets[train])
    cross = (kernel[np.ix_(test, train)] - kernel[np.ix_(train, train)].mean(axis=0)) @ centre.T
    cross = cross @ vectors
    wanted = targets[test] - targets[train].mean(axis=0)
    size = max(values.mean(), 1e-12)
    scores = []
    for penalty in RELATIVE_PENALTIES:
        predicted = cross @ (projected / (values + penalty * size)[:, None])
        scores.append(identifiability(predicted, wanted).sum())
    return np.array(scores)


def identifiability(predicted: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Measure how far each prediction's own target stands out among all targets.

    Parameters
    ----------
    predicted, wanted : ndarray, shape (n, d)

    Returns
    -------
    ndarray, shape (n,)
        Cosine with the own target, in standard deviations above the mean over all targets.
        Unlike the plain cosine it does not favour predictions that shrink to a few strong
        dimensions, with which nothing can be told apart.
    """
    cosines = _unit(predicted) @ _unit(wanted).T
    spread = cosines.std(axis=1)
    own = np.diagonal(cosines) - cosines.mean(axis=1)
    return own / np.maximum(spread, 1e-12)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def row_cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Give the cosine of each row of *left* with the same row of *right*, both (n, d)."""
    return (_unit(left) * _unit(right)).sum(axis=1)


def _run_centring(run_groups: np.ndarray) -> np.ndarray:
    """Matrix that takes the mean of each run from its trials; plain centring for tiny runs."""
    n_trials = len(run_groups)
    _, member = np.unique(run_groups, return_inverse=True)
    counts = np.bincount(member)
    if counts.min() < 4:
        return np.eye(n_trials) - 1.0 / n_trials
    same = member[:, None] == member[None, :]
    return np.eye(n_trials) - same / counts[member][:, None]


def _without_run_offsets(
    betas: np.ndarray, targets: np.ndarray, run_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    centre = _run_centring(run_groups)
    return centre @ betas, centre @ targets


def _solve(kernel: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    size = max(np.trace(kernel) / len(kernel), 1e-12)
    return np.linalg.solve(kernel + penalty * size * np.eye(len(kernel)), targets)
