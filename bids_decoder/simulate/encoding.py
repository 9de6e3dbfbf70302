"""Voxels that respond to parts of pictures, with a known region and known features.

Two kinds of tuning. ``energy``: contrast energy of oriented edges at one place, which a Gabor
pyramid holds already. ``conjunction``: two edges of different orientation at one place together,
a product that no weighted sum of the pyramid gives, so that features have to be learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.ndimage

from bids_decoder.seeds import derive_seed

N_ORIENTATIONS = 4
_SIGMA = 2.0
_WAVELENGTH = 5.0
_POOLING = 2.5
_MARGIN = 0.2
_PARTS = 2

Tuning = Literal["energy", "conjunction"]


@dataclass(frozen=True, eq=False)
class EncodedWorld:
    """Noise-free responses to pictures, and the responsive voxels.

    Parameters
    ----------
    signal : ndarray of float32, shape (n_pictures, n_voxels)
        Standard deviation 1 over pictures in responsive voxels, 0 in the others.
    region : ndarray of bool, shape (n_voxels,)
        Responsive voxels.
    """

    signal: np.ndarray
    region: np.ndarray

    def respond(
        self, rows: np.ndarray, signal_to_noise: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Simulate noisy responses to the pictures *rows*.

        Parameters
        ----------
        rows : ndarray of int, shape (n_trials,)
        signal_to_noise : float
            Ratio of standard deviations in responsive voxels; the noise has 1.
        rng : numpy.random.Generator

        Returns
        -------
        ndarray of float32, shape (n_trials, n_voxels)
        """
        noise = rng.standard_normal((len(rows), self.signal.shape[1]), dtype=np.float32)
        return noise + np.float32(signal_to_noise) * self.signal[rows]


def make_encoded_world(
    pictures: np.ndarray, region: np.ndarray, tuning: Tuning, seed: int
) -> EncodedWorld:
    """Draw the tuning of the voxels of a region and compute their responses.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (n_pictures, size, size)
        Grey; each is stretched to its full range first.
    region : ndarray of bool, shape (n_voxels,)
    tuning : {"energy", "conjunction"}
        See the module.
    seed : int

    Returns
    -------
    EncodedWorld
        Each responsive voxel sums two units with weights of its own.
    """
    rng = np.random.default_rng(derive_seed(seed, "tuning"))
    energy = edge_energy(pictures)
    size = pictures.shape[1]
    columns = []
    for _ in range(int(region.sum())):
        parts = []
        y, x = rng.integers(round(_MARGIN * size), round((1 - _MARGIN) * size), 2)
        for _ in range(_PARTS):
            first, second = rng.choice(N_ORIENTATIONS, 2, replace=False)
            unit = energy[:, first, y, x]
            if tuning == "conjunction":
                unit = _standard(unit) * _standard(energy[:, second, y, x])
            parts.append(rng.uniform(0.5, 1.0) * _standard(unit))
        columns.append(_standard(sum(parts)))
    signal = np.zeros((len(pictures), len(region)), dtype=np.float32)
    signal[:, region] = np.column_stack(columns)
    return EncodedWorld(signal, region)


def edge_energy(pictures: np.ndarray) -> np.ndarray:
    """Compute the energy of edges, log-compressed, per orientation and place.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (n, size, size)

    Returns
    -------
    ndarray of float32, shape (n, 4, size, size)
    """
    values = pictures.astype(np.float32)
    low = values.min(axis=(1, 2), keepdims=True)
    span = np.maximum(values.max(axis=(1, 2), keepdims=True) - low, 1.0)
    scaled = (values - low) / span - 0.5
    maps = []
    for number in range(N_ORIENTATIONS):
        even, odd = _quadrature(np.pi * number / N_ORIENTATIONS)
        power = sum(
            scipy.ndimage.convolve(scaled, kernel[None], mode="nearest") ** 2
            for kernel in (even, odd)
        )
        pooled = scipy.ndimage.gaussian_filter(power, (0, _POOLING, _POOLING))
        maps.append(np.log(pooled + 1e-3))
    return np.stack(maps, axis=1).astype(np.float32)


def _quadrature(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an even and an odd Gabor filter, both without response to uniform grey."""
    reach = int(3 * _SIGMA)
    y, x = np.mgrid[-reach:reach + 1, -reach:reach + 1]
    window = np.exp(-(x**2 + y**2) / (2 * _SIGMA**2))
    phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / _WAVELENGTH
    even = window * np.cos(phase)
    even -= window * even.sum() / window.sum()
    return even.astype(np.float32), (window * np.sin(phase)).astype(np.float32)


def _standard(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / max(float(centred.std()), 1e-6)
