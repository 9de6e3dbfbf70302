"""Field maps in Hz from phase images of gradient echoes, or from maps in other units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_decoder.preprocessing.distortion import fill_field

GYROMAGNETIC_HZ = 42.577478518e6
"""Of hydrogen, in Hz per tesla."""
HZ_PER_UNIT = {"Hz": 1.0, "rad/s": 1 / (2 * np.pi), "T": GYROMAGNETIC_HZ}
"""Units of field maps that BIDS allows."""

_RADIANS = 2 * np.pi + 0.05
_ANGLES = {360.0: "degrees", 2000 * np.pi: "thousandths of a radian"}
_COUNTS = tuple(2.0**power for power in range(8, 17))
_TOLERANCE = 0.01
_LEAST_NEGATIVE = 0.25
_LEAST_FILLED = 0.9


@dataclass(frozen=True)
class PhaseScale:
    """What stored values of a phase image stand for.

    Parameters
    ----------
    units : str
        In words.
    turn : float
        Stored values that make a full turn.
    zero : float
        Stored value of zero phase.
    filled : float
        Share of a turn that the values span.
    """

    units: str
    turn: float
    zero: float
    filled: float

    @property
    def is_certain(self) -> bool:
        """Whether the values span nearly a whole turn, as noise around the head makes them."""
        return self.filled >= _LEAST_FILLED

    def to_radians(self, values: np.ndarray) -> np.ndarray:
        """Scale stored values to radians; returns float32."""
        shifted = np.asarray(values, dtype=np.float32) - np.float32(self.zero)
        return shifted * np.float32(2 * np.pi / self.turn)


def find_phase_scale(*images: np.ndarray) -> PhaseScale:
    """Find out from their span what the values of phase images stand for.

    Parameters
    ----------
    *images : ndarray
        Of one acquisition.

    Returns
    -------
    PhaseScale
        Values of at most 2 pi are radians. Others have the smallest known full turn that holds
        their span: 360 (degrees), 2000 pi (thousandths of a radian), or a power of two from 256
        to 65536, as scanners store them (-4096 to 4094, 0 to 4095); without one, the span is the
        turn. Values are signed where the lowest is below a quarter of the highest, negative. Zero
        phase is zero, or, for unsigned powers of two, the middle of the turn.
    """
    low = float(min(np.min(image) for image in images))
    high = float(max(np.max(image) for image in images))
    largest = max(abs(low), abs(high))
    is_signed = low < -_LEAST_NEGATIVE * high
    span = 2 * largest if is_signed else high
    if largest <= _RADIANS:
        return PhaseScale("radians", 2 * np.pi, 0.0, min(span / (2 * np.pi), 1.0))
    turns = sorted((*_ANGLES, *_COUNTS))
    turn = next((known for known in turns if known >= (1 - _TOLERANCE) * span), span)
    units = _ANGLES.get(turn, f"{turn:g} steps per turn")
    zero = 0.0 if is_signed or turn in _ANGLES else turn / 2
    return PhaseScale(units, turn, zero, min(span / turn, 1.0))


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
