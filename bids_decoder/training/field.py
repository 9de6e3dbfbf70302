"""Detection of voxels with signal, with a smooth latent field as spatial prior.

A voxel either carries signal or does not. The log odds of signal follow a Gaussian random field,
so that neighbours tend to agree, while the strength of the signal is independent in each voxel.
Unlike a low-pass filter, the model preserves sharp edges, and it estimates the number of voxels
with signal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit, logsumexp

from bids_decoder.training.signal import (
    MIN_TRIALS_TO_SCORE,
    log_evidence,
    mean_shares,
    share_evidence,
)
from bids_decoder.training.smoothing import FWHM_PER_SD
from bids_decoder.trials import Person, VoxelGrid

SPREAD = 4.0
"""Prior standard deviation of the field in log odds."""

EM_STEPS = 20
CLIMBING_STEPS = 50

_NEGLIGIBLE = 0.01
"""Waves with a smaller amplitude, relative to the strongest, are left out."""


@dataclass(frozen=True)
class SignalField:
    """Hyperparameters of the field.

    Parameters
    ----------
    fwhm_mm : float
        Smoothness: full width at half maximum of the Gaussian kernel that turns white noise
        into such a field. With 0 the voxels are independent.
    trust : float
        Exponent of the likelihood of each voxel. Values below 1 account for noise that
        neighbours share.
    """

    fwhm_mm: float
    trust: float


DEFAULT_FIELD = SignalField(14.0, 0.5)
"""Used when there are too few trials to choose."""

CANDIDATES = tuple(
    SignalField(fwhm_mm, trust)
    for fwhm_mm in (0.0, 4.0, 8.0, 14.0, 20.0) for trust in (0.25, 0.5, 1.0)
)


@dataclass(frozen=True, eq=False)
class SignalMap:
    """Posterior of the signal of each voxel.

    Parameters
    ----------
    chances : ndarray of float32, shape (n_shares, n_voxels)
        Posterior probability of each of :data:`.signal.SIGNAL_SHARES`; the first is no signal.
    field : SignalField
        Hyperparameters used.
    """

    chances: np.ndarray
    field: SignalField

    @cached_property
    def share(self) -> np.ndarray:
        """Expected share of signal in the variance over trials, (n_voxels,)."""
        return mean_shares(self.chances)

    @property
    def n_likely(self) -> int:
        """Number of voxels that carry signal with a probability above one half."""
        return int((self.chances[0] < 0.5).sum())


def map_signal(
    person: Person,
    wanted: np.ndarray,
    prior: np.ndarray | None = None,
    field: SignalField = DEFAULT_FIELD,
) -> SignalMap:
    """Estimate for each voxel the probability and the strength of signal.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
    prior : ndarray, shape (n_shares, n_voxels), optional
        Prior probabilities from other participants; the overall fraction of voxels with signal
        is estimated from this participant alone.
    field : SignalField

    Returns
    -------
    SignalMap

    Notes
    -----
    The field is set to its maximum a posteriori estimate given all voxels, on a reduced set of
    cosine waves (Solin and Särkkä 2020, Stat Comput 30:419).
    """
    return _Evidence.of(share_evidence(person, wanted)).map(person.grid, prior, field)


def choose_field(
    person: Person,
    wanted: np.ndarray,
    prior: np.ndarray | None = None,
    candidates: Iterable[SignalField] = CANDIDATES,
) -> SignalField:
    """Choose the hyperparameters with which one half of the runs predicts the other best.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
    prior : ndarray, shape (n_shares, n_voxels), optional
    candidates : iterable of SignalField

    Returns
    -------
    SignalField
        The one with the highest likelihood of each half given the posterior of the other half.
        :data:`DEFAULT_FIELD` if a half has fewer than :data:`~.signal.MIN_TRIALS_TO_SCORE` trials.
    """
    groups = person.run_groups
    first = np.isin(groups, np.unique(groups)[::2])
    if min(first.sum(), (~first).sum()) < MIN_TRIALS_TO_SCORE:
        return DEFAULT_FIELD
    halves = [log_evidence(person.betas[h], wanted[h], groups[h]) for h in (first, ~first)]
    known = [_Evidence.of(half) for half in halves]
    if not person.grid.has_geometry:
        candidates = [field for field in candidates if field.fwhm_mm == 0]
    candidates = list(candidates)
    scores = [
        sum(
            _predictive(one.map(person.grid, prior, field), other)
            for one, other in zip(known, reversed(halves), strict=True)
        )
        for field in candidates
    ]
    return candidates[int(np.argmax(scores))]


def _predictive(known: SignalMap, evidence: np.ndarray) -> float:
    """Compute the log likelihood of *evidence* (n_shares, n_voxels) given a posterior."""
    top = evidence.max(axis=0)
    likelihood = (known.chances * np.exp(evidence - top)).sum(axis=0)
    return float((np.log(np.maximum(likelihood, 1e-30)) + top).sum())


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Evidence of independent voxels.

    Parameters
    ----------
    fraction : float
        Fraction of voxels with signal.
    ratio : ndarray, shape (n_voxels,)
        Log likelihood ratio of signal against no signal.
    within : ndarray, shape (n_shares - 1, n_voxels)
        Probabilities of the shares above 0, given that there is signal.
    """

    fraction: float
    ratio: np.ndarray
    within: np.ndarray

    @classmethod
    def of(cls, evidence: np.ndarray) -> _Evidence:
        """Fit the fraction and the distribution of signal by expectation maximisation."""
        n_shares = len(evidence) - 1
        fraction, common = 0.1, np.full(n_shares, 1 / n_shares)
        for step in range(EM_STEPS + 1):
            joint = np.log(common)[:, None] + evidence[1:]
            ratio = logsumexp(joint, axis=0)
            within = np.exp(joint - ratio)
            if step < EM_STEPS:
                chance = expit(ratio + logit(fraction))
                common = np.maximum(within @ chance / max(chance.sum(), 1e-12), 1e-6)
                common /= common.sum()
                fraction = float(np.clip(chance.mean(), 1e-3, 0.999))
        return cls(fraction, ratio, within)

    def map(self, grid: VoxelGrid, prior: np.ndarray | None, field: SignalField) -> SignalMap:
        """Compute the posterior of all voxels with the field as spatial prior."""
        start = _prior_odds(self.fraction, prior, len(self.ratio))
        chance = expit(_log_odds(field.trust * self.ratio, start, grid, field.fwhm_mm))
        return SignalMap(
            np.vstack([1 - chance, chance * self.within]).astype(np.float32), field
        )


def _prior_odds(fraction: float, prior: np.ndarray | None, n_voxels: int) -> np.ndarray:
    """Compute prior log odds of signal: those of others, shifted to this mean probability."""
    if prior is None:
        return np.full(n_voxels, logit(fraction))
    odds = logit(np.clip(1 - prior[0].astype(float), 1e-4, 1 - 1e-4))
    return odds + brentq(lambda move: expit(odds + move).mean() - fraction, -30, 30)


def _log_odds(ratio: np.ndarray, start: np.ndarray, grid: VoxelGrid, fwhm_mm: float) -> np.ndarray:
    """Compute posterior log odds from prior odds *start* and log likelihood ratios *ratio*."""
    if fwhm_mm <= 0 or not grid.has_geometry:
        return start + ratio
    waves = _Waves(grid, fwhm_mm)

    def loss(amplitudes: np.ndarray) -> tuple[float, np.ndarray]:
        odds = start + waves.field(amplitudes)
        value = np.logaddexp(odds + ratio, 0) - np.logaddexp(odds, 0)
        slope = waves.adjoint(expit(odds + ratio) - expit(odds))
        return 0.5 * float(amplitudes @ amplitudes) - float(value.sum()), amplitudes - slope

    found = minimize(loss, np.zeros(waves.n_waves), jac=True, method="L-BFGS-B",
                     options={"maxiter": CLIMBING_STEPS})
    return start + waves.field(found.x) + ratio


class _Waves:
    """A Gaussian random field over a box around the mask, as a sum of cosine waves."""

    def __init__(self, grid: VoxelGrid, fwhm_mm: float) -> None:
        low, high = grid.indices.min(axis=0), grid.indices.max(axis=0) + 1
        self.mask = grid.mask[tuple(map(slice, low, high))]
        widths = fwhm_mm / FWHM_PER_SD / grid.voxel_sizes
        self.bases = [_cosines(n, sd) for n, sd in zip(self.mask.shape, widths, strict=True)]
        self.shape = tuple(basis.shape[1] for basis in self.bases)
        self.n_waves = int(np.prod(self.shape))

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """Compute the field in the mask; under the prior the amplitudes are N(0, 1)."""
        volume = amplitudes.reshape(self.shape)
        for basis in self.bases:
            # Each step contracts the first axis and appends the result as the last one.
            volume = np.tensordot(volume, basis, axes=(0, 1))
        return SPREAD * volume[self.mask]

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """Apply the transpose of :meth:`field` to *values* (n_voxels,)."""
        volume = np.zeros(self.mask.shape)
        volume[self.mask] = values
        for basis in self.bases:
            volume = np.tensordot(volume, basis, axes=(0, 0))
        return SPREAD * volume.ravel()


def _cosines(length: int, sd: float) -> np.ndarray:
    """Compute the waves along one axis, (length, n_waves), for a field of unit variance."""
    frequency = np.pi * np.arange(length) / length
    gain = np.exp(-0.5 * (sd * frequency) ** 2)
    frequency, gain = frequency[gain > _NEGLIGIBLE], gain[gain > _NEGLIGIBLE]
    waves = np.cos(np.outer(np.arange(length) + 0.5, frequency)) * gain
    waves[:, 1:] *= np.sqrt(2)
    # The variance of the mirrored waves is larger at the edges without this.
    return waves / np.sqrt((waves**2).sum(axis=1, keepdims=True))
