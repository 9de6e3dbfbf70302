"""Voxelwise encoding: how well features of stimuli predict each voxel, run-wise held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.errors import InputError
from bids_decoder.evaluation.folds import inner_folds

_N_FOLDS = 5
_VALUES = 1 << 23  # responses that are copied at a time; four times as many numbers are computed
PENALTIES = tuple(10.0 ** np.arange(-2, 4.5, 1.0))
"""Ridge penalties, in units of the mean eigenvalue of the features' scatter matrix."""


@dataclass(frozen=True, eq=False)
class _Fold:
    """One decomposition of the training features, used for all penalties and voxels."""

    train: np.ndarray  # row numbers
    validation: np.ndarray
    left: np.ndarray  # (n_train, rank), left singular vectors
    projected: np.ndarray  # (n_validation, rank), held-out features on the right ones
    shrunk: np.ndarray  # (n_penalties, rank), left.T @ betas -> coefficients
    explained: np.ndarray  # (n_penalties, rank), (left.T @ betas) ** 2 -> sum of squares
    freedom: np.ndarray  # (n_penalties,), share of residual degrees of freedom


def encoding_scores(
    betas: np.ndarray, features: np.ndarray, runs: np.ndarray, *,
    penalties: tuple[float, ...] = PENALTIES,
) -> np.ndarray:
    """Correlate measured with predicted responses of held-out runs, for each voxel.

    Ridge regression from features to voxels in closed form: one singular value decomposition
    per fold is used for all voxels and penalties. Each voxel has its own penalty, by generalised
    cross-validation [1]_ within the training part of the fold: choosing by the scores of
    other folds would raise the scores of voxels without tuning above zero, since two folds
    share the product of their responses.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
        Responses of **training** trials; may be memory-mapped.
    features : ndarray, shape (n_trials, n_dims)
        Features of the stimulus of each trial (one-hot labels are possible).
    runs : ndarray of str, shape (n_trials,)
        Runs are never divided between the five folds; see :func:`.folds.inner_folds`.
    penalties : tuple of float
        Times the mean non-zero eigenvalue of the scatter matrix of the training features.

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        Mean over folds, weighted by their size; 0 where a voxel (or its prediction) is constant.

    Raises
    ------
    InputError
        For shapes that do not fit, or features that do not vary.

    References
    ----------
    .. [1] Golub, Heath and Wahba (1979), Generalized cross-validation as a method for
       choosing a good ridge parameter, Technometrics 21.
    """
    if len(betas) != len(features) or len(betas) != len(runs):
        raise InputError(
            "encoding scores", f"{len(betas)} betas, {len(features)} features, {len(runs)} runs",
            "check the trial tables",
        )
    features = _rotated(np.asarray(features, dtype=np.float64))
    splits = inner_folds(np.asarray(runs), _N_FOLDS)
    folds = [_decompose(features, *rows, penalties) for rows in splits]
    scores = np.empty(betas.shape[1], dtype=np.float32)
    chunk = max(1, _VALUES // len(betas))
    for start in range(0, betas.shape[1], chunk):
        part = np.asarray(betas[:, start:start + chunk], dtype=np.float32)
        scores[start:start + chunk] = _chunk_scores(part, folds)
    return scores


def _rotated(features: np.ndarray) -> np.ndarray:
    """Reduce wide features to as many columns as trials, which leaves ridge predictions equal."""
    if features.shape[1] <= features.shape[0]:
        return features
    left, values, _ = np.linalg.svd(features, full_matrices=False)
    return left * values


def _decompose(
    features: np.ndarray, train: np.ndarray, validation: np.ndarray, penalties: tuple[float, ...]
) -> _Fold:
    mean = features[train].mean(axis=0)
    left, values, right = np.linalg.svd(features[train] - mean, full_matrices=False)
    kept = values > values.max(initial=0.0) * 1e-6
    if not kept.any():
        raise InputError("encoding scores", "the features do not vary", "check the targets")
    left, values, right = left[:, kept], values[kept], right[kept]
    strengths = np.asarray(penalties)[:, None] * (values**2).mean()
    gain = values**2 / (values**2 + strengths)
    # One degree of freedom is used for the mean.
    freedom = np.maximum(1 - (1 + gain.sum(axis=1)) / len(train), 1e-3)
    return _Fold(
        train, validation, left.astype(np.float32),
        ((features[validation] - mean) @ right.T).astype(np.float32),
        (gain / values).astype(np.float32), (1 - (1 - gain) ** 2).astype(np.float32), freedom,
    )


def _chunk_scores(betas: np.ndarray, folds: list[_Fold]) -> np.ndarray:
    total = sum(_fold_scores(betas, fold) * len(fold.validation) for fold in folds)
    return total / sum(len(fold.validation) for fold in folds)


def _fold_scores(betas: np.ndarray, fold: _Fold) -> np.ndarray:
    """Compute the correlations in the held-out runs, shape (n_voxels,)."""
    # Left singular vectors of centred features are centred, so that the fit needs no intercept,
    # and a correlation does not depend on the intercept of the prediction.
    loads = fold.left.T @ betas[fold.train]
    squares = betas[fold.train].var(axis=0) * len(fold.train)
    residual = squares - fold.explained @ loads**2
    penalty = (residual / fold.freedom[:, None] ** 2).argmin(axis=0)
    predicted = fold.projected @ (fold.shrunk[penalty].T * loads)
    return (_standard(predicted) * _standard(betas[fold.validation])).sum(axis=0)


def _standard(values: np.ndarray) -> np.ndarray:
    """Centre and scale columns to unit length; constant columns become zero."""
    centred = values - values.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    floor = 1e-6 * np.sqrt((values**2).sum(axis=0))
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > floor)
