"""Average of several structural images of one head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_decoder.preprocessing.registration import Picture, register_rigid
from bids_decoder.preprocessing.resampling import Grid, resample_volume


def average_heads(pictures: Sequence[Picture]) -> tuple[np.ndarray, list[float]]:
    """Align images of one contrast rigidly to the first one, and average them there.

    Parameters
    ----------
    pictures : sequence of Picture
        With brain masks; bias field removed.

    Returns
    -------
    average : ndarray of float32, shape of the first image
        Median of the images that cover a voxel, which is the mean of two; each image is first
        divided by its median in the brain. The brightness is that of the first image.
    agreement : list of float
        Correlation of each further image with the first in the brain, after alignment.
    """
    first = pictures[0]
    grid = Grid(first.volume.shape, first.affine)
    level = float(np.median(first.volume[first.mask]))
    images, agreement = [first.volume / level], []
    for other in pictures[1:]:
        matrix = register_rigid(first, other, "correlation")
        moved, covered = (
            resample_volume(values, other.affine, grid, matrix, order=order)
            for values, order in ((other.volume, 3), (np.ones(other.volume.shape, np.uint8), 0))
        )
        moved = np.clip(moved, 0, None) / float(np.median(other.volume[other.mask]))
        both = first.mask & (covered > 0)
        agreement.append(float(np.corrcoef(moved[both], first.volume[both])[0, 1]))
        images.append(np.where(covered > 0, moved, np.nan))
    # Plane by plane: the median of all voxels at once would take several times the memory.
    median = [np.nanmedian([image[i] for image in images], axis=0) for i in range(grid.shape[0])]
    return (np.stack(median) * level).astype(np.float32), agreement
