"""What source participants say about the shares of signal of a new participant's voxels.

With few trials the evidence of a single voxel is weak, and the expected share of signal depends on
what is known of voxels in general: whether few carry signal or all, and how much they differ. This
distribution is estimated from the source participants. Their voxels need not correspond to those
of the new participant, nor have positions.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bids_decoder.config import Network, Troi
from bids_decoder.training.episodes import VoxelWeighting, each_with_some_runs
from bids_decoder.training.shared_noise import MOST_TRIALS_TO_ESTIMATE
from bids_decoder.training.signal import SIGNAL_SHARES, share_evidence, signal_shares, varies
from bids_decoder.training.weightings import WEIGHTINGS
from bids_decoder.trials import Person, VoxelGrid

EM_STEPS = 300
"""Expectation maximisation is slow where single voxels say little."""

_LEAST = 1e-6


def share_prior_of(people: Iterable[Person], vectors: np.ndarray) -> np.ndarray | None:
    """Estimate how shares of signal are distributed over voxels of the source participants.

    Parameters
    ----------
    people : iterable of Person
        Training trials only.
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space.

    Returns
    -------
    ndarray, shape (n_shares,), or None
        Mean over participants of :func:`share_distribution`. None if the voxels of a participant
        have neighbours, which then tell where signal is.
    """
    found = []
    for person in each_with_some_runs(people, MOST_TRIALS_TO_ESTIMATE):
        if person.grid.has_neighbours:
            return None
        found.append(share_distribution(person, vectors[person.target_rows]))
        del person  # before the next one is loaded
    return np.mean(found, axis=0)


def share_distribution(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Estimate how shares of signal are distributed over the voxels, whatever their places.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)

    Returns
    -------
    ndarray, shape (n_shares,)
        Probability of each of :data:`.signal.SIGNAL_SHARES` in a voxel, above zero, of the largest
        likelihood for independent voxels (empirical Bayes). Voxels that do not vary, as outside
        the field of view, tell nothing; equal probabilities where none varies.
    """
    chance = np.full(len(SIGNAL_SHARES), 1 / len(SIGNAL_SHARES))
    varying = varies(person.betas)
    if not varying.any():
        return chance
    evidence = share_evidence(person, wanted)[:, varying]
    likelihood = np.exp(evidence - evidence.max(axis=0))
    for _ in range(EM_STEPS):
        total = chance @ likelihood
        chance = np.maximum(chance * (likelihood / total).mean(axis=1), _LEAST)
        chance /= chance.sum()
    return chance


def uses_share_prior(grid: VoxelGrid, troi: Troi) -> bool:
    """Return whether voxels are weighted with the prior of shares where there is one.

    Not where neighbours tell where signal is, nor where a number of voxels is given.
    """
    given = troi.budget_voxels is not None or troi.budget_mm3 is not None
    return troi.selector == "graded" and not grid.has_neighbours and not given


def weighting_with(prior: np.ndarray | None, network: Network) -> VoxelWeighting:
    """Return how voxels are weighted: with the prior of shares, or as the settings say.

    Parameters
    ----------
    prior : ndarray, shape (n_shares,), or None
        From :func:`share_prior_of`.
    network : Network
    """
    if prior is None:
        return WEIGHTINGS[network.source_voxels]
    # Of voxels without neighbours: whatever the width, each is alone.
    return lambda person, wanted: signal_shares(person, wanted, 0.0, prior)
