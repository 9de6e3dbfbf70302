"""Underlays and slices of maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_decoder.bids.names import parse_entities
from bids_decoder.errors import BidsDecoderError
from bids_decoder.preprocessing.registration import read_matrix
from bids_decoder.preprocessing.templates import PACKAGED, OutputSpace, load_template
from bids_decoder.reports.results import Results
from bids_decoder.trials import VoxelGrid

NATIVE = (None, "func", "boldref")
"""Values of ``space`` that mean the grid of the BOLD runs."""

_FINE_MM = 1.2
_BRIGHT = 0.3
_SLIVER = 0.05


@dataclass(frozen=True, eq=False)
class Underlay:
    """The image that a map is drawn on.

    Parameters
    ----------
    image : SpatialImage
    to_image : ndarray, shape (4, 4)
        Millimetres (RAS) of the map to millimetres of *image*.
    label : str
        Description for the caption.
    """

    image: nib.spatialimages.SpatialImage
    to_image: np.ndarray
    label: str

    @cached_property
    def brightness(self) -> np.ndarray:
        """Return the voxels from 0 (dark) to 1 (bright)."""
        data = np.nan_to_num(np.asanyarray(self.image.dataobj, dtype=np.float32))
        positive = data[data > 0]
        low, high = np.percentile(positive, [1, 99.5]) if positive.size else (0.0, 1.0)
        low = low if low < high else 0.0  # A mask has one value.
        return np.clip((data - low) / max(high - low, 1e-9), 0, 1)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the brightness at points of the map, by linear interpolation.

        Parameters
        ----------
        points : ndarray, shape (..., 3)
            Millimetres of the map.

        Returns
        -------
        ndarray, shape (...)
            0 outside of the image.
        """
        to_voxels = np.linalg.inv(self.image.affine) @ self.to_image
        places = np.moveaxis(nib.affines.apply_affine(to_voxels, points), -1, 0)
        # Not "constant": that is black for a first slice at -1e-16 by rounding.
        return ndimage.map_coordinates(self.brightness, places, order=1, mode="grid-constant")

    def sample(self, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the brightness on a grid.

        Parameters
        ----------
        affine : ndarray, shape (4, 4)
            Voxels of the grid to millimetres of the map.
        shape : tuple of int
        """
        return self.at(nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1)))


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice through a volume, ready for ``imshow``.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        Overlay on its own voxels; first row at the bottom.
    under : ndarray, shape (fine rows, fine columns)
        Underlay on a finer grid over the same field.
    size : tuple of float
        Width and height in millimetres.
    label : str
        Position of the slice in world millimetres.
    """

    values: np.ndarray
    under: np.ndarray
    size: tuple[float, float]
    label: str

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Return left, right, bottom and top in millimetres."""
        return (0.0, self.size[0], 0.0, self.size[1])


def has_geometry(image: nib.spatialimages.SpatialImage) -> bool:
    """Return whether voxels have known positions; see ``VoxelGrid.has_geometry``."""
    return VoxelGrid(np.ones(image.shape[:3], bool), image.affine).has_geometry


def load(path: Path, volume: int = 0) -> nib.Nifti1Image:
    """Load an image in the nearest RAS order; of 4-D images the given volume."""
    image = nib.as_closest_canonical(nib.load(path))
    return nib.funcs.four_to_three(image)[volume] if len(image.shape) > 3 else image


def bold_to_t1w(results: Results) -> np.ndarray | None:
    """Return the matrix from points of the BOLD reference to points of the T1w image.

    Returns
    -------
    ndarray, shape (4, 4), or None
        None when the participant has no such transform on disk.

    Notes
    -----
    A file ``from-X_to-Y`` maps points of Y to points of X.
    """
    for path in results.files("bold_xfm"):
        entities = parse_entities(path)
        if entities.get("to") == "T1w":
            return np.linalg.inv(read_matrix(path))
        if entities.get("from") == "T1w":
            return read_matrix(path)
    return None


def underlay_for(path: Path, results: Results) -> Underlay | None:
    """Choose the underlay of a map.

    Parameters
    ----------
    path : Path
        The map; its ``space`` entity is its space, none means the BOLD grid.
    results : Results

    Returns
    -------
    Underlay or None
        The T1w image where it is on disk in the space of the map, or the map is registered to
        it; else the BOLD reference of the same space; else the template of that space, or another
        one of the MNI152 family; else None.
    """
    space = parse_entities(path).get("space")
    native = space in NATIVE
    matrix = bold_to_t1w(results) if native else np.eye(4)
    anatomy = t1w_in(results, "T1w" if native else space)
    if anatomy is not None and matrix is not None:
        where = "" if native or space == "T1w" else f" in {space} space"
        return Underlay(load(anatomy), matrix, f"the T1w image{where}")
    references = boldrefs(results, NATIVE if space in NATIVE else (space,))
    if references:
        return Underlay(load(references[0]), np.eye(4), "the BOLD reference")
    return template_underlay(space, parse_entities(path).get("res"))


def name_underlay(underlay: Underlay | None) -> str:
    """Return what a map is drawn on, for captions."""
    return underlay.label if underlay else "a black ground (no reference image is on disk)"


def template_underlay(space: str | None, resolution: str | None = None) -> Underlay | None:
    """Return the brain of a template as an underlay; None where there is no such template.

    Parameters
    ----------
    space : str or None
        Of the map. Another template of the MNI152 family stands for one that is not installed.
    resolution : str, optional
        Of the template.
    """
    if space in (*NATIVE, "T1w") or space is None:
        return None
    for name in (space, *([PACKAGED] if space.startswith("MNI152") else [])):
        numbered = int(resolution) if name == space and str(resolution).isdigit() else None
        try:
            brain = load_template(OutputSpace(name, numbered or 2))
        except BidsDecoderError:
            continue  # It is not installed: maps are drawn without it as well.
        image = nib.Nifti1Image(brain.volume * brain.mask, brain.affine)
        return Underlay(nib.as_closest_canonical(image), np.eye(4), f"the template {name}")
    return None


def t1w_in(results: Results, space: str = "T1w") -> Path | None:
    """Find the T1w image in its own space, which has no entity, or in a template's."""
    paths = results.files("preproc_T1w")
    return next((p for p in paths if parse_entities(p).get("space", "T1w") == space), None)


def boldrefs(results: Results, spaces: tuple[str | None, ...]) -> list[Path]:
    """Find the boldrefs in one of *spaces*."""
    return [p for p in results.files("boldref") if parse_entities(p).get("space") in spaces]


def slice_axis(shape: tuple[int, ...]) -> int:
    """Choose the slice axis: axial, or across a thin slab.

    Examples
    --------
    >>> slice_axis((64, 64, 30)), slice_axis((40, 20, 1)), slice_axis((2, 60, 60))
    (2, 2, 0)
    """
    thinnest = int(np.argmin(shape[:3]))
    return thinnest if shape[thinnest] <= 4 else 2


def bright_voxels(bold: nib.Nifti1Image) -> np.ndarray:
    """Mark the bright part of a BOLD reference, which stands for the brain where no mask is known.

    Parameters
    ----------
    bold : Nifti1Image

    Returns
    -------
    ndarray of float32, shape (i, j, k)
        1 above :data:`_BRIGHT` times the 98th percentile, else 0.
    """
    data = np.asanyarray(bold.dataobj, dtype=np.float32)
    return (data > _BRIGHT * np.percentile(data, 98)).astype(np.float32)


def choose_slices(mask: np.ndarray, n_slices: int) -> np.ndarray:
    """Choose slices that show a mask, spread evenly over those with voxels of it.

    Parameters
    ----------
    mask : ndarray of bool, shape (i, j, k)
    n_slices : int
        Largest number of slices.

    Returns
    -------
    ndarray of int
        Slice numbers along :func:`slice_axis`, rising; empty for an empty mask. Slices with less
        than a twentieth of the voxels of the fullest one are omitted.
    """
    axis = slice_axis(mask.shape)
    others = tuple(a for a in range(3) if a != axis)
    counts = mask.sum(axis=others)
    touched = np.flatnonzero((counts > 0) & (counts >= _SLIVER * counts.max()))
    picked = np.linspace(0, len(touched) - 1, min(n_slices, len(touched))).round().astype(int)
    return touched[picked]


def cut(
    image: nib.spatialimages.SpatialImage, numbers: np.ndarray, underlay: Underlay | None
) -> list[Slice]:
    """Cut slices from a map and from its underlay.

    Parameters
    ----------
    image : SpatialImage, 3-D
        In RAS order (:func:`load`).
    numbers : ndarray of int
        Slice numbers along :func:`slice_axis`.
    underlay : Underlay or None
        None for a black background.
    """
    data = np.asanyarray(image.dataobj, dtype=np.float32)
    axis = slice_axis(data.shape)
    across, up = (a for a in range(3) if a != axis)
    sizes = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
    field = (float(data.shape[across] * sizes[across]), float(data.shape[up] * sizes[up]))
    slices = []
    for number in numbers:
        under = np.zeros((1, 1), np.float32)
        if underlay is not None:
            under = _plane(underlay, image, (across, up, axis), int(number), sizes)
        middle = (np.array(data.shape[:3]) - 1) / 2
        middle[axis] = number
        world = nib.affines.apply_affine(image.affine, middle)
        slices.append(
            Slice(
                np.take(data, number, axis=axis).T, under, field,
                f"{'xyz'[axis]} = {world[axis]:.0f} mm",
            )
        )
    return slices


def _plane(
    underlay: Underlay, image: nib.spatialimages.SpatialImage, axes: tuple[int, int, int],
    number: int, sizes: np.ndarray,
) -> np.ndarray:
    """Sample an underlay on a plane of another image."""
    across, up, axis = axes
    n_fine = [max(1, round(image.shape[a] * sizes[a] / _FINE_MM)) for a in (across, up)]
    # Centres of fine pixels in voxels of the map, whose edges are at -0.5 and n - 0.5.
    columns, rows = (
        (np.arange(n) + 0.5) * image.shape[a] / n - 0.5
        for n, a in zip(n_fine, (across, up), strict=True)
    )
    points = np.empty((len(rows), len(columns), 3))
    points[..., across], points[..., up] = columns[None, :], rows[:, None]
    points[..., axis] = number
    return underlay.at(nib.affines.apply_affine(image.affine, points))
