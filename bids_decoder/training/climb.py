"""Many smooth functions of the same form minimised together, with L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(points (n, n_dims), numbers of their problems (n,)) -> values (n,), slopes (n, n_dims)."""

MEMORY = 8
RELATIVE_DECREASE = 2e-9
"""A problem is solved when a step decreases its value by less than this share of it, or of 1."""

_SUFFICIENT, _HALVINGS = 1e-4, 20


def minimise(loss: Loss, start: np.ndarray, n_steps: int) -> np.ndarray:
    """Minimise each of several functions with L-BFGS [1]_ and a backtracking line search.

    Parameters
    ----------
    loss : callable
        See :data:`Loss`. The value of a problem must not depend on which others are computed
        with it.
    start : ndarray of float64, shape (n_problems, n_dims)
    n_steps : int
        Largest number of steps.

    Returns
    -------
    ndarray, shape (n_problems, n_dims)
        The same as for each problem alone.

    References
    ----------
    .. [1] Nocedal and Wright (2006), Numerical Optimization, algorithms 7.4 and 3.1.
    """
    best = np.array(start, dtype=np.float64)
    numbers = np.arange(len(best))
    now = _State(best.copy(), *loss(best, numbers))
    past: list[_Change] = []
    for _ in range(n_steps):
        if not len(numbers):
            break
        found = _search(loss, now, _direction(now.slopes, past), numbers)
        best[numbers] = found.points
        past = [*past, _Change.between(now, found)][-MEMORY:]
        scale = np.maximum(np.maximum(np.abs(now.values), np.abs(found.values)), 1.0)
        left = now.values - found.values > RELATIVE_DECREASE * scale
        now, numbers = found.subset(left), numbers[left]
        past = [change.subset(left) for change in past]
    return best


@dataclass(frozen=True, eq=False)
class _State:
    points: np.ndarray
    values: np.ndarray
    slopes: np.ndarray

    def subset(self, rows: np.ndarray) -> _State:
        return _State(self.points[rows], self.values[rows], self.slopes[rows])


@dataclass(frozen=True, eq=False)
class _Change:
    """A step, the change of the slope over it, and the inverse of their product."""

    step: np.ndarray
    slope: np.ndarray
    inverse: np.ndarray

    @classmethod
    def between(cls, old: _State, new: _State) -> _Change:
        step, slope = new.points - old.points, new.slopes - old.slopes
        product = np.vecdot(step, slope)
        curved = product > 1e-10 * np.vecdot(slope, slope)
        # Steps along which the function is not convex are left out.
        return cls(step, slope, np.where(curved, 1 / np.where(curved, product, 1.0), 0.0))

    def subset(self, rows: np.ndarray) -> _Change:
        return _Change(self.step[rows], self.slope[rows], self.inverse[rows])


def _direction(slopes: np.ndarray, past: list[_Change]) -> np.ndarray:
    """Apply the approximate inverse Hessian to the negative slopes."""
    direction, shares = -slopes, []
    scale = 1 / np.maximum(np.sqrt(np.vecdot(slopes, slopes)), 1.0)
    for change in reversed(past):
        share = change.inverse * np.vecdot(change.step, direction)
        direction = direction - share[:, None] * change.slope
        shares.append(share)
    for change in past:
        size = np.vecdot(change.slope, change.slope) * change.inverse
        scale = np.where(size > 0, 1 / np.where(size > 0, size, 1.0), scale)
    direction = scale[:, None] * direction
    for change, share in zip(past, reversed(shares), strict=True):
        back = share - change.inverse * np.vecdot(change.slope, direction)
        direction = direction + back[:, None] * change.step
    return direction


def _search(loss: Loss, now: _State, direction: np.ndarray, numbers: np.ndarray) -> _State:
    """Halve the step until the value decreases sufficiently; else stay."""
    points, values, slopes = now.points.copy(), now.values.copy(), now.slopes.copy()
    fall = np.vecdot(now.slopes, direction)
    open_rows, size = np.arange(len(points)), 1.0
    for _ in range(_HALVINGS):
        tried = now.points[open_rows] + size * direction[open_rows]
        value, slope = loss(tried, numbers[open_rows])
        good = value <= now.values[open_rows] + _SUFFICIENT * size * fall[open_rows]
        rows = open_rows[good]
        points[rows], values[rows], slopes[rows] = tried[good], value[good], slope[good]
        open_rows, size = open_rows[~good], size / 2
        if not len(open_rows):
            break
    return _State(points, values, slopes)
