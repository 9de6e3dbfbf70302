"""Smooth random fields in a volume as sums of cosine waves [1]_.

References
----------
.. [1] Solin and Särkkä (2020), Hilbert space methods for reduced-rank Gaussian process regression,
   Statistics and Computing 30:419.
"""

from __future__ import annotations

import numpy as np

_NEGLIGIBLE = 0.01
"""Waves with a smaller amplitude, relative to the strongest, are left out."""


class Waves:
    """A Gaussian random field over a box around a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (i, j, k)
        Voxels outside the box around it are not used.
    widths : ndarray, shape (3,)
        Standard deviations of the kernel in voxels.
    """

    def __init__(self, mask: np.ndarray, widths: np.ndarray) -> None:
        used = np.argwhere(mask)
        low, high = used.min(axis=0), used.max(axis=0) + 1
        box = mask[tuple(map(slice, low, high))]
        self.bases = [_cosines(n, sd) for n, sd in zip(box.shape, widths, strict=True) if n > 1]
        self.voxels, self.n_box = np.flatnonzero(box), box.size
        self.n_waves = int(np.prod([basis.shape[1] for basis in self.bases], dtype=int))

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """Compute fields in the mask from amplitudes, (n, n_waves) to (n, n_voxels)."""
        return np.take(_along_axes(amplitudes, self.bases), self.voxels, axis=1)

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """Apply the transpose of :meth:`field`, (n, n_voxels) to (n, n_waves)."""
        volumes = np.zeros((len(values), self.n_box))
        volumes[:, self.voxels] = values
        return _along_axes(volumes, [basis.T for basis in self.bases])


def _along_axes(volumes: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
    """Multiply each axis of flat volumes (n, n_values) by its matrix (n_new, n_old)."""
    n_volumes, after = len(volumes), 1
    # From the last axis on: the matrices are applied without moving any values.
    for basis in reversed(bases):
        if after == 1:
            volumes = volumes.reshape(-1, basis.shape[1]) @ basis.T
        else:
            volumes = basis @ volumes.reshape(-1, basis.shape[1], after)
        after *= len(basis)
    return volumes.reshape(n_volumes, -1)


def _cosines(length: int, sd: float) -> np.ndarray:
    """Compute the waves along one axis, (length, n_waves), for a field of unit variance."""
    frequency = np.pi * np.arange(length) / length
    gain = np.exp(-0.5 * (sd * frequency) ** 2)
    frequency, gain = frequency[gain > _NEGLIGIBLE], gain[gain > _NEGLIGIBLE]
    waves = np.cos(np.outer(np.arange(length) + 0.5, frequency)) * gain
    waves[:, 1:] *= np.sqrt(2)
    # The variance of the mirrored waves is larger at the edges without this.
    return waves / np.sqrt((waves**2).sum(axis=1, keepdims=True))
