"""Fit of learning curves, and how much data a score needs.

Two shapes are fitted: the inverse power law ``a - b n^-c`` [1]_ and the saturating exponential
``a - b exp(-n / c)``. Both describe decoders with few trials about equally well [2]_, and differ in
what they say beyond the data; the shape is therefore chosen anew in each resampled curve, so that
the interval holds this uncertainty, too.

References
----------
.. [1] Figueroa, Zeng-Treitler, Kandula and Ngo (2012), Predicting sample size required for
   classification performance, BMC Medical Informatics and Decision Making 12:8.
.. [2] Viering and Loog (2023), The shape of learning curves: a review, IEEE Transactions on Pattern
   Analysis and Machine Intelligence 45:7799.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FARTHEST = 3.0
"""Curves are not continued beyond so many times the largest number of runs that was measured."""

TAIL = 0.025
_N_GRID = 600
_EXPONENTS = np.geomspace(0.1, 3.0, 30)
_LENGTHS = np.geomspace(0.3, 3.0, 30)
_CEILING = 1.0


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted curves: ``a - b g(n)``.

    Parameters
    ----------
    sizes : ndarray, shape (n_sizes,)
        Numbers of runs that were measured.
    asymptote, drop : ndarray, shape (n_curves,)
        *a* and *b*; *a* is at most 1, *b* at least 0.
    shape : ndarray of int, shape (n_curves,)
        Number of *g* among the shapes of :func:`_shapes`.
    """

    sizes: np.ndarray
    asymptote: np.ndarray
    drop: np.ndarray
    shape: np.ndarray

    def at(self, sizes: np.ndarray) -> np.ndarray:
        """Return the fitted scores, (n_curves, n)."""
        basis = _shapes(np.asarray(sizes, dtype=np.float64), self.sizes)[self.shape]
        return self.asymptote[:, None] - self.drop[:, None] * basis

    @property
    def names(self) -> list[str]:
        """Return the kind of each curve: power law or exponential."""
        return ["power law" if k < len(_EXPONENTS) else "exponential" for k in self.shape]


def _shapes(at: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return all shapes *g* at some sizes, (n_shapes, n); 1 at the smallest measured size."""
    first, last = sizes.min(), sizes.max()
    power = (at / first) ** -_EXPONENTS[:, None]
    exponential = np.exp(-(at - first) / (_LENGTHS[:, None] * last))
    return np.concatenate([power, exponential])


def fit_curves(sizes: np.ndarray, curves: np.ndarray, variance: np.ndarray) -> Fit:
    """Fit curves by least squares.

    Parameters
    ----------
    sizes : ndarray, shape (n_sizes,)
        At least three, ascending.
    curves : ndarray, shape (n_curves, n_sizes)
    variance : ndarray, shape (n_sizes,)
        Of the scores; larger ones weigh less. Zeros are raised to a tenth of the mean.

    Returns
    -------
    Fit
    """
    sizes = np.asarray(sizes, dtype=np.float64)
    floor = max(float(np.mean(variance)) / 10, 1e-12)
    weight = 1 / np.maximum(variance, floor)
    weight = weight / weight.sum()
    basis = _shapes(sizes, sizes)
    asymptote, drop = _least_squares(basis, curves, weight)
    fitted = asymptote[..., None] - drop[..., None] * basis
    error = ((curves[:, None, :] - fitted) ** 2 @ weight)
    best, rows = error.argmin(axis=1), np.arange(len(curves))
    return Fit(sizes, asymptote[rows, best], drop[rows, best], best)


def _least_squares(
    basis: np.ndarray, curves: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return asymptote and drop for each curve and shape, (n_curves, n_shapes), within bounds."""
    mean_basis, mean = basis @ weight, curves @ weight
    centred = basis - mean_basis[:, None]
    slope = -(curves @ (centred * weight).T) / ((centred**2) @ weight)
    drop = np.maximum(slope, 0.0)
    asymptote = mean[:, None] + drop * mean_basis
    over = asymptote > _CEILING
    bounded = np.maximum(((_CEILING - curves) * weight) @ basis.T, 0) / ((basis**2) @ weight)
    return np.where(over, _CEILING, asymptote), np.where(over, bounded, drop)


@dataclass(frozen=True)
class Need:
    """How many runs a score needs.

    Parameters
    ----------
    target : float
    value : float
        Number of training runs, not rounded; infinite beyond :data:`FARTHEST` times the data.
    low, high : float
        95 % interval; the upper end may be infinite, too.
    """

    target: float
    value: float
    low: float
    high: float


def needed_size(fit: Fit, resampled: Fit, target: float) -> Need:
    """Find the number of runs at which a curve reaches a score.

    Parameters
    ----------
    fit : Fit
        Of the one observed curve.
    resampled : Fit
        Of resampled curves.
    target : float

    Returns
    -------
    Need
        Not below the smallest number of runs that was measured.
    """
    grid = np.linspace(fit.sizes.min(), FARTHEST * fit.sizes.max(), _N_GRID)
    (value,) = _first_above(fit.at(grid), grid, target)
    found = np.sort(_first_above(resampled.at(grid), grid, target))
    tail = int(TAIL * len(found))
    low, high = found[tail], found[-1 - tail]
    return Need(target, float(value), float(min(low, value)), float(max(high, value)))


def _first_above(curves: np.ndarray, grid: np.ndarray, target: float) -> np.ndarray:
    above = curves >= target
    return np.where(above.any(axis=1), grid[above.argmax(axis=1)], np.inf)


def rise_interval(curves: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the last score less the first, over resampled curves."""
    low, high = np.quantile(curves[:, -1] - curves[:, 0], [TAIL, 1 - TAIL])
    return float(low), float(high)


def next_targets(value: float) -> tuple[float, ...]:
    """Return the next two whole steps of 5 % above a score that are below 1.

    Examples
    --------
    >>> next_targets(0.62), next_targets(0.93), next_targets(0.99)
    ((0.65, 0.7), (0.95,), ())
    """
    step = int(value * 20 + 1e-9)
    return tuple(round(k / 20, 2) for k in (step + 1, step + 2) if k < 20)
