"""The held-out trials of a dataset, and how they are marked in trial tables."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError
from bids_decoder.processes import map_items

SOURCE_ROLES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
"""Values of ``--split-column`` (in lower case) and the role that they mean."""

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Split:
    """The trials that are held out, as stored in ``plan.json``.

    Parameters
    ----------
    kind : {"stimuli", "runs", "heldout-runs", "stimulus-folds", "new"}
        See :mod:`.splits`; ``new``: all trials are tested by a decoder that was fitted elsewhere.
    target : str
        A kind of target (:data:`bids_decoder.trials.KINDS`).
    test_stimuli : tuple of str
        Stimuli that no fit of any participant may use; empty where only runs are held out.
    folds : dict of str to tuple of tuple of str
        By participant label: the run groups that are test in each fold.
    stimulus_folds : tuple of tuple of str
        The stimuli that are test in each fold, of all participants.
    options : dict
        The options and numbers that led to the split, serialisable as JSON.
    reason : str
        Why this kind was chosen, with numbers.
    """

    kind: Literal["stimuli", "runs", "heldout-runs", "stimulus-folds", "new"]
    target: str
    test_stimuli: tuple[str, ...] = ()
    folds: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    stimulus_folds: tuple[tuple[str, ...], ...] = ()

    @property
    def is_crossed(self) -> bool:
        """Whether trials are test in one fold and training trials in the others."""
        return self.kind in ("runs", "stimulus-folds")

    @property
    def tested_stimuli(self) -> tuple[str, ...]:
        """Stimuli that are test for all participants, in any fold; empty in splits over runs."""
        return tuple(sorted(self.test_stimuli + sum(self.stimulus_folds, ())))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and texts, ready for JSON."""
        return {
            **dataclasses.asdict(self),
            "test_stimuli": list(self.test_stimuli),
            "folds": {k: [list(runs) for runs in folds] for k, folds in self.folds.items()},
            "stimulus_folds": [list(stimuli) for stimuli in self.stimulus_folds],
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Split:
        """Make a split from the content that :meth:`to_dict` returns."""
        folds = {k: tuple(map(tuple, v)) for k, v in content["folds"].items()}
        return cls(**{
            **content, "test_stimuli": tuple(content["test_stimuli"]), "folds": folds,
            "stimulus_folds": tuple(map(tuple, content["stimulus_folds"])),
        })


def apply_split(tables: Tables, split: Split, n_processes: int = 1) -> Tables:
    """Apply a split to trial tables.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Trial tables by participant label, all with the same columns.
    split : Split
    n_processes : int
        That assign the trials of many participants.

    Returns
    -------
    dict of str to DataFrame
        Copies in which ``split`` is train, test, cv or None (excluded trials), ``fold`` is
        the number of the fold in which a trial is test (``Int64``), and training trials of a
        test stimulus and trials whose label cannot be learnt are ``excluded`` with their
        ``reason``.

    Raises
    ------
    InputError
        When a participant has no folds in a split over runs.
    """
    found = map_items(partial(_assign, split=split), tables.items(), n_processes)
    if not found:
        return {}
    # Pandas takes as long to change a table of one participant as one of thousands.
    everybody = pd.concat(list(tables.values()))
    role, fold, excluded, reason = (
        np.concatenate([getattr(one, name) for one in found])
        for name in ("role", "fold", "excluded", "reason")
    )
    everybody = everybody.assign(
        split=pd.Series(role, index=everybody.index, dtype=object),
        fold=pd.array(fold, dtype="Int64"), excluded=excluded,
        reason=pd.Series(reason, index=everybody.index, dtype=object),
    )
    ends = np.cumsum([len(table) for table in tables.values()])
    return {
        label: everybody.iloc[end - len(table):end].set_axis(table.index)
        for (label, table), end in zip(tables.items(), ends.tolist(), strict=True)
    }


@dataclass(frozen=True, eq=False)
class Assigned:
    """Columns of a trial table that the split decides.

    Parameters
    ----------
    role : ndarray of object, shape (n_trials,)
        train, test, cv, or None for excluded trials.
    fold : ndarray of float, shape (n_trials,)
        NaN for training and excluded trials.
    excluded : ndarray of bool, shape (n_trials,)
    reason : ndarray of object, shape (n_trials,)
    """

    role: np.ndarray
    fold: np.ndarray
    excluded: np.ndarray
    reason: np.ndarray


def _assign(labelled: tuple[str, pd.DataFrame], split: Split) -> Assigned:
    label, table = labelled
    return assign_roles(table, label, split)


def assign_roles(table: pd.DataFrame, label: str, split: Split) -> Assigned:
    """Compute what a split decides about the trials of a participant.

    Parameters
    ----------
    table : DataFrame, n_trials rows
    label : str
        Of the participant.
    split : Split

    Returns
    -------
    Assigned

    Raises
    ------
    InputError
        When the participant has no folds in a split over runs.
    """
    if split.kind in ("runs", "heldout-runs") and label not in split.folds:
        raise InputError(
            f"participant {label}", "has no place in the split of this plan",
            "make a new plan: choose a new output directory, or remove plan.json",
        )
    fold = _fold_numbers(table, label, split)
    role = np.where(np.isnan(fold), "train", "cv" if split.is_crossed else "test")
    excluded = table["excluded"].to_numpy(dtype=bool).copy()
    reason = np.array(table["reason"], dtype=object)
    for rows, why in _exclusions(table, role, fold, excluded, split):
        new = rows & ~excluded
        reason[new] = why
        excluded |= new
    role, fold = np.where(excluded, None, role), np.where(excluded, np.nan, fold)
    return Assigned(role, fold, excluded, reason)


def _fold_numbers(table: pd.DataFrame, label: str, split: Split) -> np.ndarray:
    """Return the fold in which each trial is test, NaN for training trials."""
    if split.kind == "new":
        return np.ones(len(table))
    if split.kind == "stimuli":
        test = table["stimulus"].isin(split.test_stimuli)
        if "split_column" in split.options:
            test &= with_role(table)["role"] == "test"
        return np.where(test, 1.0, np.nan)
    if split.kind == "stimulus-folds":
        fold_of = {name: k for k, names in enumerate(split.stimulus_folds, 1) for name in names}
        return np.array([fold_of.get(name, np.nan) for name in table["stimulus"]], dtype=float)
    number = {run: k for k, runs in enumerate(split.folds[label], 1) for run in runs}
    return np.array([number.get(run, np.nan) for run in table["run_group"]], dtype=float)


def _exclusions(
    table: pd.DataFrame, role: np.ndarray, fold: np.ndarray, gone: np.ndarray, split: Split
) -> list[tuple[np.ndarray, str]]:
    found: list[tuple[np.ndarray, str]] = []
    if split.kind == "new":
        return found
    if "split_column" in split.options:
        column = split.options["split_column"]
        unmarked = with_role(table)["role"].isna().to_numpy()
        found.append((unmarked, f"column {column} says neither train nor test"))
    straddling = role == "train"
    if straddling.any():
        straddling &= table["stimulus"].isin(split.test_stimuli).to_numpy()
    found.append((straddling, "its stimulus is a test stimulus"))
    if split.target != "category":
        return found
    labels = table["label"].to_numpy(dtype=object)
    found.append((pd.isna(labels), "it has no label"))
    kept = ~gone & ~np.logical_or.reduce([rows for rows, _ in found])
    if split.kind == "runs":
        if len(np.unique(fold[kept])) < 2:
            # Nothing can be cross-validated, and a finding says so; the GLM needs the trials.
            return found
        pairs = set(zip(labels[kept].tolist(), fold[kept].tolist(), strict=True))
        n_folds = Counter(name for name, _ in pairs)
        known = {name for name, count in n_folds.items() if count >= 2}
        found.append((~_are_among(labels, known), "its label occurs in no other fold"))
    else:
        known = set(labels[kept & (role == "train")].tolist())
        found.append((
            (role == "test") & ~_are_among(labels, known), "its label has no training trials",
        ))
    return found


def _are_among(names: np.ndarray, known: Container[str]) -> np.ndarray:
    return np.array([name in known for name in names.tolist()], dtype=bool)


def with_role(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column ``role``: train or test by ``--split-column``, None for other values."""
    if "split_source" not in table:
        return table.assign(role=None)
    roles = [SOURCE_ROLES.get(str(value).lower()) for value in table["split_source"]]
    return table.assign(role=np.array(roles, dtype=object))


def distinct(column: pd.Series) -> set[str]:
    """Return the values of a column that are not missing."""
    return set(column.dropna())
