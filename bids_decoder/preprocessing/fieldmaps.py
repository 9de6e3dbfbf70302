"""Field maps in Hz from phase images of gradient echoes, or from maps in other units."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_decoder.preprocessing.distortion import fill_field

GYROMAGNETIC_HZ = 42.577478518e6
"""Of hydrogen, in Hz per tesla."""
HZ_PER_UNIT = {"Hz": 1.0, "rad/s": 1 / (2 * np.pi), "T": GYROMAGNETIC_HZ}
"""Units of field maps that BIDS allows."""

_MILLIRADIANS = (3080.0, 3200.0)


def phase_to_radians(values: np.ndarray) -> np.ndarray:
    """Scale stored phases to radians.

    Parameters
    ----------
    values : ndarray
        Radians; thousandths of them; or integers that span a full turn: -4096 to 4094 or 0 to
        4095, as Siemens stores them, or any other power of two.

    Returns
    -------
    ndarray of float32
        In a range of one turn. The middle of the stored range is zero phase.
    """
    values = np.asarray(values, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    largest = max(abs(low), abs(high))
    if largest <= 2 * np.pi + 0.05:
        return values
    if low < 0 and _MILLIRADIANS[0] <= largest <= _MILLIRADIANS[1]:
        return values / np.float32(1000)
    turn = 2.0 ** np.ceil(np.log2(largest))
    if low < 0:
        return values * np.float32(np.pi / turn)
    return values * np.float32(2 * np.pi / turn) - np.float32(np.pi)


def phase_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute the phase of the second echo relative to the first one, in -pi to pi (radians)."""
    return np.angle(np.exp(1j * (np.asarray(second, float) - first))).astype(np.float32)


def field_of_phase(
    difference: np.ndarray, mask: np.ndarray, echo_gap: float, affine: np.ndarray
) -> np.ndarray:
    """Compute a field map from the phase difference of two echoes.

    Parameters
    ----------
    difference : ndarray, shape (i, j, k)
        Phase of the later echo minus that of the earlier one, radians.
    mask : ndarray of bool, shape (i, j, k)
        Of the head or brain.
    echo_gap : float
        Seconds between the echoes.
    affine : ndarray, shape (4, 4)

    Returns
    -------
    ndarray of float32, shape (i, j, k)
        Hz, continued outside the mask.

    Notes
    -----
    Unwrapped by sorting by reliability (Herraez et al. 2002, Appl Opt 41; scikit-image) in the
    largest connected part of the mask. The number of whole turns that is left open is the one
    whose median is nearest to zero.
    """
    from skimage.restoration import unwrap_phase

    inside = largest_part(mask)
    wrapped = np.ma.masked_array(difference.astype(np.float64), mask=~inside)
    phase = np.asarray(unwrap_phase(wrapped, rng=0).filled(0.0))
    phase -= 2 * np.pi * np.round(np.median(phase[inside]) / (2 * np.pi))
    return fill_field(phase / (2 * np.pi * echo_gap), inside, affine)


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask."""
    labels, n_parts = ndimage.label(mask)
    if n_parts < 2:
        return mask
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
