"""Filters of responses for labels and values, chosen by the evidence of ridge regression.

Neighbouring voxels share noise, and neighbours may be tuned alike. Responses of all voxels are
filtered before they are weighted and decoded: by a power of the covariance of noise
(:mod:`.noise_filter`), and by a Gaussian where tuning is smooth. Filters are estimated without
labels, so that they are the same for all labellings of the trials. Which one suits, or none, is
told by the marginal likelihood of the training targets, from which the penalty is chosen, too.
With few trials of each label it depends on the responses more than on the labels; see
``docs/troi.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bids_decoder.config import Troi
from bids_decoder.training.filtered import Filtered, ResponseFilter
from bids_decoder.training.input_layer import InputFit
from bids_decoder.training.noise_filter import (
    NoiseFilter,
    fit_noise_filters,
    knows_all_neighbours,
)
from bids_decoder.training.selectors import SELECT_FROM_MAP
from bids_decoder.trials import Person, Targets

FILTERS = ((0.5, 0.0), (0.25, 1.5))
"""Power of the covariance of noise, and full width at half maximum of the Gaussian in voxels.

One for tuning that differs from voxel to voxel, one for tuning that neighbours share. On a mesh
the width is in edges.
"""

LEAST_EVIDENCE = 2.0
"""By how much a filter must raise the logarithm of the marginal likelihood to be used."""

MIN_TRIALS = 24
"""With fewer training trials the evidence hardly tells filters apart."""

MOST_TRIALS = 1000
"""With more, filtered responses are several large copies, and gains are small."""

_SEED = 0
"""Of fields by which means of surroundings are calibrated; the same in each fit of a person."""


def filters_are_tried(person: Person, targets: Targets, troi: Troi) -> bool:
    """Return whether a decoder of labels or values in closed form tries :data:`FILTERS`.

    It does so, unless the settings forbid it, where the neighbours of all voxels are known, weights
    of voxels come from the map of the signal or are equal, and there are :data:`MIN_TRIALS` to
    :data:`MOST_TRIALS` trials.
    """
    return (
        troi.spatial_prior == "auto" and troi.selector in (*SELECT_FROM_MAP, "all")
        and targets.over_runs and knows_all_neighbours(person.grid)
        and MIN_TRIALS <= len(person.betas) <= MOST_TRIALS
    )


def candidate_filters(person: Person, targets: Targets, troi: Troi) -> list[NoiseFilter]:
    """Estimate the filters that are tried from training responses; empty where none is.

    Parameters
    ----------
    person : Person
        Training trials only. Their targets are not used.
    targets : Targets
    troi : Troi
    """
    if not filters_are_tried(person, targets, troi):
        return []
    return fit_noise_filters(person, np.random.default_rng(_SEED), FILTERS)


def choose_candidate(evidence: np.ndarray) -> np.ndarray:
    """Return the number of the candidate that is used, 0 for responses as they are.

    Parameters
    ----------
    evidence : ndarray, shape (1 + n_filters, ...)
        Logarithms of marginal likelihoods: of responses as they are, and of each filter.

    Returns
    -------
    ndarray of int, shape (...)
    """
    least = evidence[:1] + LEAST_EVIDENCE
    return np.concatenate([least, evidence[1:]]).argmax(axis=0)


def use_likely_filter(
    person: Person, filters: list[NoiseFilter], fit: Callable[[Filtered], InputFit],
    prepare: Callable[[Person], Filtered],
) -> Filtered:
    """Filter training responses by the likeliest filter, or leave them as they are.

    Parameters
    ----------
    person : Person
        Training trials only.
    filters : list of NoiseFilter
        Of :func:`candidate_filters`.
    fit : callable
        Fits the input layer on filtered responses.
    prepare : callable
        What is done to responses after the filter.

    Returns
    -------
    Filtered
        Its notes say which filter was used, and how much likelier targets are with it.
    """
    plain = prepare(person)
    if not filters:
        return plain
    evidence, best, chosen = [fit(plain).evidence], plain, 0
    for number, one in enumerate(filters, start=1):
        found = prepare(replace(person, betas=one.apply(person.betas)))
        evidence.append(fit(found).evidence)
        if choose_candidate(np.array(evidence)) == number:
            best, chosen = replace(found, filter=_joined(one, found.filter)), number
    notes = {"noise_filter": chosen > 0}
    if chosen:
        power, width = FILTERS[chosen - 1]
        notes |= {
            "noise_filter_power": power,
            "noise_filter_fwhm_mm": round(width * person.grid.geometry.spacing_mm, 3),
            "noise_filter_evidence": round(evidence[chosen] - evidence[0], 2),
        }
    return replace(best, notes=best.notes | notes)


def _joined(first: ResponseFilter, second: ResponseFilter | None) -> ResponseFilter:
    return first if second is None else _BothFilters(first, second)


@dataclass(frozen=True, eq=False)
class _BothFilters:
    """One filter after the other."""

    first: ResponseFilter
    second: ResponseFilter

    def apply(self, betas: np.ndarray) -> np.ndarray:
        """See :class:`.ResponseFilter`."""
        return self.second.apply(self.first.apply(betas))

    def of_responses(self, weight: np.ndarray) -> np.ndarray:
        """See :class:`.ResponseFilter`."""
        return self.first.of_responses(self.second.of_responses(weight))
