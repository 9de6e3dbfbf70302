"""Slice timing correction by cubic spline interpolation in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bids_decoder.errors import InputError

_AXES = {"i": 0, "j": 1, "k": 2}
_TOLERANCE = 1e-3
_FIX = "correct the sidecar, or use --ignore slicetiming"


def reference_time(slice_times: Sequence[float], slice_time_ref: float) -> float:
    """Return the time within a volume, in seconds, to which all slices are moved.

    Parameters
    ----------
    slice_times : sequence of float
        Seconds from the start of the volume, one per slice.
    slice_time_ref : float
        0 for the first slice acquired, 1 for the last, 0.5 for the middle.
    """
    first, last = min(slice_times), max(slice_times)
    return round(first + slice_time_ref * (last - first), 6)


def usable_slice_times(
    slice_times: object, n_slices: int, t_r: float
) -> tuple[tuple[float, ...], str]:
    """Check slice times, and let them start within the volume.

    Times before the start of the volume, as some scanners write them when they correct for
    motion, are shifted so that the first is zero, if all of them fit into one repetition.

    Parameters
    ----------
    slice_times : object
        ``SliceTiming`` as it stands in the sidecar.
    n_slices : int
        Slices of the image.
    t_r : float
        Seconds between volumes.

    Returns
    -------
    times : tuple of float, one per slice
        Seconds from the start of the volume.
    note : str
        What was changed; empty for nothing.

    Raises
    ------
    InputError
        When the times do not fit the image or the repetition time.
    """
    try:
        times = np.asarray(slice_times, dtype=float)
    except (TypeError, ValueError):
        times = np.array(np.nan)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise InputError("SliceTiming", f"is no list of numbers: {slice_times!r}", _FIX)
    if len(times) != n_slices:
        raise InputError(
            "SliceTiming", f"has {len(times)} times for {n_slices} slices", _FIX
        )
    first, last = float(times.min()), float(times.max())
    shift = first if first < 0 and last - first < t_r + _TOLERANCE else 0.0
    if first < shift or last - shift >= t_r + _TOLERANCE:
        raise InputError(
            "SliceTiming",
            f"runs from {first:g} to {last:g} with a repetition time of {t_r:g} s",
            "give seconds (not milliseconds) from the start of the volume in the sidecar, or use "
            "--ignore slicetiming",
        )
    note = f"slice times start at {first:g} s; {-first:g} s were added" if shift else ""
    return tuple(float(time) for time in times - shift), note


def slice_axis(direction: object) -> int:
    """Return the axis of the slices that ``SliceEncodingDirection`` names.

    Raises
    ------
    InputError
    """
    if not isinstance(direction, str) or direction.removesuffix("-") not in _AXES:
        raise InputError(
            "SliceEncodingDirection", f"is {direction!r}",
            "write i, j or k, with a minus sign behind it where slices count from the end, into "
            "the sidecar, or use --ignore slicetiming",
        )
    return _AXES[direction[0]]


def correct_slice_timing(
    series: np.ndarray, slice_times: Sequence[float], t_r: float, *, slice_time_ref: float = 0.5,
    direction: str = "k", n_skip: int = 0,
) -> np.ndarray:
    """Move all slices to one time within the volume.

    Parameters
    ----------
    series : ndarray, shape (i, j, k, n_volumes)
    slice_times : sequence of float, one per slice
        ``SliceTiming`` of the sidecar, in seconds; see :func:`usable_slice_times`.
    t_r : float
        Seconds between volumes.
    slice_time_ref : float
        See :func:`reference_time`.
    direction : str
        ``SliceEncodingDirection``: axis of the slices, ``-`` when counted from its end.
    n_skip : int
        Volumes at the start (before the steady state) that are left as they are and out of the
        interpolation, since their intensity would ring into the others.

    Returns
    -------
    ndarray of float32, same shape

    Raises
    ------
    InputError
        When the times do not fit the image or the repetition time.
    """
    axis = slice_axis(direction)
    times = np.asarray(usable_slice_times(slice_times, series.shape[axis], t_r)[0])
    if direction.endswith("-"):
        times = times[::-1]
    target = reference_time(times, slice_time_ref)
    corrected = series.astype(np.float32)
    by_slice = np.moveaxis(corrected, axis, 0)
    for number, time in enumerate(times):
        part = by_slice[number][..., n_skip:]
        part[...] = shift_in_time(part, (target - time) / t_r)
    return corrected


def shift_in_time(values: np.ndarray, shift: float) -> np.ndarray:
    """Read cubic splines *shift* samples later (|shift| <= 1) along the last axis.

    Before the first and after the last sample the series is taken as mirrored.
    """
    n_samples = values.shape[-1]
    if shift == 0.0 or n_samples < 2:
        return values
    coefficients = ndimage.spline_filter1d(values, order=3, axis=-1, output=np.float64)
    # The C code mirrors about the end samples; so do the indices here.
    period = 2 * (n_samples - 1)
    start = int(np.floor(shift))
    fraction = shift - start
    total = np.zeros(values.shape, dtype=np.float64)
    for offset, weight in zip(range(-1, 3), _spline_weights(fraction), strict=True):
        index = np.abs(np.arange(n_samples) + start + offset) % period
        index = np.minimum(index, period - index)
        total += weight * coefficients[..., index]
    return total.astype(np.float32)


def _spline_weights(fraction: float) -> tuple[float, float, float, float]:
    rest = 1.0 - fraction
    return (
        rest**3 / 6,
        2 / 3 - fraction**2 * (2 - fraction) / 2,
        2 / 3 - rest**2 * (2 - rest) / 2,
        fraction**3 / 6,
    )
