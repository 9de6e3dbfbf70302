"""Ridge regression from one matrix of products, of voxels or of trials, and blocks of responses."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import blas, lapack

from bids_decoder.averages import averages

_BLOCK = 1024  # trials, or columns of the matrix, of which temporary arrays are made at a time
_VALUES = 1 << 23  # numbers of a temporary array of trials, where this leaves fewer of them


@dataclass(frozen=True, eq=False)
class TrialStream:
    """Weighted responses without the means of their runs, which are never all in memory.

    Parameters
    ----------
    betas : ndarray, shape (n_all, n_voxels)
        May be memory-mapped.
    rows : ndarray of int, shape (n_trials,)
        Trials that are used.
    voxels : ndarray of int, shape (n_used,)
    scales : ndarray, shape (n_used,)
        Factor of each of these voxels.
    member : ndarray of int, shape (n_trials,)
        Number of the mean that is subtracted from each trial.
    means : ndarray of float64, shape (n_means, n_used)
    """

    betas: np.ndarray
    rows: np.ndarray
    voxels: np.ndarray
    scales: np.ndarray
    member: np.ndarray
    means: np.ndarray

    @classmethod
    def of(
        cls, betas: np.ndarray, rows: np.ndarray, member: np.ndarray, voxels: np.ndarray,
        scales: np.ndarray,
    ) -> TrialStream:
        """Compute the means of trials that have the same number in *member*."""
        weights = averages(member)
        means = np.zeros((weights.shape[0], len(voxels)))
        stream = cls(betas, rows, voxels, scales, member, means)
        for places, values in stream._blocks():
            means += weights[:, places] @ values
        return stream

    @property
    def mean(self) -> np.ndarray:
        """Mean of all trials, (n_used,)."""
        return np.bincount(self.member) @ self.means / len(self.member)

    def beside(self, rows: np.ndarray, mean: np.ndarray | None = None) -> TrialStream:
        """Return other trials, from which *mean* or the mean of these is subtracted."""
        mean = self.mean if mean is None else mean
        return TrialStream(
            self.betas, rows, self.voxels, self.scales, np.zeros(len(rows), dtype=int), mean[None]
        )

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """Return weighted responses of some trials in double precision, (n, n_used)."""
        return self.betas[rows][:, self.voxels].astype(np.float64) * self.scales

    def project(self, weight: np.ndarray) -> np.ndarray:
        """Multiply the responses by weights (n_used, n_latents)."""
        return np.concatenate([values @ weight for _, values in self.centred()])

    def loads(self, targets: np.ndarray) -> np.ndarray:
        """Sum the products of responses and targets (n_trials, n_latents): (n_used, n_latents)."""
        total = np.zeros((len(self.voxels), targets.shape[1]))
        for places, values in self.centred():
            total += values.T @ targets[places]
        return total

    def centred(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the places of some trials and their responses without the means."""
        for places, values in self._blocks():
            yield places, values - self.means[self.member[places]]

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        block = min(_BLOCK, max(1, _VALUES // max(1, len(self.voxels))))
        for start in range(0, len(self.rows), block):
            places = slice(start, start + block)
            yield places, self.scaled(self.rows[places])


class Penalised(NamedTuple):
    """Ridge regressions with one penalty each.

    Parameters
    ----------
    energies : ndarray, shape (n_sets,)
        ``trace(Y' (K + penalty I)^-1 Y)`` with the kernel ``K`` of trials and the targets ``Y``.
    log_determinants : ndarray, shape (n_sets,)
        ``log det (K + penalty I)``.
    solutions : ndarray, shape (n_sets, n, n_latents)
        Of the trials ``(K + penalty I)^-1 Y``, or the weights of voxels.
    """

    energies: np.ndarray
    log_determinants: np.ndarray
    solutions: np.ndarray


class PenalisedProducts:
    """A symmetric matrix plus a multiple of the identity, for one multiple after the other.

    One triangle keeps the matrix, the other one holds the Cholesky factor for the last multiple.

    Parameters
    ----------
    products : ndarray of float64, shape (n, n)
        Positive semidefinite; changed. Rows and columns may be exchanged in memory, so that
        either order saves the copy.
    """

    def __init__(self, products: np.ndarray) -> None:
        self._matrix = products if products.flags.f_contiguous else products.T
        self.diagonal = products.diagonal().copy()

    def factorise(self, penalty: float) -> None:
        """Put the Cholesky factor with this multiple of the identity above the diagonal."""
        matrix = self._matrix
        for start in range(0, len(matrix), _BLOCK):
            stop = min(start + _BLOCK, len(matrix))
            matrix[:start, start:stop] = matrix[start:stop, :start].T
            below = np.tril(matrix[start:stop, start:stop], -1)
            matrix[start:stop, start:stop] = below + below.T
        np.fill_diagonal(matrix, self.diagonal + penalty)
        self._matrix, failed = lapack.dpotrf(matrix, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("penalised products are not positive definite")

    def solve(self, loads: np.ndarray) -> np.ndarray:
        """Multiply by the inverse of the factorised matrix, (n, n_columns)."""
        return lapack.dpotrs(self._matrix, np.asfortranarray(loads), lower=0)[0]

    def whiten(self, values: np.ndarray) -> np.ndarray:
        """Multiply by the inverse of the Cholesky factor, (n, n_columns)."""
        return lapack.dtrtrs(self._matrix, np.asfortranarray(values), lower=0, trans=1)[0]

    def log_determinant(self) -> float:
        """Return the logarithm of the determinant of the factorised matrix."""
        return 2 * float(np.log(self._matrix.diagonal()).sum())

    def inverse_diagonal(self) -> np.ndarray:
        """Return the diagonal of the inverse of the factorised matrix, (n,)."""
        n_rows = len(self._matrix)
        parts = []
        for start in range(0, n_rows, _BLOCK):
            count = min(_BLOCK, n_rows - start)
            parts.append(np.square(self.whiten(np.eye(n_rows, count, -start))).sum(axis=0))
        return np.concatenate(parts)


def products_of_voxels(
    stream: TrialStream, precision: type[np.floating] = np.float64
) -> np.ndarray:
    """Sum the products of voxels over trials, (n_used, n_used), below and on the diagonal."""
    n_used = len(stream.voxels)
    products = np.zeros((n_used, n_used), precision, order="F")
    add = blas.dsyrk if precision is np.float64 else blas.ssyrk
    for _, values in stream.centred():
        add(1.0, values.T.astype(precision, copy=False), beta=1.0, c=products, lower=1,
            overwrite_c=1)
    return products


class NormalEquations:
    """Ridge regression from a stream of trials to targets, for several penalties.

    Takes one matrix of products of voxels, whatever the number of trials.

    Parameters
    ----------
    stream : TrialStream
    targets : ndarray, shape (n_trials, n_latents)
        Without the means of their runs.
    """

    def __init__(self, stream: TrialStream, targets: np.ndarray) -> None:
        self.stream, self.targets = stream, targets
        self.products = PenalisedProducts(products_of_voxels(stream))
        self.loads = stream.loads(targets)

    def scaled(self, factors: np.ndarray) -> NormalEquations:
        """Return the equations of targets times *factors* (n_latents,), with the same matrix."""
        other = copy(self)
        other.targets, other.loads = self.targets * factors, self.loads * factors
        return other

    @property
    def n_rows(self) -> int:
        """Number of trials."""
        return len(self.stream.rows)

    @property
    def size(self) -> float:
        """Mean eigenvalue of the inner products of trials."""
        return max(float(self.products.diagonal.sum()) / len(self.stream.rows), 1e-12)

    def solve(self, penalty: float, loads: np.ndarray | None = None) -> np.ndarray:
        """Return weights (n_used, n_latents) with an absolute penalty."""
        self.products.factorise(penalty)
        return self.products.solve(self.loads if loads is None else loads)

    def penalise(self, penalties: np.ndarray, sets: np.ndarray) -> Penalised:
        """Solve with one penalty; see :class:`Penalised`.

        Parameters
        ----------
        penalties : ndarray, shape (1,)
            An absolute one.
        sets : ndarray of int, shape (1,)
            There is one set.
        """
        penalty = penalties[sets][0]
        solved = self.solve(penalty)
        energy = (np.square(self.targets).sum() - (self.loads * solved).sum()) / penalty
        n_rest = len(self.targets) - len(self.loads)
        determinant = self.products.log_determinant() + n_rest * np.log(penalty)
        return Penalised(np.array([energy]), np.array([determinant]), solved[None])

    def left_out(
        self, penalty: float, parts: tuple[np.ndarray, ...], loads: tuple[np.ndarray, ...]
    ) -> list[np.ndarray]:
        """Return leave-one-out residuals of several sets of targets, each (n_trials, n_latents).

        *loads* are those of the stream for each set, each (n_used, n_latents).
        """
        self.products.factorise(penalty)
        leverage = np.concatenate([
            np.square(self.products.whiten(values.T)).sum(axis=0)
            for _, values in self.stream.centred()
        ])
        found = []
        for part, own in zip(parts, loads, strict=True):
            rest = part - self.stream.project(self.products.solve(own))
            found.append(rest / np.maximum(1 - leverage, 1e-12)[:, None])
        return found
