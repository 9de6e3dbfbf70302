"""Noise that voxels share, and how much of it is subtracted before labels are decoded.

Single-trial responses rise and fall together, by arousal, breathing or motion. The mean over voxels
holds most of that noise, and with a dozen trials a decoder cannot learn from them to leave it out.
With more it can, and responses are decoded as they are. With the same correlation of noise between
all voxels as model, its size is one number, which is estimated from the part of responses that
labels do not explain, and known from other participants where there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from bids_decoder.training.filtered import Filtered
from bids_decoder.training.run_means import centre_runs, degrees_of_freedom
from bids_decoder.trials import Person

MOST_TRIALS = 40
"""With more training trials a decoder learns by itself what noise is shared, and nothing is
subtracted, which may be signal.

The error that is avoided is of weights along the mean over voxels, which falls with the number
of trials, whatever the number of labels; see ``docs/troi.md``.
"""

MOST_TRIALS_TO_ESTIMATE = 3000
"""Trials of a source participant, in whole runs, by which its noise is estimated."""

FREEDOM_OF_OTHERS = 10.0
"""Weight of the correlation in other participants, in degrees of freedom of own noise."""

_EMPTY = 1e-9
_LEAST_SIGNAL = 0.01
"""Least signal of voxels without their mean with which that of the mean is compared."""

_LEAST_LEFT = 1e-3
"""If less is left of voxels without their mean, they are copies of one voxel, and the signal of the
mean cannot be compared with anything."""

_BLOCK = 1024


@dataclass(frozen=True)
class NoisePrior:
    """What other participants tell of the noise that voxels share; by default nothing.

    Parameters
    ----------
    correlation : float
        Mean correlation of noise between voxels.
    signal_ratio : float
        Ratio of signal to noise, as variances, of the mean over voxels, divided by that of what is
        left of voxels without the mean.
    freedom : float
        Weight of both, in degrees of freedom.
    """

    correlation: float = 0.0
    signal_ratio: float = 1.0
    freedom: float = 0.0

    @classmethod
    def of(cls, measures: Sequence[NoiseMeasures]) -> NoisePrior:
        """Pool measures of participants, by the degrees of freedom of their noise.

        Signals are pooled before they are divided, and the error that chance makes in that of the
        mean is added to both: where there is hardly any signal, ratios are of any size.
        """
        left, rank, correlation, of_mean, elsewhere = (
            np.concatenate(values) for values in zip(*measures, strict=True)
        )
        if not left.any():
            return cls()
        shares = left / left.sum()
        # Of F without signal, for many degrees of freedom of the noise.
        variance = 2 / np.maximum(rank, 1) + 2 / np.maximum(left, 1)
        error = np.sqrt(np.square(shares) @ variance)
        ratio = _signal_ratio(shares @ of_mean, shares @ elsewhere, error)
        return cls(float(shares @ correlation), float(ratio), FREEDOM_OF_OTHERS)


@dataclass(frozen=True, eq=False)
class SharedNoise:
    """Responses less a share of their mean over voxels.

    Parameters
    ----------
    places : ndarray of float64, shape (n_voxels,)
        Weights of the mean; their sum is one.
    share : float
        Share of the mean that is subtracted, 0 to 1.
    correlation, signal_ratio : float
        Estimated as :class:`NoisePrior` describes them.
    """

    places: np.ndarray
    share: float
    correlation: float
    signal_ratio: float

    def apply(self, betas: np.ndarray) -> np.ndarray:
        """Filter responses, float32 of shape (n_trials, n_voxels)."""
        # In single precision: the product with another type copies all responses.
        mean = np.float32(self.share) * (betas @ self.places.astype(np.float32))
        return (betas - mean[:, None]).astype(np.float32, copy=False)

    def of_responses(self, weight: np.ndarray) -> np.ndarray:
        """Return weights of responses (n_voxels, n_latents) from weights of filtered ones."""
        total = weight.sum(axis=0, dtype=np.float64)
        return (weight - self.share * np.outer(self.places, total)).astype(np.float32)


def shared_noise(
    person: Person, wanted: np.ndarray, weights: np.ndarray | None, prior: NoisePrior
) -> SharedNoise:
    """Estimate how much of the mean over voxels is noise.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
        Target of each trial.
    weights : ndarray, shape (n_voxels,), optional
        Prior scale of each voxel, 0 or above, by which the mean is weighted; by default equal.
    prior : NoisePrior

    Returns
    -------
    SharedNoise
        Its share is 0 where noise is not correlated, and where nothing is known of it: with one
        trial for each label and no other participants.

    Notes
    -----
    With variances ``v`` of voxels, the same correlation ``r`` between all of them and weights ``p``
    of the mean, the mean has the variance ``(1 - r) q + r s²``, ``q = sum(p² v)`` and
    ``s = sum(p √v)``. Subtracting the share ``1 - √((1 - r) q / ((1 - r) q + r s²))`` leaves it the
    variance that it would have if voxels were independent: noise becomes white, as with the
    inverse square root of this covariance (the constant correlation of Ledoit and Wolf 2004,
    Journal of Portfolio Management 30:110). Ridge regression then expects the same ratio of
    signal to noise in the mean as elsewhere. Where the mean has a higher one, so much more of it is
    kept, up to all.
    """
    places, *of_means = _mean_over_voxels(person, wanted, weights)
    return SharedNoise(places, *(float(found[0]) for found in shares_of_means(*of_means, prior)))


def measure_noise(
    person: Person, wanted: np.ndarray, weights: np.ndarray | None
) -> NoiseMeasures:
    """Measure the noise that voxels share; parameters as in :func:`shared_noise`."""
    return _measures_of_means(*_mean_over_voxels(person, wanted, weights)[1:])


def _mean_over_voxels(
    person: Person, wanted: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, VoxelSpread, int]:
    """Return the weights of voxels in the mean, and what :func:`shares_of_means` needs of it."""
    weights = np.ones(person.grid.n_voxels) if weights is None else weights.astype(np.float64)
    places, groups = weights / max(weights.sum(), _EMPTY), person.run_groups
    freedom = degrees_of_freedom(groups)
    axes = target_axes(centre_runs(np.asarray(wanted, np.float64), groups)[None])
    together = explained = total = 0.0
    means = np.zeros(len(groups))
    for start in range(0, len(places), _BLOCK):
        part, own = slice(start, start + _BLOCK), places[start:start + _BLOCK]
        centred = centre_runs(np.asarray(person.betas[:, part], np.float64), groups)
        energies = np.square(centred).sum(axis=0)
        means += centred @ own
        together += float(own @ np.sqrt(energies / freedom))
        total += float(np.square(own) @ energies)
        explained += float(np.square(own) @ np.square(axes[0].T @ centred).sum(axis=0))
    spread = VoxelSpread(*(np.array([value]) for value in (
        np.square(places).sum(), together**2, total, explained
    )))
    return places, means[None], axes, spread, freedom


class NoiseMeasures(NamedTuple):
    """Noise that voxels share, as measured in the responses of a participant, without a prior.

    Parameters
    ----------
    left : ndarray, shape (n_sets,)
        Degrees of freedom of the noise; with 0 the other values mean nothing.
    rank : ndarray, shape (n_sets,)
        Degrees of freedom of the targets.
    correlation : ndarray, shape (n_sets,)
        Mean correlation of noise between voxels.
    of_mean, elsewhere : ndarray, shape (n_sets,)
        Ratio of signal to noise, times the trials of a label, of the mean over voxels and of
        voxels without it; below zero where chance explains more.
    """

    left: np.ndarray
    rank: np.ndarray
    correlation: np.ndarray
    of_mean: np.ndarray
    elsewhere: np.ndarray


class VoxelSpread(NamedTuple):
    """Spread of weighted voxels over trials without means of runs, of several sets of weights.

    Parameters
    ----------
    squares : ndarray, shape (n_sets,)
        Sum of the squared weights of the mean.
    together : ndarray, shape (n_sets,)
        Variance of the mean if voxels rose and fell together.
    total, explained : ndarray, shape (n_sets,)
        Sum of squares of weighted voxels, all of it and along the axes of targets.
    """

    squares: np.ndarray
    together: np.ndarray
    total: np.ndarray
    explained: np.ndarray


def target_axes(wanted: np.ndarray) -> np.ndarray:
    """Return orthonormal axes of targets without means of runs, (n_sets, n, n_latents).

    Axes that are left over are zero.
    """
    axes, sizes, _ = np.linalg.svd(wanted, full_matrices=False)
    largest = np.maximum(sizes.max(axis=1, initial=0, keepdims=True), _EMPTY)
    return axes * (sizes > 1e-6 * largest)[:, None]


def shares_of_means(
    means: np.ndarray, axes: np.ndarray, spread: VoxelSpread, freedom: int, prior: NoisePrior
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate which share of means over voxels is to be subtracted.

    Parameters
    ----------
    means : ndarray, shape (n_sets, n)
        Means over voxels, without those of runs.
    axes : ndarray, shape (n_sets, n, n_latents)
        From :func:`target_axes`.
    spread : VoxelSpread
    freedom : int
        Degrees of freedom of the means.
    prior : NoisePrior

    Returns
    -------
    shares, correlations, signal_ratios : ndarray, shape (n_sets,)
        See :class:`SharedNoise`.
    """
    own = _measures_of_means(means, axes, spread, freedom)
    correlation = _pooled(own.correlation, own.left, prior.correlation, prior.freedom)
    correlation = np.minimum(correlation, 0.999) * _several(means, spread, freedom)
    ratio = _signal_ratio(own.of_mean, own.elsewhere)
    ratio = _pooled(ratio, own.left, prior.signal_ratio, prior.freedom)
    white = (1 - correlation) * spread.total / freedom
    kept = np.sqrt(white / np.maximum(white + correlation * spread.together, 1e-300))
    kept = np.where(correlation > 0, np.minimum(kept * np.sqrt(np.maximum(ratio, 1)), 1), 1.0)
    return 1 - kept, correlation, ratio


def _measures_of_means(
    means: np.ndarray, axes: np.ndarray, spread: VoxelSpread, freedom: int
) -> NoiseMeasures:
    """Measure noise that voxels share; parameters as in :func:`shares_of_means`."""
    rank = np.square(axes).sum(axis=(1, 2)).round()
    left = np.maximum(freedom - rank, 0)
    total = np.square(means).sum(axis=1)
    explained = np.square(np.matmul(means[:, None], axes)[:, 0]).sum(axis=1)
    variance = np.maximum(total - explained, 0) / np.maximum(left, 1)
    alone, several = spread.total / freedom, _several(means, spread, freedom)
    correlation = (variance - alone) / np.where(several, spread.together - alone, 1.0)
    elsewhere = _above_noise(
        spread.total - spread.squares * total, spread.explained - spread.squares * explained,
        rank, left,
    )
    return NoiseMeasures(
        left * several, rank, np.clip(correlation, 0.0, 1.0),
        _above_noise(total, explained, rank, left), elsewhere,
    )


def _several(means: np.ndarray, spread: VoxelSpread, freedom: int) -> np.ndarray:
    """Return where there are several voxels that differ: nothing is shared with a copy."""
    difference = spread.together - spread.total / freedom
    left = spread.total - spread.squares * np.square(means).sum(axis=1)
    return (difference > 1e-6 * np.maximum(spread.together, _EMPTY)) & (
        left > _LEAST_LEFT * spread.total
    )


def _above_noise(
    total: np.ndarray, explained: np.ndarray, rank: np.ndarray, left: np.ndarray
) -> np.ndarray:
    """Return F less 1: the ratio of signal to noise times the trials of a label."""
    noise = np.maximum(total - explained, 1e-300) / np.maximum(left, 1)
    return explained / np.maximum(rank, 1) / noise - 1


def _signal_ratio(
    of_mean: np.ndarray, elsewhere: np.ndarray, error: float = 0.0
) -> np.ndarray:
    """Divide signals of :class:`NoiseMeasures`, *error* added to both."""
    return (np.maximum(of_mean, 0) + error) / np.maximum(elsewhere + error, _LEAST_SIGNAL)


def _pooled(own: np.ndarray, left: np.ndarray, others: float, freedom: float) -> np.ndarray:
    """Return the mean of own estimates and that of others, by their degrees of freedom."""
    own = np.where(left > 0, own, others)
    return (left * own + freedom * others) / (left + freedom) if freedom else own


def is_subtracted(person: Person) -> bool:
    """Return whether shared noise is subtracted with so many trials; see :data:`MOST_TRIALS`."""
    return len(person.betas) <= MOST_TRIALS


def subtract_shared_noise(
    person: Person, wanted: np.ndarray, weights: np.ndarray | None, prior: NoisePrior
) -> Filtered:
    """Subtract the noise that voxels share from training trials.

    Parameters
    ----------
    person, wanted, weights, prior
        As in :func:`shared_noise`.

    Returns
    -------
    Filtered
        With ``noise_correlation`` and ``noise_share`` in its notes; responses as they are with
        more than :data:`MOST_TRIALS` trials, or if nothing is shared.
    """
    if not is_subtracted(person):
        return Filtered(person, weights)
    noise = shared_noise(person, wanted, weights, prior)
    notes: dict[str, Any] = {
        "noise_correlation": round(noise.correlation, 4), "noise_share": round(noise.share, 4),
    }
    if noise.share == 0:
        return Filtered(person, weights, notes=notes)
    return Filtered(replace(person, betas=noise.apply(person.betas)), weights, noise, notes)
