"""Regions of interest from images of labels, on the voxels of a participant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.trials import VoxelGrid

MIN_VOXELS = 10
"""Regions with fewer voxels are left out: their patterns tell next to nothing."""

_EXACT = 1 << 24
"""Interpolation computes in single precision, in which larger whole numbers are not exact."""


@dataclass(frozen=True, eq=False)
class Region:
    """A named set of voxels.

    Parameters
    ----------
    name : str
        Unique among the regions of a participant.
    atlas : str
        The file or atlas that it comes from.
    label : int
        Its number there.
    voxels : ndarray of int, shape (n_voxels,)
        Voxel numbers in the :class:`~bids_decoder.trials.VoxelGrid` of the participant, in order.
    """

    name: str
    atlas: str
    label: int
    voxels: np.ndarray


def resample_labels(
    labels: np.ndarray, affine: np.ndarray, grid: Grid, points: np.ndarray | None = None
) -> np.ndarray:
    """Resample an image of labels to another grid, each voxel from the nearest one.

    Parameters
    ----------
    labels : ndarray of int, shape (i, j, k)
        0 is background.
    affine : ndarray, shape (4, 4)
    grid : Grid
    points : ndarray, shape (n_voxels, 3), or None
        Positions of the voxels of *grid* in the space of the labels, in mm
        (:func:`.registration.chained_points`); None where both are in the same space.

    Returns
    -------
    ndarray of int64, grid.shape
        0 outside the field of view.
    """
    if np.abs(labels).max(initial=0) < _EXACT:
        return resample_volume(labels, affine, grid, points=points, order=0)
    values = np.unique(labels[labels != 0])
    codes = np.where(labels != 0, np.searchsorted(values, labels) + 1, 0).astype(np.int32)
    found = resample_volume(codes, affine, grid, points=points, order=0)
    return np.concatenate([[0], values]).astype(np.int64)[found]


def find_regions(
    labels: np.ndarray, names: Mapping[int, str], atlas: str, grid: VoxelGrid,
    background: int = 0,
) -> list[Region]:
    """Collect the voxels of each label.

    Parameters
    ----------
    labels : ndarray of int, shape (i, j, k)
        On the grid of the voxels (:func:`resample_labels`).
    names : mapping of int to str
        Of labels; one without a name is called by its number.
    atlas : str
    grid : VoxelGrid
    background : int
        Label that is no region.

    Returns
    -------
    list of Region
        In the order of their numbers, also those of few voxels; labels without any are absent.
    """
    found = labels[grid.mask]
    order = np.argsort(found, kind="stable")
    values, starts = np.unique(found[order], return_index=True)
    return [
        Region(names.get(int(value), str(value)), atlas, int(value), voxels)
        for value, voxels in zip(values, np.split(order, starts[1:]), strict=True)
        if value != background
    ]


def name_regions(regions: Sequence[Region]) -> list[Region]:
    """Return the regions with unique names: those that occur again get atlas, label or a number."""
    names = [region.name for region in regions]
    for more in (
        lambda region, _: f" ({region.atlas})", lambda region, _: f" {region.label}",
        lambda _, number: f" #{number}",
    ):
        counts = Counter(names)
        names = [
            f"{name}{more(region, number)}" if counts[name] > 1 else name
            for number, (region, name) in enumerate(zip(regions, names, strict=True), start=1)
        ]
    return [replace(region, name=name) for region, name in zip(regions, names, strict=True)]


def split_regions(regions: Sequence[Region]) -> tuple[list[Region], list[Region]]:
    """Split regions into those with enough voxels and those that are left out."""
    large = [region for region in regions if len(region.voxels) >= MIN_VOXELS]
    return large, [region for region in regions if len(region.voxels) < MIN_VOXELS]
