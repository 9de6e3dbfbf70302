"""The grid of images in an output space, known before they are made."""

from __future__ import annotations

import math

from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.images import read_header
from bids_decoder.preprocessing.resampling import Grid
from bids_decoder.preprocessing.templates import OutputSpace


def response_grid(participant: Participant, space: OutputSpace) -> Grid:
    """Return the grid on which images of a participant are or will be.

    Parameters
    ----------
    participant : Participant
    space : OutputSpace
        Of raw runs; derivatives are on their own grid, which is what ``func`` gives.

    Returns
    -------
    Grid
    """
    if space.is_template:
        return space.grid
    header = participant.runs[0].header
    bold = Grid(header.shape[:3], header.affine)
    if space.name == "T1w":
        t1w = read_header(participant.t1w_files[0])
        return Grid(t1w.shape[:3], t1w.affine).as_fine_as(bold)
    return bold


def n_grid_voxels(participant: Participant, space: OutputSpace) -> int:
    """Count the voxels of :func:`response_grid`, inside the brain or not."""
    return math.prod(response_grid(participant, space).shape)
