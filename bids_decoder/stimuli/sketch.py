"""Shorter vectors for long ones, so that memory does not grow with the length of a vector.

All tokens of a vision model are 400,000 numbers for each stimulus, tens of gigabytes in all. They
are replaced by a count sketch [1]_: numbers get random signs, and those that fall into the same one
of :data:`N_BINS` bins are added. Inner products and distances stay what they are but for a random
part of about ``1 / sqrt(N_BINS)``. Signs and bins depend on the length of the vectors
only, not on any stimulus: nothing about test stimuli can leak into them, vectors are read once, a
few at a time, and other calls make the same numbers. The principal components that targets are
predicted in are then learned from training stimuli in the sketch (a randomised singular value
decomposition [2]_).

References
----------
.. [1] Charikar, Chen and Farach-Colton (2002), Finding frequent items in data streams, ICALP;
   Weinberger et al. (2009), Feature hashing for large scale multitask learning, ICML.
.. [2] Halko, Martinsson and Tropp (2011), SIAM Review 53:217.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.sparse

LONGEST = 8192
"""Longest vectors that are kept as they are."""

N_BINS = 4096
"""Length of the others after :func:`sketch`."""

_LEAST_VARIATION = 1e-5
"""Share of the length of a vector that must be left of it without its mean."""

BLOCK_BYTES = 64 << 20
"""Bytes of long vectors that are read at a time."""


def sketch(vectors: np.ndarray, first: int = 0) -> np.ndarray:
    """Shorten vectors to :data:`N_BINS` numbers.

    Parameters
    ----------
    vectors : ndarray, shape (n, n_dims)
        Vectors, or consecutive columns of them: sketches of parts add up to that of the whole.
    first : int
        Number of the first column.

    Returns
    -------
    ndarray of float32, shape (n, N_BINS)
    """
    values = np.ascontiguousarray(vectors, dtype=np.float32)
    return np.ascontiguousarray((_bins(first, values.shape[1]) @ values.T).T)


def shorten(vectors: np.ndarray) -> np.ndarray:
    """Return vectors as they are if they have at most :data:`LONGEST` numbers, else sketches."""
    return sketch(vectors) if vectors.shape[1] > LONGEST else vectors


def centre_sketches(sketches: np.ndarray, n_dims: int) -> np.ndarray:
    """Subtract from vectors that are known by their sketches their own means.

    The sketch of a vector with mean *m* is that of the vector without its mean, plus *m* times the
    sketch of ones. What is orthogonal to the latter does not depend on *m*; of the 4096 dimensions
    of the rest it lacks one.

    Parameters
    ----------
    sketches : ndarray, shape (n, N_BINS)
    n_dims : int
        Length of the vectors.

    Returns
    -------
    ndarray of float64, shape (n, N_BINS)
        Zeros for vectors of equal numbers.
    """
    ones = sketch(np.ones((1, n_dims), np.float32))[0].astype(np.float64)
    ones /= np.linalg.norm(ones)
    values = np.asarray(sketches, dtype=np.float64)
    centred = values - np.outer(values @ ones, ones)
    least = _LEAST_VARIATION * np.linalg.norm(values, axis=1)
    centred[np.linalg.norm(centred, axis=1) <= least] = 0
    return centred


def say_length(n_dims: int | None, sketched: int) -> str:
    """Return the length of vectors for messages: that before the sketch, where they are ones.

    Examples
    --------
    >>> say_length(512, 0), say_length(4096, 20000)
    ('512', '20000, kept as sketches of 4096')
    """
    return f"{sketched}, kept as sketches of {n_dims}" if sketched else str(n_dims)


@lru_cache(maxsize=4)
def _bins(first: int, n_columns: int) -> scipy.sparse.csr_array:
    """Return the matrix of the sketch, (N_BINS, n_columns), with one element in each column."""
    drawn = _scrambled(np.arange(first, first + n_columns, dtype=np.uint64))
    signs = np.where(drawn >> np.uint64(63), 1, -1).astype(np.float32)
    bins = (drawn % np.uint64(N_BINS)).astype(np.intp)
    return scipy.sparse.csr_array(
        (signs, (bins, np.arange(n_columns))), shape=(N_BINS, n_columns)
    )


def _scrambled(numbers: np.ndarray) -> np.ndarray:
    """Hash unsigned integers; a generator of NumPy might draw other numbers in another version.

    The output function of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA).
    """
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
