"""Fit of T2* to multi-echo data, and their optimal combination, with functions of ``tedana``.

Series are combined with weights TE·exp(−TE/T2*) [1]_, in each voxel over the echoes that have
signal there. T2* and S0 are fitted to the logarithms of all steady-state volumes at once, as
``tedana`` [2]_ does by default.

References
----------
.. [1] Posse et al. 1999, Magn Reson Med 42:87.
.. [2] DuPre et al. 2021, J Open Source Softw 6:3669.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK = 1 << 22  # values of all echoes and volumes that are fitted at a time


@dataclass(frozen=True, eq=False)
class EchoFit:
    """Decay of the signal over the echoes of one run.

    Parameters
    ----------
    t2star : ndarray of float32, shape (n_voxels,)
        Seconds; 0 where no echo has signal.
    s0 : ndarray of float32, shape (n_voxels,)
        Signal at an echo time of 0; 0 where no echo has signal.
    weights : ndarray of float32, shape (n_voxels, n_echoes)
        They sum to 1; all are 0 where no echo has signal.
    """

    t2star: np.ndarray
    s0: np.ndarray
    weights: np.ndarray


def fit_echoes(
    echoes: np.ndarray, echo_times: Sequence[float], *, n_dummy: int = 0
) -> EchoFit:
    """Fit T2* and S0 in each voxel, and compute the weights of the echoes.

    Parameters
    ----------
    echoes : ndarray of float32, shape (n_voxels, n_echoes, n_volumes)
        Series of voxels of the brain: which echoes have signal in a voxel is judged by the other
        ones.
    echo_times : sequence of float
        Seconds, rising.
    n_dummy : int
        Volumes at the start that the fit leaves out.

    Returns
    -------
    EchoFit
    """
    from tedana import combine, decay, utils

    times = 1000 * np.asarray(echo_times, dtype=float)
    steady = _usable(echoes[..., min(n_dummy, echoes.shape[2] - 1):])
    t2star, s0 = np.zeros((2, len(echoes)), dtype=np.float32)
    weights = np.zeros((len(echoes), len(times)), dtype=np.float32)
    if not (steady[:, 0] > 0).any():
        return EchoFit(t2star, s0, weights)
    has_signal, n_good = utils.make_adaptive_mask(steady)
    if has_signal.sum() < 2:
        return EchoFit(t2star, s0, weights)
    with np.errstate(divide="ignore", over="ignore"):
        fits = [
            decay.fit_decay(steady[rows], times, n_good[rows], "loglin", report=False)[:2]
            for rows in _blocks(np.flatnonzero(has_signal), steady[0].size)
        ]
        used = n_good[has_signal]
        found, level = (np.concatenate(parts) for parts in zip(*fits, strict=True))
        found, level, *_ = decay.modify_t2s_s0_maps(
            t2s=found, s0=level, adaptive_mask=used, tes=times
        )
        # The combination of a unit impulse in each echo is the weight of this echo.
        impulses = np.broadcast_to(np.eye(len(times)), (len(found), len(times), len(times)))
        weights[has_signal] = combine.make_optcom(impulses, times, used, t2s=found)
    t2star[has_signal], s0[has_signal] = found / 1000, level
    return EchoFit(t2star, s0, weights)


def _usable(echoes: np.ndarray) -> np.ndarray:
    """Leave out blank volumes, and replace single values that are no signal.

    ``tedana`` takes an echo with one value of zero or less for bad, and with the first echo the
    whole voxel. Such values are replaced by the median of the series of their echo; where that is
    not positive, they stay.
    """
    kept = echoes[..., (echoes != 0).any(axis=(0, 1))]
    rows = (kept <= 0).any(axis=(1, 2))
    if not rows.any():
        return kept
    found = kept[rows]
    level = np.median(found, axis=2, keepdims=True)
    kept = kept.copy()
    kept[rows] = np.where((found <= 0) & (level > 0), level, found)
    return kept


def combine_echoes(echoes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the weighted sum over the echoes.

    Parameters
    ----------
    echoes : ndarray of float32, shape (n_voxels, n_echoes, n_volumes)
    weights : ndarray of float32, shape (n_voxels, n_echoes)

    Returns
    -------
    ndarray of float32, shape (n_voxels, n_volumes)
    """
    return np.einsum("vet,ve->vt", echoes, weights)


def _blocks(rows: np.ndarray, n_values: int) -> Iterator[np.ndarray]:
    """Split voxels so that float64 copies of their series stay small.

    No block has one voxel, from which ``tedana`` would drop its axis.
    """
    step = max(_BLOCK // n_values, 2)
    yield from np.array_split(rows, max(1, len(rows) // step))
