"""Images, masks and nilearn's maskers as arrays of trials by voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import nibabel as nib
import numpy as np
from nilearn.image import check_niimg, new_img_like, resample_to_img
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from bids_decoder.errors import InputError
from bids_decoder.trials import VoxelGrid


class ArrayError(InputError, ValueError):
    """Arrays or images that an estimator cannot use; also a ``ValueError``, as scikit-learn's."""


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels that an estimator reads from images.

    Parameters
    ----------
    grid : VoxelGrid
        Order of voxels as in nilearn's maskers.
    masker : object or None
        nilearn's masker, which then reads images; without one they are read as they are.
    """

    grid: VoxelGrid
    masker: Any = None

    @property
    def mask_img(self) -> nib.Nifti1Image:
        """The mask as an image."""
        return nib.Nifti1Image(self.grid.mask.astype(np.uint8), self.grid.affine)

    def read(self, images: Any) -> np.ndarray:
        """Read images within the mask, shape (n_images, n_voxels); what is not finite is NaN.

        Raises
        ------
        ArrayError
            If they are on another grid than the mask.
        """
        if self.masker is not None:
            return self._read_with_masker(images)
        series = check_niimg(images, atleast_4d=True)
        if not self.grid.holds(series.shape, series.affine):
            raise ArrayError(
                f"images of shape {series.shape[:3]}",
                f"their grid differs from that of the mask, {self.grid.mask.shape}: "
                f"affines {series.affine.tolist()} and {self.grid.affine.tolist()}",
                "resample them, for instance with nilearn.image.resample_to_img",
            )
        return series.get_fdata(dtype=np.float32)[self.grid.mask].T

    def _read_with_masker(self, images: Any) -> np.ndarray:
        """Read with nilearn's masker, which puts zeros in the place of values that are not finite.

        These values are searched before, at the nearest voxel where the masker resamples.
        """
        values = np.atleast_2d(self.masker.transform(images))
        series = check_niimg(images, atleast_4d=True)
        broken = ~np.isfinite(series.get_fdata(dtype=np.float32))
        if broken.any():
            marks = resample_to_img(
                new_img_like(series, broken.astype(np.uint8)), self.mask_img,
                interpolation="nearest", force_resample=True, copy_header=True,
            )
            values = np.where(np.asarray(marks.dataobj)[self.grid.mask].T > 0, np.nan, values)
        return values

    def to_image(self, values: np.ndarray) -> nib.Nifti1Image:
        """Put values (n_voxels,) or (n_maps, n_voxels) into an image."""
        return nib.Nifti1Image(self.grid.to_volume(values), self.grid.affine)


def is_image(data: Any) -> bool:
    """Return whether data are an image, the path of one, or a list of them."""
    if isinstance(data, list | tuple):
        return bool(data) and all(is_image(item) for item in data)
    return isinstance(data, str | PathLike | nib.spatialimages.SpatialImage)


def find_voxels(mask: Any) -> Voxels:
    """Return the voxels of a mask.

    Parameters
    ----------
    mask : image, path, or masker of nilearn
        Voxels above zero are in it. A masker needs a mask image, its own or that of its fit.

    Raises
    ------
    ArrayError
        If a masker reads something else than voxels, or has no mask yet.
    """
    if isinstance(mask, str | PathLike | nib.spatialimages.SpatialImage):
        return Voxels(_grid_of(check_niimg(mask, ensure_ndim=3)))
    masker = _fitted(mask)
    image = getattr(masker, "mask_img_", None)
    if image is None or hasattr(masker, "labels_img_") or hasattr(masker, "maps_img_"):
        raise ArrayError(
            f"mask {type(mask).__name__}", "it is no image, path or masker of voxels",
            "give a mask image or a NiftiMasker; arrays of other maskers need no mask",
        )
    return Voxels(_grid_of(image), masker)


def _fitted(masker: Any) -> Any:
    """Return a masker that is fitted; one that knows its mask image is fitted here, as a copy."""
    try:
        check_is_fitted(masker)
    except NotFittedError as error:
        if getattr(masker, "mask_img", None) is None:
            raise ArrayError(
                f"mask {type(masker).__name__}", "it is not fitted and has no mask_img",
                "call its fit method with an image, or give it a mask_img",
            ) from error
        return clone(masker).fit()
    except TypeError as error:
        raise ArrayError(
            f"mask of type {type(masker).__name__}", "it is no image, path or masker",
            "give a mask image, its path, or a NiftiMasker",
        ) from error
    return masker


def _grid_of(image: nib.Nifti1Image) -> VoxelGrid:
    mask = np.asarray(image.dataobj) > 0
    if not mask.any():
        raise ArrayError("mask", "no voxel is above zero", "give another mask")
    return VoxelGrid(mask, np.asarray(image.affine, dtype=np.float64))


def read_array(data: Any, voxels: Voxels | None) -> Any:
    """Return images as an array (n_images, n_voxels), and anything else as it is.

    Raises
    ------
    ArrayError
        For images without a mask.
    """
    if not is_image(data):
        return data
    if voxels is None:
        raise ArrayError(
            "images", "the estimator does not know which voxels to read from them",
            "give mask_img, or arrays of trials by voxels",
        )
    return voxels.read(data)


def voxels_of(n_columns: int, voxels: Voxels | None) -> Voxels:
    """Return the voxels behind the columns of an array; without a mask they have no positions.

    Raises
    ------
    ArrayError
        If the mask has another number of voxels.
    """
    if voxels is None:
        return Voxels(VoxelGrid(np.ones((n_columns, 1, 1), dtype=bool), np.eye(4)))
    if voxels.grid.n_voxels != n_columns:
        raise ArrayError(
            f"array with {n_columns} columns", f"the mask has {voxels.grid.n_voxels} voxels",
            "extract the array with the same mask",
        )
    return voxels


def as_list(data: Any, is_one: bool) -> Sequence[Any]:
    """Return data of several runs as a sequence; *is_one* says that they are of one run."""
    return [data] if is_one else list(data)
