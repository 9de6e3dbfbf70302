"""A prior for decoders by noise that voxels share, and by tuning that neighbours share.

Responses are linear in the targets, with noise of covariance S between voxels. If the weights of
this encoding model have covariance T over voxels, those of the best linear decoder, ``S^-1`` times
them, have covariance ``S^-1 T S^-1``, up to a factor for each target. T is that of smooth tuning,
scaled by the strength of signal of each voxel: ``T = D G G' D``. Ridge regression has this prior
on responses that were filtered by ``S^-1``, multiplied by D, and smoothed by G. Since S and D are
estimates, the filter is weaker than ``S^-1`` (:mod:`.noise_filter`). Cross-validation over
training runs decides whether the prior is used, and whether tuning is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bids_decoder.config import Troi
from bids_decoder.evaluation.folds import inner_folds
from bids_decoder.grids.base import Kernel
from bids_decoder.seeds import derive_seed
from bids_decoder.training.adaptation import Adaptation
from bids_decoder.training.filtered import Filtered
from bids_decoder.training.noise_filter import (
    NoiseFilter,
    blocks_of_rows,
    fit_noise_filter,
    knows_all_neighbours,
)
from bids_decoder.training.selection.budget import weights_of_top
from bids_decoder.training.selection.task import SelectionTask
from bids_decoder.training.selectors import SELECT_FROM_MAP
from bids_decoder.trials import Person, Targets

WIDTHS = (0.0, 2.0)
"""Candidates for the width of G, full width at half maximum in voxels; on a mesh, in edges.

Held-out runs do not tell closer ones apart.
"""

MIN_TRIALS = 60
"""With fewer training trials, cross-validation tells small gains and losses apart too badly."""

MOST_TRIALS = 3000
"""With more training trials gains are small, and filtered and mapped responses are two copies."""

STANDARD_ERRORS = 1.0
"""By how many standard errors held-out training trials must be decoded worse for the prior to be
left out: they are decoded from fewer trials than new ones, and the prior needs to know the region.
"""

N_FOLDS = 3

_LEAST_REACH = 0.05
"""Voxels are used up to where the smoothed region falls below this share."""


@dataclass(frozen=True, eq=False)
class SpatialPrior:
    """A linear map of responses, on which ridge regression has the prior of this module.

    Parameters
    ----------
    noise : NoiseFilter
    strength : ndarray of float32, shape (n_voxels,)
        Strength of signal of each voxel, zero outside the selection.
    smooth : Kernel or None
        By which tuning is smooth; None where it differs from voxel to voxel.
    size : float
        Divisor of the results.
    """

    noise: NoiseFilter
    strength: np.ndarray
    smooth: Kernel | None
    size: float = 1.0

    def apply(self, betas: np.ndarray) -> np.ndarray:
        """Map responses, float32 of shape (n_trials, n_voxels)."""
        return self.of_filtered(self.noise.apply(betas))

    def of_filtered(self, filtered: np.ndarray) -> np.ndarray:
        """Map responses, (n_trials, n_voxels), to which the noise filter was applied."""
        found = filtered * self.strength
        if self.smooth is not None:
            for rows in blocks_of_rows(*found.shape):
                found[rows] = self.smooth.mean(found[rows])
        found /= np.float32(self.size)
        return found

    def scaled(
        self, filtered: np.ndarray, trials: np.ndarray
    ) -> tuple[SpatialPrior, np.ndarray]:
        """Return the map whose results have unit variance, and its results.

        Parameters
        ----------
        filtered : ndarray, shape (n_trials, n_voxels)
            To which the noise filter was applied.
        trials : ndarray of int
            Rows by whose results, in the voxels that are used, the variance is computed.
        """
        found, used = self.of_filtered(filtered), self.reached > 0
        size = float(np.sqrt(np.mean([np.square(found[row, used]).mean() for row in trials])))
        size = max(size, 1e-12)
        found /= np.float32(size)
        return replace(self, size=self.size * size), found

    def of_responses(self, weight: np.ndarray) -> np.ndarray:
        """Return weights of responses from weights of mapped ones.

        Parameters
        ----------
        weight : ndarray, shape (n_voxels, n_latents)

        Returns
        -------
        ndarray of float32, shape (n_voxels, n_latents)
            So that both give the same latents. Voxels around those with signal have some, too.
        """
        maps = weight.T if self.smooth is None else self.smooth.adjoint(weight.T)
        return self.noise.adjoint(maps * (self.strength / np.float32(self.size))).T

    @property
    def reached(self) -> np.ndarray:
        """Ones for voxels whose mapped responses are used, float32 of shape (n_voxels,)."""
        inside = (self.strength > 0).astype(np.float32)
        if self.smooth is not None:
            inside = self.smooth.mean(inside)
        return (inside > _LEAST_REACH).astype(np.float32)


def prior_is_tried(person: Person, targets: Targets, troi: Troi) -> bool:
    """Return whether :func:`use_spatial_prior` compares the prior with responses as they are.

    It does so for stimuli, unless the settings forbid it, where the neighbours of all voxels are
    known, weights come from the map of the signal or are equal, and there are two runs or more and
    :data:`MIN_TRIALS` to :data:`MOST_TRIALS` trials.
    """
    return (
        troi.spatial_prior == "auto" and troi.selector in (*SELECT_FROM_MAP, "all")
        and not targets.over_runs and knows_all_neighbours(person.grid)
        and MIN_TRIALS <= len(person.betas) <= MOST_TRIALS
        and len(np.unique(person.run_groups)) > 1
    )


def use_spatial_prior(
    adaptation: Adaptation, task: SelectionTask, targets: Targets, weights: np.ndarray
) -> Filtered:
    """Map the responses of selected voxels unless held-out training runs are decoded worse so.

    Parameters
    ----------
    adaptation : Adaptation
        With the trunk through which held-out trials are decoded, which must not have been trained
        on them.
    task : SelectionTask
        Of the selection; training trials only.
    targets : Targets
    weights : ndarray, shape (n_voxels,)
        Of the selection.

    Returns
    -------
    Filtered
        With the width that decodes held-out training trials best, from voxels that were chosen
        and weighted without them, unless :func:`is_kept` forbids it. Its notes:
        whether the prior was used, its width, and the mean distinctness of held-out training
        trials without and with it; empty where it was not tried.
    """
    person = task.person
    if not prior_is_tried(person, targets, task.settings):
        return Filtered(person, weights)
    noise = fit_noise_filter(person, np.random.default_rng(derive_seed(task.seed, "noise")))
    filtered = noise.apply(person.betas)
    priors = [SpatialPrior(noise, weights, _kernel(person, width)) for width in WIDTHS]
    plain, *scores = _compare(adaptation, task, priors, filtered)
    best = int(np.argmax([own.mean() for own in scores]))
    notes = {
        "spatial_prior": is_kept(plain, scores[best]),
        "spatial_prior_fwhm_mm": round(WIDTHS[best] * person.grid.geometry.spacing_mm, 3),
        "spatial_prior_scores": [round(float(v.mean()), 4) for v in (plain, scores[best])],
    }
    if not notes["spatial_prior"]:
        return Filtered(person, weights, notes=notes)
    chosen, betas = priors[best].scaled(filtered, np.arange(len(filtered)))
    return Filtered(replace(person, betas=betas), chosen.reached, chosen, notes)


def is_kept(plain: np.ndarray, mapped: np.ndarray) -> bool:
    """Return whether held-out trials (n_trials,) are decoded, and not clearly worse with the prior.

    Parameters
    ----------
    plain, mapped : ndarray, shape (n_trials,)
        Distinctness without and with the prior.
    """
    gains = mapped - plain
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(mapped.mean() > 0 and gains.mean() >= -STANDARD_ERRORS * error)


def _kernel(person: Person, width: float) -> Kernel | None:
    geometry = person.grid.geometry
    return geometry.kernel(width * geometry.spacing_mm) if width else None


def _compare(
    adaptation: Adaptation, task: SelectionTask, priors: list[SpatialPrior], filtered: np.ndarray
) -> list[np.ndarray]:
    """Return the distinctness of held-out trials without the prior, and with each one."""
    weigh = _equal
    if task.settings.selector in SELECT_FROM_MAP:
        task, weigh = task.with_field(), _graded
    person, n_voxels = task.person, int((priors[0].strength > 0).sum())
    found = []
    for train, test in inner_folds(person.run_groups, N_FOLDS):
        inner = task.subset(train)
        weights = weigh(inner, n_voxels)
        found.append([_distinct(adaptation, person, weights, train, test)])
        for prior in priors:
            own, betas = replace(prior, strength=weights).scaled(filtered, train)
            mapped = replace(person, betas=betas)
            found[-1].append(_distinct(adaptation, mapped, own.reached, train, test))
    return [np.concatenate(scores) for scores in zip(*found, strict=True)]


def _graded(inner: SelectionTask, n_voxels: int) -> np.ndarray:
    return weights_of_top(inner.map_signal().share, n_voxels)


def _equal(inner: SelectionTask, n_voxels: int) -> np.ndarray:
    return np.ones(inner.person.grid.n_voxels, dtype=np.float32)


def _distinct(
    adaptation: Adaptation, person: Person, weights: np.ndarray, train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    """Return the distinctness of each held-out trial, decoded by a fit to the others."""
    fit = adaptation.with_person(person.subset(train)).closed_form(weights)
    latents = fit.latents(person.betas[test])
    return adaptation.shared.distinctness(latents, fit.n_trials, person.target_rows[test])
