"""Rigid alignment of a BOLD reference to a T1w image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bids_decoder.preprocessing.bias import correct_bias
from bids_decoder.preprocessing.registration import Picture, register_rigid


def align_to_t1w(boldref: Picture, t1w: Picture, seed: int = 1) -> np.ndarray:
    """Remove the bias field of a BOLD reference, and align it to a T1w image.

    Parameters
    ----------
    boldref : Picture
    t1w : Picture
        Bias field removed.
    seed : int
        For ANTs.

    Returns
    -------
    ndarray, shape (4, 4)
        Points of the reference (mm) to points of the T1w image (mm).
    """
    even = correct_bias(np.clip(boldref.volume, 0, None), boldref.affine, seed)
    return register_rigid(replace(boldref, volume=even), t1w)
