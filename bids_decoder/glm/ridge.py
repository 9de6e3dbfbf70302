"""Fractional ridge regression, parametrised by the relative length of the weights.

Method: Rokem & Kay 2020, GigaScience 9:giaa133; implemented with one singular value
decomposition per design, for all voxels together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_PENALTIES = 60
SMALL = 1e-6


@dataclass(frozen=True, eq=False)
class RidgePath:
    """Singular value decomposition of a design, for all fractions.

    Parameters
    ----------
    u : ndarray of float32, shape (n_scans, rank)
    s : ndarray of float64, shape (rank,)
    vt : ndarray of float32, shape (rank, n_trials)
    """

    u: np.ndarray
    s: np.ndarray
    vt: np.ndarray

    @classmethod
    def of(cls, trials: np.ndarray) -> RidgePath:
        """Decompose residual trial regressors, shape (n_scans, n_trials)."""
        u, s, vt = np.linalg.svd(trials, full_matrices=False)
        keep = s > SMALL * s.max(initial=0.0)
        return cls(u[:, keep].astype(np.float32), s[keep], vt[keep].astype(np.float32))

    def rotate(self, data: np.ndarray) -> np.ndarray:
        """Compute ordinary weights in the rotated space, shape (rank, n_voxels)."""
        return (self.u.T @ data) / self.s[:, None].astype(np.float32)

    def lengths(self, rotated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the length of ridge weights relative to ordinary ones for a grid of penalties.

        Returns
        -------
        penalties : ndarray, shape (n_penalties,)
            Ascending, the first is zero.
        share : ndarray, shape (n_penalties, n_voxels)
            Descending from one; ones for voxels without response.
        """
        low, high = np.log10(SMALL * self.s.min() ** 2), np.log10(self.s.max() ** 2 / SMALL)
        penalties = np.concatenate([[0.0], np.logspace(low, high, N_PENALTIES - 1)])
        shrink = self.s**2 / (self.s**2 + penalties[:, None])
        squared = (shrink**2) @ rotated.astype(np.float64) ** 2
        total = np.where(squared[0] > 0, squared[0], 1.0)
        return penalties, np.where(squared[0] > 0, np.sqrt(squared / total), 1.0)

    def penalties_for(self, rotated: np.ndarray, fractions: np.ndarray) -> np.ndarray:
        """Compute the penalty of each voxel for given fractions.

        Parameters
        ----------
        rotated : ndarray, shape (rank, n_voxels)
        fractions : ndarray, shape (n_fractions, n_voxels)
            Shares of the length in (0, 1].

        Returns
        -------
        ndarray, shape (n_fractions, n_voxels)
            By interpolation over the logarithm of the penalty; zero for a fraction of one.
        """
        penalties, share = self.lengths(rotated)
        levels = np.log(np.maximum(penalties, 0.1 * penalties[1]))
        voxels = np.arange(share.shape[1])
        result = np.empty(fractions.shape)
        for row, wanted in enumerate(fractions):
            above = np.clip((share > wanted).sum(axis=0), 1, len(penalties) - 1)
            left, right = share[above - 1, voxels], share[above, voxels]
            gap = np.where(left > right, left - right, 1.0)
            part = np.clip((left - wanted) / gap, 0.0, 1.0)
            level = levels[above - 1] + part * (levels[above] - levels[above - 1])
            result[row] = np.where(wanted >= 1.0, 0.0, np.exp(level))
        return result

    def weights(self, rotated: np.ndarray, penalty: np.ndarray) -> np.ndarray:
        """Compute ridge weights, shape (n_trials, n_voxels), with one penalty per voxel."""
        square = self.s[:, None] ** 2
        shrink = (square / (square + penalty)).astype(np.float32)
        return self.vt.T @ (shrink * rotated)
