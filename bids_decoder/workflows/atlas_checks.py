"""Whether labels and responses are both in a volume, or both on the same kind of rows."""

from __future__ import annotations

import numpy as np

from bids_decoder.bids.row_labels import is_row_file
from bids_decoder.bids.series import is_volume
from bids_decoder.errors import Finding, UsageError
from bids_decoder.preprocessing.templates import OutputSpace
from bids_decoder.trials import VoxelGrid
from bids_decoder.workflows.spaces import response_grid
from bids_decoder.workflows.work import PersonWork


def has_row_labels(person: PersonWork, word: str) -> bool:
    """Return whether labels are those of vertices or grayordinates, as responses must be, too.

    Parameters
    ----------
    person : PersonWork
    word : str
        Path, or name of an atlas.

    Raises
    ------
    UsageError
        When only one of both is in a volume.
    """
    are_rows, is_file = not is_volume(person.runs[0].image_file), is_row_file(word)
    if is_file and not are_rows:
        raise UsageError(
            f"--regions {word}", "holds labels of vertices or grayordinates, and the responses "
            "are voxels of a volume",
            "give an image of labels or an atlas, or decode on surfaces (--output-spaces fsnative)",
        )
    if are_rows and not is_file:
        raise UsageError(
            f"--regions {word}", "is in a volume, and the responses are vertices or grayordinates",
            "give the path of labels of the same vertices: lh.NAME.annot, *_hemi-L_*.label.gii "
            "(the right hemisphere is found beside it), on CIFTI also NAME.dlabel.nii; or decode "
            "derivatives in a volume (--output-spaces)",
        )
    return are_rows


def check_places(person: PersonWork, space: OutputSpace) -> Finding | None:
    """Return why voxels of a participant have no place in an atlas; None where they have.

    Parameters
    ----------
    person : PersonWork
    space : OutputSpace
        Where responses of raw data are estimated.
    """
    if not is_volume(person.runs[0].image_file):
        return None
    grid = response_grid(person.participant, space)
    voxels = VoxelGrid(np.ones(grid.shape[:3], dtype=bool), grid.affine)
    if voxels.has_geometry:
        return None
    return Finding(
        f"sub-{person.label}: --regions", "the voxels have no positions in a volume (image grid "
        f"{voxels.mask.shape}), so that no region can be found in them",
        "leave the option out, or give images on the grid of the brain, or series on surfaces",
        participant=person.label,
    )
