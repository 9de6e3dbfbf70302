"""Many smooth functions of the same form minimised together, with L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(points (n, n_dims), numbers of their problems (n,)) -> values (n,), slopes (n, n_dims)."""

MEMORY = 5
RELATIVE_DECREASE = 2e-9
"""A problem is solved when a step decreases its value by less than this share of it, or of 1."""

_SUFFICIENT, _SHORTENINGS, _SHORTER = 1e-4, 20, (0.1, 0.5)


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
        now = found
        if not left.all():
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
    """A step, the change of the slope over it, the inverse of their product, and the curvature.

    The curvature, along the change of the slope, is 0 where the step is left out.
    """

    step: np.ndarray
    slope: np.ndarray
    inverse: np.ndarray
    curvature: np.ndarray

    @classmethod
    def between(cls, old: _State, new: _State) -> _Change:
        step, slope = new.points - old.points, new.slopes - old.slopes
        product, square = np.vecdot(step, slope), np.vecdot(slope, slope)
        curved = product > 1e-10 * square
        # Steps along which the function is not convex are left out.
        inverse = np.where(curved, 1 / np.where(curved, product, 1.0), 0.0)
        return cls(step, slope, inverse, square * inverse)

    def subset(self, rows: np.ndarray) -> _Change:
        return _Change(
            self.step[rows], self.slope[rows], self.inverse[rows], self.curvature[rows]
        )


def _direction(slopes: np.ndarray, past: list[_Change]) -> np.ndarray:
    """Apply the approximate inverse Hessian to the negative slopes."""
    direction, shares, part = -slopes, [], np.empty_like(slopes)
    scale = 1 / np.maximum(np.sqrt(np.vecdot(slopes, slopes)), 1.0)
    for change in reversed(past):
        share = change.inverse * np.vecdot(change.step, direction)
        direction -= np.multiply(share[:, None], change.slope, out=part)
        shares.append(share)
    for change in past:
        is_curved = change.curvature > 0
        scale = np.where(is_curved, 1 / np.where(is_curved, change.curvature, 1.0), scale)
    direction *= scale[:, None]
    for change, share in zip(past, reversed(shares), strict=True):
        back = share - change.inverse * np.vecdot(change.slope, direction)
        direction += np.multiply(back[:, None], change.step, out=part)
    return direction


def _search(loss: Loss, now: _State, direction: np.ndarray, numbers: np.ndarray) -> _State:
    """Shorten the step until the value decreases sufficiently; else stay.

    The next length is the minimum of the parabola through both values and the slope.
    """
    points, values, slopes = now.points.copy(), now.values.copy(), now.slopes.copy()
    fall = np.vecdot(now.slopes, direction)
    open_rows, size = np.arange(len(points)), np.ones(len(points))
    for _ in range(_SHORTENINGS):
        tried = now.points[open_rows] + size[:, None] * direction[open_rows]
        value, slope = loss(tried, numbers[open_rows])
        linear = size * fall[open_rows]
        rise = value - now.values[open_rows]
        good = rise <= _SUFFICIENT * linear
        rows = open_rows[good]
        points[rows], values[rows], slopes[rows] = tried[good], value[good], slope[good]
        open_rows = open_rows[~good]
        if not len(open_rows):
            break
        linear, rise, size = linear[~good], rise[~good], size[~good]
        # Above the tangent, so that the parabola has a minimum.
        size = size * np.clip(linear / (2 * np.minimum(linear - rise, -1e-300)), *_SHORTER)
    return _State(points, values, slopes)
