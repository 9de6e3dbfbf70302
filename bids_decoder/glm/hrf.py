"""Haemodynamic responses: nilearn's two standards and a library of twenty double gammas.

The library is the grid of all combinations of

* time of the peak: 3.5, 4.25, 5, 6 and 7 s,
* scale of the gamma densities: 0.7 s (narrow) and 1.0 s (as in SPM),
* undershoot: none, or one sixth of the positive area, its extremum 10 s after the peak.

A gamma density of mode ``p`` and scale ``b`` has the shape ``1 + p / b``. The member with peak
5 s, scale 1 s and undershoot is SPM's canonical response.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.stats import gamma

from bids_decoder.errors import UsageError

STEP = 0.02
LENGTH = 32.0
PEAKS = (3.5, 4.25, 5.0, 6.0, 7.0)
SCALES = (0.7, 1.0)
UNDERSHOOTS = (0.0, 1.0 / 6.0)
UNDERSHOOT_LAG = 10.0

STANDARDS = ("spm", "glover")
"""Names of the responses of nilearn."""


@dataclass(frozen=True, eq=False)
class Hrf:
    """Response to an impulse.

    Parameters
    ----------
    name : str
    values : ndarray, shape (n_samples,)
        Sampled every :data:`STEP` seconds from the onset on; the height is free.
    """

    name: str
    values: np.ndarray

    @cached_property
    def _grid(self) -> np.ndarray:
        return np.arange(self.values.size + 1) * STEP

    @cached_property
    def _integral(self) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(self.values)]) * STEP

    def _boxcar(self, times: np.ndarray, duration: np.ndarray | float) -> np.ndarray:
        started = np.interp(times, self._grid, self._integral)
        return started - np.interp(times - duration, self._grid, self._integral)

    def response(self, times: np.ndarray, durations: np.ndarray) -> np.ndarray:
        """Compute the response to events with a duration, each with a peak of exactly one.

        Events are boxcars. The convolution is computed in closed form (difference of two values
        of the integrated response), so that onsets are not rounded to a grid, and the height
        depends neither on the repetition time nor on the duration.

        Parameters
        ----------
        times : ndarray, shape (..., n_trials)
            Seconds since the onset of each event; may be negative.
        durations : ndarray, shape (n_trials,)
            Seconds; zero means an impulse.

        Returns
        -------
        ndarray, shape (..., n_trials)
        """
        lengths, which = np.unique(np.maximum(durations, STEP), return_inverse=True)
        peaks = np.array([_peak(self, length) for length in lengths.tolist()])
        return self._boxcar(times, lengths[which]) / peaks[which]


@lru_cache(maxsize=1024)
def _peak(hrf: Hrf, duration: float) -> float:
    times = np.arange(0.0, LENGTH + duration, STEP)
    return float(np.abs(hrf._boxcar(times, duration)).max())


def _double_gamma(peak: float, scale: float, undershoot: float) -> np.ndarray:
    times = np.arange(0.0, LENGTH, STEP) + STEP / 2
    positive = gamma.pdf(times, 1 + peak / scale, scale=scale)
    negative = gamma.pdf(times, 1 + (peak + UNDERSHOOT_LAG) / scale, scale=scale)
    return positive - undershoot * negative


@lru_cache(maxsize=1)
def hrf_library() -> tuple[Hrf, ...]:
    """Return the library of twenty responses, from early to late."""
    grid = [(p, s, u) for p in PEAKS for s in SCALES for u in UNDERSHOOTS]
    return tuple(
        Hrf(f"library{number:02d}", _double_gamma(*shape))
        for number, shape in enumerate(grid, start=1)
    )


def check_hrf(name: str) -> None:
    """Raise UsageError when no response has this name."""
    if name not in (*STANDARDS, *(hrf.name for hrf in hrf_library())):
        raise UsageError(
            f"hrf {name!r}", "is no haemodynamic response",
            "use spm, glover or one of library01 to library20",
        )


@lru_cache(maxsize=32)
def get_hrf(name: str) -> Hrf:
    """Return a response by name.

    Parameters
    ----------
    name : str
        ``spm``, ``glover`` (nilearn's), or ``library01`` to ``library20``.

    Returns
    -------
    Hrf

    Raises
    ------
    UsageError
        For other names.
    """
    check_hrf(name)
    if name in STANDARDS:
        # Its import takes a second, and calls on single-trial responses do without it.
        from nilearn.glm.first_level import glover_hrf, spm_hrf

        standard = spm_hrf if name == "spm" else glover_hrf
        # nilearn delays its densities by one step; shifted to the middle of each sample.
        values = standard(STEP, oversampling=1, time_length=LENGTH, onset=-1.5 * STEP)
        return Hrf(name, values)
    return next(hrf for hrf in hrf_library() if hrf.name == name)
