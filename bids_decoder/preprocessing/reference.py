"""Reference image of a run: non-steady-state volumes and a robust median."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.preprocessing.masks import head_mask
from bids_decoder.preprocessing.motion import LEVELS, estimate_motion
from bids_decoder.preprocessing.resampling import Grid, resample_series

_LOOK_AT = 50
_OUTLIER = 3.5
N_REFERENCE = 20


@dataclass(frozen=True, eq=False)
class RunReference:
    """Reference image of one run.

    Parameters
    ----------
    image : ndarray of float32, shape (i, j, k)
        Median of aligned volumes.
    n_dummy : int
        Number of volumes before the steady state.
    anchor : int or None
        Index of the volume to which the others were aligned; None where the image is another one.
    """

    image: np.ndarray
    n_dummy: int
    anchor: int | None


def count_non_steady_state(series: np.ndarray) -> int:
    """Count the volumes at the start that are brighter than the rest.

    Parameters
    ----------
    series : ndarray, shape (i, j, k, n_volumes)

    Returns
    -------
    int
        Leading volumes whose mean is an outlier (modified z above 3.5) among the first 50, the
        rule of ``niworkflows`` and of Nipype's ``NonSteadyStateDetector``.
    """
    means = series[..., :_LOOK_AT].mean(axis=(0, 1, 2), dtype=float)
    distance = means - np.median(means)
    spread = np.median(np.abs(distance))
    if spread == 0.0:
        return 0
    outlying = 0.6745 * distance / spread > _OUTLIER
    return int(np.argmin(outlying)) if not outlying.all() else 0


def robust_reference(
    series: np.ndarray, affine: np.ndarray, *, n_dummy: int | None = None
) -> RunReference:
    """Compute the reference of a run from up to 20 evenly spaced volumes.

    Parameters
    ----------
    series : ndarray, shape (i, j, k, n_volumes)
    affine : ndarray, shape (4, 4)
    n_dummy : int or None
        Number of volumes before the steady state; None detects them.

    Returns
    -------
    RunReference
        Median of the volumes, aligned to the middle one, which is robust to head motion and
        single bad volumes.
    """
    n_volumes = series.shape[3]
    if n_dummy is None:
        n_dummy = count_non_steady_state(series)
    n_dummy = min(n_dummy, n_volumes - 1)
    wanted = np.linspace(n_dummy, n_volumes - 1, min(N_REFERENCE, n_volumes - n_dummy))
    chosen = np.unique(wanted.round().astype(int))
    anchor = int(chosen[len(chosen) // 2])
    volumes = np.asarray(series[..., chosen], dtype=np.float32)
    middle = np.asarray(series[..., anchor], dtype=np.float32)
    motion = estimate_motion(volumes, affine, middle, head_mask(middle), levels=LEVELS)
    grid = Grid(middle.shape, affine)
    aligned, _ = resample_series(volumes, affine, grid, motion.matrices)
    image = np.median(aligned, axis=3).astype(np.float32)
    return RunReference(image, n_dummy, anchor)


def given_reference(
    sbref: np.ndarray, series: np.ndarray, affine: np.ndarray, *, n_dummy: int | None = None
) -> RunReference:
    """Take a single-band reference image as the reference of a run.

    Parameters
    ----------
    sbref : ndarray, shape (i, j, k) or (i, j, k, n)
        Several volumes are aligned and their median is taken.
    series : ndarray, shape (i, j, k, n_volumes)
    affine : ndarray, shape (4, 4)
        Of both.
    n_dummy : int or None
        Number of volumes of *series* before the steady state; None detects them.

    Returns
    -------
    RunReference
    """
    if n_dummy is None:
        n_dummy = count_non_steady_state(series)
    several = sbref.ndim > 3 and sbref.shape[3] > 1
    image = robust_reference(sbref, affine, n_dummy=0).image if several else sbref
    image = image.reshape(series.shape[:3]).astype(np.float32)
    return RunReference(image, min(n_dummy, series.shape[3] - 1), None)
