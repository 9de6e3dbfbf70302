"""z-scores of single-trial responses with statistics of training trials.

With few trials the variance of a voxel is estimated poorly, and dividing by its standard
deviation amplifies voxels that happened to vary little. The variance of each voxel is therefore
shrunk towards a typical one, as in empirical Bayes methods for many genes and few arrays (Smyth
2004, Statistical Applications in Genetics and Molecular Biology 3:3). The weight of the typical
variance, in trials, is fixed; with hundreds of trials the shrinkage is negligible.
"""

from __future__ import annotations

import numpy as np

from bids_decoder.errors import InputError

MIN_TRIALS = 4
FLAT = 1e-7
PRIOR_TRIALS = 10
_BLOCK = 1024  # trials or voxels of which temporary arrays are made at a time
_VALUES = 1 << 18  # numbers of such an array, which stays in the cache of a processor
_FEWEST_VOXELS = 128  # read from each trial, where this is more


def zscore_betas(
    betas: np.ndarray, groups: np.ndarray, train: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Centre and scale each voxel per session or run.

    Parameters
    ----------
    betas : ndarray, shape (n_all, n_voxels)
        Finite. Not changed; may be memory-mapped.
    groups : ndarray of str, shape (n_trials,)
        Session or run of each trial.
    train : ndarray of bool, shape (n_trials,)
        Trials whose statistics may be used.
    rows : ndarray of int, shape (n_trials,), optional
        Rows of *betas* that the trials are, in their order; by default the trials are all rows.

    Returns
    -------
    zscored : ndarray of float32, shape (n_trials, n_voxels)
        The variance that divides is ``(n * v + n0 * typical) / (n + n0)`` with *v* from the *n*
        trials that give the statistics, the geometric mean of *v* over voxels that vary as
        typical variance, and :data:`PRIOR_TRIALS` for *n0*. Zero in voxels that are constant
        over the trials that give the statistics.
    notes : tuple of str
        Which statistics each kind of group got.

    Raises
    ------
    InputError
        When there is no training trial, or shapes or values do not fit.
    """
    groups, train = np.asarray(groups, dtype=str), np.asarray(train, dtype=bool)
    rows = np.arange(len(betas)) if rows is None else rows
    _check(betas, groups, train, rows)
    pooled: tuple[np.ndarray, np.ndarray] | None = None
    zscored = np.empty((len(rows), betas.shape[1]), dtype=np.float32)
    used: dict[str, list[str]] = {}
    for group in np.unique(groups):
        members = groups == group
        own, how = _trials_for(members, train)
        if own is None:
            pooled = pooled or statistics_of_rows(betas, rows[train])
        statistics = pooled if own is None else statistics_of_rows(betas, rows[own])
        places = np.flatnonzero(members)
        block = _trials_of_block(betas)
        for start in range(0, len(places), block):
            some = places[start:start + block]
            zscored[some] = scale_voxels(betas[rows[some]], *statistics)
        used.setdefault(how, []).append(str(group))
    return zscored, tuple(f"{how}: {', '.join(names)}" for how, names in used.items())


def _check(betas: np.ndarray, groups: np.ndarray, train: np.ndarray, rows: np.ndarray) -> None:
    fits = betas.ndim == 2 and len(groups) == len(train) == len(rows)
    if not fits or not train.any() or not _is_finite(betas, rows):
        raise InputError(
            "z-scoring of betas",
            f"betas {betas.shape}, {len(groups)} groups, {int(train.sum())} training trials of "
            f"{len(train)}; all betas must be finite",
            "give one group and one flag per trial, at least one training trial, and leave out "
            "excluded trials",
        )


def _is_finite(betas: np.ndarray, rows: np.ndarray) -> bool:
    """Return whether all values are finite, without flags for all of them at a time."""
    block = _trials_of_block(betas)
    return all(
        np.isfinite(betas[rows[start:start + block]]).all() for start in range(0, len(rows), block)
    )


def _trials_of_block(betas: np.ndarray) -> int:
    """Return how many trials are processed together: few, if they have many voxels."""
    return int(np.clip(_VALUES // max(1, betas.shape[1]), 1, _BLOCK))


def statistics_of_rows(betas: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute :func:`voxel_statistics` of some trials, without a copy of all of them.

    Parameters
    ----------
    betas : ndarray, shape (n_all, n_voxels)
        May be memory-mapped.
    rows : ndarray of int, shape (n_trials,)
    """
    # Blocks of about the same memory for few and for many trials.
    block = min(_BLOCK, max(_FEWEST_VOXELS, _VALUES // max(1, len(rows))))
    parts = [
        _moments(betas[rows, start:start + block]) for start in range(0, betas.shape[1], block)
    ]
    mean, variance = (np.concatenate(moments) for moments in zip(*parts, strict=True))
    return shrink_variance(mean, variance, len(rows))


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=0, dtype=np.float64), rows.var(axis=0, dtype=np.float64)


def _trials_for(members: np.ndarray, train: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Return the trials for the statistics of a group (None: the pooled ones) and a note."""
    own = members & train
    if own.sum() >= MIN_TRIALS:
        return own, "statistics of the group's own training trials"
    if own.any():
        return None, f"pooled training statistics (fewer than {MIN_TRIALS} training trials)"
    return None, "pooled training statistics (no training trial)"


def voxel_statistics(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the statistics by which the voxels of a group of trials are z-scored.

    Parameters
    ----------
    rows : ndarray, shape (n_trials, n_voxels)

    Returns
    -------
    mean, spread : ndarray of float64, shape (n_voxels,)
        The spread is the shrunk standard deviation; zero for constant voxels.
    """
    return shrink_variance(*_moments(rows), len(rows))


def shrink_variance(
    mean: np.ndarray, variance: np.ndarray, n_trials: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shrink the variances of voxels towards a typical one.

    Parameters
    ----------
    mean, variance : ndarray of float64, shape (n_voxels,)
        Over trials.
    n_trials : int

    Returns
    -------
    mean, spread : ndarray of float64, shape (n_voxels,)
        As :func:`voxel_statistics` returns them.
    """
    varies = variance > (FLAT * mean) ** 2
    if not varies.any():
        return mean, np.zeros_like(mean)
    # Geometric mean, as a few vessels and edges vary a hundred times more than other voxels.
    typical = np.exp(np.log(variance[varies]).mean())
    shrunk = (n_trials * variance + PRIOR_TRIALS * typical) / (n_trials + PRIOR_TRIALS)
    return mean, np.sqrt(np.where(varies, shrunk, 0.0))


def scale_voxels(rows: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Centre and scale trials.

    Parameters
    ----------
    rows : ndarray, shape (n_trials, n_voxels)
    mean, spread : ndarray of float64, shape (n_voxels,)
        Of :func:`voxel_statistics`; voxels without spread become zero.

    Returns
    -------
    ndarray of float32, shape (n_trials, n_voxels)
    """
    factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    return ((rows - mean) * factor).astype(np.float32)
