"""Responses that an input layer is fitted on: filtered, or as they were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bids_decoder.trials import Person


class ResponseFilter(Protocol):
    """A linear map of the responses of a trial."""

    def apply(self, betas: np.ndarray) -> np.ndarray:
        """Filter responses, float32 of shape (n_trials, n_voxels)."""

    def of_responses(self, weight: np.ndarray) -> np.ndarray:
        """Return weights of responses from weights of filtered ones, (n_voxels, n_latents).

        Both give the same latents.
        """


@dataclass(frozen=True, eq=False)
class Filtered:
    """Responses that an input layer is fitted on.

    Parameters
    ----------
    person : Person
        Training trials, filtered or as they were.
    weights : ndarray of float32, shape (n_voxels,), or None
        Prior scale of each voxel; zero outside the selection. None stands for ones.
    filter : ResponseFilter or None
        The filter that was used.
    notes : dict
        JSON-able: what was found about the filter; empty where none was tried.
    """

    person: Person
    weights: np.ndarray | None
    filter: ResponseFilter | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def of_responses(self, weight: np.ndarray) -> np.ndarray:
        """Return weights of responses as they were, (n_voxels, n_latents)."""
        return weight if self.filter is None else self.filter.of_responses(weight)
