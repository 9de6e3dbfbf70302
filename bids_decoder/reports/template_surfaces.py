"""Maps in an MNI space on the surface of an average brain."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure

from bids_decoder.reports.figures import Picture, new_figure, picture, styled
from bids_decoder.reports.volumes import Look

_SIDES = ("left", "right")
_VIEWS = ("lateral", "medial")
_FAMILY = "MNI152"
_INCHES = 2.5


def with_surface(pictures: list[Picture], which: int = 0) -> list[Picture]:
    """Add one of several maps on fsaverage5, where it is in a space of the MNI152 family.

    Parameters
    ----------
    pictures : list of Picture
        Of maps.
    which : int
        Number of the map that is drawn on surfaces.

    Returns
    -------
    list of Picture
        The same ones, and the surfaces behind them.

    Notes
    -----
    Values are means of the volume between the white and the pial surface
    (``nilearn.surface.vol_to_surf``). The surfaces are those of FreeSurfer's average brain, whose
    volume is only nearly that of the MNI templates.
    """
    if not pictures:
        return []
    volume = pictures[which].volume
    if volume is None or not volume.space.startswith(_FAMILY) or volume.look.kind == "mask":
        return pictures
    values = [_sample(volume.image(), side) for side in _SIDES]
    shown = sum(int((np.abs(part) > volume.look.threshold).sum()) for part in values)
    title = volume.look.title
    return [*pictures, picture(
        draw_surfaces(values, volume.look),
        f"{pictures[which].name}surface",
        f"{title}, sampled from the volume in {volume.space} onto fsaverage5: the left and the "
        "right hemisphere from outside and from the middle. Folds of one person are not those of "
        "the average brain; the slices are exact.",
        f"{title}: {shown} vertices coloured on inflated hemispheres.", "png",
    )]


@styled
def draw_surfaces(values: list[np.ndarray], look: Look) -> Figure:
    """Draw values of the vertices of both hemispheres, each from outside and from the middle.

    Parameters
    ----------
    values : list of ndarray, shape (n_vertices,)
        Left and right hemisphere of fsaverage5.
    look : Look
    """
    from nilearn.plotting import plot_surf_stat_map

    signed = look.kind == "signed"
    figure = new_figure(4 * _INCHES, _INCHES)
    panels = figure.subplots(1, 4, subplot_kw={"projection": "3d"})
    seen = [(number, view) for number in range(2) for view in _VIEWS]
    for axes, (number, view) in zip(panels, seen, strict=True):
        side, files = _SIDES[number], _meshes()
        plot_surf_stat_map(
            files[f"infl_{side}"], values[number], bg_map=files[f"sulc_{side}"], hemi=side,
            view=view, engine="matplotlib", cmap="coolwarm" if signed else "inferno",
            vmin=-look.limit if signed else 0.0, vmax=look.limit,
            threshold=max(look.threshold, np.finfo(np.float32).tiny), colorbar=False,
            bg_on_data=False, axes=axes, figure=figure,
        )
        axes.set_title(f"{side}, {view}", fontsize=8, fontweight="normal")
    return figure


def _sample(image: nib.Nifti1Image, side: str) -> np.ndarray:
    from nilearn.surface import vol_to_surf

    files = _meshes()
    with warnings.catch_warnings():
        # Vertices outside of the volume have no samples; they are not drawn.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        values = vol_to_surf(image, files[f"pial_{side}"], inner_mesh=files[f"white_{side}"])
    return np.nan_to_num(values)


@cache
def _meshes() -> Any:
    """Return the files of fsaverage5, which are part of nilearn."""
    from nilearn.datasets import fetch_surf_fsaverage

    return fetch_surf_fsaverage("fsaverage5")
