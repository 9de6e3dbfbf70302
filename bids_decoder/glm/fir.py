"""Responses at several times from the onset of each trial on: finite impulse responses (FIR).

There is one model for each trial, as in least squares, separate: one regressor for each volume in
the window of the trial, which take any shape of its response; one mean response to all other
trials, with one value for each time from the onset; confounds and drifts [1]_. The regressors of
the trial leave nothing of its volumes to the rest of the model, so that the response is the
data less what the volumes outside of the window predict of drifts, confounds, and the responses
to neighbouring trials. Were drifts fitted to all volumes instead, removing them would put a part of
the response, with the opposite sign, at times before the onset, and labels could be decoded there
[2]_. No labels are used.

A trial begins at the volume that is nearest to its onset: times are off by half a repetition time
at most, and nothing is interpolated, so that the noise is the same for all trials.

References
----------
.. [1] Turner, Mumford, Poldrack and Ashby (2012), Spatiotemporal activity estimation for
   multivoxel pattern analysis with rapid event-related designs, NeuroImage 62:1429.
.. [2] van Driel, Olivers and Fahrenfort (2021), High-pass filtering artifacts in multivariate
   classification of neural time series data, Journal of Neuroscience Methods 352:109080.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from bids_decoder.errors import InputError
from bids_decoder.glm.base import Matrix, chunks, nuisance_basis
from bids_decoder.glm.design import Timing
from bids_decoder.glm.hrf import STEP, Hrf

OUTSIDE = -1
"""Number of a volume before or after the run, or of a trial without onset."""

_ROUNDING = 1e-6
_LEAST_SHARE = 0.1
"""Directions of confounds, drifts and mean response of which volumes outside of the window hold
less (as a square root of the variance) stay in the data: they are not known well enough there."""
_LONGEST = 600.0


def lag_steps(window: tuple[float, float], t_r: float) -> np.ndarray:
    """Return the times of a window in repetition times from the onset on.

    Parameters
    ----------
    window : tuple of float
        First and last time in seconds.
    t_r : float
        Repetition time in seconds.

    Returns
    -------
    ndarray of int, shape (n_times,)

    Examples
    --------
    >>> lag_steps((-2, 16), 2.5).tolist()
    [0, 1, 2, 3, 4, 5, 6]
    """
    first = int(np.ceil(window[0] / t_r - _ROUNDING))
    last = int(np.floor(window[1] / t_r + _ROUNDING))
    return np.arange(first, last + 1)


def first_volumes(onsets: np.ndarray, timing: Timing) -> np.ndarray:
    """Return the number of the volume that is nearest to each onset; NaN without onset."""
    return np.floor((onsets - timing.start_time) / timing.t_r + 0.5 + _ROUNDING)


def onset_errors(onsets: np.ndarray, timing: Timing) -> np.ndarray:
    """Return the seconds by which the nearest volume is later than each onset."""
    return first_volumes(onsets, timing) * timing.t_r + timing.start_time - onsets


def window_volumes(onsets: np.ndarray, timing: Timing, steps: np.ndarray) -> np.ndarray:
    """Return the volumes in the window of each trial.

    Parameters
    ----------
    onsets : ndarray, shape (n_trials,)
        Seconds, not-a-number where unknown.
    timing : Timing
    steps : ndarray of int, shape (n_times,)
        Of :func:`lag_steps`.

    Returns
    -------
    ndarray of int, shape (n_trials, n_times)
        :data:`OUTSIDE` where there is no such volume.
    """
    numbers = first_volumes(onsets, timing)[:, None] + steps
    inside = (numbers >= 0) & (numbers < timing.n_scans)
    return np.where(inside, numbers, OUTSIDE).astype(np.intp)


def check_freedom(n_scans: int, n_nuisance: int, n_times: int) -> None:
    """Refuse a run with too few volumes outside of a window for confounds and mean response.

    Raises
    ------
    InputError
    """
    if n_scans - n_times <= n_nuisance + n_times + 2:
        raise InputError(
            "--fir-window", f"{n_scans} volumes for {n_nuisance} nuisance regressors and "
            f"{n_times} times of the response", "give a shorter window, or use fewer confounds",
        )


@dataclass(frozen=True, eq=False)
class FirRun:
    """One run: data, nuisance and the volumes of its trials.

    Parameters
    ----------
    bold : array of float32, shape (n_scans, n_voxels)
        Percent signal change; read in blocks of voxels.
    nuisance : ndarray of float, shape (n_scans, n_nuisance)
        Includes the constant.
    volumes : ndarray of int, shape (n_trials, n_times)
        Of :func:`window_volumes`, for all trials of the run.
    """

    bold: Matrix
    nuisance: np.ndarray
    volumes: np.ndarray

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Compute the matrix that maps data to the responses of some trials.

        Parameters
        ----------
        rows : ndarray of int, shape (n_rows,)
            Trials whose window is within the run.

        Returns
        -------
        ndarray of float32, shape (n_times, n_rows, n_scans)

        Raises
        ------
        InputError
            When too few volumes are there.
        """
        n_scans, n_times = len(self.nuisance), self.volumes.shape[1]
        check_freedom(n_scans, self.nuisance.shape[1], n_times)
        nuisance, common = nuisance_basis(self.nuisance), self._design(np.arange(len(self.volumes)))
        found = np.zeros((n_times, len(rows), n_scans), dtype=np.float32)
        for place, row in enumerate(rows):
            own, outside = self.volumes[row], np.ones(n_scans, dtype=bool)
            outside[own] = False
            others = common - self._design(np.array([row]))
            others /= np.maximum(np.linalg.norm(others, axis=0), 1.0)
            design = np.hstack([nuisance, others])
            found[:, place, outside] = -_predict(design[own], design[outside])
            found[np.arange(n_times), place, own] = 1.0
        return found

    def responses(self, rows: np.ndarray, out: list[np.ndarray], chunk_voxels: int) -> None:
        """Estimate the response of some trials at each time.

        Parameters
        ----------
        rows : ndarray of int, shape (n_rows,)
            Trials whose window is within the run.
        out : list of ndarray of float32, each of shape (n_rows, n_voxels)
            One per time; filled. May be memory maps.
        chunk_voxels : int
            Voxels processed together, which bounds the memory.

        Raises
        ------
        InputError
            When too few volumes are there.
        """
        weights = self.weights(rows)
        for voxels in chunks(self.bold.shape[1], chunk_voxels):
            data = np.ascontiguousarray(self.bold[:, voxels], dtype=np.float32)
            for own, place in zip(weights, out, strict=True):
                place[:, voxels] = own @ data

    def _design(self, rows: np.ndarray) -> np.ndarray:
        """Build the regressors of the mean response to some trials, (n_scans, n_times)."""
        design, own = np.zeros((len(self.nuisance), self.volumes.shape[1])), self.volumes[rows]
        trials, times = np.nonzero(own != OUTSIDE)
        np.add.at(design, (own[trials, times], times), 1.0)
        return design


def _predict(own: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Compute the matrix that maps volumes outside of a window to what they predict in it."""
    # The constant is known from all volumes, and no part of it may stay: the sum of the mean
    # response to neighbours is nearly constant, and would be truncated together with it.
    mean = outside.mean(axis=0)
    # Regressors have a length of 1; a constant alone leaves nothing but rounding here.
    inverse = scipy.linalg.pinv(outside - mean, atol=_LEAST_SHARE, rtol=0.0)
    return 1 / len(outside) + (own - mean) @ inverse


def expected_peak(hrf: Hrf, duration: float) -> float:
    """Return the time from the onset at which the assumed response is highest, in seconds.

    Parameters
    ----------
    hrf : Hrf
    duration : float
        Of the trial, in seconds.
    """
    times = np.arange(0.0, min(duration, _LONGEST) + hrf.values.size * STEP, STEP)
    return float(times[hrf.response(times[:, None], np.array([duration])).argmax()])
