"""How many trials and minutes of measurement a training run is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.images import read_header
from bids_decoder.workflows.work import PersonWork


@dataclass(frozen=True)
class Amounts:
    """What one training run is, on average over the runs with training trials.

    Parameters
    ----------
    runs_now : int
        Runs with training trials, over all folds: what the decoder of the dataset is fitted to.
    trials_per_run : float
        Training trials.
    minutes_per_run : float or None
        Duration, of a run with test trials in proportion to its training trials; None if unknown.
    minutes_from : {"volumes", "trials", ""}
        Whether durations are those of the images, or end with the last trial (beta series).
    """

    runs_now: int
    trials_per_run: float
    minutes_per_run: float | None
    minutes_from: str


def measure_amounts(person: PersonWork, trials: pd.DataFrame) -> Amounts:
    """Measure the training runs of a participant.

    Parameters
    ----------
    person : PersonWork
    trials : DataFrame
        Usable trials, from :func:`~bids_decoder.evaluation.held_out.apply_split`.
    """
    trains = trials["split"] != "test"
    share = trains.groupby(trials["run_group"], sort=False).mean()
    share = share[share > 0]
    counts = trials[trains].groupby("run_group").size()
    minutes, minutes_from = _minutes(person, trials)
    known = [minutes[run] * part for run, part in share.items() if run in minutes]
    complete = len(known) == len(share)
    return Amounts(
        len(share), float(counts.mean()), float(np.mean(known)) if complete else None,
        minutes_from if complete else "",
    )


def _minutes(person: PersonWork, trials: pd.DataFrame) -> tuple[dict[str, float], str]:
    """Return the duration of each run, as far as it is known, and where it is from."""
    if person.source != "betas":
        found = {run.run_group: _of_images(run) for run in person.participant.runs}
        return {run: value for run, value in found.items() if value is not None}, "volumes"
    onset, duration = (pd.to_numeric(trials[name]) for name in ("onset", "duration"))
    ends = (onset + duration.fillna(0)).groupby(trials["run_group"]).max() / 60
    return {run: value for run, value in ends.items() if np.isfinite(value) and value > 0}, "trials"


def _of_images(run: BoldRun) -> float | None:
    header = read_header(run.image_file)
    t_r = run.t_r(header)
    return None if t_r is None else header.n_volumes * t_r / 60
