"""Where signal is: a smooth hidden field makes regions, the evidence of voxels speaks for each.

A voxel either carries signal or does not. The chance of it follows a Gaussian random field, so
that neighbours tend to be alike, while how strong the signal is remains each voxel's own affair.
Unlike a low-pass filter this has sharp edges, and it says how many voxels there are.
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
"""Standard deviation of the field in log odds: nearly all voxels are surely in or out."""

EM_STEPS = 20
CLIMBING_STEPS = 50

_NEGLIGIBLE = 0.01
"""Waves of the field with a smaller share of the strongest one's amplitude are left out."""


@dataclass(frozen=True)
class SignalField:
    """How the hidden field and the evidence are taken.

    Parameters
    ----------
    fwhm_mm : float
        Smoothness: full width of the Gaussian that makes such a field of white noise. 0 judges
        each voxel alone.
    trust : float
        Power to which the likelihood of a voxel is taken. Neighbours share noise, so that they
        are fewer witnesses than they seem.
    """

    fwhm_mm: float
    trust: float


DEFAULT_FIELD = SignalField(14.0, 0.5)
"""Where there is too little to choose by."""

CANDIDATES = tuple(
    SignalField(fwhm_mm, trust)
    for fwhm_mm in (0.0, 4.0, 8.0, 14.0, 20.0) for trust in (0.25, 0.5, 1.0)
)


@dataclass(frozen=True, eq=False)
class SignalMap:
    """What is known about the signal of each voxel.

    Parameters
    ----------
    chances : ndarray of float32, shape (n_shares, n_voxels)
        Posterior chance of each of :data:`.signal.SIGNAL_SHARES`; the first is no signal.
    field : SignalField
        How they were found.
    """

    chances: np.ndarray
    field: SignalField

    @cached_property
    def share(self) -> np.ndarray:
        """Expected share of signal in the variance of a trial, (n_voxels,)."""
        return mean_shares(self.chances)

    @property
    def n_likely(self) -> int:
        """Number of voxels that rather carry signal than not."""
        return int((self.chances[0] < 0.5).sum())


def map_signal(
    person: Person,
    wanted: np.ndarray,
    prior: np.ndarray | None = None,
    field: SignalField = DEFAULT_FIELD,
) -> SignalMap:
    """Give for each voxel the chance that it carries signal, and how much.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
    prior : ndarray, shape (n_shares, n_voxels), optional
        Prior chances from other people; how common signal is follows from the person alone.
    field : SignalField

    Returns
    -------
    SignalMap

    Notes
    -----
    The field is set to its most likely value given all voxels, on a reduced set of cosine waves
    (Solin and Särkkä 2020, Stat Comput 30:419).
    """
    return _Judged.of(share_evidence(person, wanted)).map(person.grid, prior, field)


def choose_field(
    person: Person,
    wanted: np.ndarray,
    prior: np.ndarray | None = None,
    candidates: Iterable[SignalField] = CANDIDATES,
) -> SignalField:
    """Choose the field with which half of the runs foretells the other half best.

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
        Measured by the likelihood of each voxel's responses in one half under its chances from
        the other, both ways. :data:`DEFAULT_FIELD` where a half has fewer than
        :data:`~.signal.MIN_TRIALS_TO_SCORE` trials.
    """
    groups = person.run_groups
    first = np.isin(groups, np.unique(groups)[::2])
    if min(first.sum(), (~first).sum()) < MIN_TRIALS_TO_SCORE:
        return DEFAULT_FIELD
    halves = [log_evidence(person.betas[h], wanted[h], groups[h]) for h in (first, ~first)]
    known = [_Judged.of(half) for half in halves]
    if not person.grid.has_geometry:
        candidates = [field for field in candidates if field.fwhm_mm == 0]
    candidates = list(candidates)
    scores = [
        sum(
            _foretold(one.map(person.grid, prior, field), other)
            for one, other in zip(known, reversed(halves), strict=True)
        )
        for field in candidates
    ]
    return candidates[int(np.argmax(scores))]


def _foretold(known: SignalMap, met: np.ndarray) -> float:
    top = met.max(axis=0)
    likelihood = (known.chances * np.exp(met - top)).sum(axis=0)
    return float((np.log(np.maximum(likelihood, 1e-30)) + top).sum())


@dataclass(frozen=True, eq=False)
class _Judged:
    """Evidence of all voxels, each alone.

    Parameters
    ----------
    fraction : float
        How common signal is.
    ratio : ndarray, shape (n_voxels,)
        Log likelihood ratio of signal against none.
    within : ndarray, shape (n_shares - 1, n_voxels)
        Chances of the shares above 0, given that there is signal.
    """

    fraction: float
    ratio: np.ndarray
    within: np.ndarray

    @classmethod
    def of(cls, evidence: np.ndarray) -> _Judged:
        """Fit how common and how strong signal is to all voxels (expectation maximisation)."""
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
        """Put voxels together."""
        start = _prior_odds(self.fraction, prior, len(self.ratio))
        chance = expit(_log_odds(field.trust * self.ratio, start, grid, field.fwhm_mm))
        return SignalMap(
            np.vstack([1 - chance, chance * self.within]).astype(np.float32), field
        )


def _prior_odds(fraction: float, prior: np.ndarray | None, n_voxels: int) -> np.ndarray:
    """Give log odds of signal before the data: those of others, moved to this mean chance."""
    if prior is None:
        return np.full(n_voxels, logit(fraction))
    odds = logit(np.clip(1 - prior[0].astype(float), 1e-4, 1 - 1e-4))
    return odds + brentq(lambda move: expit(odds + move).mean() - fraction, -30, 30)


def _log_odds(ratio: np.ndarray, start: np.ndarray, grid: VoxelGrid, fwhm_mm: float) -> np.ndarray:
    """Add the field to prior odds *start* and log likelihood ratios *ratio*, (n_voxels,)."""
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
        """Give the field in the voxels of the mask; amplitudes of a random field are N(0, 1)."""
        volume = amplitudes.reshape(self.shape)
        for basis in self.bases:
            # Each turn brings the next axis to the front and the done one to the end.
            volume = np.tensordot(volume, basis, axes=(0, 1))
        return SPREAD * volume[self.mask]

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """Give the transpose of :meth:`field` times *values* (n_voxels,)."""
        volume = np.zeros(self.mask.shape)
        volume[self.mask] = values
        for basis in self.bases:
            volume = np.tensordot(volume, basis, axes=(0, 0))
        return SPREAD * volume.ravel()


def _cosines(length: int, sd: float) -> np.ndarray:
    """Give the waves along one axis, (length, n_waves), scaled to a field of unit variance."""
    frequency = np.pi * np.arange(length) / length
    gain = np.exp(-0.5 * (sd * frequency) ** 2)
    frequency, gain = frequency[gain > _NEGLIGIBLE], gain[gain > _NEGLIGIBLE]
    waves = np.cos(np.outer(np.arange(length) + 0.5, frequency)) * gain
    waves[:, 1:] *= np.sqrt(2)
    # Mirrored at the edges, waves would add up to more there.
    return waves / np.sqrt((waves**2).sum(axis=1, keepdims=True))
