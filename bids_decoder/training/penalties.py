"""Penalties of ridge regression from voxels to latents: candidates, and how one is chosen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bids_decoder.averages import average_rows
from bids_decoder.evaluation.folds import (
    MIN_RUNS_TO_CHOOSE,
    MOST_TRIALS_TO_CHOOSE,
    enough_folds,
    inner_folds,
    spread_runs,
)
from bids_decoder.normal_equations import NormalEquations, TrialStream, products_of_voxels
from bids_decoder.training.identification import standing_out, unit_rows
from bids_decoder.training.kernels import Kernels, OneKernel
from bids_decoder.training.run_means import (
    centre_products,
    centre_runs,
    degrees_of_freedom,
    run_members,
)
from bids_decoder.tridiagonal import Tridiagonal

Forms = Kernels | OneKernel | NormalEquations

RELATIVE_PENALTIES = np.logspace(-2.5, 1.5, 9)
"""Candidate ridge penalties, as multiples of the mean eigenvalue of the kernel."""

DEFAULT_PENALTY = 0.1
"""Relative penalty with fewer than :data:`.MIN_RUNS_TO_CHOOSE` runs, and of labels in closed form
with few trials (:func:`penalty_for_labels`)."""

PENALTY_FOR_STIMULI = 0.2
"""Relative penalty of a new participant's stimuli with fewer than :data:`.MIN_RUNS_TO_CHOOSE` runs.

Chosen for the identification of new stimuli in simulations; see ``docs/troi.md``.
"""

MIN_TRIALS_PER_DIMENSION = 4
"""With fewer trials for each dimension of labels, the evidence for a penalty is not used."""

LARGEST_FOR_LABELS = 1.0
"""Stronger penalties are no candidates for labels."""

N_FOLDS, ENOUGH_TO_CHOOSE = 5, 500
"""Folds of the cross-validation, and held-out trials after which no further one is fitted."""

TOLERANCE = 0.01
"""A stronger penalty is preferred if it loses less than this share of the identifiability."""


def can_choose(run_groups: np.ndarray) -> bool:
    """Return whether there are enough runs to cross-validate over them."""
    return len(np.unique(run_groups)) >= MIN_RUNS_TO_CHOOSE


def penalties_for_labels(run_groups: np.ndarray, n_latents: int) -> np.ndarray:
    """Return the candidates for the penalty of labels in closed form.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)
    n_latents : int
        Dimensions of the targets, one fewer than labels.

    Returns
    -------
    ndarray
        Relative penalties up to :data:`LARGEST_FOR_LABELS`; :data:`DEFAULT_PENALTY` alone with
        fewer than :data:`MIN_TRIALS_PER_DIMENSION` trials for each dimension, less the means of
        runs.

    Notes
    -----
    With one trial of each label the evidence of :func:`likeliest_penalties` is highest where
    ``K + penalty I`` is closest to a multiple of the identity (means of eigenvalues, arithmetic
    and geometric), which is the strongest penalty, whatever the responses are. With few trials
    it still is too strong. Noise that voxels share is no part of the model: where it is strong,
    the evidence prefers penalties that leave little but its directions. See ``docs/troi.md``.
    """
    enough = degrees_of_freedom(run_groups) >= MIN_TRIALS_PER_DIMENSION * n_latents
    if not enough:
        return np.array([DEFAULT_PENALTY])
    return RELATIVE_PENALTIES[RELATIVE_PENALTIES < 1.01 * LARGEST_FOR_LABELS]


def likely_candidates(
    run_groups: np.ndarray, n_latents: int, *, is_category: bool
) -> np.ndarray:
    """Return the relative penalties of which :func:`likeliest_penalties` takes one.

    Parameters
    ----------
    run_groups : ndarray of str, shape (n_trials,)
    n_latents : int
    is_category : bool
        Targets are labels; see :func:`penalties_for_labels`.

    Returns
    -------
    ndarray, shape (n_candidates,)
    """
    return penalties_for_labels(run_groups, n_latents) if is_category else RELATIVE_PENALTIES


class Likeliest(NamedTuple):
    """The likeliest penalty of each set.

    Parameters
    ----------
    penalties : ndarray, shape (n_sets,)
        Among the candidates.
    solutions : ndarray, shape (n_sets, n, n_latents)
        With these penalties; see :class:`.Penalised`.
    evidence : ndarray, shape (n_sets,)
        Logarithm of the marginal likelihood, up to what depends on targets and number of
        trials alone. It does not change where all responses are multiplied by a number.
    """

    penalties: np.ndarray
    solutions: np.ndarray
    evidence: np.ndarray


def likeliest_penalties(
    forms: Forms, sizes: np.ndarray, freedom: int, candidates: np.ndarray
) -> Likeliest:
    """Choose the relative ridge penalty of each set by marginal likelihood (empirical Bayes).

    Every third candidate and the weakest are tried, then the neighbours of the best on both sides
    as long as the evidence rises.

    Parameters
    ----------
    forms : Kernels, OneKernel or NormalEquations
        Inner products of (weighted) responses, means of runs projected out, and the targets
        without means of runs.
    sizes : ndarray, shape (n_sets,)
        Mean eigenvalue of each kernel over all trials.
    freedom : int
        Number of trials minus that of the means.
    candidates : ndarray, shape (n_candidates,)
        Relative penalties, in any order.

    Returns
    -------
    Likeliest

    Notes
    -----
    Targets are Gaussian with covariance ``s2 (K + penalty I)``, the evidence of ridge regression
    (Rasmussen and Williams 2006, 5.4); ``s2`` is set to its maximum likelihood value. The slope of
    the evidence in the logarithm of the penalty is made of ``penalty / (eigenvalue + penalty)``,
    which takes two decades to rise from .1 to .9, so that there are no narrow peaks.
    """
    ordered, everything = np.sort(candidates)[::-1], np.arange(len(sizes))
    chosen = np.zeros(len(sizes), dtype=int)
    best, solutions = _evidence(forms, ordered[0] * sizes, everything, freedom)

    def try_out(places: np.ndarray, sets: np.ndarray) -> np.ndarray:
        """Take the candidates at these places where their evidence is higher; return where."""
        evidence, found = _evidence(forms, ordered[places] * sizes[sets], sets, freedom)
        better = evidence > best[sets]
        sets = sets[better]
        best[sets], chosen[sets], solutions[sets] = evidence[better], places[better], found[better]
        return sets

    for place in sorted({*range(3, len(ordered), 3), len(ordered) - 1} - {0}):
        try_out(np.full(len(sizes), place), everything)
    middle = chosen.copy()
    for side in (-1, 1):
        rising = everything[chosen == middle]
        while len(rising):
            next_ones = chosen[rising] + side
            inside = (next_ones >= 0) & (next_ones < len(ordered))
            rising, next_ones = rising[inside], next_ones[inside]
            if len(rising):
                rising = try_out(next_ones, rising)
    n_latents = solutions.shape[2]
    return Likeliest(ordered[chosen], solutions, n_latents / 2 * best)


def _evidence(
    forms: Forms, penalties: np.ndarray, sets: np.ndarray, freedom: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the evidence for a penalty of each of some sets, and their solutions.

    The evidence is twice the mean over latents of the logarithm of the marginal likelihood.
    """
    found = forms.penalise(penalties, sets)
    # Kernels of all trials have an eigenvalue of zero for each mean.
    spread = found.log_determinants - (forms.n_rows - freedom) * np.log(penalties)
    return -freedom * np.log(found.energies + 1e-300) - spread, found.solutions


def choose_penalties(
    kernel: np.ndarray, targets: np.ndarray, run_groups: np.ndarray, scalings: np.ndarray
) -> list[float]:
    """Choose the relative ridge penalty of each scaling of targets by cross-validation over runs.

    The criterion is :func:`.identifiability` in the held-out runs, relative to the mean of the
    training targets.

    Parameters
    ----------
    kernel : ndarray, shape (n_trials, n_trials)
        Inner products of (weighted) responses.
    targets : ndarray, shape (n_trials, n_latents)
    run_groups : ndarray of str, shape (n_trials,)
        Of at least :data:`.MIN_RUNS_TO_CHOOSE` runs; see :func:`can_choose`.
    scalings : ndarray, shape (n_scalings, n_latents)
        Factors of the targets.

    Returns
    -------
    list of float
        Among :data:`RELATIVE_PENALTIES`, one for each scaling.

    Notes
    -----
    With more than :data:`.MOST_TRIALS_TO_CHOOSE` trials some of the runs are used: the best
    penalty is a ratio of variances, of noise and of weights, and the mean eigenvalue to which it is
    relative does not depend on the number of trials either. Folds are fitted until
    :data:`ENOUGH_TO_CHOOSE` trials were held out: fewer trials for the fits would change the
    choice, fewer held-out ones hardly do.
    """
    rows = spread_runs(run_groups, MOST_TRIALS_TO_CHOOSE)

    def scores(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        groups, inner = run_groups[train], kernel[np.ix_(train, train)]
        cross = kernel[np.ix_(test, train)] - inner.mean(axis=0)
        centre_products(inner, groups)
        size = np.trace(inner) / len(inner)
        form = Tridiagonal(inner.astype(np.float32))
        del inner
        loads, shown = (centre_runs(values, groups) for values in (targets[train], cross.T))
        wanted = targets[test] - targets[train].mean(axis=0)
        return _scores(form, size, loads, shown, wanted, scalings)

    folds = enough_folds(inner_folds(run_groups[rows], N_FOLDS), ENOUGH_TO_CHOOSE)
    return _best_penalties([scores(rows[train], rows[test]) for train, test in folds])


def choose_streamed_penalties(
    stream: TrialStream, targets: np.ndarray, run_groups: np.ndarray, scalings: np.ndarray
) -> list[float]:
    """Choose as :func:`choose_penalties` does, from a stream of trials.

    Parameters
    ----------
    stream : TrialStream
    targets : ndarray, shape (n_trials, n_latents)
    run_groups : ndarray of str, shape (n_trials,)
    scalings : ndarray, shape (n_scalings, n_latents)
    """
    rows = spread_runs(run_groups, MOST_TRIALS_TO_CHOOSE)
    of_runs = len(run_members(run_groups[rows])[1]) > 1
    folds = inner_folds(run_groups[rows], N_FOLDS)
    n_folds = len(enough_folds(folds, ENOUGH_TO_CHOOSE))
    # The sums of a fold are for the fits that hold out another one.
    parts = {
        number: _Part.of(stream, targets, rows[test], run_groups[rows[test]] if of_runs else None)
        for number, (_, test) in enumerate(folds) if n_folds > 1 or number > 0
    }

    def scores(number: int) -> np.ndarray:
        train, test = (rows[own] for own in folds[number])
        others = [part for own, part in parts.items() if own != number]
        mean, products, loads = _joined(others, of_runs)
        size = np.trace(products, dtype=np.float64) / len(train)
        form = Tridiagonal(products)
        del products
        shown = np.concatenate([
            values.T.astype(np.float32) for _, values in stream.beside(test, mean).centred()
        ], axis=1)
        wanted = targets[test] - targets[train].mean(axis=0)
        return _scores(form, size, loads, shown, wanted, scalings)

    return _best_penalties([scores(number) for number in range(n_folds)])


class _Part(NamedTuple):
    """Sums over the trials of one fold, from which those of all other folds are added up.

    Parameters
    ----------
    n_trials : int
    mean : ndarray, shape (n_used,)
        Of responses.
    products : ndarray of float32, shape (n_used, n_used)
        Of voxels, below and on the diagonal, without the means of runs or of the fold.
    targets : ndarray, shape (n_latents,)
        Mean.
    loads : ndarray, shape (n_used, n_latents)
        Products of voxels and targets without these means.
    """

    n_trials: int
    mean: np.ndarray
    products: np.ndarray
    targets: np.ndarray
    loads: np.ndarray

    @classmethod
    def of(
        cls, stream: TrialStream, targets: np.ndarray, rows: np.ndarray, runs: np.ndarray | None
    ) -> _Part:
        """Sum over some trials without the means of their runs; None for that of all."""
        runs = np.zeros(len(rows)) if runs is None else runs
        member = np.unique(runs, return_inverse=True)[1]
        own = TrialStream.of(stream.betas, rows, member, stream.voxels, stream.scales)
        wanted = targets[rows]
        centred = wanted - average_rows(wanted, member)[member]
        return cls(
            len(rows), own.mean, products_of_voxels(own, np.float32), wanted.mean(axis=0),
            own.loads(centred),
        )


def _joined(parts: list[_Part], of_runs: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, products and loads of the trials of several folds together."""
    counts = np.array([part.n_trials for part in parts], dtype=float)
    mean = counts @ [part.mean for part in parts] / counts.sum()
    products = parts[0].products.copy(order="K")
    for part in parts[1:]:
        products += part.products
    loads = np.sum([part.loads for part in parts], axis=0)
    if not of_runs:
        apart = np.stack([part.mean - mean for part in parts]) * np.sqrt(counts)[:, None]
        products += (apart.T @ apart).astype(np.float32)
        loads += apart.T @ (np.sqrt(counts)[:, None] * [part.targets for part in parts])
    return mean, products, loads


def _best_penalties(scores_of_folds: list[np.ndarray]) -> list[float]:
    """Choose by the scores of scalings and penalties in each fold, (n_scalings, n_penalties)."""
    scores = np.sum(scores_of_folds, axis=0)
    # The curve is flat towards weak penalties; the strongest good one has the least variance.
    best = scores.max(axis=1, keepdims=True)
    good = scores >= best - TOLERANCE * np.abs(best)
    return [float(RELATIVE_PENALTIES[np.flatnonzero(own)[-1]]) for own in good]


def _scores(
    form: Tridiagonal, size: float, loads: np.ndarray, shown: np.ndarray, wanted: np.ndarray,
    scalings: np.ndarray,
) -> np.ndarray:
    """Score held-out trials *shown* (n, n_test) with all penalties, (n_scalings, n_penalties).

    *loads* (n, n_latents) are what the inverse of the penalised matrix is applied to, for targets
    without scaling; *wanted* (n_test, n_latents) are those of the held-out trials.
    """
    shown, loads = form.turn(shown), form.turn(loads)
    scalings = scalings.astype(np.float32)
    directions = [unit_rows(wanted.astype(np.float32) * own) for own in scalings]
    scores = np.empty((len(scalings), len(RELATIVE_PENALTIES)))
    few_trials = shown.shape[1] < loads.shape[1]
    for column, penalty in enumerate(RELATIVE_PENALTIES * max(size, 1e-12)):
        # The inverse is applied to either side of the product.
        predicted = (
            form.solve(shown, penalty).T @ loads if few_trials
            else shown.T @ form.solve(loads, penalty)
        )
        for row, (own, wanted_here) in enumerate(zip(scalings, directions, strict=True)):
            scores[row, column] = standing_out(predicted * own, wanted_here).sum()
    return scores
