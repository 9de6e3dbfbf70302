"""Voxel selectors: which voxels of a participant enter the decoder, and with which weight.

Selectors use training trials only. A selector is a function of one :class:`SelectionTask`; to
add one, write the function and a line in :data:`SELECTORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import numpy as np

from bids_decoder.config import Troi
from bids_decoder.errors import UsageError
from bids_decoder.training.episodes import VoxelWeighting
from bids_decoder.training.field import SignalMap, map_signals
from bids_decoder.training.selection.budget import find_budget, top_mask
from bids_decoder.training.selection.task import Selection, SelectionTask
from bids_decoder.training.weightings import filtered_encoding_scores, soft_weights
from bids_decoder.trials import Person

BY_SHARE_PRIOR = "all voxels, weighted by signal share given the source participants"
"""Text in the notes where voxels are weighted with the prior of :mod:`.share_prior`."""


def select_voxels(task: SelectionTask) -> Selection:
    """Run the selector that the settings name.

    Raises
    ------
    UsageError
        For a name that is not in :data:`SELECTORS`.
    """
    check_selector(task.settings.selector)
    module, _, function = SELECTORS[task.settings.selector].partition(":")
    return getattr(import_module(module), function)(task)


def check_selector(name: str) -> None:
    """Raise UsageError when no selector has this name."""
    if name not in SELECTORS:
        raise UsageError(f"--troi {name}", "no such voxel selector",
                         f"use one of: {', '.join(SELECTORS)}")


def reselect(
    person: Person, wanted: np.ndarray, settings: Troi, n_voxels: int, seed: int
) -> np.ndarray:
    """Repeat a selection on fewer trials in closed form, for an inner cross-validation.

    Parameters
    ----------
    person : Person
        The trials; training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
    settings : Troi
        Of the selection. Learned selectors are replaced by ``graded``.
    n_voxels : int
        Number of voxels that it selected.
    seed : int

    Returns
    -------
    ndarray of float32, shape (n_voxels of the grid,)
        Weights. Without maps of source participants, and with the default smoothness.
    """
    name = "graded" if is_learned(settings.selector) else settings.selector
    again = replace(settings, selector=name, budget_voxels=n_voxels, budget_mm3=None)
    return select_voxels(
        SelectionTask(person, wanted, again, learn_no_gates, seed, closed_form=True)
    ).weights


def learn_no_gates(*_: object) -> None:
    """Stand in for learning where a selector needs none."""
    raise RuntimeError("a selector in closed form learns no gates")


def _select_all(task: SelectionTask) -> Selection:
    count = task.person.grid.n_voxels
    ones = np.ones(count, dtype=np.float32)
    return Selection(ones > 0, ones, ones, {"rule": "all voxels", "budget": count})


def select_top(task: SelectionTask, scores: np.ndarray, rule: str) -> Selection:
    """Select the voxels with the highest scores, with equal weights.

    Parameters
    ----------
    task : SelectionTask
    scores : ndarray, shape (n_voxels,)
    rule : str
        Text in the notes.
    """
    budget, notes = find_budget(task)
    mask = top_mask(scores, budget)
    return Selection(mask, mask.astype(np.float32), scores.astype(np.float32),
                     {"rule": rule, "budget": budget, **notes})


def _select_random(task: SelectionTask) -> Selection:
    scores = np.random.default_rng(task.seed).random(task.person.grid.n_voxels)
    return select_top(task, scores, "random")


def _select_encoding(task: SelectionTask) -> Selection:
    scores = filtered_encoding_scores(task.person, task.wanted, task.fwhm_mm)
    return select_top(task, scores, "top cross-validated encoding score")


def _select_soft(task: SelectionTask) -> Selection:
    task = task.with_field()
    return _keep_all(task, task.map_signal())


def _keep_all(task: SelectionTask, found: SignalMap) -> Selection:
    weights = soft_weights(found.share)
    return Selection(weights > 0, weights, weights,
                     {"rule": "all voxels, weighted by signal share",
                      "budget": int((weights > 0).sum()), **_field_notes(task)})


def _select_graded(task: SelectionTask) -> Selection:
    if task.weighting is not None:
        return _weigh_all(task, task.weighting)
    task = task.with_field()
    return _keep_top(task, task.map_signal())


def _weigh_all(task: SelectionTask, weighting: VoxelWeighting) -> Selection:
    weights = soft_weights(weighting(task.person, task.wanted))
    return Selection(weights > 0, weights, weights,
                     {"rule": BY_SHARE_PRIOR, "budget": int((weights > 0).sum())})


def _keep_top(task: SelectionTask, found: SignalMap) -> Selection:
    budget, notes = find_budget(task, found.n_likely)
    weights = soft_weights(found.share)
    mask = top_mask(found.share, budget) & (weights > 0)
    return Selection(
        mask, weights * mask, found.share,
        {"rule": "top signal share, graded by it", "budget": int(mask.sum()),
         "n_likely": found.n_likely, **_field_notes(task), **notes},
    )


def select_of_each(task: SelectionTask, wanted: np.ndarray) -> list[Selection]:
    """Select for several sets of targets of the same trials, as for each alone.

    Parameters
    ----------
    task : SelectionTask
        In closed form, with a selector of :data:`SELECT_FROM_MAP`.
    wanted : ndarray, shape (n_sets, n_trials, n_latents)
    """
    task = task.with_field()
    select = SELECT_FROM_MAP[task.settings.selector]
    maps = map_signals(task.person, wanted, task.chances, task.field)
    return [select(task, found) for found in maps]


def _field_notes(task: SelectionTask) -> dict[str, float]:
    return {"field_fwhm_mm": task.field.fwhm_mm, "field_trust": task.field.trust}


SELECT_FROM_MAP: dict[str, Callable[[SelectionTask, SignalMap], Selection]] = {
    "graded": _keep_top,
    "soft": _keep_all,
}
"""Selectors that need the map of the signal only -> what they make of it."""

_HERE = "bids_decoder.training.selectors"
_MORE = "bids_decoder.training.selection"

SELECTORS: dict[str, str] = {
    "graded": f"{_HERE}:_select_graded",
    "troi-budget": f"{_MORE}.learned:select_troi",
    "encoding": f"{_HERE}:_select_encoding",
    "soft": f"{_HERE}:_select_soft",
    "random": f"{_HERE}:_select_random",
    "all": f"{_HERE}:_select_all",
    "paper": f"{_MORE}.learned:select_paper",
    "paper-guarded": f"{_MORE}.learned:select_paper_guarded",
    "group-lasso": f"{_MORE}.learned:select_group_lasso",
    "hard-concrete": f"{_MORE}.learned:select_hard_concrete",
    "univariate": f"{_MORE}.univariate:select_univariate",
    "ridge-norm": f"{_MORE}.univariate:select_ridge_norm",
}
"""Name on the command line (``--troi``) -> module and function of one :class:`SelectionTask`."""


def is_learned(name: str) -> bool:
    """Return whether a selector trains gates through the shared trunk."""
    return SELECTORS[name].startswith(f"{_MORE}.learned:")
