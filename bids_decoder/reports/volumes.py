"""Maps as volumes in a page, which the slice viewer cuts where the reader points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_decoder.agreement import same_grid
from bids_decoder.bids.names import parse_entities
from bids_decoder.reports.geometry import Underlay, load
from bids_decoder.reports.packed import Look, Packed, pack, quantise, span_of, unpack
from bids_decoder.reports.results import Results

MOST_BYTES = 300_000
"""Characters of one packed volume; a map and its background have twice as many."""
_GROUND_MM = (2.0, 2.5, 3.0, 4.0, 6.0)
_MARGIN = 2
"""Voxels around the brain."""


@dataclass(frozen=True)
class MapVolume:
    """A map and its background, cropped to the brain.

    Parameters
    ----------
    look : Look
    values : Packed
        0 where there is no value; 1 to 255 are values from *span*'s first to its last, which are
        at most twice the limit of the colour scale.
    span : tuple of float
    affine : tuple of tuple of float
        Voxels to millimetres.
    space : str
        What the millimetres are of, in words.
    ground : Packed or None
        Brightness over the same field, on voxels of its own.
    step : int
        Every *step*-th voxel of the map is kept in each direction.
    peak : tuple of int
        The voxel with the largest value; of several, as in a mask, the one nearest to their middle.
    clipped : bool
        Whether values are beyond *span*.
    """

    look: Look
    values: Packed
    span: tuple[float, float]
    affine: tuple[tuple[float, ...], ...]
    space: str
    ground: Packed | None
    step: int
    peak: tuple[int, ...]
    clipped: bool
    viewer = "slices"

    @property
    def shared(self) -> tuple[Packed, ...]:
        """Return the background."""
        return () if self.ground is None else (self.ground,)

    @property
    def card(self) -> dict[str, Any]:
        """Return all that the viewer has to know beside the voxels."""
        return {
            **self.look.card, "shape": self.values.shape, "span": self.span, "affine": self.affine,
            "space": self.space, "ground": None if self.ground is None else self.ground.key,
            "groundShape": None if self.ground is None else self.ground.shape,
            "step": self.step, "peak": self.peak, "clipped": self.clipped,
        }

    def image(self) -> nib.Nifti1Image:
        """Return the map as it is shown, with the 254 steps of its values; 0 where it has none."""
        voxels = unpack(self.values)
        low, high = self.span
        values = low + (voxels.astype(np.float32) - 1) / 254 * (high - low)
        affine = np.vstack([self.affine, [0, 0, 0, 1]])
        return nib.Nifti1Image(np.where(voxels == 0, 0, values).astype(np.float32), affine)


def map_volume(
    path: Path, results: Results, image: nib.Nifti1Image, under: Underlay | None, look: Look
) -> MapVolume:
    """Pack a map and its background.

    Parameters
    ----------
    path : Path
        The map, for the space in its name.
    results : Results
        Of the participant whose brain mask tells where to crop.
    image : Nifti1Image, 3-D
        In RAS order (:func:`~.geometry.load`); voxels that are 0 or not finite have no value.
    under : Underlay or None
    look : Look
    """
    data = np.nan_to_num(np.asanyarray(image.dataobj, dtype=np.float32), posinf=0.0, neginf=0.0)
    box = _box(_brain(image, results) | (data != 0))
    inside, start = data[box], np.array([side.start for side in box])
    span = span_of(inside, look)
    for step in range(1, max(inside.shape) + 1):
        shown = inside[::step, ::step, ::step]
        voxels = pack(quantise(shown, span))
        if len(voxels.text) <= MOST_BYTES:
            break
    # Each voxel that is kept stands for the block that starts with it.
    affine = image.affine @ _blocks(start, step)
    space = parse_entities(path).get("space") or "the BOLD reference"
    ground = None if under is None else _ground(under, affine, np.array(voxels.shape))
    return MapVolume(
        look, voxels, span, tuple(tuple(round(float(x), 5) for x in row) for row in affine[:3]),
        space, ground, step, _peak(shown), bool(np.abs(shown).max() > span[1]),
    )


def _brain(image: nib.Nifti1Image, results: Results) -> np.ndarray:
    """Return the brain mask on the grid of a map; nothing where no mask has this grid."""
    for path in (*results.files("bold_mask"), *results.files("glm_mask")):
        mask = load(path)
        if same_grid((mask.shape, mask.affine), (image.shape, image.affine)):
            return np.asanyarray(mask.dataobj) > 0
    return np.zeros(image.shape, bool)


def _box(where: np.ndarray) -> tuple[slice, ...]:
    sides = []
    for axis, size in enumerate(where.shape):
        others = tuple(a for a in range(3) if a != axis)
        touched = np.flatnonzero(where.any(axis=others))
        first, last = (touched[0], touched[-1]) if len(touched) else (0, size - 1)
        sides.append(slice(int(max(0, first - _MARGIN)), int(min(size, last + _MARGIN + 1))))
    return tuple(sides)


def _peak(data: np.ndarray) -> tuple[int, ...]:
    sizes = np.abs(data)
    places = np.argwhere(sizes == sizes.max())
    far = np.linalg.norm(places - places.mean(axis=0), axis=1)
    return tuple(places[far.argmin()].tolist())


def _blocks(start: Sequence[int] | np.ndarray, step: int) -> np.ndarray:
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = start
    return affine


def _ground(under: Underlay, affine: np.ndarray, shape: np.ndarray) -> Packed:
    """Sample the underlay over the field of a map, as finely as there is room for."""
    field = shape * np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    for size in _GROUND_MM:
        n_fine = np.maximum(1, np.rint(field / size)).astype(int)
        fine = np.diag([*(shape / n_fine), 1.0])
        fine[:3, 3] = (shape / n_fine - 1) / 2
        values = under.sample(affine @ fine, tuple(n_fine))
        # 64 grey values need three quarters of the room of 256 and look the same.
        packed = pack((np.rint(63 * np.clip(values, 0, 1)) * 4).astype(np.uint8))
        if len(packed.text) <= MOST_BYTES:
            break
    return packed
