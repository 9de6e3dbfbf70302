"""Confidence intervals (95 %) for scores of few, dependent trials.

Trials of one run (or picture, or participant) depend on each other, and there are few runs. A
percentile bootstrap over so few clusters covers the true value too rarely. Here a score is
linearised: every trial has an *influence*, the change of the score per unit of its weight. Sums of
influences over clusters show how much more the score varies than with independent trials (the
design effect), and Wilson's interval is computed for the effective number of independent trials.
"""

from __future__ import annotations

import numpy as np
import scipy.stats

LEVEL = 0.95
"""Coverage of all intervals."""

_TAIL = (1 + LEVEL) / 2
_UNKNOWN = (np.nan, np.nan)


def proportion_interval(
    value: float, influence: np.ndarray, clusters: np.ndarray | None = None,
    n_trials: float | None = None, *, strata: np.ndarray | None = None, inflation: float = 1.0,
) -> tuple[float, float]:
    """Compute the 95 % limits of a score between 0 and 1.

    Parameters
    ----------
    value : float
        Accuracy, balanced accuracy, F1, area under a curve...
    influence : ndarray, shape (n,)
        Influence of each trial on *value*; sums to 0. For an accuracy ``(hit - value) / n``.
    clusters : ndarray of int, shape (n,), optional
        Number of the cluster (run) of each trial, from 0. By default each trial is a cluster.
    n_trials : float, optional
        Number of independent trials whose binomial interval is the narrowest allowed; by default
        n. More when each entry of *influence* stands for several trials, or when *value* is a mean
        over classes of unequal recall; less when it is one over classes of unequal size.
    strata : ndarray of int, shape (n,), optional
        Class of each trial, from 0, when *value* is a mean over classes, so that influences are
        centred within each class.
    inflation : float
        Of the variance, by training data that folds share: :func:`fold_inflation`.

    Returns
    -------
    low, high : float
        NaN when the variance between clusters is unknown: with one cluster only, or when each
        class is in one cluster only.

    Notes
    -----
    On one test set the variance is that between clusters, but at least that of independent trials;
    where clusters vary more, the quantile is that of Student's t. Under cross-validation it is the
    larger one of those between clusters and between trials, inflated, but at least that of
    independent trials, and the quantile is the normal one: most of the variance is then the
    inflation, which clusters cannot tell. The limits are Wilson's,
    with the design effect in the number of trials (Korn and Graubard 1998, Survey Methodology
    24:193; Wilson 1927, JASA 22:209).
    """
    influence, each = np.asarray(influence, dtype=np.float64), np.arange(len(influence))
    strata = np.zeros_like(each) if strata is None else strata
    between, freedom = cluster_variance(influence, each if clusters is None else clusters, strata)
    if not np.isfinite(value + between):
        return _UNKNOWN
    n_trials = len(influence) if n_trials is None else n_trials
    alone = value * (1 - value) / n_trials
    if inflation > 1:
        within, freedom = cluster_variance(influence, each, strata)[0], np.inf
        # A class of one trial has no variance between trials.
        variance = max(alone, inflation * np.fmax(within, between))
        n_trials = n_trials if variance > 0 else n_trials / inflation
    else:
        alone = alone if clusters is None else max(alone, float(np.square(influence).sum()))
        unbiased = alone * n_trials / max(n_trials - 1, 1)
        # Sums of equal numbers in a different order differ by rounding.
        effect = between / unbiased if between > unbiased * (1 + 1e-9) else 1.0
        variance, freedom = alone * effect, freedom if effect > 1 else np.inf
    size = value * (1 - value) / variance if variance > 0 else n_trials
    return wilson_limits(value, min(max(size, 1.0), n_trials), _quantile(freedom))


def fold_inflation(folds: np.ndarray) -> float:
    """Return the factor by which folds that share training trials inflate a variance.

    Scores of folds are correlated: a set of training trials that happens to be a good one is,
    in large part, that of all folds. The spread of trials and runs does not show it.

    Parameters
    ----------
    folds : ndarray, shape (n_trials,)
        Fold in which each trial was test.

    Returns
    -------
    float
        ``1 + (n_folds - 1) / n_folds``: that of a mean of scores whose correlation is the share of
        trials in a test set, as Nadeau and Bengio assume [1]_. It is 1 with one fold.

    References
    ----------
    .. [1] Nadeau and Bengio (2003), Inference for the generalization error, Machine Learning 52.
    """
    n_folds = len(np.unique(np.asarray(folds)))
    return 1.0 + (n_folds - 1) / n_folds


def spread_inflation(folds: np.ndarray) -> float:
    """Return the factor of :func:`fold_inflation` for a variance of one estimate alone.

    Parameters
    ----------
    folds : ndarray, shape (n_trials,)
        Fold in which each trial was test.

    Returns
    -------
    float
        ``1 + n_folds * n_test / n_train``, the mean over folds [1]_: the spread of correlated
        scores is smaller than that of independent ones. It is 1 with one fold.

    References
    ----------
    .. [1] Nadeau and Bengio (2003), Inference for the generalization error, Machine Learning 52.
    """
    sizes = np.unique(np.asarray(folds), return_counts=True)[1]
    if len(sizes) < 2:
        return 1.0
    return 1.0 + len(sizes) * float((sizes / (sizes.sum() - sizes)).mean())


def cluster_variance(
    influence: np.ndarray, cluster_of: np.ndarray, strata: np.ndarray
) -> tuple[float, float]:
    """Compute the variance of a score between clusters, and its degrees of freedom; NaN if none.

    Parameters
    ----------
    influence : ndarray, shape (n,)
        Influence of each trial; sums to 0.
    cluster_of, strata : ndarray of int, shape (n,)
        Cluster of each trial, and class within which influences are centred, from 0.

    Notes
    -----
    The mean that was subtracted contains the cluster, so that its error is larger than the sum of
    its influences: each square is divided by one minus the cluster's share (leverage) of the means.
    Clusters of one class each thus have one degree of freedom less for each class.
    """
    table = np.zeros((cluster_of.max() + 1, strata.max() + 1))
    np.add.at(table, (cluster_of, strata), 1.0)
    sizes = np.maximum(table.sum(axis=0), 1.0)
    leverage = (table**2 / sizes**3).sum(axis=1) / (table / sizes**2).sum(axis=1)
    if (leverage > 1 - 1e-9).any():
        return np.nan, 0.0
    sums = np.bincount(cluster_of, weights=influence)
    return float((np.square(sums) / (1 - leverage)).sum()), float((1 - leverage).sum())


def ratio_interval(
    hits: np.ndarray, size: np.ndarray, n_trials: int | None = None
) -> tuple[float, float]:
    """Compute the 95 % limits of a rate over units, ``sum(hits) / sum(size)``.

    Parameters
    ----------
    hits, size : ndarray, shape (n_units,)
        Hits of each unit (an image), and its number of attempts; units without any do not count.
    n_trials : int, optional
        Distinct trials behind all units; by default one for each unit.

    Returns
    -------
    low, high : float
    """
    used = np.asarray(size) > 0
    hits, size = np.asarray(hits, np.float64)[used], np.asarray(size, np.float64)[used]
    value = hits.sum() / size.sum()
    influence = (hits - value * size) / size.sum()
    return proportion_interval(float(value), influence, n_trials=n_trials)


def bounded_interval(
    value: float, influence: np.ndarray, inflation: float = 1.0, twice: float = 0.0
) -> tuple[float, float]:
    """Compute the 95 % limits of a score between 0 and 1 that is not a share of trials.

    Parameters
    ----------
    value : float
        For instance an area under a curve, or the share of pairs of pictures that are won.
    influence : ndarray, shape (n_units,)
        Influence of each independent unit on *value*; sums to 0.
    inflation : float
        Of the variance, by training data that folds share: :func:`spread_inflation`.
    twice : float
        Part of the sum of squared influences that two units have in common and that therefore
        counts twice: the noise of pairs. What is left is at least this part.

    Returns
    -------
    low, high : float
        Wilson's limits with the variance of the influences in place of the binomial one, and
        Student's t; those of n_units binomial trials when the influences do not vary.
    """
    n_units = len(influence)
    if n_units < 2 or not np.isfinite(value):
        return _UNKNOWN
    squares = float(np.square(influence).sum())
    variance = inflation * max(squares - twice, twice) * n_units / (n_units - 1)
    spread = value * (1 - value)
    size = spread / variance if variance > 1e-12 and spread > 1e-12 else n_units / inflation
    return wilson_limits(value, size, _quantile(n_units - 1))


def real_interval(
    value: float, influence: np.ndarray, clusters: np.ndarray, *, inflation: float = 1.0,
    least: float = 0.0,
) -> tuple[float, float]:
    """Compute the 95 % limits of a score without bounds, such as an error or Fisher's z.

    Parameters
    ----------
    value : float
    influence : ndarray, shape (n_trials,)
        Influence of each trial on *value*; sums to 0.
    clusters : ndarray of int, shape (n_trials,)
        Number of the cluster (run) of each trial, from 0.
    inflation : float
        Of the variance, by training data that folds share: :func:`fold_inflation`.
    least : float
        Smallest variance allowed.

    Returns
    -------
    low, high : float
        NaN with one cluster. The variance, its degrees of freedom and its inflation are those of
        :func:`proportion_interval`; limits are symmetric.
    """
    strata = np.zeros(len(influence), dtype=int)
    between, freedom = cluster_variance(influence, clusters, strata)
    within = cluster_variance(influence, np.arange(len(influence)), strata)[0]
    if not np.isfinite(value + between + within):
        return _UNKNOWN
    alone = max(within, least)
    if inflation > 1:
        variance, freedom = max(inflation * max(within, between), least), np.inf
    else:
        variance, freedom = max(alone, between), freedom if between > alone else np.inf
    half = _quantile(freedom) * np.sqrt(variance)
    return float(value - half), float(value + half)


def correlation_interval(
    value: float, influence: np.ndarray, clusters: np.ndarray, folds: np.ndarray,
    null: np.ndarray | None = None,
) -> tuple[float, float]:
    """Compute the 95 % limits of a correlation of deviations from the means of clusters.

    Parameters
    ----------
    value : float
    influence : ndarray, shape (n_trials,)
        Influence of each trial on *value*; sums to 0.
    clusters : ndarray of int, shape (n_trials,)
        Number of the cluster (run) of each trial, from 0; its mean is subtracted.
    folds : ndarray, shape (n_trials,)
        Fold in which each trial was test.
    null : ndarray, shape (n_permutations,), optional
        Correlations of exchanged values, everything fitted again where there are several folds.

    Returns
    -------
    low, high : float
        Those of :func:`real_interval` on Fisher's scale, between -1 and 1. NaN with fewer than
        four effective trials, ``n_trials - n_clusters + 1``.

    Notes
    -----
    Fisher's scale has no end. Ranks of n trials cannot tell a perfect correlation from one of
    ``sqrt(1 - 1 / n**2)``: they have the variance ``(n**2 - 1) / 12``, and what is rounded to
    ranks errs with that of 1 / 12. A value beyond has the interval of this correlation, extended
    to the value. The variance on Fisher's scale is at least that of independent trials,
    ``1 / (n_trials - n_clusters - 2)`` (each mean that is subtracted costs a trial [1]_), times
    :func:`spread_inflation`. A decoder that hardly learns anything adds up similarities of pairs of
    trials, and each pair counts twice, once for each trial as the tested one: the sum varies more
    than its terms show, and more so the more its voxels are selected. The null distribution shows
    how much, and its variance is the smallest one, too: Fisher's scale makes of a correlation a
    shift of that distribution [2]_.

    References
    ----------
    .. [1] Fisher (1924), The distribution of the partial correlation coefficient, Metron 3.
    .. [2] Garthwaite (1996), Confidence intervals from randomization tests, Biometrics 52:1387.
    """
    n_trials = len(influence)
    freedom = n_trials - len(np.unique(clusters)) - 2
    if freedom < 1 or not np.isfinite(value):
        return _UNKNOWN
    least, limit = spread_inflation(folds) / freedom, float(np.sqrt(1 - 1 / n_trials**2))
    if null is not None and len(null) > 1:
        least = max(least, float(np.arctanh(np.clip(null, -limit, limit)).var(ddof=1)))
    bounded = float(np.clip(value, -limit, limit))
    low, high = real_interval(
        float(np.arctanh(bounded)), influence / (1 - bounded**2), clusters,
        inflation=fold_inflation(folds), least=least,
    )
    return min(float(np.tanh(low)), value), max(float(np.tanh(high)), value)


def mean_interval(
    values: np.ndarray, bounds: tuple[float, float] = (-1.0, 1.0), *, inflation: float = 1.0
) -> tuple[float, float]:
    """Compute the 95 % limits of a mean over units, by Student's t.

    Parameters
    ----------
    values : ndarray, shape (n_units,)
        Any score, or differences of two models' scores.
    bounds : tuple of float
        Smallest and largest possible value; limits stay within them.
    inflation : float
        Of the variance, by training data that folds share: :func:`spread_inflation`.

    Returns
    -------
    low, high : float
        When all values are equal their spread is not informative. Then the share of units that
        may have been missed (exact binomial limit for none of n) is assumed at either bound.
    """
    values = np.asarray(values, dtype=np.float64)
    n_units, mean = len(values), float(np.mean(values))
    if n_units < 2:
        return _UNKNOWN
    half = _quantile(n_units - 1) * values.std(ddof=1) * np.sqrt(inflation / n_units)
    if half > 1e-12:
        return max(mean - half, min(bounds[0], mean)), min(mean + half, max(bounds[1], mean))
    missed = scipy.stats.binomtest(0, n_units).proportion_ci(LEVEL).high
    return mean + missed * (bounds[0] - mean), mean + missed * (bounds[1] - mean)


def median_interval(ranks: np.ndarray, n_ranks: int) -> tuple[float, float]:
    """Compute the 95 % limits of a median rank from order statistics.

    Parameters
    ----------
    ranks : ndarray, shape (n_units,)
    n_ranks : int
        The last rank possible.

    Returns
    -------
    low, high : float
        Interpolated between order statistics [1]_. With fewer than six units no order statistic
        has enough coverage: all ranks. For equal ranks, half a rank is added at either side.

    References
    ----------
    .. [1] Hettmansperger and Sheather (1986), Confidence intervals based on interpolated order
       statistics, Statistics and Probability Letters 4.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    if len(ranks) < 6:
        return 1.0, float(n_ranks)
    low, high = (float(limit) for limit in scipy.stats.mstats.median_cihs(ranks, alpha=1 - LEVEL))
    if high - low < 1e-9:
        low, high = max(1.0, low - 0.5), min(float(n_ranks), high + 0.5)
    return low, high


def _quantile(freedom: float) -> float:
    return float(scipy.stats.t.ppf(_TAIL, freedom))


def wilson_limits(value: float, n_trials: float, quantile: float) -> tuple[float, float]:
    """Compute Wilson's limits of a share of *n_trials* independent trials, any number above 0."""
    square = quantile**2
    centre = value + square / (2 * n_trials)
    half = quantile * np.sqrt(value * (1 - value) / n_trials + square / (4 * n_trials**2))
    scale = 1 + square / n_trials
    # A limit must not miss the value by rounding.
    return (
        float(np.clip((centre - half) / scale, 0.0, value)),
        float(np.clip((centre + half) / scale, value, 1.0)),
    )
