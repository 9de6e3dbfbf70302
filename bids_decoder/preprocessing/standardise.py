"""Standardisation of one volume per participant, as for PET in the study of a 3-D CNN."""

from __future__ import annotations

import numpy as np


def standardise_volume(data: np.ndarray) -> np.ndarray:
    """Standardise each in-plane position over the slices, then scale the volume to 0 … 1.

    Parameters
    ----------
    data : ndarray, shape (i, j, k) or (i, j, k, n_frames)
        Frames of a dynamic image are averaged; values that are not finite are set to 0.

    Returns
    -------
    ndarray of float32, shape (i, j, k)
        Positions that are constant over slices are 0 before scaling; a constant volume is 0
        everywhere.

    References
    ----------
    Soliman et al. 2022, BMC Med Inform Decis Mak 22 (Suppl 6):318.
    """
    volume = np.nan_to_num(np.asarray(data, dtype=np.float64), posinf=0.0, neginf=0.0)
    if volume.ndim == 4:
        volume = volume.mean(axis=3)
    centred = volume - volume.mean(axis=2, keepdims=True)
    spread = centred.std(axis=2, keepdims=True)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)
    extent = np.ptp(scaled)
    if extent == 0:
        return np.zeros(scaled.shape, dtype=np.float32)
    return ((scaled - scaled.min()) / extent).astype(np.float32)
