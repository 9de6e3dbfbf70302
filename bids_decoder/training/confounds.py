"""Confounds of trials as regressors, and their removal from responses within training folds.

A confound that varies with what is decoded, as reaction time does with difficulty, lets a decoder
succeed without the brain telling the labels apart. Removing it from all trials at once leaks test
trials into training and biases accuracy; the regression is therefore fitted on training trials
only, and applied to test trials with the same weights [1]_.

References
----------
.. [1] Snoek, Miletić and Scholte (2019), How to control for confounds in decoding analyses of
   neuroimaging data, NeuroImage 184:741.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_decoder.glm.normalise import zscore_betas

_VALUES = 1 << 23  # numbers of a temporary array in double precision


def as_numbers(values: pd.Series) -> np.ndarray | None:
    """Return a column as numbers, NaN where missing; None where it holds words.

    Parameters
    ----------
    values : Series, n_trials rows
    """
    numbers = pd.to_numeric(values, errors="coerce")
    if (numbers.isna() & values.notna()).any():
        return None
    return numbers.to_numpy(dtype=np.float64)


def confound_design(values: pd.Series, groups: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Make regressors of one confound.

    Parameters
    ----------
    values : Series, n_trials rows
        Numbers, or words, which get one regressor for each level that occurs in training.
    groups : ndarray of str, shape (n_trials,)
        Sessions or runs within which regressors are z-scored, as responses are.
    train : ndarray of bool, shape (n_trials,)
        Trials whose statistics are used.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_regressors)
        Missing numbers are the mean of the training trials, and a further regressor marks them
        where training trials lack numbers, too.
    """
    numbers = as_numbers(values)
    if numbers is None:
        words = values.fillna("n/a").to_numpy(dtype=str)
        columns = [(words == level).astype(np.float64) for level in np.unique(words[train])]
    else:
        missing = np.isnan(numbers)
        known = numbers[train & ~missing]
        columns = [np.where(missing, known.mean() if len(known) else 0.0, numbers)]
        if missing[train].any():
            columns.append(missing.astype(np.float64))
    # One by one: units differ, and variances must not be shrunk to each other.
    scaled = [zscore_betas(column[:, None], groups, train)[0] for column in columns]
    return np.hstack(scaled).astype(np.float64)


def remove_confounds(
    betas: np.ndarray, design: np.ndarray, train: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """Subtract from responses what confounds predict, with weights of the training trials.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
    design : ndarray, shape (n_trials, n_regressors)
        From :func:`confound_design`.
    train : ndarray of bool, shape (n_trials,)
        Trials on which the regression is fitted, by least squares with an intercept.
    out : ndarray of float32, shape (n_trials, n_voxels), optional
        Gets the result; may be *betas*, where no second copy fits into memory.

    Returns
    -------
    ndarray of float32, shape (n_trials, n_voxels)
        The intercept stays.
    """
    with_intercept = np.column_stack([np.ones(len(design)), design])
    solve = np.linalg.pinv(with_intercept[train])[1:]
    cleaned = np.empty(betas.shape, dtype=np.float32) if out is None else out
    chunk = max(1, _VALUES // max(1, len(betas)))
    for start in range(0, betas.shape[1], chunk):
        part = np.asarray(betas[:, start:start + chunk], dtype=np.float64)
        cleaned[:, start:start + chunk] = part - design @ (solve @ part[train])
    return cleaned
