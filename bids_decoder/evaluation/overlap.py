"""Overlap of training and test, as in ``plan.json`` and the reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

Sides = dict[str, set[str]]


@dataclass(frozen=True)
class ImageOverlap:
    """Images that are in the dataset more than once.

    Parameters
    ----------
    n_runs, n_volumes : int
        Number of runs and volumes that were compared.
    n_skipped : int
        Volumes that are empty or constant and were not compared.
    whole : bool
        False where only the first volumes of each run were compared.
    identical_runs, identical_volumes : tuple of tuple of str
        Groups, as text.
    across : tuple of tuple of str
        The groups of volumes of beta series that are in both training and test.
    """

    n_runs: int = 0
    n_volumes: int = 0
    n_skipped: int = 0
    whole: bool = True
    identical_runs: tuple[tuple[str, ...], ...] = ()
    identical_volumes: tuple[tuple[str, ...], ...] = ()
    across: tuple[tuple[str, ...], ...] = ()

    @property
    def n_across(self) -> int:
        """Number of groups of volumes that are in both training and test."""
        return len(self.across)


@dataclass(frozen=True)
class NearDuplicate:
    """Two stimuli that are nearly the same.

    Parameters
    ----------
    first, second : str
    cosine : float
        Of their vectors.
    across : bool
        True when one is in training and the other one in test.
    """

    first: str
    second: str
    cosine: float
    across: bool


@dataclass(frozen=True)
class StimulusOverlap:
    """Stimuli that have several names, or are in both training and test.

    Parameters
    ----------
    n_pictures, n_vectors : int
        Pictures and feature vectors compared.
    merged : dict of str to tuple of str
        Names that were replaced, by the name that was kept.
    near_duplicates : tuple of NearDuplicate
        Those left after merging.
    policy : str
        Value of ``--near-duplicates``.
    n_tested, n_seen : int
        Stimuli of test trials, and how many of them are also trained on.
    """

    n_pictures: int = 0
    n_vectors: int = 0
    merged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    near_duplicates: tuple[NearDuplicate, ...] = ()
    policy: str = "report"
    n_tested: int = 0
    n_seen: int = 0

    @property
    def n_merged(self) -> int:
        """Number of names that were replaced by another one."""
        return sum(map(len, self.merged.values()))

    @property
    def n_near_across(self) -> int:
        """Number of pairs of near-duplicates with one in training and one in test."""
        return sum(pair.across for pair in self.near_duplicates)


@dataclass(frozen=True)
class Overlap:
    """Everything that training and test have in common.

    Parameters
    ----------
    images : ImageOverlap
    stimuli : StimulusOverlap
    """

    images: ImageOverlap = field(default_factory=ImageOverlap)
    stimuli: StimulusOverlap = field(default_factory=StimulusOverlap)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON, with the counts of the lists."""
        content = asdict(self)
        content["images"] |= {
            "n_identical_runs": sum(map(len, self.images.identical_runs)),
            "n_identical_volumes": sum(map(len, self.images.identical_volumes)),
            "n_across": self.images.n_across,
        }
        content["stimuli"] |= {
            "n_merged": self.stimuli.n_merged,
            "n_near_duplicates": len(self.stimuli.near_duplicates),
            "n_near_duplicates_across": self.stimuli.n_near_across,
        }
        return content

    def __str__(self) -> str:
        """Return the numbers in one line of text."""
        images, stimuli = self.images, self.stimuli
        seen = f"{stimuli.n_seen} of {stimuli.n_tested}"
        return (
            f"{sum(map(len, images.identical_runs))} identical runs, "
            f"{sum(map(len, images.identical_volumes))} identical volumes of different runs, "
            f"{stimuli.n_merged} stimulus names merged, {len(stimuli.near_duplicates)} pairs of "
            f"near-duplicates ({stimuli.n_near_across} across the split), {seen} test stimuli seen "
            "in training"
        )


def stimulus_sides(tables: Mapping[str, pd.DataFrame], *, common_folds: bool = False) -> Sides:
    """Return the sides of the split on which each stimulus is.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Trial tables with the split, by participant.
    common_folds : bool
        Whether folds hold the same stimuli of all participants.

    Returns
    -------
    dict of str to set of str
        Sides are ``train``, ``test``, or in cross-validation the participant and the fold (only
        the fold where folds are common).
    """
    sides: Sides = defaultdict(set)
    for label, table in tables.items():
        own = _sides("all" if common_folds else label, table)
        for name, side in zip(table["stimulus"].tolist(), own, strict=True):
            if side is not None:
                sides[name].add(side)
    return dict(sides)


def trial_sides(tables: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str, int], str]:
    """Return the side of each trial that is used, by participant, run and number of the trial."""
    return {
        (label, run_group, int(trial)): side
        for label, table in tables.items()
        for run_group, trial, side in zip(
            table["run_group"].tolist(), table["trial"].tolist(), _sides(label, table), strict=True
        )
        if side is not None
    }


def are_apart(one: Iterable[str], two: Iterable[str]) -> bool:
    """Return whether one item is in training where the other one is in test.

    Examples
    --------
    >>> are_apart({"train"}, {"train"}), are_apart({"train"}, {"test", "train"})
    (False, True)
    """
    return len({*one, *two}) > 1


def count_seen(sides: Sides) -> tuple[int, int]:
    """Count the stimuli that are tested, and those of them that are also trained on."""
    tested = [found for found in sides.values() if found != {"train"}]
    return len(tested), sum(len(found) > 1 for found in tested)


def _sides(label: str, table: pd.DataFrame) -> list[str | None]:
    columns = (table[name].tolist() for name in ("split", "fold", "excluded"))
    return [
        None if excluded else f"{label}: fold {fold}" if split == "cv" else split
        for split, fold, excluded in zip(*columns, strict=True)
    ]
