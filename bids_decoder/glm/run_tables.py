"""Trials, timing and nuisance of one run, checked before its volumes are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_decoder.config import Glm
from bids_decoder.errors import InputError
from bids_decoder.glm.base import EstimatorOptions, Matrix, RunShape, TrialRun
from bids_decoder.glm.confounds import (
    EARLY,
    MOVED,
    SCRUBBED,
    censored_volumes,
    select_confounds,
)
from bids_decoder.glm.design import (
    TAIL_SECONDS,
    Timing,
    check_trials,
    nuisance_matrix,
    trials_within,
)
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.regressors import split_wanted

NEEDED_COLUMNS = ("onset", "duration", "stimulus", "split", "excluded", "reason", "run_group")


@dataclass(frozen=True, eq=False)
class RunTables:
    """Trials, timing and nuisance of one run.

    Parameters
    ----------
    trials : DataFrame, n_trials rows
    timing : Timing
    nuisance : DataFrame, n_scans rows
        Confounds, drifts and the constant.
    onsets, durations : ndarray of float, shape (n_trials,)
        Seconds, not-a-number where unknown.
    within : ndarray of bool, shape (n_trials,)
        Trials that leave a usable response in the run.
    notes : tuple of str
        What was left out, and why.
    """

    trials: pd.DataFrame
    timing: Timing
    nuisance: pd.DataFrame
    onsets: np.ndarray
    durations: np.ndarray
    within: np.ndarray
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Run group."""
        return str(self.trials["run_group"].iloc[0])

    @property
    def shape(self) -> RunShape:
        """Numbers of volumes, trials and nuisance regressors."""
        return RunShape(self.timing.n_scans, len(self.trials), self.nuisance.shape[1])

    @property
    def censored(self) -> dict[str, int]:
        """Numbers of censored volumes by reason, and of trials with one in their response.

        The response to a trial is taken to end 8 s after the trial.
        """
        before = censored_volumes(self.nuisance, EARLY)
        times = self.timing.frame_times[censored_volumes(self.nuisance)]
        ends = self.onsets + np.nan_to_num(self.durations) + TAIL_SECONDS
        inside = (times >= self.onsets[:, None]) & (times < ends[:, None])
        moved = censored_volumes(self.nuisance, MOVED, SCRUBBED)
        return {
            "Volumes": self.timing.n_scans, "BeforeSteadyState": int(before.sum()),
            "Motion": int((moved & ~before).sum()), "Trials": int(inside.any(axis=1).sum()),
        }

    @property
    def excluded(self) -> np.ndarray:
        """Trials that are excluded from all analyses."""
        return is_true(self.trials["excluded"]) | ~self.within

    @property
    def train(self) -> np.ndarray:
        """Trials that may take part in tuning."""
        return (self.trials["split"] == "train").to_numpy(dtype=bool) & ~self.excluded

    @property
    def untested(self) -> np.ndarray:
        """Trials outside a fixed test set: for training, or for cross-validation."""
        return (self.trials["split"] != "test").to_numpy(dtype=bool) & ~self.excluded

    @property
    def labelled(self) -> np.ndarray:
        """Trials outside a fixed test set that have a label."""
        return self.untested & self.trials["label"].notna().to_numpy()

    def text(self, column: str) -> np.ndarray:
        """Return a column as text in which missing cells never equal each other."""
        cells = self.trials[column]
        unknown = [f"\x1f{self.name}\x1f{row}" for row in range(len(cells))]
        return np.where(cells.isna(), unknown, cells.astype(str)).astype(str)

    @property
    def labels(self) -> np.ndarray | None:
        """Labels of the trials, None where the table has none."""
        known = "label" in self.trials and self.trials["label"].notna().any()
        return self.text("label") if known else None

    def trial_run(self, bold: Matrix) -> TrialRun:
        """Return the run with its data, (n_scans, n_voxels) in percent signal change."""
        return TrialRun(
            bold, self.timing, self.onsets, self.durations, self.nuisance.to_numpy(),
            self.train, self.text("stimulus"), self.labels, self.untested & ~self.train,
        )

    @property
    def conditions(self) -> list[str]:
        """Labels that a contrast of this run may name, in order.

        Raises
        ------
        InputError
            When no trial of the run has a label.
        """
        if self.labels is None:
            raise InputError(
                f"contrasts in {self.name}", "the trials have no labels",
                "name the column with --label-column, or ask for no contrasts",
            )
        return sorted(set(self.labels[self.labelled]))


def run_tables(
    trials: pd.DataFrame, timing: Timing, confounds: pd.DataFrame | None, glm: Glm
) -> RunTables:
    """Check and combine the inputs of the GLM of one run.

    Parameters
    ----------
    trials : DataFrame, n_trials rows
        Columns as in a trial table, numbers and flags as such or as text.
    timing : Timing
    confounds : DataFrame, n_scans rows, or None
        Columns under fMRIPrep's names; None where there is no table.
    glm : Glm

    Returns
    -------
    RunTables

    Raises
    ------
    InputError
        When columns are missing or not usable, confounds do not fit the run, a large share of the
        trials is outside of it, or too few volumes are there for the estimator.
    """
    onsets, durations = event_times(trials)
    notes: list[str] = []
    chosen = None
    wanted, own = split_wanted(glm.confounds)
    if wanted or own:
        chosen, notes = select_confounds(confounds, wanted, timing.n_scans)
    within = trials_within(onsets, durations, timing, get_hrf(glm.hrf))
    name = str(trials["run_group"].iloc[0])
    notes = [f"{name}: {note}" for note in notes]
    notes += check_trials(onsets, ~is_true(trials["excluded"]), within, timing, name)
    nuisance = nuisance_matrix(timing, glm.high_pass, chosen)
    tables = RunTables(trials, timing, nuisance, onsets, durations, within, tuple(notes))
    get_estimator(glm.estimator, EstimatorOptions(glm.hrf, glm.noise_model)).check(tables.shape)
    return tables


def event_times(trials: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Check that the GLM can use a trial table, and return its times.

    Returns
    -------
    onsets, durations : ndarray of float, shape (n_trials,)
        Seconds, not-a-number where unknown.

    Raises
    ------
    InputError
        When columns are missing, times are no numbers, or there are no rows.
    """
    missing = [name for name in NEEDED_COLUMNS if name not in trials.columns]
    times = []
    try:
        times = [_numbers(trials[name]) for name in ("onset", "duration")]
    except (KeyError, ValueError) as error:
        missing.append(str(error))
    if missing or trials.empty:
        raise InputError(
            "trial table", f"no rows, or not usable: {', '.join(missing)}",
            "give a table as in desc-singletrial_trials.tsv, one row per trial",
        )
    onsets, durations = times
    return onsets, durations


def contrast_vectors(
    runs: Sequence[Sequence[str]], text: str, weights: dict[str, float]
) -> list[np.ndarray]:
    """Compute the weights of the conditions of each run for a contrast.

    Parameters
    ----------
    runs : sequence of sequence of str
        Conditions of each run.
    text : str
        The contrast, for messages.
    weights : dict of str to float
        From :func:`~.design.parse_contrast`.

    Returns
    -------
    list of ndarray, each of shape (n_conditions,)
        Zero for runs that lack one of the conditions.

    Raises
    ------
    InputError
        When every run lacks one.
    """
    vectors = [
        np.array([weights.get(n, 0.0) if set(weights) <= set(names) else 0.0 for n in names])
        for names in runs
    ]
    if not any(vector.any() for vector in vectors):
        raise InputError(
            f"contrast {text!r}", "no run holds all of its conditions",
            "contrast conditions that occur in the same run",
        )
    return vectors


def is_true(column: pd.Series) -> np.ndarray:
    """Convert a column of flags, boolean or text, to booleans."""
    if column.dtype == bool:
        return column.to_numpy(copy=True)
    return column.astype(str).str.lower().isin(["true", "1"]).to_numpy(dtype=bool)


def _numbers(column: pd.Series) -> np.ndarray:
    if column.dtype == float:
        return column.to_numpy(copy=True)
    return pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan)
