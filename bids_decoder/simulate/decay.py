"""Decay of the signal of a head over echo times: T2* of tissues, shortened beside air."""

from __future__ import annotations

import numpy as np

from bids_decoder.preprocessing.geometry import grid_points
from bids_decoder.simulate.heads import Phantom

REFERENCE_TIME = 0.03
"""Echo time in seconds at which the T2*-weighted phantom is as it is."""

BOLD_SHARE = 0.5
"""Share of fluctuations that grow with the echo time, as responses do; the rest does not."""

_RATE_OF_TISSUE = 1 / 0.048
_RATE_OF_FLUID = 1 / 0.12
# Beside the sphenoid sinus and above both ears: MNI mm, width in mm, further decay per second.
_AIR = (((0, 38, -18), 14.0, 32.0), ((-50, -20, -26), 12.0, 24.0), ((50, -20, -26), 12.0, 24.0))


def decay_rate(phantom: Phantom) -> np.ndarray:
    """Compute R2* of a phantom.

    Parameters
    ----------
    phantom : Phantom

    Returns
    -------
    ndarray of float32, the shape of the phantom
        Per second; its inverse is T2*.
    """
    shape = phantom.csf.shape
    points = grid_points(shape, phantom.affine)
    rate = _RATE_OF_TISSUE + (_RATE_OF_FLUID - _RATE_OF_TISSUE) * phantom.csf
    for centre, width, height in _AIR:
        distance = ((points - np.array(centre)) ** 2).sum(axis=1)
        rate = rate + height * np.exp(-distance / (2 * width**2)).reshape(shape)
    return rate.astype(np.float32)


def signal_at(phantom: Phantom, echo_time: float) -> np.ndarray:
    """Compute the T2*-weighted signal at an echo time.

    Parameters
    ----------
    phantom : Phantom
    echo_time : float
        Seconds; the signal at 0 is S0.

    Returns
    -------
    ndarray of float32, the shape of the phantom
    """
    if echo_time == REFERENCE_TIME:
        return phantom.t2star
    return phantom.t2star * np.exp((REFERENCE_TIME - echo_time) * decay_rate(phantom))


def change_at(
    fluctuations: np.ndarray, responses: np.ndarray, echo_time: float
) -> np.ndarray:
    """Compute the relative change of the signal at an echo time.

    Parameters
    ----------
    fluctuations, responses : ndarray
        Percent of the signal at :data:`REFERENCE_TIME`.
    echo_time : float
        Seconds.

    Returns
    -------
    ndarray
        Percent. Changes of R2*, which responses are, grow with the echo time.
    """
    growth = echo_time / REFERENCE_TIME
    return fluctuations * (1 - BOLD_SHARE + BOLD_SHARE * growth) + responses * growth
