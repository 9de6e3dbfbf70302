"""Known susceptibility distortion of simulated images."""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

_SOURCES_MM = ((0.0, 62.0, -28.0), (-58.0, -8.0, -38.0), (58.0, -8.0, -38.0))
_WIDTHS_MM = (24.0, 18.0, 18.0)
_STRENGTHS = (1.0, -0.6, -0.55)
_FINE = 8


def susceptibility_field(points: np.ndarray, peak_hz: float) -> np.ndarray:
    """Compute a field like that of the air in the sinuses and in both ears.

    Parameters
    ----------
    points : ndarray, shape (n_points, 3)
        Head millimetres; the origin is near the middle of the brain.
    peak_hz : float
        Of the largest source; a slow change over the head is added.

    Returns
    -------
    ndarray, shape (n_points,)
        Hz.
    """
    field = 0.06 * np.sin(points @ np.array([0.02, -0.015, 0.025]))
    for place, width, strength in zip(_SOURCES_MM, _WIDTHS_MM, _STRENGTHS, strict=True):
        distance = ((points - np.array(place)) ** 2).sum(axis=1)
        field += strength * np.exp(-distance / (2 * width**2))
    return peak_hz * field


def distort(volume: np.ndarray, shift: np.ndarray, axis: int) -> np.ndarray:
    """Displace the signal of an image along one axis, as a scanner does.

    Parameters
    ----------
    volume : ndarray, shape (i, j, k)
        Without distortion.
    shift : ndarray, shape (i, j, k)
        Voxels by which the signal of each voxel is displaced.
    axis : int

    Returns
    -------
    ndarray of float32, shape (i, j, k)
        Signal is added up where it is piled up, and none is lost inside the field of view.
    """
    last = np.moveaxis(np.asarray(volume, dtype=np.float32), axis, -1)
    moves = np.moveaxis(np.asarray(shift, dtype=np.float32), axis, -1)
    n = last.shape[-1]
    fine = np.clip((np.arange(n * _FINE) + 0.5) / _FINE - 0.5, 0, n - 1)
    signal = ndimage.map_coordinates(last, _places(last.shape, fine), order=1) / _FINE
    place = fine + ndimage.map_coordinates(moves, _places(last.shape, fine), order=1)
    lower = np.floor(place).astype(int)
    share = place - lower
    rows = np.broadcast_to(np.arange(signal[..., 0].size).reshape(*signal.shape[:-1], 1),
                           signal.shape)
    result = np.zeros((signal[..., 0].size, n))
    for index, weight in ((lower, 1 - share), (lower + 1, share)):
        inside = (index >= 0) & (index < n)
        np.add.at(result, (rows[inside], index[inside]), (weight * signal)[inside])
    return np.moveaxis(result.reshape(last.shape), -1, axis).astype(np.float32)


def _places(shape: tuple[int, ...], fine: np.ndarray) -> np.ndarray:
    return np.array(np.meshgrid(*map(np.arange, shape[:-1]), fine, indexing="ij"))


def field_on_grid(
    shape: tuple[int, ...], affine: np.ndarray, peak_hz: float
) -> np.ndarray:
    """Compute :func:`susceptibility_field` at the voxels of a grid, shape *shape*."""
    indices = np.indices(shape).reshape(3, -1).T.astype(float)
    return susceptibility_field(apply_affine(affine, indices), peak_hz).reshape(shape)
