"""The input layer with the likeliest penalty, for many targets and voxel weights together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bids_decoder.training.kernels import Kernels, weighted_kernels
from bids_decoder.training.penalties import RELATIVE_PENALTIES, likeliest_penalties
from bids_decoder.training.run_means import run_contrasts

_BYTES = 1 << 20
"""Of weights of voxels that are held at a time."""


class SharedFits(NamedTuple):
    """Ridge regressions on the same trials.

    Parameters
    ----------
    latents : ndarray of float32, shape (n_sets, n_new, n_latents)
        Predicted latents of new trials; see :meth:`.InputFit.latents`.
    gains : ndarray, shape (n_sets,)
        Factors that make latents predictions; see :class:`.InputFit`.
    penalties : ndarray, shape (n_sets,)
        Relative ones.
    """

    latents: np.ndarray
    gains: np.ndarray
    penalties: np.ndarray


@dataclass(frozen=True, eq=False)
class CentredTrials:
    """Training trials of a participant without the means of their runs.

    Parameters
    ----------
    basis : ndarray, shape (n_trials, freedom)
        Orthonormal basis of what is left of the trials when means of runs are projected out.
    betas : ndarray of float32, shape (freedom, n_voxels)
        Responses in this basis.
    mean : ndarray, shape (n_voxels,)
        Mean of all trials.
    """

    basis: np.ndarray
    betas: np.ndarray
    mean: np.ndarray

    @classmethod
    def of(cls, betas: np.ndarray, run_groups: np.ndarray) -> CentredTrials:
        """Project betas (n_trials, n_voxels) on the basis."""
        basis = run_contrasts(run_groups)
        projected = basis.astype(np.float32).T @ np.asarray(betas, dtype=np.float32)
        return cls(basis, projected, np.mean(betas, axis=0, dtype=np.float64))

    def fit(
        self, latents: np.ndarray, voxel_weights: np.ndarray, betas: np.ndarray,
        candidates: np.ndarray = RELATIVE_PENALTIES,
    ) -> SharedFits:
        """Fit ridge regressions, each with the likeliest penalty, and predict other trials.

        Parameters
        ----------
        latents : ndarray, shape (n_sets, n_trials, n_latents)
            Targets.
        voxel_weights : ndarray, shape (n_sets, n_voxels)
            Prior standard deviation of each voxel's weights; zero drops a voxel.
        betas : ndarray, shape (n_new, n_voxels)
            Responses from which latents are predicted.
        candidates : ndarray, shape (n_candidates,)
            Relative penalties.

        Returns
        -------
        SharedFits
            As :func:`.input_layer.fit_input_layer` fits each with these candidates.
        """
        used = np.flatnonzero(voxel_weights.any(axis=0))
        scales = voxel_weights[:, used].astype(np.float32)
        kernels = Kernels(
            weighted_kernels(self.betas[:, used], scales), self.basis.T @ latents
        )
        sizes = kernels.sizes(len(self.basis))
        chosen, dual = likeliest_penalties(kernels, sizes, len(self.betas), candidates)
        found, energies = self._predict(used, np.square(scales), dual, betas - self.mean)
        gains = np.maximum(np.sqrt(energies), 1e-12) / np.sqrt(latents.shape[2])
        return SharedFits(found / gains[:, None, None].astype(np.float32), gains, chosen)

    def _predict(
        self, used: np.ndarray, squares: np.ndarray, dual: np.ndarray, betas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict from centred *betas*, some voxels at a time.

        Returns
        -------
        latents : ndarray of float32, shape (n_sets, n_new, n_latents)
        energies : ndarray, shape (n_sets,)
            Sums of the squared weights of voxels.
        """
        n_sets, n_rows, n_latents = dual.shape
        loads = dual.astype(np.float32).transpose(1, 0, 2).reshape(n_rows, -1)
        found = np.zeros((len(betas), n_sets * n_latents), dtype=np.float32)
        energies = np.zeros(n_sets)
        step = max(1, _BYTES // (4 * loads.shape[1]))
        for start in range(0, len(used), step):
            part = slice(start, start + step)
            weights = (self.betas[:, used[part]].T @ loads).reshape(-1, n_sets, n_latents)
            weights *= squares.T[part, :, None]
            energies += np.vecdot(weights, weights).sum(axis=0, dtype=np.float64)
            found += betas[:, used[part]].astype(np.float32) @ weights.reshape(len(weights), -1)
        return found.reshape(len(betas), n_sets, n_latents).transpose(1, 0, 2), energies
