"""The grid of joined responses, in files beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.bids.cifti import read_models, save_maps
from bids_decoder.bids.surfaces import read_meshes
from bids_decoder.errors import InputError
from bids_decoder.grids.grayordinates import Grayordinates
from bids_decoder.grids.surface import Mesh
from bids_decoder.trials import VoxelGrid

MASK, MESH, MODELS = "mask.nii.gz", "mesh.npz", "models.dscalar.nii"


def save_layout(folder: Path, meshes: Sequence[Path], series: Path | None) -> None:
    """Put into the folder of responses what their rows are, where they are no volume.

    Parameters
    ----------
    folder : Path
    meshes : sequence of Path
        Surfaces of the responses.
    series : Path or None
        CIFTI file with the same rows.

    Raises
    ------
    InputError
        When it has another number of vertices than the responses.
    """
    shape = nib.load(folder / MASK).shape
    if series is not None:
        models = read_models(series)
        if shape != (len(models), 1, 1):
            raise InputError(
                str(series), f"{len(models)} grayordinates, but the responses have {shape[0]}",
                "estimate the responses again from this series",
            )
        save_maps(folder / MODELS, np.zeros(shape), models, {})
    if not meshes:
        return
    points, triangles, n_left = read_meshes(tuple(meshes))
    if series is None and shape != (len(points), 1, 1):
        raise InputError(
            f"surface {meshes[0]}",
            f"{len(points)} vertices in both hemispheres, but the responses have {shape[0]}",
            "give the meshes on which the BOLD was sampled",
        )
    np.savez(folder / MESH, points=points, triangles=triangles, n_left=n_left)


def read_grid(folder: Path) -> VoxelGrid:
    """Return the voxels of joined responses, with their surface where there is one."""
    image = nib.load(folder / MASK)
    mesh = None
    if (folder / MESH).is_file():
        with np.load(folder / MESH) as stored:
            mesh = Mesh(stored["points"], stored["triangles"], int(stored["n_left"]))
    models = folder / MODELS
    layout = Grayordinates(read_models(models), mesh) if models.is_file() else mesh
    return VoxelGrid(np.asarray(image.dataobj) > 0, image.affine, layout)
