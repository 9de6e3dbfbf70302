"""Ratio of response to noise variance of each voxel, by marginal likelihood.

Single-trial responses are modelled as independent with zero mean, and noise as white. The ratio
of the two variances that maximises the likelihood of a voxel's data is the inverse of the ridge
penalty with the least expected error (restricted maximum likelihood, Patterson & Thompson 1971,
Biometrika 58:545). Neither labels nor repeats are used. Slow noise is partly attributed to
responses, so that the ratio of a noisy voxel tends to be too high and its penalty too weak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_decoder.glm.base import TrialRun, chunks, nuisance_basis, residualise
from bids_decoder.glm.hrf import Hrf
from bids_decoder.glm.ridge import RidgePath

RATIOS = np.logspace(-3, 3, 19)
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class _View:
    """Trials of one run outside a fixed test set; all others are nuisance."""

    bold: np.ndarray
    basis: np.ndarray
    path: RidgePath

    @classmethod
    def of(cls, run: TrialRun, hrf: Hrf) -> _View:
        columns = run.regressors(hrf)
        basis = nuisance_basis(np.column_stack([run.nuisance, columns[:, ~run.untested]]))
        path = RidgePath.of(residualise(basis, columns[:, run.untested]))
        return cls(run.bold, basis.astype(np.float32), path)

    def log_likelihood(self, voxels: np.ndarray) -> np.ndarray:
        """Compute the restricted log likelihood up to a constant, (n_ratios, n_voxels)."""
        data = np.asarray(self.bold[:, voxels], dtype=np.float32)
        total = np.einsum("sv,sv->v", data, data, dtype=np.float64)
        total -= ((self.basis.T @ data).astype(np.float64) ** 2).sum(axis=0)
        explained = (self.path.u.T @ data).astype(np.float64) ** 2
        rest = np.maximum(total - explained.sum(axis=0), TINY * np.maximum(total, 1.0))
        n_free = len(data) - self.basis.shape[1]
        shares = 1.0 / (1.0 + RATIOS[:, None] * self.path.s**2)
        spread = np.maximum(shares @ explained + rest, TINY)
        return 0.5 * (np.log(shares).sum(axis=1)[:, None] - n_free * np.log(spread / n_free))


def response_ratio(
    runs: Sequence[TrialRun], hrf: Hrf, voxels: np.ndarray, chunk_voxels: int
) -> np.ndarray:
    """Estimate the ratio of response to noise variance over all runs.

    Parameters
    ----------
    runs : sequence of TrialRun
        Responses to trials of a fixed test set are projected out; runs that hold no other
        trials are not read.
    hrf : Hrf
    voxels : ndarray of int, shape (n_chosen,)
    chunk_voxels : int

    Returns
    -------
    ndarray of float32, shape (n_chosen,)
        One of :data:`RATIOS`, per squared height of the response; its inverse is a ridge
        penalty. One where no trial may be looked at.
    """
    views = [_View.of(run, hrf) for run in runs if run.untested.any()]
    ratio = np.ones(len(voxels), dtype=np.float32)
    if not views:
        return ratio
    for part in chunks(len(voxels), chunk_voxels):
        score = sum(view.log_likelihood(voxels[part]) for view in views)
        ratio[part] = RATIOS[score.argmax(axis=0)]
    return ratio
