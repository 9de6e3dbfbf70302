"""Figures of maps on surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bids_decoder.bids.surfaces import hemisphere_names, surface_names
from bids_decoder.reports.figures import Picture, new_figure, picture, styled
from bids_decoder.reports.volumes import Look

SIDES = ("left", "right")
"""Hemispheres, in the order of the panels."""
_VIEWS = ("lateral", "medial")
_INCHES = 2.5


@dataclass(frozen=True, eq=False)
class Hemisphere:
    """A hemisphere with a map.

    Parameters
    ----------
    mesh : path, or (points, triangles)
        As nilearn takes it.
    values : ndarray, shape (n_vertices,)
    ground : path or None
        Values of the vertices that are drawn in grey, as the depth of sulci.
    """

    mesh: Any
    values: np.ndarray
    ground: Any = None


def surface_pictures(
    path: Path, name: str, title: str, *, signed: bool, threshold: float = 0.0, volume: int = 0,
    values: np.ndarray | None = None,
) -> list[Picture]:
    """Draw a map on the surfaces of both hemispheres, from the side and from the middle.

    Parameters
    ----------
    path : Path
        Image of the map; beside it is a GIFTI file of each hemisphere.
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
        One, or none where the map is empty or has no surfaces.
    """
    files = hemisphere_names(path)
    meshes = surface_names(path)
    if not all(file.is_file() for file in (*files, *meshes)):
        return []
    stored = [nib.load(file).darrays[volume].data for file in files]
    drawn = np.concatenate(stored) if values is None else values.ravel()
    halves = np.split(np.nan_to_num(drawn, posinf=0.0, neginf=0.0), [len(stored[0])])
    sizes = np.abs(np.concatenate(halves))
    sizes = sizes[sizes > threshold]
    if not len(sizes):
        return []
    limit = float(np.percentile(sizes, 99.5))
    look = Look(title, "signed" if signed else "positive", limit, threshold)
    hemispheres = [
        Hemisphere(list(nib.load(mesh).agg_data(("pointset", "triangle"))), part)
        for mesh, part in zip(meshes, halves, strict=True)
    ]
    return [picture(
        draw_surfaces(hemispheres, look), name,
        f"{title}, on the surfaces of the left and the right hemisphere, from the side and from "
        "the middle.", f"{title}: {len(sizes)} vertices coloured on surfaces.", "png",
    )]


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
