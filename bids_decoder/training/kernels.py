"""Kernels of many ridge regressions: from weights of voxels, and solved with a penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from bids_decoder.normal_equations import Penalised, PenalisedProducts

_BYTES = 1 << 20
"""Of products of pairs of trials that are held at a time."""

_FEW_SETS = 16
"""With fewer weightings, products of pairs take longer than what they save."""


@dataclass(frozen=True, eq=False)
class OneKernel:
    """One kernel, that is factorised in place, with targets.

    Parameters
    ----------
    products : PenalisedProducts
        Of n trials.
    targets : ndarray of float64, shape (n, n_latents)
    """

    products: PenalisedProducts
    targets: np.ndarray

    @property
    def n_rows(self) -> int:
        """Rows of the kernel."""
        return len(self.targets)

    def penalise(self, penalties: np.ndarray, sets: np.ndarray) -> Penalised:
        """Solve with one penalty (1,); *sets* is that of the only one."""
        self.products.factorise(penalties[sets][0])
        solved = self.products.solve(self.targets)
        energy, determinant = np.vdot(self.targets, solved), self.products.log_determinant()
        return Penalised(np.array([energy]), np.array([determinant]), solved[None])


@dataclass(frozen=True, eq=False)
class Kernels:
    """Kernels ``K`` with targets ``Y``.

    Parameters
    ----------
    kernels : ndarray of float64, shape (n_sets, n, n)
        Only what is on and above the diagonal is read.
    targets : ndarray of float64, shape (n_sets, n, n_latents)
    """

    kernels: np.ndarray
    targets: np.ndarray

    @property
    def n_rows(self) -> int:
        """Rows of each kernel."""
        return self.kernels.shape[1]

    def sizes(self, n_trials: int) -> np.ndarray:
        """Return the trace of each kernel over the number of trials, (n_sets,)."""
        return np.maximum(np.trace(self.kernels, axis1=1, axis2=2) / n_trials, 1e-12)

    def penalise(self, penalties: np.ndarray, sets: np.ndarray) -> Penalised:
        """Add a penalty to the diagonal of some kernels, and solve.

        Parameters
        ----------
        penalties : ndarray, shape (n_sets,)
            All above 0.
        sets : ndarray of int, shape (n_sets,)
            Which kernels.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a penalised kernel is not positive definite.
        """
        n_rows, n_latents = self.targets.shape[1:]
        # LAPACK counts rows first: what it calls the lower triangle is the upper one here.
        rights = np.ascontiguousarray(self.targets[sets].transpose(0, 2, 1))
        energies, determinants = np.empty(len(sets)), np.empty(len(sets))
        solutions, matrix = np.empty((len(sets), n_latents, n_rows)), np.empty((n_rows, n_rows))
        for place, (number, penalty) in enumerate(zip(sets, penalties, strict=True)):
            matrix[:] = self.kernels[number]
            matrix.reshape(-1)[::n_rows + 1] += penalty
            factor, solved, failed = lapack.dposv(
                matrix.T, rights[place].T, lower=1, overwrite_a=1
            )
            if failed:
                raise np.linalg.LinAlgError("a penalised kernel is not positive definite")
            solutions[place] = solved.T
            energies[place] = np.vdot(rights[place], solutions[place])
            determinants[place] = 2 * np.log(factor.diagonal()).sum()
        return Penalised(energies, determinants, solutions.transpose(0, 2, 1))


def weighted_kernels(betas: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Compute inner products of trials for many weightings of voxels.

    Each is a linear function of the squared weights, so that those of all weightings are one
    matrix product with the products of pairs of trials.

    Parameters
    ----------
    betas : ndarray of float32, shape (n_trials, n_voxels)
    scales : ndarray of float32, shape (n_sets, n_voxels)
        Factor of each voxel.

    Returns
    -------
    ndarray of float64, shape (n_sets, n_trials, n_trials)
        What is below the diagonal may be missing; see :class:`Kernels`.
    """
    n_trials, n_voxels = betas.shape
    kernels = np.zeros((len(scales), n_trials, n_trials))
    if len(scales) < _FEW_SETS:
        for kernel, own in zip(kernels, scales, strict=True):
            scaled = betas * own
            kernel[:] = scaled @ scaled.T
        return kernels
    squares = np.square(scales)
    n_pairs = max(n_trials, _BYTES // (4 * max(n_voxels, 1)))
    first = 0
    while first < n_trials:
        # The rows of pairs that fit, at least one.
        ends = np.cumsum(n_trials - np.arange(first, n_trials))
        count = max(1, int(np.searchsorted(ends, n_pairs, side="right")))
        pairs = np.concatenate([betas[row:] * betas[row] for row in range(first, first + count)])
        sums, start = squares @ pairs.T, 0
        for row in range(first, first + count):
            kernels[:, row, row:] = sums[:, start:start + n_trials - row]
            start += n_trials - row
        first += count
    return kernels
