"""Simulated datasets of volumes for calibration.py: searchlights, and networks that read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from calibration_labels import (
    FEW,
    N_PERMUTATIONS,
    Design,
    Outcome,
    decode_labels,
    draw_person,
    folds_of,
)
from scipy.ndimage import gaussian_filter

from bids_decoder.config import Network, Troi, Volumes
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.search_fold import map_folds, search_fold
from bids_decoder.training.search_labels import label_fold
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.trials import Person, Targets, VoxelGrid

SEARCHED, READ = (8, 8, 5), (4, 4, 3)
"""Voxels that are searched, and those that a network reads, as few as it can."""

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
BLUR = 1.0
"""Standard deviation of the filter over space, in voxels: neighbours share noise."""

SHORT = Volumes(epochs=1, batch_size=6)
"""One epoch of small batches, the shortest training that the settings allow."""


def draw_volumes(
    design: Design, shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Person, Targets]:
    """Draw a person whose responses are smooth over the voxels of a box."""
    person, targets = draw_person(replace(design, n_voxels=int(np.prod(shape))), rng)
    volumes = gaussian_filter(person.betas.reshape(-1, *shape), (0, BLUR, BLUR, BLUR))
    grid = VoxelGrid(np.ones(shape, dtype=bool), AFFINE)
    return replace(person, grid=grid, betas=volumes.reshape(len(volumes), -1)), targets


def searchlight(signal: float, seed: int, corrected: str = "p_max") -> Outcome:
    """Search all spheres; the p-value is the smallest of the map, corrected for all spheres."""
    person, targets = draw_volumes(Design(4, signal=signal), SEARCHED, np.random.default_rng(seed))
    settings, folds = Searchlight(radius_mm=4.0), folds_of(person)
    n_permutations = FEW if signal else N_PERMUTATIONS
    values = np.empty((len(folds), 1 + n_permutations, person.grid.n_voxels), np.float32)
    facts = []
    for (train, test, _), own in zip(folds, values, strict=True):
        labels = label_fold(
            train, test, len(targets.ids), n_permutations, np.random.default_rng([seed, 1]),
            is_crossed=True,
        )
        facts.append(search_fold(
            (train, test), labels, settings, own, n_folds=len(folds),
            rng=np.random.default_rng([seed, 2]),
        ))
    maps = map_folds(list(values), facts, person.grid, settings)
    return {"p": getattr(maps, corrected).min(), "value": maps.values.max()}


def labels_by_network(signal: float, seed: int, name: str) -> Outcome:
    """Cross-validate a network over three runs; train it again on few permuted labellings."""
    design = Design(3, 10, signal=signal)
    person, targets = draw_volumes(design, READ, np.random.default_rng(seed))
    context = FitContext(Network(decoder=name), Troi(), 1, "cpu", SHORT)
    return decode_labels(person, targets, name, context, FEW, seed)
