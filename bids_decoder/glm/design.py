"""Design matrices of shape (n_scans, n_regressors): trials, drift, confounds and contrasts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError, UsageError
from bids_decoder.glm.hrf import Hrf

TAIL_SECONDS = 8.0
REACHED_SHARE = 0.1
LOST_SHARE = 0.2


@dataclass(frozen=True)
class Timing:
    """Acquisition times of the volumes of a run.

    Parameters
    ----------
    n_scans : int
    t_r : float
        Repetition time in seconds.
    start_time : float
        Seconds from the start of the first volume to the reference time of its data: 0 without
        slice timing correction, half the repetition time with that of fMRIPrep.
    """

    n_scans: int
    t_r: float
    start_time: float = 0.0

    def __post_init__(self) -> None:
        if not (self.t_r > 0 and 0 <= self.start_time <= self.t_r and self.n_scans > 1):
            raise InputError(
                "timing of a run",
                f"{self.n_scans} volumes, repetition time {self.t_r} s, "
                f"start time {self.start_time} s",
                "RepetitionTime must be positive seconds and StartTime within it",
            )

    @property
    def frame_times(self) -> np.ndarray:
        """Seconds of each volume, shape (n_scans,)."""
        return self.start_time + np.arange(self.n_scans) * self.t_r

    @property
    def end(self) -> float:
        """Seconds at which the last volume ends."""
        return self.n_scans * self.t_r


def trial_regressors(
    onsets: np.ndarray, durations: np.ndarray, timing: Timing, hrf: Hrf
) -> np.ndarray:
    """Build one regressor per trial.

    Parameters
    ----------
    onsets, durations : ndarray, shape (n_trials,)
        Seconds. A trial without onset (not-a-number) gets a column of zeros; a missing
        duration counts as an impulse.
    timing : Timing
    hrf : Hrf

    Returns
    -------
    ndarray of float64, shape (n_scans, n_trials)
        The regressor of an isolated trial has a peak of exactly one, so that the weights are
        heights of the response in the units of the data.
    """
    known = np.isfinite(onsets)
    times = timing.frame_times[:, None] - np.where(known, onsets, 0.0)
    columns = hrf.response(times, np.nan_to_num(durations, nan=0.0))
    return np.where(known, columns, 0.0)


def trials_within(
    onsets: np.ndarray, durations: np.ndarray, timing: Timing, hrf: Hrf
) -> np.ndarray:
    """Return which trials have a sufficient response within the run.

    Parameters
    ----------
    onsets, durations, timing, hrf
        As in :func:`trial_regressors`.

    Returns
    -------
    ndarray of bool, shape (n_trials,)
        False if the onset is unknown or the response reaches less than a tenth of its peak
        before the end of the run, where the weight would be amplified noise.
    """
    columns = trial_regressors(onsets, durations, timing, hrf)
    return np.abs(columns).max(axis=0, initial=0.0) >= REACHED_SHARE


def check_trials(
    onsets: np.ndarray, wanted: np.ndarray, within: np.ndarray, timing: Timing, name: str
) -> list[str]:
    """Check the trials of a run against its length.

    Parameters
    ----------
    onsets : ndarray, shape (n_trials,)
    wanted : ndarray of bool, shape (n_trials,)
        Trials that are not excluded already.
    within : ndarray of bool, shape (n_trials,)
        From :func:`trials_within`.
    timing : Timing
    name : str
        The run, for messages.

    Returns
    -------
    list of str
        Notes on lost and on late trials.

    Raises
    ------
    InputError
        When more than a fifth of the wanted trials are outside the run.
    """
    lost = int((wanted & ~within).sum())
    if lost > LOST_SHARE * max(wanted.sum(), 1):
        raise InputError(
            f"trials of {name}",
            f"{lost} of {int(wanted.sum())} trials have no response within the "
            f"{timing.end:g} s of the run",
            "check RepetitionTime, the number of volumes and the onsets (in seconds)",
        )
    late = int((wanted & within & (onsets > timing.end - TAIL_SECONDS)).sum())
    notes = [f"{name}: {lost} trial(s) outside the run are excluded"] if lost else []
    if late:
        notes.append(
            f"{name}: {late} trial(s) start in the last {TAIL_SECONDS:g} s; "
            "their responses are cut short and noisy"
        )
    return notes


def nuisance_matrix(
    timing: Timing, high_pass: float, confounds: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Build the nuisance regressors: confounds, cosine drift and the constant.

    Parameters
    ----------
    timing : Timing
    high_pass : float
        Cut-off of the drift model in Hz; zero leaves only the constant.
    confounds : DataFrame, n_scans rows, or None

    Returns
    -------
    DataFrame of float64, n_scans rows
        nilearn's names: confounds, ``drift_1`` …, ``constant``.
    """
    if confounds is None or confounds.empty:
        return _drifts(timing, high_pass).copy()
    return _nilearn_design(
        timing, high_pass, add_regs=confounds.to_numpy(), add_reg_names=list(confounds.columns),
    )


@lru_cache(maxsize=64)
def _drifts(timing: Timing, high_pass: float) -> pd.DataFrame:
    """Build drift and constant once for all runs of one length."""
    return _nilearn_design(timing, high_pass)


def _nilearn_design(timing: Timing, high_pass: float, **regressors: Any) -> pd.DataFrame:
    # Its import takes a second, and calls on single-trial responses do without it.
    from nilearn.glm.first_level import make_first_level_design_matrix

    return make_first_level_design_matrix(
        timing.frame_times, drift_model="cosine" if high_pass > 0 else None, high_pass=high_pass,
        **regressors,
    )


def condition_design(
    regressors: np.ndarray, labels: np.ndarray, nuisance: pd.DataFrame
) -> pd.DataFrame:
    """Sum trial regressors by label and append the nuisance columns.

    Parameters
    ----------
    regressors : ndarray, shape (n_scans, n_trials)
    labels : ndarray of str, shape (n_trials,)
    nuisance : DataFrame, n_scans rows

    Returns
    -------
    DataFrame, n_scans rows
        Conditions in order of their names; a nuisance column of the same name as a
        condition gets the prefix ``nuisance_``.
    """
    names = sorted(set(labels))
    columns = {name: regressors[:, labels == name].sum(axis=1) for name in names}
    for name in nuisance.columns:
        columns[f"nuisance_{name}" if name in columns else name] = nuisance[name].to_numpy()
    return pd.DataFrame(columns, index=nuisance.index)


def parse_contrast(text: str, labels: Sequence[str]) -> dict[str, float]:
    """Parse a contrast such as ``face - house`` or ``face - 0.5 * house - 0.5 * cat``.

    Parameters
    ----------
    text : str
        Labels joined by plus and minus signs that stand between spaces, so that labels may
        contain hyphens; a weight may stand before a label, with an asterisk.
    labels : sequence of str
        The labels that occur.

    Returns
    -------
    dict of str to float
        Weight of each label named.

    Raises
    ------
    UsageError
        When the text cannot be read or names an unknown label.
    """
    parts = re.split(r"\s+([+-])\s+", text.strip())
    signs = ["+", *parts[1::2]]
    weights: dict[str, float] = {}
    for sign, part in zip(signs, parts[::2], strict=True):
        found = re.fullmatch(r"(-)?\s*(?:(\d*\.?\d+)\s*\*\s*)?(.+)", part.strip())
        if found is None or found[3] not in labels:
            raise UsageError(
                f"contrast {text!r}", f"{part.strip()!r} is no label of the trials",
                f"write labels between spaced plus and minus signs; known: "
                f"{', '.join(sorted(labels))}",
            )
        weight = float(found[2] or 1.0) * (-1 if (sign == "-") != bool(found[1]) else 1)
        weights[found[3]] = weights.get(found[3], 0.0) + weight
    return weights


def contrast_entity(text: str) -> str:
    """Convert a contrast to a label for file names.

    Examples
    --------
    >>> contrast_entity("face - house")
    'faceMinusHouse'
    >>> contrast_entity("face - 0.5 * scrambled-pix")
    'faceMinus0p5ScrambledPix'
    """
    text = re.sub(r"(^|\s)-\s*(?=\S)", " Minus ", text).replace(" + ", " Plus ")
    text = re.sub(r"(\d)\.(\d)", r"\1p\2", text)
    words = re.findall(r"[0-9A-Za-z]+", text)
    return "".join(w if i == 0 else w[0].upper() + w[1:] for i, w in enumerate(words))
