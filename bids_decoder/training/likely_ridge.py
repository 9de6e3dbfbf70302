"""The input layer with the likeliest penalty, for many targets and voxel weights together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bids_decoder.training.kernels import Kernels, weighted_kernels
from bids_decoder.training.penalties import RELATIVE_PENALTIES, likeliest_penalties
from bids_decoder.training.run_means import run_contrasts
from bids_decoder.training.shared_noise import (
    NoisePrior,
    VoxelSpread,
    shares_of_means,
    target_axes,
)

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
    evidence : ndarray, shape (n_sets,)
        See :class:`.Likeliest`.
    """

    latents: np.ndarray
    gains: np.ndarray
    penalties: np.ndarray
    evidence: np.ndarray

    @classmethod
    def choose(cls, fits: Sequence[SharedFits], numbers: np.ndarray) -> SharedFits:
        """Take each set, (n_sets,) of int, from one of several fits of the same sets."""
        sets = np.arange(len(numbers))
        return cls(*(np.stack(parts)[numbers, sets] for parts in zip(*fits, strict=True)))


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
        candidates: np.ndarray = RELATIVE_PENALTIES, *, less_shared_noise: bool = False,
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
        less_shared_noise : bool
            Subtract the noise that voxels share first; see :mod:`.shared_noise`.

        Returns
        -------
        SharedFits
            As :func:`.input_layer.fit_input_layer` fits each with these candidates.
        """
        used = np.flatnonzero(voxel_weights.any(axis=0))
        scales, wanted = voxel_weights[:, used].astype(np.float32), self.basis.T @ latents
        products = weighted_kernels(self.betas[:, used], scales)
        noise = self._noise(used, scales, wanted, products) if less_shared_noise else None
        if noise is not None:
            noise.subtract(products, self.betas[:, used], np.square(scales))
        kernels = Kernels(products, wanted)
        sizes = kernels.sizes(len(self.basis))
        likeliest = likeliest_penalties(kernels, sizes, len(self.betas), candidates)
        dual = likeliest.solutions
        found, energies = self._predict(used, np.square(scales), dual, betas - self.mean, noise)
        gains = np.maximum(np.sqrt(energies), 1e-12) / np.sqrt(latents.shape[2])
        return SharedFits(
            found / gains[:, None, None].astype(np.float32), gains, likeliest.penalties,
            likeliest.evidence,
        )

    def _noise(
        self, used: np.ndarray, scales: np.ndarray, wanted: np.ndarray, products: np.ndarray
    ) -> _MeansOfSets:
        """Estimate the noise that the voxels of each set share."""
        sums = np.maximum(scales.sum(axis=1, dtype=np.float64), 1e-9)[:, None]
        places, responses = scales / sums, self.betas[:, used].astype(np.float64)
        deviations = np.sqrt(np.square(responses).sum(axis=0) / len(responses))
        means, axes = places @ responses.T, target_axes(wanted)
        diagonal = np.einsum("srr->sr", products)
        # What is below the diagonal may be missing.
        above = np.einsum("srl,srq,sql->s", axes, np.triu(products), axes, optimize=True)
        twice = np.einsum("srl,sr->s", np.square(axes), diagonal)
        squares = np.square(sums[:, 0])
        spread = VoxelSpread(
            np.square(places).sum(axis=1), np.square(places @ deviations),
            diagonal.sum(axis=1) / squares, (2 * above - twice) / squares,
        )
        shares = shares_of_means(means, axes, spread, len(responses), NoisePrior())[0]
        return _MeansOfSets(places, means, shares)

    def _predict(
        self, used: np.ndarray, squares: np.ndarray, dual: np.ndarray, betas: np.ndarray,
        noise: _MeansOfSets | None,
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
        energies, total = np.zeros(n_sets), np.zeros((n_sets, n_latents))
        shared = None if noise is None else noise.loads(dual).astype(np.float32)
        step = max(1, _BYTES // (4 * loads.shape[1]))
        for start in range(0, len(used), step):
            part = slice(start, start + step)
            weights = (self.betas[:, used[part]].T @ loads).reshape(-1, n_sets, n_latents)
            if shared is not None:
                weights -= shared
            weights *= squares.T[part, :, None]
            total += weights.sum(axis=0, dtype=np.float64)
            energies += np.vecdot(weights, weights).sum(axis=0, dtype=np.float64)
            found += betas[:, used[part]].astype(np.float32) @ weights.reshape(len(weights), -1)
        latents = found.reshape(len(betas), n_sets, n_latents).transpose(1, 0, 2)
        if noise is not None:
            means = noise.shares[:, None] * (noise.places @ betas[:, used].T)
            latents = latents - (means[:, :, None] * total[:, None]).astype(np.float32)
        return latents, energies


@dataclass(frozen=True, eq=False)
class _MeansOfSets:
    """Means over the voxels of each set, and the share of them that is noise.

    Parameters
    ----------
    places : ndarray, shape (n_sets, n_used)
        Weights of the means.
    means : ndarray, shape (n_sets, n_rows)
        Of the centred training trials.
    shares : ndarray, shape (n_sets,)
    """

    places: np.ndarray
    means: np.ndarray
    shares: np.ndarray

    def subtract(
        self, products: np.ndarray, responses: np.ndarray, squares: np.ndarray
    ) -> None:
        """Turn weighted inner products of trials (n_sets, n_rows, n_rows) into those without it.

        Only what is on and above the diagonal is changed for the better; see :class:`.Kernels`.
        """
        sums = squares.sum(axis=1, dtype=np.float64)
        loads = (squares @ responses.T).astype(np.float64)
        for product, mean, load, share, size in zip(
            products, self.means, loads, self.shares, sums, strict=True
        ):
            own = share * mean
            both = np.outer(own, load - 0.5 * size * own)
            product[:] -= both + both.T

    def loads(self, dual: np.ndarray) -> np.ndarray:
        """Return what is subtracted from the loads of each voxel, (n_sets, n_latents)."""
        return self.shares[:, None] * np.einsum("sr,srl->sl", self.means, dual)
