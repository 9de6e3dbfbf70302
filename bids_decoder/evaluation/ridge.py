"""Ridge regression from voxels to many targets, with a penalty for each of them.

Where there are more trials than voxels, libraries hold several copies of the responses in double
precision, and one inverse for each penalty: 35 GB for 27,000 trials of 15,724 voxels. Here one
matrix of products of voxels is held instead, and blocks of trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from himalaya.backend import get_backend, set_backend
from himalaya.kernel_ridge import KernelRidgeCV

from bids_decoder.evaluation.folds import MOST_TRIALS_TO_CHOOSE, inner_folds, spread_runs
from bids_decoder.normal_equations import NormalEquations, TrialStream

ALPHAS = np.logspace(1, 7, 13)
"""Ridge penalties for z-scored voxels."""

N_INNER_FOLDS = 5

_CHUNK = 4096

_KERNEL_COPIES = 7  # of a kernel of trials at the same time
_KERNEL_BYTES = 4 << 30  # of all of them: kernels take less time, unless they take more memory


def ridge_predict(
    train_betas: np.ndarray, train_targets: np.ndarray, test_betas: np.ndarray, runs: np.ndarray
) -> np.ndarray:
    """Predict with ridge regression whose penalty is chosen per target, run-wise.

    Each target has the penalty with the smallest mean squared error in held-out runs. With many
    voxels for each trial by kernel ridge regression with a linear kernel of himalaya [1]_, else
    from products of voxels; both make the same predictions. From products, the penalties are
    chosen by at most :data:`.MOST_TRIALS_TO_CHOOSE` trials, in whole runs: the best one is the
    ratio of the variances of noise and weights, which does not depend on the number of trials.

    Parameters
    ----------
    train_betas : ndarray, shape (n_train, n_voxels)
        May be memory-mapped.
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
    if _has_few_voxels(train_betas):
        weight, intercept = _fit_products(train_betas, train_targets, runs)
        return test_betas @ weight + intercept
    with numpy_backend():
        model = _fit_kernel(train_betas, train_targets, runs)
        return np.asarray(model.predict(_linear_kernel(test_betas, train_betas)))


def _has_few_voxels(betas: np.ndarray) -> bool:
    n_trials, n_voxels = betas.shape
    copies = _KERNEL_COPIES * n_trials**2
    return n_voxels**2 <= copies if 8 * copies > _KERNEL_BYTES else n_voxels <= n_trials


def _fit_kernel(betas: np.ndarray, targets: np.ndarray, runs: np.ndarray) -> KernelRidgeCV:
    kernel = _linear_kernel(betas, betas)
    # One penalty at a time: each takes a matrix of the size of the kernel.
    return KernelRidgeCV(
        alphas=ALPHAS, fit_intercept=True, cv=inner_folds(runs, N_INNER_FOLDS),
        kernel="precomputed", solver_params={"n_alphas_batch": 1},
    ).fit(kernel, targets)


def _fit_products(
    betas: np.ndarray, targets: np.ndarray, runs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (n_voxels, n_targets) and intercepts (n_targets,)."""
    targets = _doubles(targets)
    rows = spread_runs(runs, MOST_TRIALS_TO_CHOOSE)
    part = rows if len(rows) < len(betas) else slice(None)  # no copy of all responses
    chosen = _choose_alphas(betas[part], targets[part], runs[part])
    stream, mean = _stream_of(betas, np.arange(len(betas))), targets.mean(axis=0)
    equations = NormalEquations(stream, targets - mean)
    weight = np.empty(equations.loads.shape)
    for alpha in np.unique(chosen):
        own = chosen == alpha
        weight[:, own] = equations.solve(alpha, equations.loads[:, own])
    return weight, mean - stream.mean @ weight


def _choose_alphas(betas: np.ndarray, targets: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return the penalty of each target (n_targets,) with the least error in held-out runs."""
    if not _has_few_voxels(betas):
        with numpy_backend():
            return np.asarray(_fit_kernel(betas, targets, runs).best_alphas_)
    folds = inner_folds(runs, N_INNER_FOLDS)
    errors = sum(_errors_of_products(betas, targets, *fold) for fold in folds)
    return ALPHAS[np.argmin(errors, axis=0)]


def _errors_of_products(
    betas: np.ndarray, targets: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Return the mean squared error of each penalty and target in the rows *test*."""
    stream, mean = _stream_of(betas, train), targets[train].mean(axis=0)
    equations = NormalEquations(stream, targets[train] - mean)
    wanted, shown = targets[test] - mean, stream.beside(test)
    return np.stack([
        np.square(wanted - shown.project(equations.solve(alpha))).mean(axis=0) for alpha in ALPHAS
    ])


def _stream_of(betas: np.ndarray, rows: np.ndarray) -> TrialStream:
    voxels = np.arange(betas.shape[1])
    return TrialStream.of(betas, rows, np.zeros(len(rows), int), voxels, np.ones(len(voxels)))


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
