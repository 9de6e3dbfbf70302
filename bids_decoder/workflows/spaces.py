"""How large images are in an output space, known before they are made."""

from __future__ import annotations

import math

import numpy as np

from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.images import read_header
from bids_decoder.preprocessing.resampling import Grid
from bids_decoder.preprocessing.templates import OutputSpace, template_shape


def n_grid_voxels(participant: Participant, space: OutputSpace) -> int:
    """Count the voxels of the grid on which images of a person are, inside the brain or not.

    Parameters
    ----------
    participant : Participant
    space : OutputSpace
        Of raw runs; derivatives are on their own grid, which is what ``func`` gives.

    Returns
    -------
    int
    """
    if space.is_template:
        return math.prod(template_shape(space))
    bold = read_header(participant.runs[0].image_file)
    if space.name == "T1w":
        t1w = read_header(participant.t1w_files[0])
        grid = Grid(t1w.shape[:3], t1w.affine).with_voxel_sizes(np.array(bold.voxel_sizes))
        return math.prod(grid.shape)
    return math.prod(bold.shape[:3])
