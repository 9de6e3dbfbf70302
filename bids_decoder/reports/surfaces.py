"""Figures of maps on surfaces."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bids_decoder.bids.names import derivative_path, parse_entities
from bids_decoder.bids.surfaces import hemisphere_names
from bids_decoder.reports.figures import Picture, picture

_SIDES = (("L", "left"), ("R", "right"))
_VIEWS = ("lateral", "medial")
_INCHES = 2.4


def surface_pictures(
    path: Path, name: str, title: str, *, signed: bool, threshold: float = 0.0, volume: int = 0
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

    Returns
    -------
    list of Picture
        One, or none where the map is empty or has no surfaces.
    """
    sides = hemisphere_names(path)
    meshes = [_mesh_of(path, side) for side, _ in _SIDES]
    if not all(file.is_file() for file in (*sides, *meshes)):
        return []
    values = [
        np.nan_to_num(nib.load(side).darrays[volume].data, posinf=0.0, neginf=0.0)
        for side in sides
    ]
    shown = [np.where(np.abs(part) > threshold, part, 0.0) for part in values]
    if not any(part.any() for part in shown):
        return []
    limit = float(np.percentile(np.abs(np.concatenate(shown)[np.concatenate(shown) != 0]), 99.5))
    figure = Figure(figsize=(2 * len(_VIEWS) * _INCHES, _INCHES))
    for row, (part, mesh) in enumerate(zip(shown, meshes, strict=True)):
        for column, view in enumerate(_VIEWS):
            axes = figure.add_subplot(
                1, 4, 1 + 2 * row + column, projection="3d"
            )
            _draw(axes, mesh, part, (_SIDES[row][1], view), limit, signed=signed)
    count = sum(int((part != 0).sum()) for part in shown)
    return [picture(
        figure, name, f"{title}, on the surfaces of the left and the right hemisphere, from the "
        "side and from the middle.", f"{title}: {count} vertices coloured on surfaces.", "png",
    )]


def _mesh_of(path: Path, side: str) -> Path:
    entities = {k: v for k, v in parse_entities(path).items() if k in ("sub", "space", "cohort")}
    # The map is in <top>/sub-<label>/func.
    return derivative_path(path.parents[2], "midthickness", hemi=side, **entities)


def _draw(
    axes: Axes, mesh: Path, values: np.ndarray, seen: tuple[str, str], limit: float, *,
    signed: bool,
) -> None:
    from nilearn.plotting import plot_surf_stat_map

    hemisphere, view = seen
    points, triangles = nib.load(mesh).agg_data(("pointset", "triangle"))
    plot_surf_stat_map(
        [points, triangles], values, hemi=hemisphere, view=view, engine="matplotlib",
        cmap="RdBu_r" if signed else "viridis", vmin=-limit if signed else 0.0, vmax=limit,
        threshold=np.finfo(np.float32).tiny, colorbar=False, axes=axes, figure=axes.figure,
    )
    axes.set_title(f"{hemisphere}, {view}", fontsize=8)
