"""Threshold-free cluster enhancement of maps [1]_.

References
----------
.. [1] Smith and Nichols (2009), Threshold-free cluster enhancement: addressing problems of
   smoothing, threshold dependence and localisation in cluster inference, NeuroImage 44:83.
"""

from __future__ import annotations

import numpy as np

from bids_decoder.trials import VoxelGrid

EXTENT, HEIGHT = 0.5, 2.0
"""Powers of the extent and of the height of a cluster, as proposed [1]_."""

STEP = 0.1
"""Step between thresholds, in standard errors."""

_SLACK = 1e-4
"""Scores of few values lie on thresholds; rounding must not decide on which side."""


def enhance_clusters(values: np.ndarray, grid: VoxelGrid, step: float = STEP) -> np.ndarray:
    """Compute the TFCE of the positive part of a map.

    Parameters
    ----------
    values : ndarray, shape (n_voxels,)
        In standard errors. Voxels that share a face are neighbours, or vertices that share an
        edge.
    grid : VoxelGrid
    step : float
        The same for all maps that are compared with each other.

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        Sum over thresholds *h* of ``extent(h) ** 0.5 * h ** 2 * step``; 0 where the map is not
        positive. Extents are numbers of voxels, or of vertices.
    """
    values, clusters_of = np.asarray(values, dtype=np.float64), grid.geometry.clusters
    enhanced = np.zeros(values.shape)
    for number in range(1, int((values.max(initial=0.0) + _SLACK) / step) + 1):
        clusters = clusters_of(values >= number * step - _SLACK)
        extents = np.bincount(clusters).astype(np.float64)
        extents[0] = 0
        enhanced += (extents**EXTENT * ((number * step) ** HEIGHT * step))[clusters]
    return enhanced
