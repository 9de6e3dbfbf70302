"""Repair of defects in stored BOLD values."""

from __future__ import annotations

import numpy as np

_INT16 = 1 << 16
_DEEP = -(1 << 14)


def usable_values(stored: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert stored voxel values to finite float32.

    Parameters
    ----------
    stored : ndarray, shape (i, j, k) or (i, j, k, n_volumes)
        As read from the file, scaling applied.

    Returns
    -------
    values : ndarray of float32, same shape
        Infinite and missing values are set to zero. Overflowed values of a signed 16-bit file
        are restored.
    notes : tuple of str
        One sentence per defect.
    """
    notes: list[str] = []
    if stored.dtype == np.int16 and _ran_over(stored):
        share = float((stored < _DEEP).mean())
        stored = stored.view(np.uint16)
        notes.append(
            f"{share:.2%} of the voxel values had run over the range of signed 16-bit numbers; "
            "they were read as unsigned"
        )
    values = stored.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        values[bad] = 0.0
        notes.append(f"{int(bad.sum())} voxel values were not finite and were set to zero")
    return values, tuple(notes)


def _ran_over(stored: np.ndarray) -> bool:
    # A magnitude image has no negative values. Where bright ones ran over, they sit at the
    # bottom of the range, the top of the range is in use, and nothing is between.
    lowest, highest = int(stored.min()), int(stored.max())
    if lowest >= _DEEP or highest < -2 * _DEEP - _INT16 // 64:
        return False
    deep = int((stored < _DEEP).sum())
    between = int(((stored >= _DEEP) & (stored < -_INT16 // 64)).sum())
    return between <= deep // 50
