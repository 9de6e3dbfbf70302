"""Read the confounds of trials: columns of events files, and head motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.confounds_files import read_confounds
from bids_decoder.bids.writer import read_table
from bids_decoder.preprocessing.confounds import MOTION_COLUMNS, trial_motion
from bids_decoder.trials import MOTION


@dataclass(frozen=True)
class ConfoundFiles:
    """Where the confounds of trials are.

    Parameters
    ----------
    events : Path or None
        Planned table of confounds in events files.
    motion : sequence of Path or None
        Confounds tables with motion parameters, one per run; empty where there are none.
    t_r : sequence of float
        Repetition time of each run in *motion*.
    removed : tuple of str
        Confounds that are regressed out of responses in each fold.
    """

    events: Path | None = None
    motion: Sequence[Path | None] = ()
    t_r: Sequence[float] = ()
    removed: tuple[str, ...] = ()


NO_FILES = ConfoundFiles()
"""There are no confounds."""


def collect_confounds(tables: list[pd.DataFrame], files: ConfoundFiles) -> pd.DataFrame:
    """Collect the confounds of all trials, also of excluded ones.

    Parameters
    ----------
    tables : list of DataFrame
        Trial table of each run.
    files : ConfoundFiles

    Returns
    -------
    DataFrame, one row per trial
        ``run_group``, ``trial``, columns of events files and framewise displacement.
    """
    joined = pd.concat(tables, ignore_index=True)
    found = joined[["run_group", "trial"]]
    if files.events is not None:
        planned = read_table(files.events)
        planned["trial"] = planned["trial"].astype(int)
        found = found.merge(planned, on=["run_group", "trial"], how="left", validate="1:1")
    if any(files.motion):
        moved = [
            _motion_of(table, path, t_r)
            for table, path, t_r in zip(tables, files.motion, files.t_r, strict=True)
        ]
        found = found.assign(**{MOTION: np.concatenate(moved)})
    return found


def _motion_of(table: pd.DataFrame, path: Path | None, t_r: float) -> np.ndarray:
    """Return the framewise displacement of each trial; NaN where no motion was estimated."""
    parameters = None if path is None else read_confounds(path)
    if parameters is None or not set(MOTION_COLUMNS) <= set(parameters):
        return np.full(len(table), np.nan)
    onsets, durations = (
        pd.to_numeric(table[name]).to_numpy(dtype=np.float64) for name in ("onset", "duration")
    )
    return trial_motion(parameters[list(MOTION_COLUMNS)].astype(float), onsets, durations, t_r)
