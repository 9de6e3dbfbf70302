"""Voxel selectors: which voxels of a participant enter the decoder, and with which weight.

Selectors use training trials only. A selector is a function of one :class:`SelectionTask`; to
add one, write the function and a line in :data:`SELECTORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np

from bids_decoder.config import Troi
from bids_decoder.errors import UsageError
from bids_decoder.evaluation.folds import inner_folds
from bids_decoder.models.store import Model
from bids_decoder.training.common_space import VoxelPrior
from bids_decoder.training.field import (
    DEFAULT_FIELD,
    SignalField,
    SignalMap,
    choose_field,
    map_signal,
    map_signals,
)
from bids_decoder.training.identification import row_cosines
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.penalties import DEFAULT_PENALTY, MIN_RUNS_TO_CHOOSE
from bids_decoder.training.smoothing import default_fwhm_mm
from bids_decoder.training.weightings import filtered_encoding_scores, soft_weights
from bids_decoder.trials import Person

BUDGET_TOLERANCE = 0.03
"""A smaller budget is preferred unless its score is lower by more than this share."""

LEAST_BUDGET = 30
"""Smallest number of voxels that is chosen."""

LIKELY_RULE = "voxels that likely carry signal"
"""Text in the notes where the budget is the number of voxels that likely carry signal."""


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
    """

    person: Person
    wanted: np.ndarray
    settings: Troi
    learn: Callable[..., Any]
    seed: int
    prior: VoxelPrior | None = None
    field: SignalField = DEFAULT_FIELD
    closed_form: bool = False

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
        return replace(self, field=choose_field(self.person, self.wanted, self._chances))

    def map_signal(self) -> SignalMap:
        """Estimate the signal of each voxel, given the prior from the source participants."""
        return map_signal(self.person, self.wanted, self._chances, self.field)

    @property
    def _chances(self) -> np.ndarray | None:
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


def top_mask(scores: np.ndarray, budget: int) -> np.ndarray:
    """Mark the *budget* voxels with the highest scores; NaN is last, ties go to the first voxel."""
    if budget >= len(scores):
        return np.ones(len(scores), dtype=bool)
    scores = np.where(np.isnan(scores), -np.inf, scores)
    least = np.partition(scores, -budget)[-budget] if budget > 0 else np.inf
    mask = scores > least
    mask[np.flatnonzero(scores == least)[:budget - mask.sum()]] = True
    return mask


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


def score_budgets(task: SelectionTask, candidates: list[int]) -> np.ndarray:
    """Predict held-out training runs from so many voxels, chosen and weighted without them.

    Returns
    -------
    ndarray, shape (n_candidates,)
        Mean cosine of predicted and true targets, less the mean of the other training targets.
    """
    folds = inner_folds(task.person.run_groups, 3)
    return np.concatenate([_budget_fold(task, *fold, candidates) for fold in folds]).mean(axis=0)


def _budget_fold(
    task: SelectionTask, train: np.ndarray, test: np.ndarray, candidates: list[int]
) -> np.ndarray:
    person = task.person
    inner = person.subset(train)
    inner_task = replace(task, person=inner, wanted=task.wanted[train])
    group_weight = None if task.prior is None else task.prior.weight
    share = inner_task.map_signal().share
    wanted = task.wanted[test] - task.wanted[train].mean(axis=0)
    results = []
    for budget in candidates:
        weights = soft_weights(share * top_mask(share, budget))
        fit = fit_input_layer(
            inner.betas, inner_task.wanted, inner.run_groups, weights, penalty=DEFAULT_PENALTY,
            group_weight=group_weight,
        )
        results.append(row_cosines(fit.latents(person.betas[test]), wanted))
    return np.stack(results, axis=1)


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
    task = task.with_field()
    return _keep_top(task, task.map_signal())


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
    maps = map_signals(task.person, wanted, task._chances, task.field)
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
