"""Figures of maps on surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bids_decoder.bids.cifti import SPACE, VOLUME_SPACE
from bids_decoder.bids.map_files import read_layout_of_map
from bids_decoder.bids.names import parse_entities
from bids_decoder.grids.grayordinates import Grayordinates
from bids_decoder.reports.drawing import COLUMNS, draw_map
from bids_decoder.reports.figures import Picture, new_figure, picture, styled
from bids_decoder.reports.geometry import (
    Underlay,
    choose_slices,
    cut,
    name_underlay,
    template_underlay,
)
from bids_decoder.reports.meshes import Hemisphere, mesh_map
from bids_decoder.reports.packed import Look
from bids_decoder.trials import Layout

SIDES = ("left", "right")
"""Hemispheres, in the order of the panels."""
_VIEWS = ("lateral", "medial")
_INCHES = 2.5


def row_pictures(
    path: Path, name: str, title: str, *, signed: bool, threshold: float = 0.0, volume: int = 0,
    values: np.ndarray | None = None,
) -> list[Picture]:
    """Draw a map on the surfaces of both hemispheres, and on slices what is below them.

    Parameters
    ----------
    path : Path
        Image of the map; beside it are GIFTI files, or one of CIFTI.
    name, title : str
        Of the picture.
    signed : bool
        Two-sided scale, otherwise from 0.
    threshold : float
        Smaller absolute values are not drawn.
    volume : int
        Number of the map in the files.
    values : ndarray, shape (n_vertices, 1, 1), optional
        Drawn instead of those in the files.

    Returns
    -------
    list of Picture
        None where the map is empty, or nothing is known of its rows.
    """
    layout = read_layout_of_map(path)
    stored = _values(path, volume) if values is None else values.ravel()
    stored = np.nan_to_num(stored, posinf=0.0, neginf=0.0)
    sizes = np.abs(stored[np.abs(stored) > threshold])
    if layout is None or not len(sizes):
        return []
    limit = float(np.percentile(sizes, 99.5))
    look = Look(title, "signed" if signed else "positive", limit, threshold)
    drawn = [] if layout.mesh is None else [_on_mesh(layout, stored, name, look)]
    if isinstance(layout, Grayordinates) and layout.is_voxel.any():
        is_average = parse_entities(path).get("space") == SPACE
        under = template_underlay(VOLUME_SPACE) if is_average else None
        drawn += _on_slices(layout, stored, f"{name}volume", look, under)
    return drawn


def _on_mesh(layout: Layout, values: np.ndarray, name: str, look: Look) -> Picture:
    on_mesh = layout.to_vertices(values)
    halves = [
        Hemisphere([points, triangles], part) for (points, triangles), part in
        zip(layout.mesh.halves, np.split(on_mesh, [layout.mesh.n_left]), strict=True)
    ]
    shown = int((np.abs(on_mesh) > look.threshold).sum())
    return surface_picture(
        halves, look, name,
        f"{look.title}, on the surfaces of the left and the right hemisphere, from the side and "
        "from the middle.", f"{look.title}: {shown} vertices coloured on surfaces.",
    )


def _on_slices(
    layout: Grayordinates, values: np.ndarray, name: str, look: Look, under: Underlay | None
) -> list[Picture]:
    volume = layout.to_volume(values).astype(np.float32)
    shown = np.abs(volume) > look.threshold
    if not shown.any():
        return []
    image = nib.Nifti1Image(np.where(shown, volume, np.nan), layout.models.affine)
    slices = cut(image, choose_slices(shown, 2 * COLUMNS), under)
    return [picture(
        draw_map(slices, look.limit, signed=look.kind == "signed"), name,
        f"{look.title}, in the voxels below the cortex, on {name_underlay(under)}.",
        f"{look.title}: {int(shown.sum())} voxels coloured on slices.", "png",
    )]


def _values(path: Path, volume: int) -> np.ndarray:
    data = np.asanyarray(nib.load(path).dataobj, dtype=np.float32)
    return data.reshape(len(data), -1)[:, volume]


def surface_picture(
    hemispheres: Sequence[Hemisphere], look: Look, name: str, caption: str, alt: str
) -> Picture:
    """Draw a map on both hemispheres, and pack it for the surface viewer.

    Parameters
    ----------
    hemispheres : sequence of Hemisphere
        Left and right.
    look : Look
    name, caption, alt : str
        See :class:`~bids_decoder.reports.figures.Picture`.
    """
    drawn = picture(draw_surfaces(hemispheres, look), name, caption, alt, "png")
    return replace(drawn, mesh=mesh_map(hemispheres, look))


@styled
def draw_surfaces(hemispheres: Sequence[Hemisphere], look: Look) -> Figure:
    """Draw a map on both hemispheres, each from the side and from the middle.

    Parameters
    ----------
    hemispheres : sequence of Hemisphere
        Left and right.
    look : Look
        Values whose size is not above its threshold are not drawn.
    """
    from nilearn.plotting import plot_surf_stat_map

    low, colours = (-look.limit, "coolwarm") if look.kind == "signed" else (0.0, "inferno")
    figure = new_figure(4 * _INCHES + 0.6, _INCHES)
    panels = figure.subplots(1, 4, subplot_kw={"projection": "3d"})
    seen = [(side, half, view) for side, half in zip(SIDES, hemispheres, strict=True)
            for view in _VIEWS]
    for axes, (side, half, view) in zip(panels, seen, strict=True):
        shown = np.where(np.abs(half.values) > look.threshold, half.values, 0.0)
        plot_surf_stat_map(
            half.mesh, shown, bg_map=half.ground, hemi=side, view=view, engine="matplotlib",
            cmap=colours, vmin=low, vmax=look.limit, threshold=np.finfo(np.float32).tiny,
            colorbar=False, bg_on_data=False, axes=axes, figure=figure,
        )
        axes.set_title(f"{side}, {view}", fontsize=8, fontweight="normal")
    scale = ScalarMappable(Normalize(low, look.limit), colours)
    bar = figure.colorbar(scale, ax=list(panels), aspect=20, fraction=0.02, pad=0.01, shrink=0.8)
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)
    return figure
