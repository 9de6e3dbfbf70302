"""Linear encoding models of many voxels, and their Bayesian inversion in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_PENALTIES = np.logspace(-3, 3, 13)  # in units of the mean eigenvalue
_MAX_RESIDUALS = 1000
_VALUES = 1 << 24  # responses of which copies are made at a time
_JITTER = 1e-6


class EncodingFit(NamedTuple):
    """Weights of voxels, and what they leave.

    Parameters
    ----------
    weight : ndarray of float64, shape (n_coefficients, n_voxels)
    residuals : ndarray, shape (n_residuals, n_voxels)
        Of responses, each predicted from all others: of all, or of 1,000 evenly spaced ones.
    """

    weight: np.ndarray
    residuals: np.ndarray


def fit_encoding(
    coefficients: np.ndarray, responses: np.ndarray, scale: np.ndarray
) -> EncodingFit:
    """Predict each voxel by ridge regression whose penalty has the highest evidence.

    Parameters
    ----------
    coefficients : ndarray, shape (n, n_coefficients)
        Of mean 0.
    responses : ndarray, shape (n, n_voxels)
        Their means are subtracted.
    scale : ndarray, shape (n_coefficients,)
        Prior standard deviation of the weights, up to a factor.

    Returns
    -------
    EncodingFit

    Notes
    -----
    The evidence (marginal likelihood) of a penalty needs no folds [1]_. The left-out residuals
    follow from the leverage of each row.

    References
    ----------
    .. [1] MacKay 1992, Neural Comput 4:415.
    """
    left, values, right = np.linalg.svd(coefficients * scale, full_matrices=False)
    # Responses are large: what has their shape has their precision.
    left = left.astype(responses.dtype)
    n, n_voxels = responses.shape
    rows = np.linspace(0, n - 1, min(n, _MAX_RESIDUALS)).astype(int)
    weight = np.empty((len(scale), n_voxels))
    residuals = np.empty((len(rows), n_voxels), responses.dtype)
    size = max(1, _VALUES // n)
    for start in range(0, n_voxels, size):
        block = slice(start, start + size)
        own = responses[:, block] - responses[:, block].mean(axis=0)
        weight[:, block], residuals[:, block] = _fit_voxels(left, values, right, own, rows)
    return EncodingFit(scale[:, None] * weight, residuals)


def _fit_voxels(
    left: np.ndarray, values: np.ndarray, right: np.ndarray, responses: np.ndarray,
    rows: np.ndarray,
) -> EncodingFit:
    """Fit some voxels, given the singular vectors, with the residuals of these rows."""
    power, turned = values**2, left.T @ responses
    chosen = _PENALTIES[_evidence(turned, responses, power).argmax(axis=0)] * power.mean()
    left, responses = left[rows], responses[rows]
    weight, residuals = np.empty((len(right[0]), len(chosen))), np.empty_like(responses)
    for penalty in np.unique(chosen):
        own = np.flatnonzero(chosen == penalty)
        share = (power / (power + penalty)).astype(responses.dtype)
        leverage = np.minimum(np.square(left) @ share, 1 - 1e-3)
        weight[:, own] = right.T @ ((values / (power + penalty))[:, None] * turned[:, own])
        missed = responses[:, own] - left @ (share[:, None] * turned[:, own])
        residuals[:, own] = missed / (1 - leverage)[:, None]
    return EncodingFit(weight, residuals)


def _evidence(turned: np.ndarray, responses: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Compute the logarithm of the evidence, shape (n_penalties, n_voxels), up to a constant."""
    n = len(responses)
    total, squares = np.square(responses).sum(axis=0), np.square(turned)
    found = []
    for penalty in _PENALTIES * power.mean():
        share = power / (power + penalty)
        noise = np.maximum(total - share @ squares, 1e-12)
        found.append(-0.5 * (n * np.log(noise) + np.log1p(power / penalty).sum()))
    return np.stack(found)


def shrink_correlations(residuals: np.ndarray) -> float:
    """Estimate by how much correlations of voxels are shrunk towards zero.

    Parameters
    ----------
    residuals : ndarray, shape (n, n_voxels)

    Returns
    -------
    float
        0 (as observed) to 1 (none).

    References
    ----------
    Schäfer & Strimmer 2005, Stat Appl Genet Mol Biol 4:32.
    """
    n, n_voxels = residuals.shape
    spread = residuals.std(axis=0)
    scaled = (residuals - residuals.mean(axis=0)) / np.where(spread > 0, spread, 1)
    squares = scaled**2
    # Sums over all pairs of voxels follow from products of rows: no matrix of pairs is needed.
    correlations = np.square(scaled @ scaled.T / n).sum() - n_voxels
    moments = np.square(squares.sum(axis=1)).sum() / n - np.square(squares).mean(axis=0).sum()
    if correlations <= 0:
        return 1.0
    return float(np.clip((moments - correlations) / n / correlations, 0.01, 1))


@dataclass(frozen=True, eq=False)
class Inversion:
    """The posterior mean of coefficients given responses, for any level of noise.

    Parameters
    ----------
    precision : ndarray, shape (n_coefficients, n_coefficients)
        Of the prior of the coefficients.
    information : ndarray, shape (n_coefficients, n_coefficients)
        That a response of one trial adds to it.
    filters : ndarray, shape (n_voxels, n_coefficients)
        Weights of the voxels, divided by the covariance of their noise.
    """

    precision: np.ndarray
    information: np.ndarray
    filters: np.ndarray

    def weight(self, noise: float) -> np.ndarray:
        """Return the map from responses to coefficients, shape (n_voxels, n_coefficients).

        Parameters
        ----------
        noise : float
            Factor of the variance of the noise.
        """
        return np.linalg.solve(
            noise * self.precision + self.information, self.filters.T
        ).T


def invert(fit: EncodingFit, prior: np.ndarray) -> Inversion:
    """Turn an encoding model around.

    Parameters
    ----------
    fit : EncodingFit
    prior : ndarray, shape (n_coefficients, n_coefficients)
        Covariance of the coefficients.

    Returns
    -------
    Inversion

    References
    ----------
    Schoenmakers et al. 2013, NeuroImage 83:951 (linear-Gaussian reconstruction of what was seen).
    """
    residuals = fit.residuals.astype(np.float64)
    share = shrink_correlations(residuals)
    variance = np.maximum(np.square(residuals).mean(axis=0), 1e-12)
    alone = 1 / (share * variance)
    # Woodbury: the covariance is a diagonal and the products of the residuals.
    joint = residuals * np.sqrt((1 - share) / len(residuals))
    filters = alone[:, None] * fit.weight.T
    inner = np.eye(len(joint)) + (joint * alone) @ joint.T
    filters = filters - alone[:, None] * (joint.T @ np.linalg.solve(inner, joint @ filters))
    n = len(prior)
    precision = np.linalg.inv(prior + _JITTER * np.trace(prior) / n * np.eye(n))
    return Inversion(precision, fit.weight @ filters, filters)
