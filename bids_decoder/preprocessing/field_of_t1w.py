"""Field from the differences between an EPI image and the T1w image of the same head.

For runs without field maps, as registration-based correction in fMRIPrep (Wang et al. 2017, Front
Neuroinform 11). From the tissues of the T1w image an image is computed that has the contrast of
the EPI image and no distortion; the displacement along the phase-encoding axis that makes both
agree is found as for two EPI images, of which one is not displaced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from bids_decoder.preprocessing.bias import correct_bias
from bids_decoder.preprocessing.distortion import Epi, EstimatedField, ShiftMap
from bids_decoder.preprocessing.registration import Picture, register_rigid
from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.preprocessing.shift_search import Level, ShiftSearch

_LABELS = (1, 2, 3)
_LEVELS = (Level(8.0, 4.0, 12, 0.8), Level(5.0, 2.0, 12, 0.2), Level(2.5, 0.8, 12, 0.08))
_MOST_AIR, _LEAST_TISSUE = 0.3, 0.7
_ROBUST_STEPS = 4
_RIDGE = 1e-4


@dataclass(frozen=True, eq=False)
class Tissues:
    """T1w brain with its tissues.

    Parameters
    ----------
    brain : Picture
        Bias field removed.
    labels : ndarray of int, shape (i, j, k)
        On its grid: 1 CSF, 2 grey matter, 3 white matter, 0 elsewhere.
    """

    brain: Picture
    labels: np.ndarray

    def shares(self, grid: Grid, matrix: np.ndarray) -> np.ndarray:
        """Average the tissues over the voxels of another grid.

        Parameters
        ----------
        grid : Grid
        matrix : ndarray, shape (4, 4)
            Points of *grid* (mm) to points of the T1w image (mm).

        Returns
        -------
        ndarray, shape (*grid.shape, 3)
        """
        affine = self.brain.affine
        ratio = voxel_sizes(grid.affine) / voxel_sizes(affine)
        widths = 0.4 * np.sqrt(np.maximum(ratio**2 - 1, 0))
        return np.stack([
            resample_volume(
                ndimage.gaussian_filter((self.labels == label).astype(np.float32), widths),
                affine, grid, matrix, order=1,
            ) for label in _LABELS
        ], axis=-1)


def field_of_t1w(epi: Epi, mask: np.ndarray, tissues: Tissues, seed: int = 1) -> EstimatedField:
    """Estimate the field of an EPI image from the T1w image.

    Parameters
    ----------
    epi : Epi
    mask : ndarray of bool, shape of the image
        Its brain.
    tissues : Tissues
    seed : int
        For ANTs, which removes the bias field.

    Returns
    -------
    EstimatedField

    Notes
    -----
    The expected image is fitted robustly to the distorted one: each tissue has a brightness that
    is linear in the position, and the surroundings of the brain a constant one. Where the signal
    was displaced out of the tissue, the fit gives it little weight.
    """
    even = correct_bias(np.clip(epi.volume, 0, None), epi.affine, seed)
    matrix = register_rigid(Picture(even, epi.affine, mask), tissues.brain)
    even = even / max(float(np.percentile(even, 98)), 1e-6)
    shares = tissues.shares(epi.grid, matrix)
    expected, near = expected_image(even, shares, mask)
    weight = ndimage.gaussian_filter(near.astype(np.float32), 0.5)
    axis = epi.encoding.axis
    search = ShiftSearch((even, expected), (1.0, 0.0), epi.grid, axis, weight)
    shift = search.refine(np.zeros(epi.grid.shape, dtype=np.float32), _LEVELS)
    shifts = ShiftMap(shift / voxel_sizes(epi.affine)[axis], epi.affine, axis)
    inside = shares.sum(axis=-1) > _LEAST_TISSUE
    before, after = (
        float(np.corrcoef(image[inside], expected[inside])[0, 1])
        for image in (even, shifts.correct(even))
    )
    return EstimatedField(
        (shift / epi.mm_per_hz).astype(np.float32),
        shifts.correct(epi.volume).astype(np.float32), (before, after),
    )


def expected_image(
    image: np.ndarray, shares: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the image that the tissues of the T1w image would give without distortion.

    Parameters
    ----------
    image : ndarray, shape (i, j, k)
        From which the brightness of the tissues is learned.
    shares : ndarray, shape (i, j, k, n_tissues)
        Share of each tissue in each voxel.
    mask : ndarray of bool, shape (i, j, k)
        Brain in *image*.

    Returns
    -------
    expected : ndarray of float32, shape (i, j, k)
    near : ndarray of bool, shape (i, j, k)
        Brain and the layer of voxels around it, where *expected* is defined.
    """
    total = shares.sum(axis=-1)
    near = ndimage.binary_dilation(total > 0.5)
    places = np.stack(np.meshgrid(
        *(np.linspace(-1, 1, n) for n in image.shape), indexing="ij"
    ), axis=-1)
    terms = np.concatenate([np.ones((*image.shape, 1)), places], axis=-1)
    columns = (shares[..., :, None] * terms[..., None, :]).reshape(*image.shape, -1)
    fitted = (total > _LEAST_TISSUE) & mask
    expected = columns @ _robust_fit(columns[fitted], image[fitted])
    around = near & (total < _MOST_AIR)
    outside = float(np.median(image[around])) if around.any() else 0.0
    return (expected + np.clip(1 - total, 0, 1) * outside).astype(np.float32), near


def _robust_fit(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Fit weights to rows by least squares, reweighted by Cauchy's function of the residual."""
    weights = np.ones(len(values))
    for _ in range(_ROBUST_STEPS):
        weighted = rows * weights[:, None]
        products = weighted.T @ rows
        ridge = _RIDGE * np.trace(products) / len(products) * np.eye(len(products))
        found = np.linalg.solve(products + ridge, weighted.T @ values)
        residual = values - rows @ found
        scale = 2 * 1.48 * max(float(np.median(np.abs(residual))), 1e-6)
        weights = 1 / (1 + (residual / scale) ** 2)
    return found
