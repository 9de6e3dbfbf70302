"""A symmetric matrix plus one multiple of the identity after the other, from one reduction."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal, lapack


class Tridiagonal:
    """Inverses of a positive semidefinite matrix plus ``penalty I``, for many penalties.

    The matrix is ``Q T Q'`` with a tridiagonal ``T`` and Householder reflections ``Q`` [1]_, in
    single precision. For each penalty only ``T`` is solved. Eigenvectors would serve as well, and
    take four times as long.

    Parameters
    ----------
    products : ndarray of float32, shape (n, n)
        Positive semidefinite; changed. In the order of Fortran, only what is on and below the
        diagonal is read.

    References
    ----------
    .. [1] Golub and Van Loan 2013, Matrix Computations, 8.3.1; Elden 1977, BIT 17:134 (ridge
       regression by it).
    """

    def __init__(self, products: np.ndarray) -> None:
        n_rows = len(products)
        matrix = products if products.flags.f_contiguous else products.T
        length = int(lapack.ssytrd_lwork(n_rows, lower=1)[0])
        reduced, self._diagonal, self._beside, self._factors, _ = lapack.ssytrd(
            matrix, lower=1, lwork=length, overwrite_a=1
        )
        single = self._diagonal, self._beside
        self._least = 0.0 if n_rows == 1 else -2 * float(
            eigvalsh_tridiagonal(*single, select="i", select_range=(0, 0))[0]
        )
        # Reflections begin one below the diagonal: the same memory, moved by one number.
        flat = reduced.ravel(order="K")[1:1 + n_rows * (n_rows - 1)]
        self._reflections = flat.reshape((n_rows, n_rows - 1), order="F")

    def turn(self, values: np.ndarray) -> np.ndarray:
        """Multiply by ``Q'``, which keeps inner products: float32 (n, n_columns)."""
        single = np.asarray(values, dtype=np.float32)
        if len(single) == 1 or single.shape[1] == 0:
            return single
        turned = np.array(single[1:], order="F")
        size = -1
        for _ in range(2):  # first asks for the size of the work array
            _, work, _ = lapack.sormqr(
                "L", "T", self._reflections, self._factors, turned, size, overwrite_c=1
            )
            size = int(work[0])
        return np.concatenate([single[:1], turned])

    def solve(self, turned: np.ndarray, penalty: float) -> np.ndarray:
        """Multiply turned values by the inverse of ``T + penalty I``: float32 (n, n_columns).

        Where one direction is nearly all of the matrix, rounding of *T* can exceed the penalty. It
        is then twice the most negative eigenvalue of *T*, which would be zero without rounding.
        """
        shifted = self._diagonal.astype(np.float64) + max(penalty, self._least)
        if len(shifted) == 1:
            return (turned / shifted).astype(np.float32)
        *_, found, failed = lapack.dptsv(shifted, self._beside, turned, overwrite_d=1)
        if failed:
            raise np.linalg.LinAlgError("a penalised matrix is not positive definite")
        return found.astype(np.float32)
