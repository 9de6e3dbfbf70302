"""Kinds of trials for cross-decoding, and fits that train on one kind and test on others.

A decoder that is trained on one kind of trials (a task, a session, a sense) and recognises the
labels in another kind shows that both share a code [1]_. Trials of one run share drift and noise,
so that a run with trials of both kinds is tested with a decoder that was fitted without any trial
of this run. Trials of the training kind can be tested by the same fits, which then are a
cross-validation within the kind, with training sets of the same size.

References
----------
.. [1] Kaplan, Man and Greening (2015), Multivariate cross-classification: applying machine learning
   techniques to characterize abstraction in neural representations, Frontiers in Human
   Neuroscience 9:151.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from bids_decoder.evaluation.splits import deal_runs

LEAST_TRIALS, LEAST_STIMULI = 2, 10
"""Training trials of each label, or training stimuli, that every fit needs."""

TrialNumbers = Mapping[str, Sequence[int]]
"""Run group -> numbers of trials in it."""


class Sides(NamedTuple):
    """Trials of one fit.

    Parameters
    ----------
    train, test : ndarray of bool, shape (n_trials,)
    """

    train: np.ndarray
    test: np.ndarray


def number_folds(fits: Sequence[Sides], n_trials: int) -> pd.api.extensions.ExtensionArray:
    """Return the number of the fit that tests each trial, from 1; no number if none does.

    With one fit, training trials have no number: they are those of a fixed split.

    Parameters
    ----------
    fits : sequence of Sides
    n_trials : int

    Returns
    -------
    array of Int64, shape (n_trials,)
    """
    folds = pd.array([pd.NA] * n_trials, dtype="Int64")
    for number, sides in enumerate(fits, start=1):
        folds[sides.test] = number
    return folds


@dataclass(frozen=True, eq=False)
class Row:
    """A kind of trials to train on and the kinds to test on: one row of a generalisation matrix.

    Parameters
    ----------
    train : str
        Name of the kind.
    tests : sequence of str
        Names of kinds; *train* may be one of them.
    classes : sequence of str
        Labels; trials of a kind have no other ones.
    trials : mapping of str to mapping
        By name of the kind: the numbers of its trials in each run.
    held_out : sequence of str
        Where stimuli are decoded rather than labels: those that are tested and held out of
        training. Runs are not, as where a test set of stimuli is held out.
    """

    train: str
    tests: Sequence[str]
    classes: Sequence[str]
    trials: Mapping[str, TrialNumbers]
    held_out: Sequence[str] = ()

    @property
    def by_stimulus(self) -> bool:
        """Whether stimuli are decoded rather than labels."""
        return bool(self.held_out)

    @property
    def crosses_own(self) -> bool:
        """Whether the training kind is tested, too, by cross-validation over runs."""
        return self.train in self.tests and not self.by_stimulus

    def members(self, table: pd.DataFrame, kind: str) -> np.ndarray:
        """Return which rows of a trial table are trials of a kind, (n_trials,)."""
        return find_trials(table, self.trials[kind])

    def tested(self, table: pd.DataFrame, kind: str) -> np.ndarray:
        """Return which rows of a trial table are trials of a kind that are tested, (n_trials,)."""
        members = self.members(table, kind)
        return members & shows(table, self.held_out) if self.by_stimulus else members

    def kind_of(self, table: pd.DataFrame) -> np.ndarray:
        """Return the name of the tested kind of each trial, None for trials that are not tested."""
        found = np.full(len(table), None, dtype=object)
        for kind in self.tests:
            found[self.tested(table, kind)] = kind
        return found

    def fits(self, table: pd.DataFrame) -> list[Sides]:
        """Return the fits that together test every trial of the tested kinds once.

        Parameters
        ----------
        table : DataFrame, n_trials rows
            With ``run_group``, ``trial`` and the other columns of a trial table.

        Returns
        -------
        list of Sides
            No fit is trained on a trial of a run that it tests, nor, where stimuli are decoded, on
            a trial of a stimulus that it tests.
        """
        train = self.members(table, self.train)
        test = np.logical_or.reduce([self.tested(table, kind) for kind in self.tests])
        if self.by_stimulus:
            return [Sides(train & ~shows(table, self.held_out), test)]
        return separate_runs(table, train, test)


def number_trials(table: pd.DataFrame, rows: np.ndarray) -> dict[str, list[int]]:
    """Return the numbers of the trials *rows* (boolean) in each run."""
    chosen = table[rows]
    return {
        str(run): [int(number) for number in numbers]
        for run, numbers in chosen.groupby("run_group", sort=False)["trial"]
    }


def shows(table: pd.DataFrame, stimuli: Sequence[str]) -> np.ndarray:
    """Return which rows of a trial table show one of some stimuli, (n_trials,)."""
    return np.isin(table["stimulus"].to_numpy(dtype=str), np.array(stimuli, dtype=str))


def find_trials(table: pd.DataFrame, numbers: TrialNumbers) -> np.ndarray:
    """Return which rows of a table have these numbers, (n_trials,)."""
    known = {(run, number) for run, own in numbers.items() for number in own}
    pairs = zip(table["run_group"].tolist(), table["trial"].tolist(), strict=True)
    return np.array([(run, int(number)) in known for run, number in pairs], dtype=bool)


def separate_runs(table: pd.DataFrame, train: np.ndarray, test: np.ndarray) -> list[Sides]:
    """Divide trials into fits so that no run is on both sides of one.

    Parameters
    ----------
    table : DataFrame, n_trials rows
    train, test : ndarray of bool, shape (n_trials,)
        They may overlap.

    Returns
    -------
    list of Sides
        Runs without training trials are tested by one fit on all training trials. Runs on both
        sides are held out in folds, as in cross-validation over runs
        (:func:`.splits.deal_runs`): where each run has one label, a fold holds runs of every label.
    """
    runs = table["run_group"].to_numpy(dtype=str)
    shared = np.isin(runs, runs[train]) & np.isin(runs, runs[test])
    alone, both = test & ~shared, test & shared
    fits = [Sides(train, alone)] if alone.any() else []
    if both.any():
        for held_out in deal_runs(table[both]):
            inside = np.isin(runs, held_out)
            fits.append(Sides(train & ~inside, both & inside))
    return fits


def lacking_labels(row: Row, table: pd.DataFrame) -> list[str]:
    """Return the labels of which some fit has too few training trials.

    Parameters
    ----------
    row : Row
    table : DataFrame
        Trial table.

    Returns
    -------
    list of str
        Empty where every fit of the row can be made.
    """
    labels = table["label"].to_numpy(dtype=object)
    counts = [Counter(labels[fit.train].tolist()) for fit in row.fits(table)]
    return [name for name in row.classes if min(count[name] for count in counts) < LEAST_TRIALS]
