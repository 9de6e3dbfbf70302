"""Detection of voxels with signal, with a smooth latent field as spatial prior.

A voxel either carries signal or does not. The log odds of signal follow a Gaussian random field,
so that neighbours tend to agree, while the strength of the signal is independent in each voxel.
Unlike a low-pass filter, the model preserves sharp edges, and it estimates the number of voxels
with signal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from bids_decoder.training.climb import minimise
from bids_decoder.training.signal import (
    MIN_TRIALS_TO_SCORE,
    SIGNAL_SHARES,
    log_evidence,
    mean_shares,
    share_evidence,
    varies,
)
from bids_decoder.trials import Person, VoxelGrid

SPREAD = 4.0
"""Prior standard deviation of the field in log odds."""

EM_STEPS = 20
"""More of them change the fraction of voxels with signal by less than a fifth of itself."""

CLIMBING_STEPS = 50

_SURE = 300.0
"""Bound of log odds and log likelihood ratios whose exponentials are computed."""

_SURE_SINGLE = 80.0
"""The same in single precision."""


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
    share : ndarray of float32, shape (n_voxels,)
        Expected share of signal in the variance over trials.
    n_likely : int
        Number of voxels that carry signal with a probability above one half.
    """

    chances: np.ndarray
    field: SignalField
    share: np.ndarray
    n_likely: int


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
    return map_signals(person, wanted[None], prior, field)[0]


def map_signals(
    person: Person,
    wanted: np.ndarray,
    prior: np.ndarray | None = None,
    field: SignalField = DEFAULT_FIELD,
) -> list[SignalMap]:
    """Map the signal of several sets of targets for the same trials; see :func:`map_signal`.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_sets, n_trials, n_latents)
    prior : ndarray, shape (n_shares, n_voxels), optional
    field : SignalField

    Returns
    -------
    list of SignalMap
        One per set, as for each alone.
    """
    evidence = share_evidence(person, wanted)
    return _Evidence.of(evidence, varies(person.betas)).map(person.grid, prior, field)


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
    halves = np.stack([
        log_evidence(person.betas[h], wanted[h], groups[h]) for h in (first, ~first)
    ])
    varying = varies(person.betas[first]) & varies(person.betas[~first])
    halves[:, :, ~varying] = 0
    known = _Evidence.of(halves, varying)
    if not person.grid.has_neighbours:
        candidates = [field for field in candidates if field.fwhm_mm == 0]
    candidates = list(candidates)
    scores = [
        sum(
            _predictive(one, other)
            for one, other in zip(
                known.map(person.grid, prior, field), halves[::-1], strict=True
            )
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
    """Evidence of independent voxels, for several sets of targets.

    Parameters
    ----------
    fraction : ndarray, shape (n_sets,)
        Fraction of voxels with signal.
    ratio : ndarray, shape (n_sets, n_voxels)
        Log likelihood ratio of signal against no signal.
    within : ndarray, shape (n_sets, n_shares - 1, n_voxels)
        Probabilities of the shares above 0, given that there is signal.
    varying : ndarray of bool, shape (n_all,)
        Voxels that vary, n_voxels of them. The others have no signal, and tell nothing of others:
        counted as voxels without signal, they would make it seem rarer than it is elsewhere.
    """

    fraction: np.ndarray
    ratio: np.ndarray
    within: np.ndarray
    varying: np.ndarray

    @classmethod
    def of(cls, evidence: np.ndarray, varying: np.ndarray) -> _Evidence:
        """Fit the fractions and the distributions of signal by expectation maximisation.

        Parameters
        ----------
        evidence : ndarray, shape (n_sets, n_shares, n_all)
        varying : ndarray of bool, shape (n_all,)
        """
        if not varying.any():
            varying = np.ones_like(varying)
        if not varying.all():
            evidence = evidence[:, :, varying]
        n_sets, n_shares = len(evidence), evidence.shape[1] - 1
        top = evidence[:, 1:].max(axis=1)
        # Single precision is enough here, by far the longest part for many sets.
        likelihood = np.exp((evidence[:, 1:] - top[:, None]).astype(np.float32, copy=False))
        silent = np.exp(-np.clip(top, -_SURE_SINGLE, _SURE_SINGLE)).astype(np.float32)
        fraction, common = np.full(n_sets, 0.1), np.full((n_sets, n_shares), 1 / n_shares)
        for _ in range(EM_STEPS):
            total = (common.astype(np.float32)[:, None] @ likelihood)[:, 0]
            odds = (fraction / (1 - fraction)).astype(np.float32)[:, None]
            share = odds / (silent + odds * total)
            sums = common * (likelihood @ share[:, :, None])[:, :, 0]
            found = sums.sum(axis=1)
            common = np.maximum(sums / np.maximum(found, 1e-12)[:, None], 1e-6)
            common /= common.sum(axis=1, keepdims=True)
            fraction = np.clip(found / total.shape[1], 1e-3, 0.999)
        common = common.astype(np.float32)
        total = (common[:, None] @ likelihood)[:, 0]
        within = common[:, :, None] * likelihood / total[:, None]
        return cls(fraction, np.log(total) + top, within, varying)

    def map(self, grid: VoxelGrid, prior: np.ndarray | None, field: SignalField) -> list[SignalMap]:
        """Compute the posterior of all voxels with the field as spatial prior."""
        own = slice(None) if self.varying.all() else self.varying
        known = None if prior is None else prior[:, own]
        start, ratio = np.zeros((2, len(self.fraction), len(self.varying)))
        start[:, own] = [_prior_odds(f, known, self.ratio.shape[1]) for f in self.fraction]
        ratio[:, own] = field.trust * self.ratio
        chance = expit(_log_odds(ratio, start, grid, field.fwhm_mm))[:, own]
        chances = np.zeros((len(chance), len(SIGNAL_SHARES), len(self.varying)), np.float32)
        chances[:, 0] = 1
        chances[:, 0, own] = 1 - chance
        chances[:, 1:, own] = np.multiply(
            chance[:, None], self.within, dtype=np.float32, casting="same_kind"
        )
        shares, likely = mean_shares(chances), (chances[:, 0] < 0.5).sum(axis=1)
        return [
            SignalMap(each, field, share, int(count))
            for each, share, count in zip(chances, shares, likely, strict=True)
        ]


def _prior_odds(fraction: float, prior: np.ndarray | None, n_voxels: int) -> np.ndarray:
    """Compute prior log odds of signal: those of others, shifted to this mean probability."""
    if prior is None:
        return np.full(n_voxels, logit(fraction))
    odds = logit(np.clip(1 - prior[0].astype(float), 1e-4, 1 - 1e-4))
    return odds + brentq(lambda move: expit(odds + move).mean() - fraction, -30, 30)


def _log_odds(ratio: np.ndarray, start: np.ndarray, grid: VoxelGrid, fwhm_mm: float) -> np.ndarray:
    """Compute posterior log odds from prior odds *start* and log likelihood ratios *ratio*.

    All have shape (n_sets, n_voxels).
    """
    if fwhm_mm <= 0 or not grid.has_neighbours:
        return start + ratio
    waves = grid.geometry.random_field(fwhm_mm)
    # In double precision: the exponentials of strong signals have none in single precision.
    likelihood = np.exp(np.clip(ratio.astype(np.float64), -_SURE, _SURE))

    def loss(amplitudes: np.ndarray, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        odds = waves.field(SPREAD * amplitudes)
        odds += start[sets]
        np.exp(np.clip(odds, -_SURE, _SURE, out=odds), out=odds)
        # With odds o and the likelihood ratio r, the likelihood is (1 + o r) / (1 + o), and the
        # slope of its logarithm in the log odds 1 / (1 + o) - 1 / (1 + o r).
        with_signal = odds * likelihood[sets]
        with_signal += 1
        odds += 1
        chance = np.reciprocal(odds, out=odds)
        gain = np.log(with_signal * chance).sum(axis=1)
        slope = np.subtract(chance, np.reciprocal(with_signal, out=with_signal), out=chance)
        value = 0.5 * np.vecdot(amplitudes, amplitudes) - gain
        return value, amplitudes - SPREAD * waves.adjoint(slope)

    found = minimise(loss, np.zeros((len(ratio), waves.n_waves)), CLIMBING_STEPS)
    return start + SPREAD * waves.field(found) + ratio
