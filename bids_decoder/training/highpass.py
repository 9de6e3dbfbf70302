"""A spatial high-pass filter of responses, used where the training trials favour it.

Part of the noise of fMRI responses is shared by neighbouring voxels, while their tuning to
stimuli can differ from voxel to voxel. Where that is so, a response is told apart better once
the mean of its neighbourhood is subtracted; where neighbours are tuned alike, the same filter
removes signal. Cross-validation over training runs decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bids_decoder.config import Troi
from bids_decoder.grids.base import Kernel
from bids_decoder.training.filtered import Filtered
from bids_decoder.training.selection.budget import score_budgets, score_weights
from bids_decoder.training.selection.task import SelectionTask
from bids_decoder.training.selectors import SELECT_FROM_MAP
from bids_decoder.training.weightings import soft_weights
from bids_decoder.trials import Person, Targets

SHARE = 0.7
"""Share of the mean of the neighbourhood that is subtracted."""

WIDTH_VOXELS = 3.0
"""Full width at half maximum of the neighbourhood, in voxels; on a mesh, in edges."""

MIN_TRIALS = 100
"""With fewer training trials, cross-validation tells small gains and losses apart too badly."""

MOST_TRIALS = 3000
"""With more training trials gains are small, and filtered responses are one more copy of them."""

LEAST_GAIN = 0.03
"""Share by which predictions of held-out training trials have to improve for the filter to be used.

Weaker gains did not carry over to new trials in simulations (see ``docs/troi.md``).
"""


@dataclass(frozen=True, eq=False)
class HighPass:
    """Responses less a share of the mean of their neighbourhood, in units of their spread.

    Parameters
    ----------
    kernel : Kernel
        Weights of the neighbourhood.
    spread : ndarray of float32, shape (n_voxels,)
        Standard deviation of the differences over training trials; 1 where they are constant.
    """

    kernel: Kernel
    spread: np.ndarray

    @classmethod
    def fit(cls, person: Person) -> tuple[HighPass, Person]:
        """Fit the filter to the training trials of a participant, and filter them.

        Parameters
        ----------
        person : Person
            Training trials only.
        """
        grid = person.grid
        kernel = grid.geometry.kernel(WIDTH_VOXELS * grid.geometry.spacing_mm)
        rough = cls(kernel, np.ones(grid.n_voxels, dtype=np.float32))
        betas = rough.apply(person.betas)
        spread = betas.std(axis=0, dtype=np.float64).astype(np.float32)
        spread[spread < 1e-6] = 1.0
        betas /= spread
        return cls(kernel, spread), replace(person, betas=betas)

    def apply(self, betas: np.ndarray) -> np.ndarray:
        """Filter responses, float32 of shape (n_trials, n_voxels)."""
        filtered = np.empty(betas.shape, dtype=np.float32)
        for row, own in zip(filtered, betas, strict=True):
            row[:] = own - SHARE * self.kernel.mean(own)
        filtered /= self.spread
        return filtered

    def of_responses(self, weight: np.ndarray) -> np.ndarray:
        """Return weights of responses from weights of filtered ones.

        Parameters
        ----------
        weight : ndarray, shape (n_voxels, n_latents)

        Returns
        -------
        ndarray of float32, shape (n_voxels, n_latents)
            So that both give the same latents. Voxels around those with weights have some, too.
        """
        scaled = (weight / self.spread[:, None]).T
        return np.stack([
            (own - SHARE * self.kernel.adjoint(own)).astype(np.float32) for own in scaled
        ], axis=1)


def filter_is_tried(person: Person, targets: Targets, troi: Troi) -> bool:
    """Return whether :func:`filter_responses` compares filtered responses with those as they are.

    It does so for stimuli, unless the settings forbid it, where neighbours are known, weights come
    from the map of the signal or are equal in all voxels, and there are two runs or more and
    :data:`MIN_TRIALS` to :data:`MOST_TRIALS` trials. For labels and values no gain was found (see
    ``docs/troi.md``).
    """
    return (
        troi.highpass == "auto" and troi.selector in (*SELECT_FROM_MAP, "all")
        and not targets.over_runs and person.grid.has_neighbours
        and MIN_TRIALS <= len(person.betas) <= MOST_TRIALS
        and len(np.unique(person.run_groups)) > 1
    )


def filter_responses(task: SelectionTask, targets: Targets, weights: np.ndarray) -> Filtered:
    """Filter the responses of selected voxels if held-out training runs are predicted better so.

    Parameters
    ----------
    task : SelectionTask
        Of the selection; training trials only.
    targets : Targets
    weights : ndarray, shape (n_voxels,)
        Of the selection.

    Returns
    -------
    Filtered
        With weights by the shares of signal of filtered responses, in the same voxels, if
        predictions of held-out training trials, from voxels that were chosen and weighted without
        them, improve by :data:`LEAST_GAIN` or more. Equal weights of all voxels stay equal.
        Its notes: whether the filter was used, its width, and the mean cosine of predicted and true
        targets of held-out training trials without and with it; empty where it was not tried.
    """
    person = task.person
    if not filter_is_tried(person, targets, task.settings):
        return Filtered(person, weights)
    highpass, sharp = HighPass.fit(person)
    plain, filtered = task, replace(task, person=sharp)
    if _is_mapped(task):
        plain, filtered = plain.with_field(), filtered.with_field()
    before, after = (_score(each, weights) for each in (plain, filtered))
    notes = {
        "highpass": after > 0 and after >= (1 + LEAST_GAIN) * before,
        "highpass_fwhm_mm": round(WIDTH_VOXELS * person.grid.geometry.spacing_mm, 3),
        "highpass_cosines": [round(before, 4), round(after, 4)],
    }
    if not notes["highpass"]:
        return Filtered(person, weights, notes=notes)
    if _is_mapped(task):
        weights = soft_weights(filtered.map_signal().share * (weights > 0))
    return Filtered(sharp, weights, highpass, notes)


def _is_mapped(task: SelectionTask) -> bool:
    """Return whether voxels are weighted by the map of the signal, and not all alike."""
    return task.settings.selector in SELECT_FROM_MAP


def _score(task: SelectionTask, weights: np.ndarray) -> float:
    """Predict held-out runs from as many voxels, or from all of them with equal weights."""
    if _is_mapped(task):
        return float(score_budgets(task, [int((weights > 0).sum())])[0])
    return float(score_weights(task, lambda _: [weights])[0])
