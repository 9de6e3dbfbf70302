"""Smooth random fields on a voxel grid."""

from __future__ import annotations

import numpy as np
import scipy.fft

_FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


class Smoother:
    """Gaussian smoothing that keeps the variance of white noise.

    The filter works in the Fourier domain on the periodic grid, so that its cost does not
    depend on the width and every voxel has the same variance.

    Parameters
    ----------
    shape : tuple of int
        Grid.
    fwhm : float
        Full width at half maximum in voxels; 0 leaves white noise as it is.
    """

    def __init__(self, shape: tuple[int, ...], fwhm: float) -> None:
        self.shape = shape
        self._axes = tuple(range(-len(shape), 0))
        sigma = fwhm * _FWHM_TO_SIGMA
        squares = [
            scipy.fft.fftfreq(size) ** 2 for size in shape[:-1]
        ] + [scipy.fft.rfftfreq(shape[-1]) ** 2]
        radius = sum(np.meshgrid(*squares, indexing="ij", sparse=True))
        gain = np.exp(-2 * (np.pi * sigma) ** 2 * radius)
        impulse = scipy.fft.irfftn(gain, s=shape)
        self._gain = (gain / np.sqrt((impulse**2).sum())).astype(np.float32)
        self._white = fwhm == 0

    def __call__(self, white: np.ndarray) -> np.ndarray:
        """Smooth fields of shape (..., *shape)."""
        if self._white:
            return white
        spectrum = scipy.fft.rfftn(white, axes=self._axes)
        spectrum *= self._gain
        return scipy.fft.irfftn(spectrum, s=self.shape, axes=self._axes, overwrite_x=True)

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw *n* fields of mean 0 and variance 1, float32, shape (n, *shape)."""
        return self(rng.standard_normal((n, *self.shape), dtype=np.float32))


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], fwhm: float) -> np.ndarray:
    """Draw one field of mean 0 and variance 1, float32.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    fwhm : float
        In voxels.
    """
    return Smoother(shape, fwhm).draw(rng, 1)[0]
