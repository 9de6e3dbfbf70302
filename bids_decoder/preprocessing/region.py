"""A coarse occipital region: a box in template space, mapped to the voxels of a participant."""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from bids_decoder.errors import InputError
from bids_decoder.preprocessing.geometry import grid_points
from bids_decoder.preprocessing.motion import MIN_SLICES
from bids_decoder.preprocessing.registration import Picture, register_affine
from bids_decoder.preprocessing.resampling import Grid, resample_volume

BOX_MM = ((-54.0, 54.0), (-108.0, -36.0), (-30.0, 42.0))
"""Left to right, back to front and bottom to top in MNI millimetres: 108 x 72 x 72.

At 1.8 mm this is the box of 60 x 40 x 40 voxels of the publication of TROI. It extends from the
occipital pole beyond the fusiform and parahippocampal gyri (anterior) and the intraparietal
sulcus (superior), and contains the upper part of the cerebellum.
"""

_MNI_NAMES = ("MNI152", "MNIColin27")
_MARGIN_MM = 4.0
_MIN_OVERLAP = 0.75
_FIX = "give the path of a mask file on the grid of the data with --region, or --region brain"


def in_mni_space(space: str) -> bool:
    """Return whether the coordinates of a space are MNI's, to the precision of a coarse box."""
    return space.startswith(_MNI_NAMES)


def check_grid(
    shape: tuple[int, ...], space: str, *, has_boldref: bool, has_t1w: bool
) -> None:
    """Check that the region can be located in the data.

    Parameters
    ----------
    shape : tuple of int
        Three axes of the data.
    space : str
        Its ``space`` entity; empty for the functional space.
    has_boldref : bool
        Whether there is a BOLD reference on the grid of the data.
    has_t1w : bool
        Whether there is a T1w image, on the grid's coordinates or with a transform.

    Raises
    ------
    InputError
        For voxels without positions; and outside MNI space, for data with neither image, and
        for slabs of fewer than six slices without a T1w image.
    """
    what = "--region occipital"
    if sum(size > 1 for size in shape) < 2:
        raise InputError(
            what, f"the grid {_text(shape)} is a list of voxels without positions", _FIX
        )
    if in_mni_space(space) or has_t1w:
        return
    if not has_boldref:
        raise InputError(
            what, "there is neither a BOLD reference nor a T1w image to register to the template",
            _FIX,
        )
    if min(shape) < MIN_SLICES:
        raise InputError(
            what, f"the grid {_text(shape)} has fewer than {MIN_SLICES} slices and there is no "
            "T1w image: the position of the slab in the brain is unknown", _FIX,
        )


def to_template(brain: Picture, template: Picture) -> np.ndarray:
    """Estimate the affine transform from a participant's image to a template.

    Parameters
    ----------
    brain : Picture
        T1w image or BOLD reference; most of the brain must be in it.
    template : Picture

    Returns
    -------
    ndarray, shape (4, 4)
        Points of the participant (mm) to points of the template (mm).

    Raises
    ------
    InputError
        If the brain masks then overlap with a Dice coefficient below 0.75.
    """
    matrix = register_affine(brain, template)
    grid = Grid(brain.mask.shape, brain.affine)
    target = resample_volume(
        template.mask.astype(np.uint8), template.affine, grid, matrix, order=0
    ) > 0
    # Parts of the template outside the field of view reduce the overlap as well.
    n_target = template.mask.sum() * _volume(template.affine) / abs(np.linalg.det(matrix[:3, :3]))
    n_target /= _volume(brain.affine)
    overlap = 2 * float((target & brain.mask).sum()) / float(brain.mask.sum() + n_target)
    if overlap < _MIN_OVERLAP:
        raise InputError(
            "--region occipital", f"the brain could not be registered to the template: Dice "
            f"{overlap:.2f}, at least {_MIN_OVERLAP} is needed; the image may contain only a part "
            "of the brain", _FIX,
        )
    return matrix


def occipital_mask(
    grid: Grid, template: Picture, matrix: np.ndarray | None = None
) -> np.ndarray:
    """Compute the mask of voxels whose centres are inside the occipital box.

    Parameters
    ----------
    grid : Grid
        Of the data.
    template : Picture
        In MNI space; its brain mask, dilated by 4 mm, limits the region.
    matrix : ndarray, shape (4, 4), or None
        Points of *grid* (mm) to points of the template (mm); None where *grid* is in MNI space.

    Returns
    -------
    ndarray of bool, grid.shape

    Raises
    ------
    InputError
        If no voxel is inside it.
    """
    chain = np.eye(4) if matrix is None else matrix
    points = apply_affine(chain, grid_points(grid.shape, grid.affine)).reshape(*grid.shape, 3)
    low, high = np.array(BOX_MM).T
    inside = ((points >= low) & (points <= high)).all(axis=-1)
    distance = ndimage.distance_transform_edt(
        ~template.mask, sampling=voxel_sizes(template.affine)
    )
    wide = (distance <= _MARGIN_MM).astype(np.uint8)
    inside &= resample_volume(wide, template.affine, grid, matrix, order=0) > 0
    if not inside.any():
        raise InputError(
            "--region occipital", "the images do not reach the back of the brain", _FIX
        )
    return inside


def _volume(affine: np.ndarray) -> float:
    return float(np.prod(voxel_sizes(affine)))


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
