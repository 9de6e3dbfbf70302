"""Representational dissimilarity matrices, and the correlation of two of them.

Distances are crossnobis: products of the same difference of two conditions in different runs, so
that noise does not make them larger, and they are 0 on average where responses do not differ [1]_.
They are compared by the whitened correlation, which takes into account that distances that
share a condition have correlated errors [2]_.

References
----------
.. [1] Walther et al. (2016), Reliability of dissimilarity measures for multi-voxel pattern
   analysis, NeuroImage 137:188.
.. [2] Diedrichsen et al. (2021), Comparing representational geometries using whitened unbiased-
   distance-matrix similarity, Neurons, Behavior, Data analysis, and Theory 5:1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_decoder.averages import average_rows

LEAST_SHRINKAGE = 1e-3
"""Keeps the covariance of more voxels than trials invertible."""

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Geometry:
    """Inner products of the whitened mean responses to conditions in all runs.

    Parameters
    ----------
    products : ndarray, shape (n_runs, n_conditions, n_runs, n_conditions)
        Per voxel; NaN for conditions that do not occur in a run.
    shrinkage : float
        Weight of the diagonal in the covariance of the noise.
    residuals : str
        Of what the covariance is, in words.
    """

    products: np.ndarray
    shrinkage: float
    residuals: str

    def distances(self, runs: np.ndarray | None = None) -> np.ndarray:
        """Compute the crossnobis distances, the mean over all pairs of runs.

        Parameters
        ----------
        runs : ndarray of int, optional
            Runs that take part; all by default.

        Returns
        -------
        ndarray, shape (n_conditions, n_conditions)
            NaN where two conditions are not together in two runs.
        """
        chosen = np.arange(len(self.products)) if runs is None else runs
        products = self.products[chosen][:, :, chosen]
        known = np.isfinite(np.einsum("rara->ra", products)).astype(np.float64)
        products = np.nan_to_num(products) * (1 - np.eye(len(chosen)))[:, None, :, None]
        # Sums over all pairs of different runs in which both conditions occur.
        size = np.einsum("rasa,rb,sb->ab", products, known, known)
        cross = np.einsum("rasb,rb,sa->ab", products, known, known)
        n_both = known.T @ known
        count = n_both * (n_both - 1)
        total = size + size.T - cross - cross.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 0, total / count, np.nan)


def measure_geometry(betas: np.ndarray, conditions: np.ndarray, runs: np.ndarray) -> Geometry:
    """Average responses within runs and whiten them by the covariance of their residuals.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    conditions : ndarray of int, shape (n_trials,)
    runs : ndarray of int, shape (n_trials,)

    Returns
    -------
    Geometry

    Notes
    -----
    The covariance of the residuals around the mean of each condition in each run is shrunk towards
    its diagonal (Schäfer and Strimmer 2005, Stat Appl Genet Mol Biol 4:32); that of mean responses
    around their mean over runs, where conditions are hardly repeated within runs. It is never
    computed: with fewer trials than voxels, Woodbury's identity gives its inverse from products
    of trials, which are summed over chunks of voxels.
    """
    design = Design(conditions, runs)
    products = _Products.empty(len(design.cells), design.n_rows)
    for start in range(0, betas.shape[1], _CHUNK):
        part = np.asarray(betas[:, start:start + _CHUNK], dtype=np.float64)
        products.add(*design.whiten(part))
    shrinkage = products.shrinkage(design)
    whitened = products.whitened(shrinkage, design.freedom)
    return design.geometry(whitened / betas.shape[1], shrinkage)


class Design:
    """Which trials are averaged, and what varies without the conditions.

    Residuals are those of single trials, or of mean responses between runs, whichever have more
    degrees of freedom: with few repetitions within runs, the former say nothing.

    Parameters
    ----------
    conditions : ndarray of int, shape (n_trials,)
    runs : ndarray of int, shape (n_trials,)

    Attributes
    ----------
    cells : ndarray of int, shape (n_cells,)
        Numbers of the pairs of run and condition that have trials.
    freedom : int
        Degrees of freedom of the residuals.
    n_rows : int
        Number of residuals of each voxel.
    """

    def __init__(self, conditions: np.ndarray, runs: np.ndarray) -> None:
        self._shape = int(runs.max()) + 1, int(conditions.max()) + 1
        self.cells, self._member = np.unique(
            runs * self._shape[1] + conditions, return_inverse=True
        )
        self._condition = np.unique(self.cells % self._shape[1], return_inverse=True)[1]
        n_cells = len(self.cells)
        within, between = len(runs) - n_cells, n_cells - int(self._condition.max()) - 1
        self._is_within = within >= between
        self.freedom = max(within, between)
        self.n_rows = len(runs) if self._is_within else n_cells

    @property
    def residuals(self) -> str:
        """Of what, in words."""
        return "single trials within runs" if self._is_within else "mean responses between runs"

    def whiten(self, responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return means of cells and residuals, both over the standard deviation of residuals.

        Parameters
        ----------
        responses : ndarray, shape (n_trials, n_voxels)

        Returns
        -------
        means : ndarray, shape (n_cells, n_voxels)
        residuals : ndarray, shape (n_rows, n_voxels)
        """
        means = average_rows(responses, self._member)
        if self._is_within:
            left = responses - means[self._member]
        else:
            left = means - average_rows(means, self._condition)[self._condition]
        spread = np.sqrt(np.maximum((left**2).sum(axis=0) / self.freedom, 1e-12))
        return means / spread, left / spread

    def geometry(self, products: np.ndarray, shrinkage: float) -> Geometry:
        """Return the geometry of inner products of cells, (n_cells, n_cells), per voxel."""
        n_runs, n_conditions = self._shape
        found = np.full(2 * (n_runs * n_conditions,), np.nan)
        found[np.ix_(self.cells, self.cells)] = products
        shape = (n_runs, n_conditions, n_runs, n_conditions)
        return Geometry(found.reshape(shape), shrinkage, self.residuals)

    def shrinkage(self, pairs: np.ndarray, fourth: np.ndarray) -> np.ndarray:
        """Estimate how much of the correlations of residuals is noise.

        Parameters
        ----------
        pairs : ndarray
            Sums over all pairs of two voxels of the squared product of their residuals.
        fourth : ndarray
            Sums over the same pairs of the product of their squared residuals.

        Returns
        -------
        ndarray
            Weights of the diagonal (Schäfer and Strimmer 2005).
        """
        size = pairs / (self.n_rows - 1) ** 2
        spread = fourth / (self.n_rows - 1) - size
        error = self.n_rows / self.freedom**2 * spread
        return np.clip(error / np.maximum(size, 1e-12), LEAST_SHRINKAGE, 1.0)


@dataclass(eq=False)
class _Products:
    """Sums over voxels of products of whitened means and residuals."""

    own: np.ndarray
    cross: np.ndarray
    inner: np.ndarray
    energy: np.ndarray
    of_voxels: float = 0.0
    fourth: float = 0.0

    @classmethod
    def empty(cls, n_cells: int, n_rows: int) -> _Products:
        return cls(np.zeros((n_cells, n_cells)), np.zeros((n_cells, n_rows)),
                   np.zeros((n_rows, n_rows)), np.zeros(n_rows))

    def add(self, means: np.ndarray, noise: np.ndarray) -> None:
        """Add some voxels, (n_cells, n) and (n_rows, n)."""
        self.own += means @ means.T
        self.cross += means @ noise.T
        self.inner += noise @ noise.T
        squares = noise**2
        self.energy += squares.sum(axis=1)
        self.of_voxels += float((squares.sum(axis=0) ** 2).sum())
        self.fourth += float((squares**2).sum())

    def shrinkage(self, design: Design) -> float:
        """Estimate how much of the correlations of residuals is noise."""
        pairs = (self.inner**2).sum() - self.of_voxels
        return float(design.shrinkage(pairs, (self.energy**2).sum() - self.fourth))

    def whitened(self, shrinkage: float, freedom: int) -> np.ndarray:
        """Return inner products of means under the inverse of the shrunk covariance."""
        if shrinkage >= 1:
            return self.own
        weight = shrinkage * freedom / (1 - shrinkage)
        left = self.inner + weight * np.eye(len(self.inner))
        return (self.own - self.cross @ np.linalg.solve(left, self.cross.T)) / shrinkage


def vectorise(matrices: np.ndarray) -> np.ndarray:
    """Return the distances above the diagonal, (..., n_conditions, n_conditions) to (..., n)."""
    first, second = np.triu_indices(matrices.shape[-1], 1)
    return matrices[..., first, second]


def whitened_correlation(first: np.ndarray, second: np.ndarray, n_conditions: int) -> np.ndarray:
    """Correlate distances, weighted by the inverse covariance of their errors.

    Parameters
    ----------
    first : ndarray, shape (n_first, n_distances)
        Of :func:`vectorise`.
    second : ndarray, shape (n_second, n_distances)
    n_conditions : int

    Returns
    -------
    ndarray, shape (n_first, n_second)
        NaN for distances that are all equal.

    Notes
    -----
    Errors of the distances of independent conditions have covariance ``2 I + B B'``, in which ``B``
    marks the two conditions of each distance; so the inverse has a closed form.
    """
    parts = [each - each.mean(axis=1, keepdims=True) for each in (first, second)]
    whitened = unweight(parts[0], n_conditions)
    products = whitened @ parts[1].T
    own = np.einsum("nd,nd->n", whitened, parts[0])
    other = np.einsum("nd,nd->n", unweight(parts[1], n_conditions), parts[1])
    size = np.sqrt(np.outer(own, other))
    return np.where(size > 1e-12, products / np.where(size > 1e-12, size, 1.0), np.nan)


def unweight(vectors: np.ndarray, n_conditions: int) -> np.ndarray:
    """Multiply distances by the inverse covariance of their errors.

    Parameters
    ----------
    vectors : ndarray, shape (n, n_distances)
    n_conditions : int

    Returns
    -------
    ndarray, shape (n, n_distances)
    """
    first, second = np.triu_indices(n_conditions, 1)
    marks = np.zeros((vectors.shape[1], n_conditions))
    rows = np.arange(vectors.shape[1])
    marks[rows, first] = marks[rows, second] = 1.0
    sums = vectors @ marks
    solved = (sums - sums.sum(axis=1, keepdims=True) / (2 * n_conditions)) / n_conditions
    return 0.5 * (vectors - solved @ marks.T)
