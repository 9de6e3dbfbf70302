"""The input layer with the likeliest penalty, for many targets and voxel weights together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.training.input_layer import InputFit
from bids_decoder.training.penalties import RELATIVE_PENALTIES, likeliest_penalties
from bids_decoder.training.run_means import centre_runs, degrees_of_freedom
from bids_decoder.training.tridiagonal import Tridiagonal


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
        centring = centre_runs(np.eye(len(betas)), run_groups)
        basis = np.linalg.eigh(centring)[1][:, -degrees_of_freedom(run_groups):]
        projected = basis.astype(np.float32).T @ np.asarray(betas, dtype=np.float32)
        return cls(basis, projected, np.mean(betas, axis=0, dtype=np.float64))

    def fit(
        self, latents: np.ndarray, voxel_weights: np.ndarray,
        candidates: np.ndarray = RELATIVE_PENALTIES,
    ) -> list[InputFit]:
        """Fit ridge regressions, each with the likeliest penalty.

        Parameters
        ----------
        latents : ndarray, shape (n_sets, n_trials, n_latents)
            Targets.
        voxel_weights : ndarray, shape (n_sets, n_voxels)
            Prior standard deviation of each voxel's weights; zero drops a voxel.
        candidates : ndarray, shape (n_candidates,)
            Relative penalties.

        Returns
        -------
        list of InputFit
            As :func:`.input_layer.fit_input_layer` fits each with these candidates.
        """
        used = np.flatnonzero(voxel_weights.any(axis=0))
        betas = self.betas[:, used]
        scales = voxel_weights[:, used].astype(np.float32)
        kernels = np.empty((len(scales), len(betas), len(betas)))
        for number, own in enumerate(scales):
            scaled = betas * own
            kernels[number] = scaled @ scaled.T
        forms = Tridiagonal.of(kernels, self.basis.T @ latents)
        sizes = np.maximum(np.trace(kernels, axis1=1, axis2=2) / len(self.basis), 1e-12)
        chosen = likeliest_penalties(forms, sizes, len(betas), candidates)
        dual = forms.solve(chosen * sizes).astype(np.float32)
        found = np.square(scales)[:, :, None] * (betas.T @ dual)
        return self._scale(used, found, chosen)

    def _scale(
        self, used: np.ndarray, found: np.ndarray, penalties: np.ndarray
    ) -> list[InputFit]:
        """Scale the weights of the voxels used, and centre the latents."""
        sizes = np.sqrt(np.einsum("svl,svl->s", found, found))
        gains = np.maximum(sizes, 1e-12).astype(np.float64) / np.sqrt(found.shape[2])
        found /= gains[:, None, None].astype(np.float32)
        biases = -(self.mean[used] @ found).astype(np.float32)
        weights = found
        if len(used) < len(self.mean):
            weights = np.zeros((len(found), len(self.mean), found.shape[2]), dtype=np.float32)
            weights[:, used] = found
        return [
            InputFit(weight, bias, float(penalty), len(self.basis), float(gain))
            for weight, bias, penalty, gain in zip(weights, biases, penalties, gains, strict=True)
        ]
