"""Ridge regression from voxels to many targets, with a penalty for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from himalaya.backend import get_backend, set_backend
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import RidgeCV

from bids_decoder.evaluation.folds import inner_folds

ALPHAS = np.logspace(1, 7, 13)
"""Ridge penalties for z-scored voxels."""

N_INNER_FOLDS = 5

_CHUNK = 4096


class LinearFit(NamedTuple):
    """A linear map from voxels to targets.

    Parameters
    ----------
    weight : ndarray of float64, shape (n_voxels, n_targets)
    intercept : ndarray of float64, shape (n_targets,)
    """

    weight: np.ndarray
    intercept: np.ndarray


def ridge_predict(
    train_betas: np.ndarray, train_targets: np.ndarray, test_betas: np.ndarray, runs: np.ndarray
) -> np.ndarray:
    """Predict with ridge regression whose penalty is chosen per target, run-wise.

    Fitted with himalaya [1]_: kernel ridge with a linear kernel when there are fewer trials
    than voxels, ridge otherwise; both make the same predictions.

    Parameters
    ----------
    train_betas : ndarray, shape (n_train, n_voxels)
    train_targets : ndarray, shape (n_train, n_targets)
    test_betas : ndarray, shape (n_test, n_voxels)
    runs : ndarray of str, shape (n_train,)

    Returns
    -------
    ndarray of float64, shape (n_test, n_targets)

    References
    ----------
    .. [1] Dupré la Tour et al. (2022), Feature-space selection with banded ridge regression,
       NeuroImage 264.
    """
    with numpy_backend():
        model = _fit_ridge(train_betas, train_targets, runs)
        if isinstance(model, RidgeCV):
            return np.asarray(model.predict(_doubles(test_betas)))
        return np.asarray(model.predict(_linear_kernel(test_betas, train_betas)))


def ridge_fit(train_betas: np.ndarray, train_targets: np.ndarray, runs: np.ndarray) -> LinearFit:
    """Fit the ridge regression of :func:`ridge_predict`, to keep it.

    Parameters
    ----------
    train_betas : ndarray, shape (n_train, n_voxels)
    train_targets : ndarray, shape (n_train, n_targets)
    runs : ndarray of str, shape (n_train,)
    """
    with numpy_backend():
        model = _fit_ridge(train_betas, train_targets, runs)
    if isinstance(model, RidgeCV):
        return LinearFit(np.asarray(model.coef_), np.asarray(model.intercept_))
    dual = np.asarray(model.dual_coef_)
    parts = [
        _doubles(train_betas[:, start:start + _CHUNK]).T @ dual
        for start in range(0, train_betas.shape[1], _CHUNK)
    ]
    return LinearFit(np.concatenate(parts), np.asarray(model.intercept_))


def _fit_ridge(
    betas: np.ndarray, targets: np.ndarray, runs: np.ndarray
) -> RidgeCV | KernelRidgeCV:
    common = {"alphas": ALPHAS, "fit_intercept": True, "cv": inner_folds(runs, N_INNER_FOLDS)}
    if betas.shape[0] >= betas.shape[1]:
        return RidgeCV(**common).fit(_doubles(betas), targets)
    kernel = _linear_kernel(betas, betas)
    return KernelRidgeCV(kernel="precomputed", **common).fit(kernel, targets)


def _doubles(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _linear_kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Compute scalar products of rows in double precision, a part of the voxels at a time."""
    kernel = np.zeros((len(left), len(right)))
    for start in range(0, left.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        kernel += _doubles(left[:, part]) @ _doubles(right[:, part]).T
    return kernel


@contextmanager
def numpy_backend() -> Iterator[None]:
    """Use himalaya on numpy; restore its backend, which is global, afterwards."""
    before = get_backend().name
    set_backend("numpy")
    try:
        yield
    finally:
        set_backend(before)
