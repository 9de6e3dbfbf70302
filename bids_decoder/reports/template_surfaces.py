"""Maps in an MNI space on the surface of an average brain."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import nibabel as nib
import numpy as np

from bids_decoder.reports.figures import Picture
from bids_decoder.reports.meshes import Hemisphere
from bids_decoder.reports.surfaces import SIDES, surface_picture

_FAMILY = "MNI152"


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
    halves = [_sample(volume.image(), side) for side in SIDES]
    shown = sum(int((np.abs(half.values) > volume.look.threshold).sum()) for half in halves)
    title = volume.look.title
    return [*pictures, surface_picture(
        halves, volume.look,
        f"{pictures[which].name}surface",
        f"{title}, sampled from the volume in {volume.space} onto fsaverage5: the left and the "
        "right hemisphere from outside and from the middle. Folds of one person are not those of "
        "the average brain; the slices are exact.",
        f"{title}: {shown} vertices coloured on inflated hemispheres.",
    )]


def _sample(image: nib.Nifti1Image, side: str) -> Hemisphere:
    """Sample a volume on a hemisphere, which is drawn inflated."""
    from nilearn.surface import vol_to_surf

    files = _meshes()
    with warnings.catch_warnings():
        # Vertices outside of the volume have no samples; they are not drawn.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        values = vol_to_surf(image, files[f"pial_{side}"], inner_mesh=files[f"white_{side}"])
    return Hemisphere(files[f"infl_{side}"], np.nan_to_num(values), files[f"sulc_{side}"])


@cache
def _meshes() -> Any:
    """Return the files of fsaverage5, which are part of nilearn."""
    from nilearn.datasets import fetch_surf_fsaverage

    return fetch_surf_fsaverage("fsaverage5")
