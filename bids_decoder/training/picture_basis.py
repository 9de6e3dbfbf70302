"""Pictures as coefficients of cosines, coarse to fine, of lightness and two colour contrasts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.fft import dctn, idctn

N_LIGHTNESS = 20
"""Frequencies along each edge that are kept of lightness: 10 cycles per picture."""

N_COLOUR = 10
"""Frequencies along each edge that are kept of each colour contrast."""

_CHANNELS = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])
_BLOCK = 256
_WIDTH = 0.15  # of the smoothing of spectra, in units of the logarithm of 1 + frequency


@dataclass(frozen=True)
class PictureBasis:
    """Orthonormal cosines (DCT-II) of the mean of red, green and blue and of two contrasts.

    The coefficients of pictures whose content is about the same everywhere are nearly
    uncorrelated, and their variance depends on frequency alone.

    Parameters
    ----------
    size : int
        Edge of the pictures in pixels.
    """

    size: int

    @cached_property
    def kept(self) -> np.ndarray:
        """Which coefficients are kept, bool, shape (3, size, size)."""
        y, x = np.mgrid[: self.size, : self.size]
        limits = (N_LIGHTNESS, N_COLOUR, N_COLOUR)
        return np.stack([(y < limit) & (x < limit) for limit in limits])

    @cached_property
    def _channels(self) -> np.ndarray:
        return np.nonzero(self.kept)[0]

    @cached_property
    def _frequencies(self) -> np.ndarray:
        _, y, x = np.nonzero(self.kept)
        return np.hypot(y, x)

    @property
    def smoothness(self) -> np.ndarray:
        """Prior scale of the weights that voxels give to coefficients, shape (n_coefficients,).

        It falls with frequency, since receptive fields are smooth.
        """
        return 1 / (1 + (self._frequencies / 8) ** 2)

    def transform(self, pictures: np.ndarray) -> np.ndarray:
        """Compute coefficients of pictures.

        Parameters
        ----------
        pictures : ndarray, shape (n, size, size, 3)

        Returns
        -------
        ndarray of float64, shape (n, n_coefficients)
        """
        found = np.empty((len(pictures), int(self.kept.sum())))
        for start in range(0, len(pictures), _BLOCK):
            block = slice(start, start + _BLOCK)
            channels = np.einsum("nyxb,cb->ncyx", pictures[block].astype(np.float64), _CHANNELS)
            found[block] = dctn(channels, axes=(2, 3), norm="ortho")[:, self.kept]
        return found

    def inverse(self, coefficients: np.ndarray) -> np.ndarray:
        """Compute pictures, shape (n, size, size, 3), from coefficients."""
        full = np.zeros((len(coefficients), *self.kept.shape))
        full[:, self.kept] = coefficients
        channels = idctn(full, axes=(2, 3), norm="ortho")
        return np.einsum("ncyx,cb->nyxb", channels, _CHANNELS)

    def spectrum(self, coefficients: np.ndarray) -> np.ndarray:
        """Estimate the variance of each coefficient, smooth over frequency within a channel.

        Parameters
        ----------
        coefficients : ndarray, shape (n, n_coefficients)
        """
        variance, smooth = coefficients.var(axis=0), np.empty(coefficients.shape[1])
        octaves = np.log1p(self._frequencies)
        for channel in range(3):
            own = np.flatnonzero(self._channels == channel)
            steps = (octaves[own, None] - octaves[None, own]) / _WIDTH
            share = np.exp(-0.5 * steps**2)
            smooth[own] = share @ variance[own] / share.sum(axis=1)
        return smooth
