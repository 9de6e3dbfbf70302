"""Bilinear forms of many inverse covariances of overlapping sets of voxels.

Neighbouring spheres share most of their voxels. Voxels that all spheres of a group share are
eliminated once for the group (a step of block Gaussian elimination, whose Schur complement is the
covariance of the other voxels given these); then the group is split along every axis, and so on
down to single spheres. With 4 x 4 x 4 spheres of 257 voxels this takes a third of the operations
of one Gram matrix and one Cholesky factorisation per sphere, and the result is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.blas import strsm
from scipy.linalg.lapack import spotrf, spotrs

from bids_decoder.training.spheres import Block

_FEW = 0.1
"""A smaller share of voxels in common is left to the parts: copying the rest would take longer."""


@dataclass(frozen=True, eq=False)
class Forms:
    """Forms with the inverse of the covariance of every sphere.

    Parameters
    ----------
    cross : ndarray of float32, shape (n_spheres, n_labellings, n_test, n_classes)
        ``test' inverse means``.
    own : ndarray of float32, shape (n_spheres, n_labellings, n_classes, n_classes)
        ``means' inverse means``.
    """

    cross: np.ndarray
    own: np.ndarray


@dataclass(frozen=True, eq=False)
class _Group:
    """Spheres of a block with what is left to eliminate, and the forms so far.

    The columns of *right* are test trials and means; *cross* has the shape (n_test,
    n_labellings * n_classes).
    """

    spheres: np.ndarray
    members: np.ndarray
    covariance: np.ndarray
    right: np.ndarray
    cross: np.ndarray
    own: np.ndarray


def sphere_forms(
    block: Block, covariance: np.ndarray, test: np.ndarray, means: np.ndarray
) -> Forms:
    """Compute the forms of every sphere of a block.

    Parameters
    ----------
    block : Block
    covariance : ndarray of float32, shape (n_used, n_used)
        Positive definite covariance of the voxels of the block.
    test : ndarray of float32, shape (n_used, n_test)
    means : ndarray of float32, shape (n_used, n_labellings, n_classes)

    Returns
    -------
    Forms
        Of the spheres in the order of the block.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the covariance is singular in single precision.
    """
    n_used, n_labellings, n_classes = means.shape
    n_test, n_spheres = test.shape[1], len(block.centres)
    cross = np.empty((n_spheres, n_test, n_labellings * n_classes), dtype=np.float32)
    own = np.empty((n_spheres, n_labellings, n_classes, n_classes), dtype=np.float32)
    right = np.concatenate([test, means.reshape(n_used, -1)], axis=1)
    pending = [_Group(
        np.arange(n_spheres), block.members, covariance, right, np.zeros_like(cross[0]),
        np.zeros_like(own[0]),
    )]
    while pending:
        group = pending.pop()
        if len(group.spheres) == 1:
            cross[group.spheres[0]], own[group.spheres[0]] = _forms_of_last(group)
        else:
            pending += _parts(_without_common_voxels(group), block.places)
    shape = (n_spheres, n_test, n_labellings, n_classes)
    return Forms(cross.reshape(shape).transpose(0, 2, 1, 3), own)


def _forms_of_last(group: _Group) -> tuple[np.ndarray, np.ndarray]:
    """Return the forms of a group of one sphere."""
    inside, n_test = np.flatnonzero(group.members[0]), len(group.cross)
    if not len(inside):
        return group.cross, group.own
    factor = _factorise(group.covariance.take(inside, axis=0).take(inside, axis=1))
    right = group.right.take(inside, axis=0)
    if right.shape[1] > 2 * n_test:
        solved = _solve_forwards(factor, right)
        return _with_part(group, solved, solved[:, n_test:])
    # Few means: solving for them alone takes less than half of the operations.
    return _with_part(group, right, spotrs(factor, right[:, n_test:], lower=1)[0])


def _without_common_voxels(group: _Group) -> _Group:
    """Eliminate the voxels that all spheres of a group share, if many, and forget those of none."""
    is_common, is_used = group.members.all(axis=0), group.members.any(axis=0)
    common, others = np.flatnonzero(is_common), np.flatnonzero(is_used & ~is_common)
    if len(common) < _FEW * (len(common) + len(others)):
        return group
    rows = group.covariance.take(common, axis=0)
    factor = _factorise(rows.take(common, axis=1))
    beside = _solve_forwards(factor, rows.take(others, axis=1))
    right = _solve_forwards(factor, group.right.take(common, axis=0))
    forms = _with_part(group, right, right[:, len(group.cross):])
    left = group.covariance.take(others, axis=0).take(others, axis=1)
    left -= beside.T @ beside
    rest = group.right.take(others, axis=0)
    rest -= beside.T @ right
    return _Group(group.spheres, group.members[:, others], left, rest, *forms)


def _factorise(covariance: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor, column-major; overwrites the covariance."""
    # Row-major arrays are the transposes of what LAPACK and BLAS work on in place.
    factor, failed = spotrf(covariance.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError("the covariance of a sphere is not positive definite")
    return factor


def _solve_forwards(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve the lower triangular system, (n_voxels, n); overwrites the right side."""
    return strsm(1.0, factor, right.T, side=1, lower=1, trans_a=1, overwrite_b=1).T


def _with_part(
    group: _Group, right: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add what voxels contribute to the forms of a group.

    *right* holds test trials and means, and *weights* what the means are multiplied with: either
    all forward-substituted, or the former as they are and the latter solved.
    """
    n_labellings, n_classes = group.own.shape[:2]
    n_test, shape = len(group.cross), (len(right), n_labellings, n_classes)
    means = right[:, n_test:].reshape(shape).transpose(1, 2, 0)
    own = np.matmul(means, weights.reshape(shape).transpose(1, 0, 2))
    return group.cross + right[:, :n_test].T @ weights, group.own + own


def _parts(group: _Group, places: np.ndarray) -> list[_Group]:
    """Split a group in the middle of every axis, or in halves where all places are the same."""
    own = places[group.spheres]
    octant = (own > (own.min(axis=0) + own.max(axis=0)) / 2) @ (1, 2, 4)
    parts = [np.flatnonzero(octant == number) for number in np.unique(octant)]
    if len(parts) == 1:
        parts = np.array_split(parts[0], 2)
    return [
        replace(group, spheres=group.spheres[rows], members=group.members[rows]) for rows in parts
    ]
