"""Which trials have all times of the window within their run, before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import Participant
from bids_decoder.config import Settings
from bids_decoder.errors import BidsDecoderError, Finding
from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.glm.fir import OUTSIDE, check_freedom, first_volumes, lag_steps, window_volumes
from bids_decoder.glm.run_tables import RunTables
from bids_decoder.workflows.checks import checked_run

LEAST_TIMES, MOST_TIMES = 2, 200

CONSTANT = 0.8
"""Of a larger share of trials that are followed by another one after the same time, what belongs
to which of the two is hardly known."""


@dataclass(frozen=True, eq=False)
class Window:
    """The window of one participant against runs and trials.

    Parameters
    ----------
    label : str
        Participant.
    t_rs : tuple of float
        Different repetition times of the runs.
    steps : ndarray of int, shape (n_times,)
        In repetition times.
    kept : DataFrame
        Usable trials whose window is within their run.
    n_trials : int
        Usable trials.
    reach : tuple of float
        First and last time in seconds that all usable trials have.
    short : tuple of Finding
        Runs with too few volumes for the model.
    interval : float or None
        Seconds between trials that are within the window and nearly always the same, so that the
        responses to neighbours cannot be told apart.
    """

    label: str
    t_rs: tuple[float, ...]
    steps: np.ndarray
    kept: pd.DataFrame
    n_trials: int
    reach: tuple[float, float]
    short: tuple[Finding, ...]
    interval: float | None

    @property
    def times(self) -> np.ndarray:
        """Seconds from the onset, shape (n_times,)."""
        return self.steps * self.t_rs[0]

    @property
    def n_lost(self) -> int:
        """Usable trials whose window reaches beyond their run."""
        return self.n_trials - len(self.kept)


def find_window(
    participant: Participant, trials: pd.DataFrame, settings: Settings,
    window: tuple[float, float],
) -> Window | None:
    """Compare a window with the runs and trials of a participant.

    Parameters
    ----------
    participant : Participant
    trials : DataFrame
        Trial table with the split.
    settings : Settings
    window : tuple of float

    Returns
    -------
    Window or None
        None where a run cannot be used, which other checks report.
    """
    found = [checked_run(run, trials, settings, Counter()) for run in participant.runs]
    tables = [table for table, _ in found if table is not None]
    if not tables or any(finding is not None for _, finding in found):
        return None
    t_rs = tuple(sorted({round(table.timing.t_r, 6) for table in tables}))
    steps, label = lag_steps(window, t_rs[0]), participant.label
    covered = [
        (window_volumes(table.onsets, table.timing, steps) != OUTSIDE).all(axis=1)
        for table in tables
    ]
    kept = [table.trials[~table.excluded & good]
            for table, good in zip(tables, covered, strict=True)]
    n_trials = sum(int((~table.excluded).sum()) for table in tables)
    short = (_check_freedom(label, table, len(steps)) for table in tables)
    return Window(
        label, t_rs, steps, pd.concat(kept), n_trials, _reach(tables),
        tuple(finding for finding in short if finding is not None),
        _constant_interval(tables, len(steps)),
    )


def _constant_interval(tables: list[RunTables], n_times: int) -> float | None:
    """Return the time after which nearly every trial but the last is followed by another one."""
    counts, n_pairs = np.zeros(n_times, dtype=int), 0
    for table in tables:
        first = np.unique(first_volumes(table.onsets[np.isfinite(table.onsets)], table.timing))
        gaps = (first[None] - first[:, None]).astype(int)
        counts += np.bincount(gaps[(gaps > 0) & (gaps < n_times)], minlength=n_times)
        n_pairs += len(first) - 1
    same = np.flatnonzero(counts > CONSTANT * n_pairs)
    return float(same[0] * tables[0].timing.t_r) if len(same) and n_pairs else None


def _reach(tables: list[RunTables]) -> tuple[float, float]:
    """Return the first and the last time that all usable trials have within their run."""
    before, after = [], []
    for table in tables:
        first = first_volumes(table.onsets[~table.excluded], table.timing)
        if len(first):
            before.append(first.min() * table.timing.t_r)
            after.append((table.timing.n_scans - 1 - first.max()) * table.timing.t_r)
    return -min(before, default=0.0), min(after, default=0.0)


def _check_freedom(label: str, table: RunTables, n_times: int) -> Finding | None:
    try:
        check_freedom(table.timing.n_scans, table.nuisance.shape[1], n_times)
    except BidsDecoderError as error:
        place = f"sub-{label} {table.name}"
        return replace(error.finding, what=f"{place}: {error.finding.what}", participant=label,
                       place=place)
    return None


def short_folds(window: Window, folds: tuple[int, ...]) -> Iterator[str]:
    """Say for each fold what the trials that are left lack; nothing where they suffice.

    Parameters
    ----------
    window : Window
    folds : tuple of int
        Empty for a fixed split.
    """
    for fold in folds or (None,):
        sides = resolve_fold(window.kept, fold)
        train, test = (set(sides.loc[sides["split"] == side, "label"]) for side in
                       ("train", "test"))
        where = "" if fold is None else f" of fold {fold}"
        missing = sorted(map(str, test - train))
        if not test:
            yield f"no test trial{where} is left"
        elif missing:
            yield f"no training trial{where} of {missing[0]} is left"
        elif len(train) < 2:
            yield f"training trials{where} of one label only are left"
