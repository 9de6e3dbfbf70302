"""Exchange of labels under the null hypothesis, and tails of null distributions.

With one fixed test set predictions do not depend on the test labels: these are exchanged against
fixed predictions. Under cross-validation the test labels of one fold are training labels of the
others, so that held-out predictions of different folds depend on each other through the labels;
exchanging labels against fixed predictions ignores that, and its null is too narrow [1]_ [2]_.
There the labels, or stimuli, of the whole dataset are exchanged first, and everything is fitted
again.

References
----------
.. [1] Valente, Castellanos, Hausfeld, De Martino and Formisano (2021), NeuroImage 238:118145.
.. [2] Etzel and Braver (2013), MVPA permutation schemes, PRNI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from bids_decoder.drift import are_slow
from bids_decoder.evaluation.statistics import (
    permutation_p,
    permutations_within,
    smallest_p,
)
from bids_decoder.evaluation.tables import Nulls, make_nulls

BLOCKED = 0.5
"""Labels are in blocks when they change, or single trials occur, less often than this share of what
is expected in random order."""

RARE = 0.001
"""Largest probability of so few single trials in random order."""

WHOLE_SERIES, SHIFTED_SERIES = "series of whole runs", "series shifted within runs"

LEAST_SERIES = 6
"""With so many runs there are 720 orders of them."""

LENGTH_TOLERANCE = 0.25
"""By which part of a block several blocks of a label in a row may be longer or shorter."""

LEAST_ALIKE = 0.25
"""Least share of a label's blocks that have the common length, for it to be the label's, too."""

MIN_EXCEEDANCES = 10
"""With this many null values above the observed one, their count is a good p-value."""

MIN_FOR_TAIL = 100
"""Least number of permutations from which the tail is fitted."""

TAIL_SHARE, LEAST_TAIL, TAIL_STEP = 0.25, 20, 10
_FIT_LEVEL = 0.1


@dataclass(frozen=True, eq=False)
class Exchange:
    """Units whose labels may be exchanged under the null hypothesis.

    Parameters
    ----------
    kind : str
        ``"trials within runs"``, ``"blocks within runs"``, ``"whole runs"``,
        ``"whole runs within folds"``, ``"images"``, ``"stimuli"``,
        ``"stimuli within runs"``, :data:`WHOLE_SERIES` or :data:`SHIFTED_SERIES`.
    unit_of : ndarray of int, shape (n_trials,)
        Number of the unit of each trial.
    labels : ndarray, shape (n_units,)
        Label of each unit.
    block_of : ndarray of int, shape (n_units,)
        Labels of units with the same number may be exchanged.
    """

    kind: str
    unit_of: np.ndarray
    labels: np.ndarray
    block_of: np.ndarray

    def draw(self, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
        """Draw permuted labels of all trials, (n_permutations, n_trials)."""
        orders = permutations_within(self.block_of, n_permutations, rng)
        return self.labels[orders][:, self.unit_of]

    def smallest_p(self, n_permutations: int) -> float:
        """Return the smallest p-value possible with so many permutations."""
        return smallest_p(self.labels, self.block_of, n_permutations)

    def describe(self) -> dict[str, Any]:
        """Return the description for sidecars and reports, serialisable as JSON."""
        return {
            "ExchangedUnits": self.kind, "NumberOfUnits": len(self.labels),
            "NumberOfBlocks": len(np.unique(self.block_of)),
        }

    def fixed_nulls(self, table: pd.DataFrame, model: str) -> Nulls:
        """Describe null distributions of *model* that come from fixed predictions.

        Parameters
        ----------
        table : DataFrame
            Of :func:`.tables.split_nulls`.
        model : str
        """
        return make_nulls(table, model, {"Null": "fixed", **self.describe()})


class WholeSeries(Exchange):
    """Series of values of whole runs, with as many trials each; trials are the units."""

    def draw(self, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
        """Draw rearranged values of all trials, (n_permutations, n_trials)."""
        members = _members(self.block_of)
        series = self.labels[np.stack(members)]
        orders = permutations_within(np.zeros(len(members), dtype=int), n_permutations, rng)
        drawn = np.empty((n_permutations, len(self.labels)), dtype=self.labels.dtype)
        for run, trials in enumerate(members):
            drawn[:, trials] = series[orders[:, run]]
        return drawn

    def smallest_p(self, n_permutations: int) -> float:
        """Return the smallest p-value possible with so many permutations."""
        runs = np.unique(self.block_of)
        return smallest_p(runs, np.zeros_like(runs), n_permutations)


class ShiftedSeries(Exchange):
    """Series of values that are shifted in a circle within runs; trials are the units."""

    def draw(self, n_permutations: int, rng: np.random.Generator) -> np.ndarray:
        """Draw rearranged values of all trials, (n_permutations, n_trials)."""
        drawn = np.empty((n_permutations, len(self.labels)), dtype=self.labels.dtype)
        for trials in _members(self.block_of):
            shifts = rng.integers(len(trials), size=(n_permutations, 1))
            drawn[:, trials] = self.labels[trials[(np.arange(len(trials)) + shifts) % len(trials)]]
        return drawn

    def smallest_p(self, n_permutations: int) -> float:
        """Return the smallest p-value possible with so many permutations."""
        sizes = np.unique(self.block_of, return_counts=True)[1]
        return max(1 / (1 + n_permutations), float(np.exp(-np.log(sizes).sum())))


def _members(block_of: np.ndarray) -> list[np.ndarray]:
    """Return the units of each block."""
    return [np.flatnonzero(block_of == block) for block in np.unique(block_of)]


def find_exchange(
    labels: np.ndarray, runs: np.ndarray, folds: np.ndarray, values: np.ndarray | None = None
) -> Exchange:
    """Find what may be exchanged, from the order of labels or values within runs.

    Parameters
    ----------
    labels : ndarray, shape (n_trials,)
        In order of time within each run.
    runs : ndarray of str, shape (n_trials,)
    folds : ndarray, shape (n_trials,)
        Fold in which each trial is test.
    values : ndarray, shape (n_trials, n_columns), optional
        Numbers of the trials, where *labels* stand for numbers.

    Returns
    -------
    Exchange
        Whole runs when each run has one label, within folds where these hold several runs: such
        folds are balanced over labels, and labels exchanged between folds would not be. Blocks of
        equal labels within runs, when labels change, or trials differ from both neighbours, less
        than half as often as in random order: neighbouring trials share noise, which exchanging
        single trials of a block design would break up. Consecutive blocks of one label count as
        blocks of their own, where the length shows them: as one long block they would go to rarer
        labels, too, and permuted labels would not be balanced as the true ones are. Series of
        values, where those of neighbouring trials are similar, which noise is, too: whole ones
        between runs, where these have the same number of trials and are enough, or shifted in a
        circle within runs [1]_. Otherwise single trials within runs.

    References
    ----------
    .. [1] Theiler, Eubank, Longtin, Galdrikian and Farmer (1992), Testing for nonlinearity in time
       series: the method of surrogate data, Physica D 58:77.
    """
    labels = np.asarray(labels)
    run_of = pd.factorize(np.asarray(runs))[0]
    n_runs = run_of.max(initial=-1) + 1
    if len(set(zip(run_of.tolist(), labels.tolist(), strict=True))) == n_runs:
        of_run = labels[np.unique(run_of, return_index=True)[1]]
        fold_of = pd.factorize(np.asarray(folds)[np.unique(run_of, return_index=True)[1]])[0]
        if len(of_run) == fold_of.max() + 1:
            fold_of = np.zeros_like(fold_of)
        within = "whole runs within folds" if fold_of.any() else "whole runs"
        return Exchange(within, run_of, of_run, fold_of)
    by_run = np.argsort(run_of, kind="stable")
    same_run = np.diff(run_of[by_run]) == 0
    changes = labels[by_run][1:] != labels[by_run][:-1]
    starts = np.concatenate([[True], changes | ~same_run])
    if _is_blocked(starts, (changes & same_run).sum(), labels, run_of):
        starts = _block_starts(starts, labels[by_run])
        unit_of = np.empty(len(labels), dtype=int)
        unit_of[by_run] = np.cumsum(starts) - 1
        first = by_run[starts]
        return Exchange("blocks within runs", unit_of, labels[first], run_of[first])
    if values is not None and are_slow(values, run_of):
        sizes = np.bincount(run_of)
        is_whole = len(sizes) >= LEAST_SERIES and np.ptp(sizes) == 0
        kind, series = (WHOLE_SERIES, WholeSeries) if is_whole else (SHIFTED_SERIES, ShiftedSeries)
        return series(kind, np.arange(len(labels)), labels, run_of)
    return Exchange("trials within runs", np.arange(len(labels)), labels, run_of)


def _block_starts(starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Divide blocks that last about twice, three times, … as long as is common.

    Parameters
    ----------
    starts : ndarray of bool, shape (n_trials,)
        Where another label, or another run, begins.
    labels : ndarray, shape (n_trials,)

    Returns
    -------
    ndarray of bool, shape (n_trials,)
    """
    first = np.flatnonzero(starts)
    lengths = np.diff([*first, len(starts)])
    common = np.quantile(lengths, 0.5, method="lower")
    divided = starts.copy()
    for label in np.unique(labels[first]):
        own = labels[first] == label
        # A label few of whose blocks are of the common length has longer ones by design.
        alike = np.abs(lengths[own] - common) <= LENGTH_TOLERANCE * common
        usual = common if alike.mean() >= LEAST_ALIKE else (
            np.quantile(lengths[own], 0.5, method="lower")
        )
        if usual < 2:  # single trials of a label that also has blocks
            continue
        for place, length in zip(first[own], lengths[own], strict=True):
            n_blocks = round(length / usual)
            if abs(length - n_blocks * usual) <= LENGTH_TOLERANCE * usual:
                divided[place + np.arange(n_blocks) * length // max(n_blocks, 1)] = True
    return divided


def exchange_images(blocks: np.ndarray) -> Exchange:
    """Exchange images among their responses, within blocks, (n_images,)."""
    images = np.arange(len(blocks))
    return Exchange("images", images, images, np.asarray(blocks))


def exchange_stimuli(
    stimuli: np.ndarray, runs: np.ndarray, together: Sequence[Sequence[str]] = ()
) -> tuple[Exchange, np.ndarray]:
    """Exchange stimuli among all of their responses, for cross-validation over stimuli.

    Parameters
    ----------
    stimuli, runs : ndarray of str, shape (n_trials,)
    together : sequence of sequence of str
        Groups of stimuli that folds do not separate, because they are nearly the same. A group
        takes the place of another one of the same size, so that this holds under permutation, too.

    Returns
    -------
    exchange : Exchange
        Of groups; most have one stimulus. Within runs where each stimulus was shown in one run.
    members : ndarray of int, shape (n_groups, size of the largest)
        Numbers of the stimuli of each group, in alphabetical order; -1 where there are fewer.
    """
    names, stimulus_of = np.unique(np.asarray(stimuli, dtype=str), return_inverse=True)
    known = {name: number for number, name in enumerate(names.tolist())}
    joint = [[known[name] for name in sorted(group) if name in known] for group in together]
    joined = {number for group in joint for number in group}
    groups = [g for g in joint if g] + [[k] for k in range(len(names)) if k not in joined]
    members = np.full((len(groups), max(map(len, groups))), -1)
    group_of = np.empty(len(names), dtype=int)
    for number, group in enumerate(groups):
        members[number, :len(group)] = group
        group_of[group] = number
    run_of = permutation_blocks(stimulus_of, np.asarray(runs))
    keys = [(len(group), *(run_of[k] for k in group)) for group in groups]
    kind = "stimuli within runs" if run_of.any() else "stimuli"
    blocks = np.unique([str(key) for key in keys], return_inverse=True)[1]
    return Exchange(kind, group_of[stimulus_of], np.arange(len(groups)), blocks), members


def permutation_blocks(image_of: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return the run of each image, or one block for all when images are in several runs."""
    pairs = pd.DataFrame({"image": image_of, "run": pd.factorize(runs)[0]}).drop_duplicates()
    confined = not pairs["image"].duplicated().any()
    if confined and pairs["run"].duplicated().any():
        return pairs.sort_values("image")["run"].to_numpy()
    return np.zeros(pairs["image"].nunique(), dtype=int)


def _is_blocked(
    starts: np.ndarray, n_changes: int, labels: np.ndarray, run_of: np.ndarray
) -> bool:
    """Return whether labels are in blocks; *starts* are those of stretches of equal labels.

    Changes alone do not show blocks of two trials, of which labels change half as often as in
    random order, or more often where blocks of two labels alternate. A choice that depends on the
    order of blocks would not be valid: permuted labels would often have led to the other one.
    """
    changes, alone = _expected_in_random_order(labels, run_of)
    n_alone = (starts & np.append(starts[1:], True)).sum()
    has_pairs = n_alone < BLOCKED * alone and scipy.stats.poisson.cdf(n_alone, alone) < RARE
    return bool(n_changes < BLOCKED * changes or has_pairs)


def _expected_in_random_order(labels: np.ndarray, run_of: np.ndarray) -> tuple[float, float]:
    """Compute how many neighbours differ, and how many trials differ from all neighbours.

    Both in random order within runs.
    """
    names, label_of = np.unique(labels, return_inverse=True)
    table = np.zeros((run_of.max() + 1, len(names)))
    np.add.at(table, (run_of, label_of), 1)
    size = table.sum(axis=1, keepdims=True)
    unlike = table * (size - table) / np.maximum(size * (size - 1), 1)
    # One neighbour at either end of a run, two elsewhere.
    alone = unlike * (size - table + 1) + table * (size == 1)
    return float(((size - 1) * unlike).sum()), float(alone.sum())


def p_values(observed: float, null: np.ndarray, tail: str = "greater") -> dict[str, float]:
    """Compute the columns of a table of metrics that depend on a null distribution.

    Parameters
    ----------
    observed : float
    null : ndarray, shape (n_permutations,)
    tail : {"greater", "less"}
        Which values are better.

    Returns
    -------
    dict
        ``p`` (NaN without permutations), ``p_tail`` and ``n_null``.
    """
    sign = 1.0 if tail == "greater" else -1.0
    return {
        "p": permutation_p(observed, null, tail) if len(null) else np.nan,
        "p_tail": tail_p(sign * observed, sign * np.asarray(null)), "n_null": len(null),
    }


def tail_p(observed: float, null: np.ndarray) -> float:
    """Extrapolate a p-value beyond the number of permutations [1]_ [2]_.

    Parameters
    ----------
    observed : float
    null : ndarray, shape (n_permutations,)

    Returns
    -------
    float
        NaN when ten or more null values reach the observed one (their count is better),
        with fewer than 100 permutations, when no tail fits a generalised Pareto distribution
        (Kolmogorov-Smirnov p > .1; scores of few values never do), or when the fitted tail ends
        before the observed value.

    References
    ----------
    .. [1] Knijnenburg, Wessels, Reinders and Shmulevich (2009), Fewer permutations, more accurate
       P-values, Bioinformatics 25:i161.
    .. [2] Winkler, Ridgway, Douaud, Nichols and Smith (2016), Faster permutation inference in
       brain imaging, NeuroImage 141:502.
    """
    null = np.sort(np.asarray(null, dtype=np.float64))[::-1]
    n_null = len(null)
    if n_null < MIN_FOR_TAIL or (null >= observed).sum() >= MIN_EXCEEDANCES:
        return np.nan
    for n_tail in range(int(TAIL_SHARE * n_null), LEAST_TAIL - 1, -TAIL_STEP):
        threshold = (null[n_tail - 1] + null[n_tail]) / 2
        excess = null[:n_tail] - threshold
        if not excess.min() > 0:
            continue
        fitted = scipy.stats.genpareto(*scipy.stats.genpareto.fit(excess, floc=0))
        if scipy.stats.kstest(excess, fitted.cdf).pvalue > _FIT_LEVEL:
            p = float(n_tail / n_null * fitted.sf(observed - threshold))
            return p if p > 0 else np.nan
    return np.nan
