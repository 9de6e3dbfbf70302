"""Field from two images with opposite phase encoding.

Both images are corrected by one field, whose effects have opposite signs, until they agree: the
model of TOPUP (Andersson et al. 2003, NeuroImage 20) and HySCO (Ruthotto et al. 2012, Phys Med
Biol 57).
Displacements are along one axis only, so that each step is a sparse linear problem.
"""

from __future__ import annotations

import numpy as np
from nibabel.affines import voxel_sizes

from bids_decoder.preprocessing.distortion import Epi, EstimatedField, PhaseEncoding, ShiftMap
from bids_decoder.preprocessing.masks import head_mask
from bids_decoder.preprocessing.motion import MIN_SLICES, estimate_motion
from bids_decoder.preprocessing.resampling import resample_volume
from bids_decoder.preprocessing.shift_search import Level, ShiftSearch

_LEAST_PARALLEL = 0.9
_LEVELS = (
    Level(8.0, 4.0, 12, 0.2), Level(5.0, 2.0, 12, 0.05), Level(2.5, 0.8, 12, 0.02),
)


def are_opposite(
    affine: np.ndarray, encoding: PhaseEncoding, other_affine: np.ndarray, other: PhaseEncoding
) -> bool:
    """Return whether two images are encoded along one axis of the scanner in opposite directions.

    Parameters
    ----------
    affine, other_affine : ndarray, shape (4, 4)
    encoding, other : PhaseEncoding
    """
    return _parallel(affine, encoding, other_affine, other) * encoding.sign * other.sign < 0


def _parallel(
    affine: np.ndarray, encoding: PhaseEncoding, other_affine: np.ndarray, other: PhaseEncoding
) -> int:
    """Return 1 or -1 where both axes point the same or opposite ways, and 0 where they differ."""
    first, second = affine[:3, encoding.axis], other_affine[:3, other.axis]
    cosine = float(first @ second) / float(np.linalg.norm(first) * np.linalg.norm(second))
    return round(np.sign(cosine)) if abs(cosine) >= _LEAST_PARALLEL else 0


def field_of_pair(first: Epi, second: Epi) -> EstimatedField:
    """Estimate the field from two images with opposite phase encoding.

    Parameters
    ----------
    first, second : Epi
        Of one contrast. Grids and readout times may differ.

    Returns
    -------
    EstimatedField

    Raises
    ------
    ValueError
        When the phase encoding is not opposite (:func:`are_opposite`).

    Notes
    -----
    The squared difference of both images, corrected with their Jacobians, plus the squared
    gradient of the displacement, is minimised by Gauss-Newton steps at 8, 5 and 2.5 mm. Head
    movement between the images is estimated from the corrected images, after which the field is
    estimated again.
    """
    ways = first.affine, first.encoding, second.affine, second.encoding
    if not are_opposite(*ways):
        raise ValueError("images without opposite phase encoding")
    ratio = _parallel(*ways) * second.mm_per_hz / first.mm_per_hz
    shift = np.zeros(first.grid.shape, dtype=np.float32)
    matrix = np.eye(4)
    start = resample_volume(second.volume, second.affine, first.grid)
    head = head_mask(np.maximum(first.volume, start))
    # Movement changes the field little: the second time, only the finest level is repeated.
    for levels in (_LEVELS, _LEVELS[-1:]):
        moved = resample_volume(second.volume, second.affine, first.grid, matrix)
        shift = _estimate(first, moved, ratio, shift, levels)
        one, two = _corrected(first, moved, ratio, shift)
        if min(first.volume.shape) < MIN_SLICES:
            break
        rest = estimate_motion(two[..., None], first.affine, one, head).matrices[0]
        matrix = matrix @ rest
    agreement = tuple(
        float(np.corrcoef(a[head], b[head])[0, 1])
        for a, b in ((first.volume, start), (one, two))
    )
    return EstimatedField(shift / np.float32(first.mm_per_hz), (one + two) / 2, agreement)


def _corrected(
    first: Epi, second: np.ndarray, ratio: float, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    axis = first.encoding.axis
    voxels = shift / voxel_sizes(first.affine)[axis]
    return (
        ShiftMap(voxels, first.affine, axis).correct(first.volume),
        ShiftMap(ratio * voxels, first.affine, axis).correct(second),
    )


def _estimate(
    first: Epi, second: np.ndarray, ratio: float, shift: np.ndarray, levels: tuple[Level, ...]
) -> np.ndarray:
    """Estimate the displacement in mm on the grid of the first image, from coarse to fine."""
    images = tuple(
        image / max(float(np.percentile(image, 98)), 1e-6) for image in (first.volume, second)
    )
    search = ShiftSearch(images, (1.0, ratio), first.grid, first.encoding.axis)
    return search.refine(shift, levels)
