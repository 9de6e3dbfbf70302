"""Usable trials of one participant, and the rows of the matrix that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bids_decoder.errors import ExitCode, Finding
from bids_decoder.evaluation.kinds import Row, number_trials


@dataclass
class Rows:
    """Rows of one participant, and findings about them."""

    found: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Trials:
    """Usable trials of one participant.

    Parameters
    ----------
    participant : str
    table : DataFrame
        Planned trial table without excluded trials.
    by_stimulus : bool
        Whether stimuli are decoded rather than labels.
    """

    participant: str
    table: pd.DataFrame
    by_stimulus: bool = False

    def labels(self, rows: np.ndarray) -> set[str]:
        """Return the labels of some trials (boolean)."""
        return set(self.table["label"].to_numpy(dtype=object)[rows].tolist())

    def stimuli(self, rows: np.ndarray) -> list[str]:
        """Return the stimuli of some trials (boolean), sorted."""
        return sorted(set(self.table["stimulus"].to_numpy(dtype=str)[rows].tolist()))

    def find(
        self, what: str, why: str, fix: str, code: ExitCode = ExitCode.BAD_DATA,
        *, warns: bool = False,
    ) -> Finding:
        """Return a finding on this participant."""
        return Finding(
            f"sub-{self.participant}: {what}", why, fix, code, "warning" if warns else "error",
            participant=self.participant,
        )


def make_row(
    trials: Trials, kinds: Mapping[str, np.ndarray], train: str, tests: list[str], *,
    classes: Sequence[str] = (), held_out: Sequence[str] = (),
) -> Row:
    """Return a row of the matrix.

    Parameters
    ----------
    trials : Trials
    kinds : mapping of str to ndarray of bool, shape (n_trials,)
        Trials of each kind.
    train : str
        The kind to train on.
    tests : list of str
        The kinds to test on.
    classes : sequence of str
        Labels, where these are decoded.
    held_out : sequence of str
        Tested stimuli, where stimuli are decoded.
    """
    numbers = {name: number_trials(trials.table, kinds[name]) for name in {train, *tests}}
    return Row(train, tests, classes, numbers, held_out)
