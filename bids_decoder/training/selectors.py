"""Voxel selectors: which voxels of a person enter the decoder, and with which weight.

All see training trials only. A selector is a function of one :class:`SelectionTask`; adding
one is a function and a line in :data:`SELECTORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np

from bids_decoder.config import Troi
from bids_decoder.errors import UsageError
from bids_decoder.evaluation.encoding import encoding_scores
from bids_decoder.evaluation.splits import inner_folds
from bids_decoder.glm.reliability import enough_repeats, split_half_reliability
from bids_decoder.training.common_space import VoxelPrior
from bids_decoder.training.episodes import VoxelWeighting
from bids_decoder.training.field import (
    DEFAULT_FIELD,
    SignalField,
    SignalMap,
    choose_field,
    map_signal,
)
from bids_decoder.training.input_layer import (
    DEFAULT_PENALTY,
    MIN_RUNS_TO_CHOOSE,
    fit_input_layer,
    row_cosines,
)
from bids_decoder.training.signal import MIN_TRIALS_TO_SCORE, signal_shares
from bids_decoder.training.smoothing import default_fwhm_mm, smooth_within
from bids_decoder.trials import Person

BUDGET_TOLERANCE = 0.03
"""Share of the score of the best budget that a smaller one may lose."""


LIKELY_RULE = "voxels that likely carry signal"
"""How notes name the size that the region found by itself."""


@dataclass(frozen=True, eq=False)
class SelectionTask:
    """What a selector gets.

    Parameters
    ----------
    person : Person
        Training trials only.
    wanted : ndarray, shape (n_trials, n_latents)
        Target of each trial in the target space.
    settings : Troi
    learn : callable
        ``learn(weights, budgets, fwhm_mm, learner) -> LearnedGates`` trains gates through the
        shared trunk; only selectors that learn call it.
    seed : int
    prior : VoxelPrior, optional
        What the source people say about these voxels.
    field : SignalField, optional
        Where signal is expected; see :meth:`with_field`.
    """

    person: Person
    wanted: np.ndarray
    settings: Troi
    learn: Callable[..., Any]
    seed: int
    prior: VoxelPrior | None = None
    field: SignalField = DEFAULT_FIELD

    @property
    def fwhm_mm(self) -> float:
        """Full width of the low-pass filter in millimetres."""
        if self.settings.lowpass_fwhm_mm is not None:
            return self.settings.lowpass_fwhm_mm
        return default_fwhm_mm(self.person.grid)

    def with_field(self) -> SelectionTask:
        """Give the task with the field that suits the training trials, or as it was asked for."""
        fwhm_mm = self.settings.lowpass_fwhm_mm
        if fwhm_mm is not None:
            return replace(self, field=SignalField(fwhm_mm, DEFAULT_FIELD.trust))
        return replace(self, field=choose_field(self.person, self.wanted, self._chances))

    def map_signal(self) -> SignalMap:
        """Say what is known about the signal of each voxel, given what others say."""
        return map_signal(self.person, self.wanted, self._chances, self.field)

    @property
    def _chances(self) -> np.ndarray | None:
        return None if self.prior is None else self.prior.chances


@dataclass(frozen=True, eq=False)
class Selection:
    """The voxels that a selector chose.

    Parameters
    ----------
    mask : ndarray of bool, shape (n_voxels,)
    weights : ndarray of float32, shape (n_voxels,)
        Prior scale of each voxel in the input layer; zero outside the mask.
    score : ndarray of float32, shape (n_voxels,)
        Continuous map behind the mask.
    notes : dict
        JSON-able: rule, budget, how the budget was found.
    history : list of dict
        One per epoch of learning: epoch, loss, n_voxels.
    start_weight : ndarray or None, shape (n_voxels, n_latents)
        Input layer at the end of learning, for stage 2 modes that go on from it.
    seed_agreement : ndarray or None, shape (n_voxels,)
        Share of the seeds under which the voxel was chosen, where there are several.
    """

    mask: np.ndarray
    weights: np.ndarray
    score: np.ndarray
    notes: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    start_weight: np.ndarray | None = None
    seed_agreement: np.ndarray | None = None


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


def shrink_scores(scores: np.ndarray, n_trials: int) -> np.ndarray:
    """Shrink correlations towards their mean by as much as chance explains their spread.

    Parameters
    ----------
    scores : ndarray, shape (n_voxels,)
        Cross-validated correlations.
    n_trials : int
        Trials behind each; under the null their variance is about ``1 / (n_trials - 1)``.

    Returns
    -------
    ndarray, shape (n_voxels,)
        Posterior means under a normal prior over voxels (empirical Bayes). With little data
        all voxels become alike.
    """
    spread = float(np.var(scores))
    trust = np.clip(1 - 1 / max(n_trials - 1, 1) / max(spread, 1e-12), 0, 1)
    return scores.mean() + trust * (scores - scores.mean())


def soft_weights(scores: np.ndarray) -> np.ndarray:
    """Turn scores into prior scales: the positive part, or all alike where there is none."""
    weights = np.maximum(scores, 0).astype(np.float32)
    return weights if weights.any() else np.ones_like(weights)


def signal_weights(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Give prior scales from the signal shares of training trials.

    Parameters
    ----------
    person : Person
    wanted : ndarray, shape (n_trials, n_latents)

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
    """
    return signal_shares(person, wanted, default_fwhm_mm(person.grid))


def encoding_weights(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Give prior scales from cross-validated encoding scores; see :func:`signal_weights`."""
    return soft_weights(filtered_encoding_scores(person, wanted, default_fwhm_mm(person.grid)))


def reliability_weights(person: Person, wanted: np.ndarray) -> np.ndarray | None:
    """Give prior scales from the split-half reliability over repeated stimuli.

    Returns
    -------
    ndarray of float32, shape (n_voxels,), or None
        None, all voxels alike, where fewer than three stimuli repeat.
    """
    if not enough_repeats(person.target_rows):
        return None
    scores = split_half_reliability(person.betas, person.target_rows)
    return soft_weights(smooth_within(scores, person.grid, default_fwhm_mm(person.grid)))


WEIGHTINGS: dict[str, VoxelWeighting] = {
    "signal": signal_weights,
    "encoding": encoding_weights,
    "reliability": reliability_weights,
    "all": lambda person, wanted: None,
}
"""How voxels of the source people are weighted: name to function."""


def filtered_encoding_scores(person: Person, wanted: np.ndarray, fwhm_mm: float) -> np.ndarray:
    """Cross-validated encoding correlation of each voxel, shrunken, then low-pass filtered."""
    if len(wanted) < MIN_TRIALS_TO_SCORE:
        return np.zeros(person.grid.n_voxels)
    scores = encoding_scores(person.betas, wanted, person.run_groups)
    shrunk = shrink_scores(scores, len(wanted))
    return smooth_within(shrunk, person.grid, fwhm_mm).astype(np.float32)


def top_mask(scores: np.ndarray, budget: int) -> np.ndarray:
    """Mark the *budget* voxels with the highest scores; ties go to the first voxel."""
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[:budget]] = True
    return mask


def find_budget(task: SelectionTask, n_likely: int = 0) -> tuple[int, dict[str, Any]]:
    """Give the number of voxels: as asked for, or by cross-validation over training runs.

    Parameters
    ----------
    task : SelectionTask
    n_likely : int
        Number of voxels that likely carry signal, where that is known. It is taken unless
        another number serves left-out runs clearly better.

    Returns
    -------
    int, dict
        The budget, and notes with the score of every candidate.
    """
    settings, grid = task.settings, task.person.grid
    if settings.budget_voxels is not None:
        return min(settings.budget_voxels, grid.n_voxels), {"budget_rule": "given in voxels"}
    if settings.budget_mm3 is not None:
        count = round(settings.budget_mm3 / grid.voxel_volume)
        return int(np.clip(count, 1, grid.n_voxels)), {"budget_rule": "given in mm3"}
    n_runs = len(np.unique(task.person.run_groups))
    if n_runs >= MIN_RUNS_TO_CHOOSE:
        return _budget_by_cross_validation(task, n_likely)
    if n_likely and grid.has_geometry:
        return n_likely, {"budget_rule": LIKELY_RULE}
    return grid.n_voxels, {"budget_rule": f"{n_runs} training run(s), too few to choose: all"}


def _budget_by_cross_validation(task: SelectionTask, n_likely: int) -> tuple[int, dict[str, Any]]:
    candidates = budget_candidates(task.person.grid.n_voxels, n_likely)
    folds = inner_folds(task.person.run_groups, 3)
    trials = np.concatenate([_budget_fold(task, *fold, candidates) for fold in folds])
    scores = trials.mean(axis=0)
    # Graded voxels hardly hurt however weak they are, so that the curve rises slowly to the end;
    # the mask should say where the signal is.
    good = scores >= scores.max() - BUDGET_TOLERANCE * abs(scores.max())
    chosen, rule = candidates[int(np.flatnonzero(good)[0])], "cross-validation over training runs"
    if n_likely in candidates and good[candidates.index(n_likely)]:
        chosen, rule = n_likely, LIKELY_RULE
    listed = {str(c): round(float(s), 4) for c, s in zip(candidates, scores, strict=True)}
    return chosen, {"budget_rule": rule, "budget_scores": listed}


def budget_candidates(n_voxels: int, n_likely: int = 0) -> list[int]:
    """Give candidate budgets: all voxels, by factors of the square root of two down, *n_likely*."""
    counts = {round(n_voxels / 2 ** (step / 2)) for step in range(13)} | {n_likely}
    return sorted(count for count in counts if count >= min(n_voxels, 30))


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


def _select_random(task: SelectionTask) -> Selection:
    budget, notes = find_budget(task)
    scores = np.random.default_rng(task.seed).random(task.person.grid.n_voxels)
    mask = top_mask(scores, budget)
    return Selection(mask, mask.astype(np.float32), scores.astype(np.float32),
                     {"rule": "random", "budget": budget, **notes})


def _select_encoding(task: SelectionTask) -> Selection:
    budget, notes = find_budget(task)
    scores = filtered_encoding_scores(task.person, task.wanted, task.fwhm_mm)
    mask = top_mask(scores, budget)
    return Selection(mask, mask.astype(np.float32), scores,
                     {"rule": "top cross-validated encoding score", "budget": budget, **notes})


def _select_soft(task: SelectionTask) -> Selection:
    task = task.with_field()
    weights = soft_weights(task.map_signal().share)
    return Selection(weights > 0, weights, weights,
                     {"rule": "all voxels, weighted by signal share",
                      "budget": int((weights > 0).sum()), **_field_notes(task)})


def _select_graded(task: SelectionTask) -> Selection:
    task = task.with_field()
    found = task.map_signal()
    budget, notes = find_budget(task, found.n_likely)
    weights = soft_weights(found.share)
    mask = top_mask(found.share, budget) & (weights > 0)
    return Selection(
        mask, weights * mask, found.share,
        {"rule": "top signal share, graded by it", "budget": int(mask.sum()),
         "n_likely": found.n_likely, **_field_notes(task), **notes},
    )


def _field_notes(task: SelectionTask) -> dict[str, float]:
    return {"field_fwhm_mm": task.field.fwhm_mm, "field_trust": task.field.trust}


def _select_troi(task: SelectionTask) -> Selection:
    task = task.with_field()
    found = task.map_signal()
    budget, notes = find_budget(task, found.n_likely)
    weights = soft_weights(found.share)
    budget = min(budget, int((weights > 0).sum()))
    shrinking = budget_schedule(int((weights > 0).sum()), budget, task.settings.epochs)
    learned = task.learn(weights, shrinking, task.fwhm_mm)
    mask = np.zeros(len(weights), dtype=bool)
    mask[learned.kept] = True
    return Selection(
        mask, weights * mask, learned.score,
        {"rule": "trainable gates, shrinking budget", "budget": budget,
         "lowpass_fwhm_mm": round(task.fwhm_mm, 3), "epochs": task.settings.epochs, **notes},
        learned.history, learned.weight,
    )


def budget_schedule(n_voxels: int, budget: int, n_epochs: int) -> list[int]:
    """Give how many voxels stay after each epoch: geometric from all of them to the budget.

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


_HERE = "bids_decoder.training.selectors"
_MORE = "bids_decoder.training.selection"

SELECTORS: dict[str, str] = {
    "graded": f"{_HERE}:_select_graded",
    "troi-budget": f"{_HERE}:_select_troi",
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
