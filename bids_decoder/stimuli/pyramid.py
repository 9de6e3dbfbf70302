"""An image encoder without weights: Gabor energies at several scales, contrast and colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from scipy.signal.windows import tukey
from skimage.color import rgb2lab

from bids_decoder.errors import BidsDecoderError, Finding, FindingsError
from bids_decoder.stimuli.images import load_image

SIZE = 128
N_LEVELS = 4
N_ORIENTATIONS = 6
N_CELLS = 4
"""Cells along each edge of the grid over which every map is pooled."""

_CENTRE_FREQUENCY = 0.25  # cycles per pixel of the level: a wavelength of 4 pixels
_BANDWIDTH = 0.6  # sigma of the log-Gabor over its centre frequency: about 1.4 octaves
_NOISE_FLOOR = 0.002  # of the luminance range; below it 8 bit pictures hold rounding only


@dataclass(frozen=True)
class Family:
    """Features of one kind, scaled to a common range by constants.

    Parameters
    ----------
    centre, spread : float
        Rough mean and standard deviation, chosen from the dozen sample pictures of
        scikit-image. They are constants, so that nothing is fitted on the data.
    share : float
        Part of the squared length of a typical vector that the family makes up.
    """

    centre: float
    spread: float
    share: float


FAMILIES: dict[str, Family] = {
    "gabor": Family(centre=-3.6, spread=0.8, share=0.5),
    "contrast": Family(centre=-2.2, spread=0.6, share=0.1),
    "lightness": Family(centre=50.0, spread=20.0, share=0.2),
    "colour": Family(centre=4.0, spread=14.0, share=0.2),
}
"""Log amplitude, log rms contrast, CIELAB L*, CIELAB a* and b*."""


class GaborPyramid:
    """Gabor energy pyramid with contrast and colour layout.

    Log-Gabor quadrature filters [1]_ in six orientations are applied to the luminance at four
    scales, one octave apart. Their energy, the rms contrast, and lightness and colour in CIELAB
    are averaged over a grid of 4 x 4 cells. Amplitudes enter as logarithms. The model of early
    visual cortex in [2]_ is of this kind.

    References
    ----------
    .. [1] Field 1987, J Opt Soc Am A 4:2379.
    .. [2] Kay et al. 2008, Nature 452:352.
    """

    name = "gabor"
    version = "1"

    def __init__(self) -> None:
        self._banks = [filter_bank(SIZE >> level) for level in range(N_LEVELS)]
        taper = tukey(SIZE, 0.1).astype(np.float32)
        self._window = np.outer(taper, taper)

    @property
    def n_dims(self) -> int:
        """Length of the vectors."""
        return N_CELLS**2 * (N_LEVELS * N_ORIENTATIONS + 4)

    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        """Encode pictures; see :class:`~bids_decoder.stimuli.encoders.ImageEncoder`."""
        vectors = np.empty((len(paths), self.n_dims), dtype=np.float32)
        findings: list[Finding] = []
        for row, path in enumerate(paths):
            try:
                vectors[row] = self.encode_array(load_image(Path(path), SIZE))
            except BidsDecoderError as error:
                findings.append(error.finding)
        if findings:
            raise FindingsError(findings)
        return vectors

    def encode_array(self, image: np.ndarray) -> np.ndarray:
        """Encode one picture.

        Parameters
        ----------
        image : ndarray of float32, shape (128, 128, 3)
            sRGB in [0, 1].

        Returns
        -------
        ndarray of float32, shape (n_dims,)
            Gabor features first (level, orientation, cell), then contrast, lightness, a*, b*.
        """
        grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        cells = pool(np.moveaxis(image, 2, 0))
        lab = rgb2lab(np.moveaxis(cells, 0, 2).astype(np.float64))
        variance = np.maximum(pool(grey**2) - pool(grey) ** 2, 0)
        parts = {
            "gabor": self._log_amplitudes(grey),
            "contrast": np.log(np.sqrt(variance) + _NOISE_FLOOR),
            "lightness": lab[..., 0],
            "colour": np.moveaxis(lab[..., 1:], 2, 0),
        }
        return np.concatenate([_standardised(parts[name], name, self.n_dims) for name in FAMILIES])

    def _log_amplitudes(self, grey: np.ndarray) -> np.ndarray:
        spectrum = scipy.fft.fft2((grey - grey.mean()) * self._window)
        energies = []
        for bank in self._banks:
            responses = scipy.fft.ifft2(_cropped(spectrum, bank.shape[-1]) * bank)
            energies.append(pool(responses.real**2 + responses.imag**2))
        return np.log(np.sqrt(np.stack(energies)) + _NOISE_FLOOR)


def filter_bank(size: int) -> np.ndarray:
    """Compute log-Gabor quadrature filters in the frequency domain.

    Parameters
    ----------
    size : int
        Edge of the picture in pixels.

    Returns
    -------
    ndarray of float32, shape (n_orientations, size, size)
        Only one half plane is passed, so that the filtered picture is the analytic signal:
        its magnitude is the local amplitude of the grating. Orientation *i* passes gratings
        that vary along the direction ``i * pi / n_orientations`` from the x axis.
    """
    frequency = scipy.fft.fftfreq(size)
    fy, fx = np.meshgrid(frequency, frequency, indexing="ij")
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1.0
    radial = np.exp(-(np.log(radius / _CENTRE_FREQUENCY) ** 2) / (2 * np.log(_BANDWIDTH) ** 2))
    radial[radius >= 0.5] = 0.0  # the corners beyond Nyquist have no opposite orientation
    directions = np.arange(N_ORIENTATIONS)[:, None, None] * np.pi / N_ORIENTATIONS
    angle = np.angle(np.exp(1j * (np.arctan2(fy, fx) - directions)))
    angular = np.exp(-(angle**2) / (2 * (0.6 * np.pi / N_ORIENTATIONS) ** 2))
    return (2 * radial * angular).astype(np.float32)


def pool(maps: np.ndarray) -> np.ndarray:
    """Average maps of shape (..., n, n) over the grid of cells: (..., cells, cells)."""
    *rest, n, _ = maps.shape
    edge = n // N_CELLS
    return maps.reshape(*rest, N_CELLS, edge, N_CELLS, edge).mean(axis=(-3, -1))


def _cropped(spectrum: np.ndarray, size: int) -> np.ndarray:
    """Keep the low frequencies: the spectrum of the picture resampled to *size* pixels."""
    full = spectrum.shape[0]
    if size == full:
        return spectrum
    rows = np.r_[0 : size // 2, full - size // 2 : full]
    return spectrum[np.ix_(rows, rows)] * np.float32((size / full) ** 2)


def _standardised(values: np.ndarray, name: str, n_dims: int) -> np.ndarray:
    family = FAMILIES[name]
    weight = np.sqrt(family.share * n_dims / values.size)
    return ((values.ravel() - family.centre) / family.spread * weight).astype(np.float32)
