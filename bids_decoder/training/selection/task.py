"""Input and result of a voxel selector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bids_decoder.config import Troi
from bids_decoder.models.store import Model
from bids_decoder.training.common_space import VoxelPrior
from bids_decoder.training.episodes import VoxelWeighting
from bids_decoder.training.field import (
    DEFAULT_FIELD,
    SignalField,
    SignalMap,
    choose_field,
    map_signal,
)
from bids_decoder.training.smoothing import default_fwhm_mm
from bids_decoder.trials import Person


@dataclass(frozen=True, eq=False)
class SelectionTask:
    """Input of a voxel selector.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
        Target of each trial in the target space.
    settings : Troi
    learn : callable
        ``learn(weights, budgets, fwhm_mm, learner) -> LearnedGates`` trains gates through the
        shared trunk, for selectors that learn; see :func:`.gates.learn_gates`.
    seed : int
    prior : VoxelPrior, optional
        Prior from the source participants.
    field : SignalField, optional
        Smoothness of the regions with signal; see :meth:`with_field`.
    closed_form : bool
        Choose nothing by cross-validation where there is another rule; see
        :func:`.labellings.fits_in_closed_form`.
    is_category : bool
        Targets are labels, for which other penalties are candidates; see
        :func:`.penalties_for_labels`.
    weighting : callable, optional
        How ``graded`` weights voxels, of which it then keeps all; see
        :func:`.share_prior.weighting_with`.
    """

    person: Person
    wanted: np.ndarray
    settings: Troi
    learn: Callable[..., Any]
    seed: int
    prior: VoxelPrior | None = None
    field: SignalField = DEFAULT_FIELD
    closed_form: bool = False
    is_category: bool = False
    weighting: VoxelWeighting | None = None

    @property
    def fwhm_mm(self) -> float:
        """Full width at half maximum of the low-pass filter in millimetres."""
        if self.settings.lowpass_fwhm_mm is not None:
            return self.settings.lowpass_fwhm_mm
        return default_fwhm_mm(self.person.grid)

    def with_field(self) -> SelectionTask:
        """Return the task with the field of the settings, or the best for the training trials."""
        fwhm_mm = self.settings.lowpass_fwhm_mm
        if fwhm_mm is not None:
            return replace(self, field=SignalField(fwhm_mm, DEFAULT_FIELD.trust))
        if self.closed_form:
            return self
        return replace(self, field=choose_field(self.person, self.wanted, self.chances))

    def subset(self, rows: np.ndarray) -> SelectionTask:
        """Return the task with some of the trials (row numbers)."""
        if np.array_equal(rows, np.arange(len(self.wanted))):
            return self
        return replace(self, person=self.person.subset(rows), wanted=self.wanted[rows])

    def map_signal(self) -> SignalMap:
        """Estimate the signal of each voxel, given the prior from the source participants."""
        return map_signal(self.person, self.wanted, self.chances, self.field)

    @property
    def chances(self) -> np.ndarray | None:
        """Prior probabilities of signal from the source participants, (n_shares, n_voxels)."""
        return None if self.prior is None else self.prior.chances


@dataclass(frozen=True, eq=False)
class Selection:
    """Result of a voxel selector.

    Parameters
    ----------
    mask : ndarray of bool, shape (n_voxels,)
    weights : ndarray of float32, shape (n_voxels,)
        Prior scale of each voxel in the input layer; zero outside the mask.
    score : ndarray of float32, shape (n_voxels,)
        Continuous map from which the mask was made.
    notes : dict
        JSON-able: rule, budget, how the budget was chosen.
    history : list of dict
        One per epoch of learning: epoch, loss, n_voxels.
    start_weight : ndarray or None, shape (n_voxels, n_latents)
        Input layer at the end of learning, for stage 2 modes that continue from it.
    seed_agreement : ndarray or None, shape (n_voxels,)
        Share of the seeds with which the voxel was selected, if there are several.
    own : Model or None
        What decoder and selection share and was learned from the participant's own trials, so
        that the decoder does not learn it again.
    """

    mask: np.ndarray
    weights: np.ndarray
    score: np.ndarray
    notes: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    start_weight: np.ndarray | None = None
    seed_agreement: np.ndarray | None = None
    own: Model | None = None
