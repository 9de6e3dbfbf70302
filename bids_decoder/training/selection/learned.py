"""Voxel selectors that are trained through the shared trunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from bids_decoder.training.gates import LearnedGates
from bids_decoder.training.learners import (
    GateLearner,
    HardConcreteGates,
    LiteralGates,
    RowGroupLasso,
)
from bids_decoder.training.selection.budget import find_budget
from bids_decoder.training.selection.task import Selection, SelectionTask
from bids_decoder.training.weightings import soft_weights

MAX_EPOCHS_FACTOR = 4
"""The published loop runs until the budget is met; here at most this many times the epochs."""


def select_troi(task: SelectionTask) -> Selection:
    """Select by trainable gates on the voxels with signal, while their number shrinks."""
    task = task.with_field()
    found = task.map_signal()
    budget, notes = find_budget(task, found.n_likely)
    return _by_schedule(
        task, GateLearner(), "trainable gates, shrinking budget", soft_weights(found.share),
        budget, notes,
    )


def select_paper(task: SelectionTask) -> Selection:
    """Select as in the TROI paper: L1 on gates, threshold, low-pass, until the budget is met.

    All gates may fall below the threshold in one epoch. The voxels of the epoch before are
    then returned, and the notes say that the mask collapsed.
    """
    return _by_threshold(task, LiteralGates(), "TROI as published")


def select_paper_guarded(task: SelectionTask) -> Selection:
    """Select as :func:`select_paper`, but drop at most 30 % per epoch, not below the budget."""
    return _by_threshold(task, LiteralGates(guarded=True), "TROI as published, drops limited")


def select_group_lasso(task: SelectionTask) -> Selection:
    """Select by group lasso on the rows of the input layer, down to the budget."""
    return _from_all(task, RowGroupLasso(), "group lasso on rows of the input layer")


def select_hard_concrete(task: SelectionTask) -> Selection:
    """Select by hard-concrete gates with a budget on the expected number of open ones."""
    return _from_all(task, HardConcreteGates(), "hard-concrete gates, budget on expected L0")


def _by_threshold(task: SelectionTask, learner: LiteralGates, rule: str) -> Selection:
    budget, notes = find_budget(task)
    ones = _ones(task)
    at_most = [budget] * (MAX_EPOCHS_FACTOR * task.settings.epochs)
    learned = task.learn(ones, at_most, task.fwhm_mm, learner)
    n_left = learned.history[-1]["n_voxels"]
    outcome = {
        "collapsed": n_left == 0, "budget_met": 0 < n_left <= budget,
        "epochs": len(learned.history), "lowpass_fwhm_mm": round(task.fwhm_mm, 3),
    }
    return _selection(learned, ones, {"rule": rule, "budget": budget, **outcome, **notes})


def _from_all(task: SelectionTask, learner: GateLearner, rule: str) -> Selection:
    return _by_schedule(task, learner, rule, _ones(task), *find_budget(task))


def _by_schedule(
    task: SelectionTask, learner: GateLearner, rule: str, weights: np.ndarray, budget: int,
    notes: dict[str, Any],
) -> Selection:
    n_voxels, epochs = int((weights > 0).sum()), task.settings.epochs
    budget = min(budget, n_voxels)
    budgets = budget_schedule(n_voxels, budget, epochs)
    learned = task.learn(weights, budgets, task.fwhm_mm, learner)
    return _selection(learned, weights, {
        "rule": rule, "budget": budget, "lowpass_fwhm_mm": round(task.fwhm_mm, 3),
        "epochs": epochs, **notes,
    })


def _ones(task: SelectionTask) -> np.ndarray:
    return np.ones(task.person.grid.n_voxels, dtype=np.float32)


def _selection(
    learned: LearnedGates, weights: np.ndarray, notes: dict[str, Any]
) -> Selection:
    mask = np.zeros(len(learned.score), dtype=bool)
    mask[learned.kept] = True
    return Selection(
        mask, weights * mask, learned.score, notes, learned.history, learned.weight
    )


def budget_schedule(n_voxels: int, budget: int, n_epochs: int) -> list[int]:
    """Return the number of voxels to keep after each epoch, a geometric series to the budget.

    Examples
    --------
    >>> budget_schedule(800, 100, 3)
    [400, 200, 100]
    """
    ratio = budget / n_voxels
    return [
        max(budget, round(n_voxels * ratio ** ((epoch + 1) / n_epochs)))
        for epoch in range(n_epochs)
    ]
