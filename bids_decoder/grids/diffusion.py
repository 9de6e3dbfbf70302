"""Smoothing along a mesh: diffusion from vertex to vertex.

A step moves part of each value to the neighbours on the mesh. Many steps are about a Gaussian
kernel over distances along the surface; nothing crosses between the banks of a sulcus or between
hemispheres.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_array, diags_array

from bids_decoder.grids.base import FWHM_PER_SD

LARGEST_MOVE = 0.5
"""Share of a value that a step moves at most; larger ones would oscillate."""

_PROBES = 64
_SEED = 0


class Diffusion:
    """A smoothing kernel over the used vertices of a mesh.

    Parameters
    ----------
    edges : ndarray of int, shape (n_edges, 2)
        Pairs of neighbours, each once.
    places : ndarray, shape (n_vertices, 3)
        Millimetres.
    fwhm_mm : float
        Full width at half maximum, above 0.

    Notes
    -----
    With edges of mean squared length e², a step that moves the share m adds m e² / 2 to the
    variance of the kernel along each of the two directions of the surface.
    """

    def __init__(self, edges: np.ndarray, places: np.ndarray, fwhm_mm: float) -> None:
        pairs = np.concatenate([edges, edges[:, ::-1]])
        links = csr_array(
            (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(places),) * 2
        )
        lengths = ((places[edges[:, 0]] - places[edges[:, 1]]) ** 2).sum(axis=1)
        wanted = 2 * (fwhm_mm / FWHM_PER_SD) ** 2 / float(lengths.mean() if len(edges) else 1.0)
        self.n_steps = max(1, math.ceil(wanted / LARGEST_MOVE))
        degree = np.maximum(links.sum(axis=1), 1)
        share = min(wanted / self.n_steps, LARGEST_MOVE)
        # A vertex without used neighbours keeps its value.
        move = np.where(links.sum(axis=1) > 0, share, 0.0)
        step = (diags_array(1 - move) + diags_array(move / degree) @ links).tocsr()
        self._step, self._back = (
            {kind: one.astype(kind) for kind in ("f4", "f8")} for one in (step, step.T.tocsr())
        )

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """Average values, (..., n_vertices), over neighbourhoods; constants stay as they are.

        In single precision where values are.
        """
        return self._apply(self._step, values)

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """Apply the transpose of :meth:`smooth`."""
        return self._apply(self._back, values)

    def _apply(self, steps: dict[str, csr_array], values: np.ndarray) -> np.ndarray:
        kind = "f4" if values.dtype == np.float32 else "f8"
        columns = np.ascontiguousarray(values.astype(kind, copy=False).T)
        for _ in range(self.n_steps):
            columns = steps[kind] @ columns
        return columns.T

    def spread(self) -> np.ndarray:
        """Estimate the standard deviation of smoothed white noise at each vertex, (n_vertices,).

        From random signs, the same in each call; the relative error is about 9 %.
        """
        n_vertices = self._step["f8"].shape[0]
        signs = np.random.default_rng(_SEED).choice([-1.0, 1.0], (_PROBES, n_vertices))
        return np.sqrt((self.smooth(signs) ** 2).mean(axis=0))
