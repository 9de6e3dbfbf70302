"""Brain masks of EPI and T1w images, and tissue segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu

from bids_decoder.errors import InputError
from bids_decoder.preprocessing.itk import start_ants, to_ants
from bids_decoder.preprocessing.resampling import Grid, resample_volume

_THIN = 6
_T1W_WORK_MM = 1.5
_CLOSING_MM = 4.0
_THRESHOLDS = np.arange(1.0, 3.0, 0.15)
_STABLE = 0.92
_MIN_LITRES, _MAX_LITRES = 0.3, 2.1


def head_mask(volume: np.ndarray) -> np.ndarray:
    """Compute a head mask: Otsu's threshold, largest component, holes filled.

    Parameters
    ----------
    volume : ndarray, shape (i, j, k)

    Returns
    -------
    ndarray of bool, shape (i, j, k)

    Raises
    ------
    InputError
        If the image is constant.
    """
    image = np.nan_to_num(volume.astype(np.float32))
    if image.min() == image.max():
        raise InputError(
            "brain mask", f"all voxels of the image have the value {image.min():g}",
            "check the BOLD file, which contains no image",
        )
    bright = image > 0.5 * threshold_otsu(image)
    opened = _opened(bright)
    largest = _largest(opened if opened.any() else bright)
    return _filled(largest)


def epi_brain_mask(boldref: np.ndarray, affine: np.ndarray, seed: int = 1) -> np.ndarray:
    """Compute the brain mask of a BOLD reference.

    Parameters
    ----------
    boldref : ndarray, shape (i, j, k)
    affine : ndarray, shape (4, 4)
    seed : int
        For ANTs.

    Returns
    -------
    ndarray of bool, shape (i, j, k)
        From ``ants.get_mask``, with ventricles filled; for slabs of fewer than six slices from
        :func:`head_mask`.
    """
    if min(boldref.shape) < _THIN:
        return head_mask(boldref)
    ants = start_ants(seed)
    image = np.clip(boldref, 0, None)
    mask = ants.get_mask(to_ants(image, affine, ants)).numpy() > 0
    if not mask.any():
        return head_mask(boldref)
    return _closed(mask, affine, _CLOSING_MM)


def t1w_brain_mask(t1w: np.ndarray, affine: np.ndarray, seed: int = 1) -> np.ndarray:
    """Compute the brain mask of a bias-corrected T1w image.

    Parameters
    ----------
    t1w : ndarray, shape (i, j, k)
    affine : ndarray, shape (4, 4)
    seed : int
        For ANTs.

    Returns
    -------
    ndarray of bool, shape (i, j, k)
        From ``ants.get_mask`` (threshold, erosion, largest component) at 1.5 mm, closed by 4 mm
        to include sulci and ventricles.

    Raises
    ------
    InputError
        If no brain of plausible size is found.

    Notes
    -----
    The threshold is increased from the mean of the image until the component has a plausible
    size and the next step removes less than 8 % of it. With a threshold that is too low, neck or
    scalp are connected to the brain, and are removed in one step.
    """
    ants = start_ants(seed)
    sizes = np.maximum(voxel_sizes(affine), _T1W_WORK_MM)
    grid = Grid(t1w.shape, affine).with_voxel_sizes(sizes)
    small = np.clip(resample_volume(t1w, affine, grid, order=1), 0, None)
    image, level = to_ants(small, grid.affine, ants), float(small.mean())
    litre = float(np.prod(sizes)) / 1e6
    mask = np.zeros(small.shape, dtype=bool)
    for factor in _THRESHOLDS:
        low = level * float(factor)
        further = ants.get_mask(image, low_thresh=low, high_thresh=float(small.max()) + 1.0)
        further = further.numpy() > 0
        if mask.sum() * litre <= _MAX_LITRES and further.sum() > _STABLE * mask.sum() > 0:
            break
        mask = further
    else:
        raise _no_brain(mask.sum() * litre)
    mask = _closed(mask, grid.affine, _CLOSING_MM)
    if mask.sum() * litre < _MIN_LITRES:
        raise _no_brain(mask.sum() * litre)
    full = resample_volume(
        mask.astype(np.float32), grid.affine, Grid(t1w.shape, affine), order=1
    )
    return full > 0.5


def _no_brain(litres: float) -> InputError:
    return InputError(
        "T1w brain mask", f"the brain mask found has {litres:.2f} litres",
        "check the T1w image (contrast, defacing, field of view) or exclude it with "
        "--bids-filter-file",
    )


def segment_tissues(t1w_brain: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Segment the tissues of a bias-corrected, brain-extracted T1w image.

    Parameters
    ----------
    t1w_brain : ndarray, shape (i, j, k)
        Zero outside the brain.
    affine : ndarray, shape (4, 4)

    Returns
    -------
    ndarray of uint8, shape (i, j, k)
        1 CSF, 2 grey matter, 3 white matter: the three classes of Otsu's method (the same as
        those of one-dimensional k-means), after a median filter of about 2 mm.

    Notes
    -----
    Meant for nuisance signals and outlines. The brightest and darkest percent are clipped first,
    since vessels and fat could otherwise form a class of their own.
    """
    brain = t1w_brain > 0
    widths = [1 + 2 * round(1.0 / size) for size in voxel_sizes(affine)]
    smooth = ndimage.median_filter(t1w_brain.astype(np.float32), size=widths)
    low, high = np.percentile(smooth[brain], [1, 99])
    bounds = threshold_multiotsu(np.clip(smooth[brain], low, high), classes=3)
    return np.where(brain, 1 + np.digitize(smooth, bounds), 0).astype(np.uint8)


def eroded(mask: np.ndarray, affine: np.ndarray, depth_mm: float) -> np.ndarray:
    """Erode a mask, shape (i, j, k), by a depth in millimetres."""
    if not mask.any():
        return mask
    padded = np.pad(mask, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=voxel_sizes(affine))
    return (depth > depth_mm)[1:-1, 1:-1, 1:-1]


def common_mask(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the intersection of masks.

    Parameters
    ----------
    masks : sequence of ndarray of bool, shape (i, j, k)
        One per run, on one grid.

    Returns
    -------
    ndarray of bool, shape (i, j, k)

    Raises
    ------
    InputError
        If shapes differ or the intersection is empty.
    """
    shapes = sorted({mask.shape for mask in masks})
    common = np.logical_and.reduce(masks) if len(shapes) == 1 else np.zeros(1, dtype=bool)
    if not common.any():
        why = f"grids differ: {shapes}" if len(shapes) > 1 else "they share no voxel"
        raise InputError(
            f"brain masks of {len(masks)} runs", why,
            "leave out the runs that show another part of the head with --bids-filter-file",
        )
    return common


def _structure(mask: np.ndarray) -> np.ndarray:
    # Axes with few slices are excluded: opening would remove slices without neighbours.
    flat = [1 if size < _THIN else 3 for size in mask.shape]
    cross = ndimage.generate_binary_structure(3, 1)
    cut = tuple(slice(1, 2) if size == 1 else slice(None) for size in flat)
    return cross[cut]


def _opened(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_opening(mask, _structure(mask))


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, n_labels = ndimage.label(mask)
    if n_labels < 2:
        return mask
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))


def _filled(mask: np.ndarray) -> np.ndarray:
    thin = [axis for axis, size in enumerate(mask.shape) if size < _THIN]
    if len(thin) != 1:
        return ndimage.binary_fill_holes(mask)
    slices = [ndimage.binary_fill_holes(part) for part in np.moveaxis(mask, thin[0], 0)]
    return np.moveaxis(np.stack(slices), 0, thin[0])


def _closed(mask: np.ndarray, affine: np.ndarray, radius_mm: float) -> np.ndarray:
    sizes = voxel_sizes(affine)
    margin = int(np.ceil(radius_mm / sizes.min())) + 1
    padded = np.pad(mask, margin)
    grown = ndimage.distance_transform_edt(~padded, sampling=sizes) <= radius_mm
    back = ndimage.distance_transform_edt(grown, sampling=sizes) > radius_mm
    inner = (slice(margin, -margin),) * 3
    return _filled((back | padded)[inner])
