"""Whether labels and responses are both in a volume, or both on the same kind of rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bids_decoder.bids.atlases import SEGMENTATIONS, find_templates
from bids_decoder.bids.label_files import read_labels
from bids_decoder.bids.row_labels import describe_row_file, is_row_file, read_row_labels
from bids_decoder.bids.series import is_volume
from bids_decoder.errors import BidsDecoderError, Finding, UsageError
from bids_decoder.preprocessing.templates import OutputSpace
from bids_decoder.trials import VoxelGrid
from bids_decoder.workflows.spaces import response_grid
from bids_decoder.workflows.work import PersonWork

PARTICIPANT = "{participant}"
"""Part of the path of a label file that stands for the label of the participant."""


def is_path(word: str) -> bool:
    """Return whether a word of ``--regions`` is the path of a file, not a name."""
    return "/" in word or word.endswith((".nii", ".nii.gz"))


def check_words(words: Sequence[str]) -> list[Finding]:
    """Find atlases that are unknown, and label files that cannot be read, whoever takes part.

    Parameters
    ----------
    words : sequence of str
        Of ``--regions``. Segmentations, and files of each participant, are not looked for.
    """
    findings = []
    for word in words:
        try:
            if PARTICIPANT in word or word in SEGMENTATIONS:
                continue
            if is_row_file(word):
                read_row_labels(describe_row_file(Path(word)))
            elif is_path(word):
                read_labels(Path(word))
            else:
                find_templates(word)
        except BidsDecoderError as error:
            findings.append(error.finding)
    return findings


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


def check_positions(person: PersonWork, space: OutputSpace) -> Finding | None:
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
