"""Penalised kernels of many ridge regressions, for many penalties, in tridiagonal form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

_BLOCK = 32
"""Columns that LAPACK reduces together, for its workspace."""


@dataclass(frozen=True, eq=False)
class Tridiagonal:
    """Kernels ``K = Q T Q'`` with targets ``Y``; ``T`` is tridiagonal and ``Q`` orthogonal.

    Adding a penalty to ``K`` adds it to the diagonal of ``T``. So one reduction, which takes a
    fraction of the time of an eigendecomposition, is enough for all penalties [1]_.

    Parameters
    ----------
    diagonal : ndarray, shape (n_sets, n)
    beside : ndarray, shape (n_sets, n - 1)
        Elements next to the diagonal.
    targets : ndarray, shape (n_sets, n, n_latents)
        ``Q' Y``.
    reflectors : list of tuple of ndarray
        ``Q`` of each set, as LAPACK stores it.

    References
    ----------
    .. [1] Elden (1977), BIT 17:134. Algorithms for the regularization of ill-conditioned least
       squares problems.
    """

    diagonal: np.ndarray
    beside: np.ndarray
    targets: np.ndarray
    reflectors: list[tuple[np.ndarray, np.ndarray]]

    @property
    def n_rows(self) -> int:
        """Rows of each kernel."""
        return self.diagonal.shape[1]

    @classmethod
    def of(cls, kernels: np.ndarray, targets: np.ndarray) -> Tridiagonal:
        """Reduce symmetric kernels.

        Parameters
        ----------
        kernels : ndarray of float64, shape (n_sets, n, n)
        targets : ndarray of float64, shape (n_sets, n, n_latents)
        """
        n_sets, size = kernels.shape[:2]
        diagonal, beside = np.empty((n_sets, size)), np.empty((n_sets, size - 1))
        turned, reflectors = np.array(targets, dtype=np.float64), []
        for number, kernel in enumerate(kernels):
            reduced, diagonal[number], beside[number], scales, _ = lapack.dsytrd(
                kernel.T, lower=1, lwork=_BLOCK * size
            )
            if size > 1:
                reflectors.append((np.asfortranarray(reduced[1:, :-1]), scales))
                turned[number, 1:] = _turn(reflectors[-1], turned[number, 1:], "T")
        return cls(diagonal, beside, turned, reflectors)

    def energies(self, penalties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute what marginal likelihoods of penalties need.

        Parameters
        ----------
        penalties : ndarray, shape (n_sets, n_penalties)
            All above 0.

        Returns
        -------
        energies : ndarray, shape (n_sets, n_penalties)
            ``trace(Y' (K + penalty I)^-1 Y)``.
        log_determinants : ndarray, shape (n_sets, n_penalties)
            ``log det (K + penalty I)``.
        """
        pivots, factors = self._factorise(penalties)
        rows = self._rows()
        rest, energies = np.zeros_like(rows[0] + penalties), np.zeros(penalties.shape)
        for row, pivot in enumerate(pivots):
            rest = rows[row] - factors[row] * rest
            energies += np.square(rest).sum(axis=0) / pivot
        return energies, np.log(pivots).sum(axis=0)

    def solve(self, penalties: np.ndarray) -> np.ndarray:
        """Solve ``(K + penalty I) X = Y`` with one penalty (n_sets,) for each set.

        Returns
        -------
        ndarray, shape (n_sets, n, n_latents)
        """
        pivots, factors = self._factorise(penalties[:, None])
        found = self._rows()
        for row in range(1, len(found)):
            found[row] -= factors[row] * found[row - 1]
        found /= pivots[:, None]
        for row in range(len(found) - 2, -1, -1):
            found[row] -= factors[row + 1] * found[row + 1]
        solved = np.ascontiguousarray(found[..., 0].transpose(2, 0, 1))
        for number, reflector in enumerate(self.reflectors):
            solved[number, 1:] = _turn(reflector, solved[number, 1:], "N")
        return solved

    def _factorise(self, penalties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factorise ``T + penalty I = L D L'``.

        Returns
        -------
        pivots : ndarray, shape (n, n_sets, n_penalties)
            ``D``.
        factors : ndarray, shape (n, n_sets, n_penalties)
            Left of the diagonal of ``L``; 0 in the first row.
        """
        pivots = self.diagonal.T[:, :, None] + penalties
        factors = np.zeros_like(pivots)
        for row in range(1, len(pivots)):
            beside = self.beside[:, row - 1, None]
            factors[row] = beside / pivots[row - 1]
            pivots[row] -= factors[row] * beside
        return pivots, factors

    def _rows(self) -> np.ndarray:
        """Return the targets as (n, n_latents, n_sets, 1), ready for all penalties."""
        return np.ascontiguousarray(self.targets.transpose(1, 2, 0))[..., None]


def _turn(reflector: tuple[np.ndarray, np.ndarray], values: np.ndarray, how: str) -> np.ndarray:
    """Apply ``Q`` (``how="N"``) or its transpose (``"T"``)."""
    return lapack.dormqr("L", how, *reflector, values, lwork=_BLOCK * values.shape[1])[0]
