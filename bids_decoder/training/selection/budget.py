"""How many voxels are selected: the number of the settings, or one chosen on training runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bids_decoder.evaluation.folds import (
    MIN_RUNS_TO_CHOOSE,
    enough_folds,
    inner_folds,
)
from bids_decoder.training.identification import row_cosines
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.penalties import likely_candidates
from bids_decoder.training.selection.task import SelectionTask
from bids_decoder.training.weightings import soft_weights

BUDGET_TOLERANCE = 0.03
"""A smaller budget is preferred unless its score is lower by more than this share."""

LEAST_BUDGET = 30
"""Smallest number of voxels that is chosen."""

LIKELY_RULE = "voxels that likely carry signal"
"""Text in the notes where the budget is the number of voxels that likely carry signal."""


def top_mask(scores: np.ndarray, budget: int) -> np.ndarray:
    """Mark the *budget* voxels with the highest scores; NaN is last, ties go to the first voxel."""
    if budget >= len(scores):
        return np.ones(len(scores), dtype=bool)
    scores = np.where(np.isnan(scores), -np.inf, scores)
    least = np.partition(scores, -budget)[-budget] if budget > 0 else np.inf
    mask = scores > least
    mask[np.flatnonzero(scores == least)[:budget - mask.sum()]] = True
    return mask


def find_budget(task: SelectionTask, n_likely: int | None = None) -> tuple[int, dict[str, Any]]:
    """Choose the number of voxels: that of the settings, or by cross-validation over runs.

    Parameters
    ----------
    task : SelectionTask
    n_likely : int, optional
        Number of voxels that likely carry signal, if known. It is preferred unless another
        number is clearly better in held-out training runs. In closed form it is taken as it
        is, or all voxels if it is below :data:`LEAST_BUDGET`.

    Returns
    -------
    budget : int
    notes : dict
        How it was chosen, and the score of every candidate.
    """
    settings, grid = task.settings, task.person.grid
    if settings.budget_voxels is not None:
        return min(settings.budget_voxels, grid.n_voxels), {"budget_rule": "given in voxels"}
    if settings.budget_mm3 is not None:
        count = round(settings.budget_mm3 / grid.voxel_volume)
        return int(np.clip(count, 1, grid.n_voxels)), {"budget_rule": "given in mm3"}
    if task.closed_form and n_likely is not None:
        enough = n_likely >= min(grid.n_voxels, LEAST_BUDGET)
        rule = LIKELY_RULE if enough else "too few voxels likely carry signal: all"
        return n_likely if enough else grid.n_voxels, {"budget_rule": rule}
    n_runs = len(np.unique(task.person.run_groups))
    if n_runs >= MIN_RUNS_TO_CHOOSE:
        return _budget_by_cross_validation(task, n_likely or 0)
    likely = n_likely if n_likely and grid.has_neighbours else None
    rule = f"{n_runs} training run(s), too few to choose: all" if likely is None else LIKELY_RULE
    return likely or grid.n_voxels, {"budget_rule": rule}


def _budget_by_cross_validation(task: SelectionTask, n_likely: int) -> tuple[int, dict[str, Any]]:
    candidates = budget_candidates(task.person.grid.n_voxels, n_likely)
    scores = score_budgets(task, candidates)
    # Weighted voxels do little harm even without signal, so that the curve keeps rising slowly;
    # the mask should show where the signal is.
    good = scores >= scores.max() - BUDGET_TOLERANCE * abs(scores.max())
    chosen, rule = candidates[int(np.flatnonzero(good)[0])], "cross-validation over training runs"
    if n_likely in candidates and good[candidates.index(n_likely)]:
        chosen, rule = n_likely, LIKELY_RULE
    listed = {str(c): round(float(s), 4) for c, s in zip(candidates, scores, strict=True)}
    return chosen, {"budget_rule": rule, "budget_scores": listed}


def budget_candidates(n_voxels: int, n_likely: int = 0) -> list[int]:
    """Return candidate budgets: *n_likely*, all voxels, and less in factors of root two."""
    counts = {round(n_voxels / 2 ** (step / 2)) for step in range(13)} | {n_likely}
    return sorted(count for count in counts if count >= min(n_voxels, LEAST_BUDGET))


def weights_of_top(share: np.ndarray, budget: int) -> np.ndarray:
    """Weight the *budget* voxels with the largest shares of signal by them, others with zero."""
    return soft_weights(share * top_mask(share, budget))


def score_budgets(task: SelectionTask, candidates: Sequence[int]) -> np.ndarray:
    """Predict held-out training runs from so many voxels, chosen and weighted without them.

    Parameters
    ----------
    task : SelectionTask
    candidates : sequence of int

    Returns
    -------
    ndarray, shape (n_candidates,)
        Mean cosine of predicted and true targets, less the mean of the other training targets.

    Notes
    -----
    There are three folds, or as many as :func:`.enough_folds` takes. Fits are to all trials of the
    other runs: with more trials more voxels are worth their noise. Each fit has the penalty with
    the highest marginal likelihood: one penalty for all would be too weak for many voxels.
    """
    folds = enough_folds(inner_folds(task.person.run_groups, 3))
    return np.concatenate([_score_fold(task, *fold, candidates) for fold in folds]).mean(axis=0)


def _score_fold(
    task: SelectionTask, train: np.ndarray, test: np.ndarray, candidates: Sequence[int]
) -> np.ndarray:
    """Return the cosine of each held-out trial with each budget, (n_test, n_candidates)."""
    inner = task.subset(train)
    group_weight = None if task.prior is None else task.prior.weight
    shown, wanted = task.person.betas[test], task.wanted[test] - inner.wanted.mean(axis=0)
    share, found = inner.map_signal().share, []
    groups = inner.person.run_groups
    penalties = likely_candidates(groups, task.wanted.shape[1], is_category=task.is_category)
    for budget in candidates:
        fit = fit_input_layer(
            inner.person.betas, inner.wanted, groups, weights_of_top(share, budget), penalties,
            group_weight=group_weight,
        )
        found.append(row_cosines(fit.latents(shown), wanted))
    return np.stack(found, axis=1)
