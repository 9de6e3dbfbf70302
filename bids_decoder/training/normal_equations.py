"""Ridge regression of many trials from the products of voxels, with a few trials at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

_BLOCK = 1024  # trials, or columns of the matrix, of which temporary arrays are made at a time


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
        counts = np.bincount(member)
        stream = cls(betas, rows, voxels, scales, member, np.zeros((len(counts), len(voxels))))
        for places, values in stream._blocks():
            np.add.at(stream.means, member[places], values)
        stream.means[:] /= counts[:, None]
        return stream

    @property
    def mean(self) -> np.ndarray:
        """Mean of all trials, (n_used,)."""
        return np.bincount(self.member) @ self.means / len(self.member)

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
        for start in range(0, len(self.rows), _BLOCK):
            places = slice(start, start + _BLOCK)
            yield places, self.scaled(self.rows[places])


class NormalEquations:
    """Ridge regression from a stream of trials to targets, for several penalties.

    Takes one matrix of products of voxels, whatever the number of trials: one triangle holds the
    products, the other one the Cholesky factor for the last penalty.

    Parameters
    ----------
    stream : TrialStream
    targets : ndarray, shape (n_trials, n_latents)
        Without the means of their runs.
    """

    def __init__(self, stream: TrialStream, targets: np.ndarray) -> None:
        n_used = len(stream.voxels)
        self.stream, self.targets = stream, targets
        self.products = np.zeros((n_used, n_used), order="F")
        for _, values in stream.centred():
            blas.dsyrk(1.0, values.T, beta=1.0, c=self.products, lower=1, overwrite_c=1)
        self.loads = stream.loads(targets)
        self.diagonal = self.products.diagonal().copy()

    @property
    def n_rows(self) -> int:
        """Number of trials."""
        return len(self.stream.rows)

    @property
    def size(self) -> float:
        """Mean eigenvalue of the inner products of trials."""
        return max(float(self.diagonal.sum()) / len(self.stream.rows), 1e-12)

    def solve(self, penalty: float, loads: np.ndarray | None = None) -> np.ndarray:
        """Return weights (n_used, n_latents) with a relative penalty."""
        self._factorise(penalty * self.size)
        return self._solved(self.loads if loads is None else loads)

    def energies(self, penalties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute what :meth:`.Tridiagonal.energies` does of the inner products of trials.

        Parameters
        ----------
        penalties : ndarray, shape (1, n_penalties)
            Absolute ones.
        """
        n_rest = len(self.targets) - len(self.products)
        total = np.square(self.targets).sum()
        energies, determinants = [], []
        for penalty in penalties[0]:
            self._factorise(penalty)
            explained = float((self.loads * self._solved(self.loads)).sum())
            energies.append((total - explained) / penalty)
            pivots = np.log(self.products.diagonal()).sum()
            determinants.append(2 * pivots + n_rest * np.log(penalty))
        return np.array([energies]), np.array([determinants])

    def left_out(self, penalty: float, parts: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """Return leave-one-out residuals of several sets of targets, each (n_trials, n_latents)."""
        self._factorise(penalty * self.size)
        leverage = np.concatenate([
            np.square(lapack.dtrtrs(
                self.products, np.asfortranarray(values.T), lower=0, trans=1
            )[0]).sum(axis=0)
            for _, values in self.stream.centred()
        ])
        found = []
        for part in parts:
            rest = part - self.stream.project(self._solved(self.stream.loads(part)))
            found.append(rest / np.maximum(1 - leverage, 1e-12)[:, None])
        return found

    def _factorise(self, penalty: float) -> None:
        """Put the Cholesky factor of the penalised products above the diagonal."""
        products = self.products
        for start in range(0, len(products), _BLOCK):
            stop = min(start + _BLOCK, len(products))
            products[:start, start:stop] = products[start:stop, :start].T
            below = np.tril(products[start:stop, start:stop], -1)
            products[start:stop, start:stop] = below + below.T
        np.fill_diagonal(products, self.diagonal + penalty)
        factor, failed = lapack.dpotrf(products, lower=0, clean=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("penalised products of voxels are not positive definite")
        self.products = factor

    def _solved(self, loads: np.ndarray) -> np.ndarray:
        return lapack.dpotrs(self.products, np.asfortranarray(loads), lower=0)[0]
