"""Selectors that learn through the shared trunk, for comparison with the default."""

from __future__ import annotations

from typing import Any

import numpy as np

from bids_decoder.training.finetune import LearnedGates
from bids_decoder.training.learners import (
    GateLearner,
    HardConcreteGates,
    LiteralGates,
    RowGroupLasso,
)
from bids_decoder.training.selectors import (
    Selection,
    SelectionTask,
    budget_schedule,
    find_budget,
)

MOST_ROUNDS = 4
"""The printed loop ends at the budget, whenever that is; here after so many times the epochs."""


def select_paper(task: SelectionTask) -> Selection:
    """Select as TROI prints it: L1 on gates, threshold, low-pass, until the budget is met.

    Nothing keeps the gates from falling below the threshold all together. Then the voxels of
    the epoch before are given, and the notes say that the mask collapsed.
    """
    return _by_threshold(task, LiteralGates(), "TROI as printed")


def select_paper_guarded(task: SelectionTask) -> Selection:
    """Select as :func:`select_paper`, but drop 30 % an epoch at most, never below the budget."""
    return _by_threshold(task, LiteralGates(guarded=True), "TROI as printed, drops limited")


def select_group_lasso(task: SelectionTask) -> Selection:
    """Select by group lasso on the rows of the input layer, down to the budget."""
    return _by_schedule(task, RowGroupLasso(), "group lasso on rows of the input layer")


def select_hard_concrete(task: SelectionTask) -> Selection:
    """Select by hard-concrete gates under a budget on the expected number of open ones."""
    return _by_schedule(task, HardConcreteGates(), "hard-concrete gates, budget on expected L0")


def _by_threshold(task: SelectionTask, learner: LiteralGates, rule: str) -> Selection:
    budget, notes = find_budget(task)
    ones = np.ones(task.person.grid.n_voxels, dtype=np.float32)
    at_most = [budget] * (MOST_ROUNDS * task.settings.epochs)
    learned = task.learn(ones, at_most, task.fwhm_mm, learner)
    n_left = learned.history[-1]["n_voxels"]
    outcome = {
        "collapsed": n_left == 0, "budget_met": 0 < n_left <= budget,
        "epochs": len(learned.history), "lowpass_fwhm_mm": round(task.fwhm_mm, 3),
    }
    return _selection(learned, {"rule": rule, "budget": budget, **outcome, **notes})


def _by_schedule(task: SelectionTask, learner: GateLearner, rule: str) -> Selection:
    budget, notes = find_budget(task)
    ones = np.ones(task.person.grid.n_voxels, dtype=np.float32)
    budgets = budget_schedule(len(ones), budget, task.settings.epochs)
    learned = task.learn(ones, budgets, task.fwhm_mm, learner)
    return _selection(learned, {
        "rule": rule, "budget": budget, "lowpass_fwhm_mm": round(task.fwhm_mm, 3),
        "epochs": task.settings.epochs, **notes,
    })


def _selection(learned: LearnedGates, notes: dict[str, Any]) -> Selection:
    mask = np.zeros(len(learned.score), dtype=bool)
    mask[learned.kept] = True
    return Selection(
        mask, mask.astype(np.float32), learned.score, notes, learned.history, learned.weight
    )
