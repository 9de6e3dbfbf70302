"""Outputs of decoding over time in the derivatives of one participant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.evaluation.time_scores import (
    CLUSTER_COLUMNS,
    GENERALISATION_COLUMNS,
    METRIC,
    NULL_COLUMNS,
    TIME_COLUMNS,
    TimeScores,
)
from bids_decoder.interfaces.person_outputs import PersonOutputs

TIMES = OutputName("metrics", ".tsv", "func", {"desc": "timecourse"})
GENERALISATION = OutputName("metrics", ".tsv", "func", {"desc": "timegeneralisation"})
CLUSTERS = OutputName("clusters", ".tsv", "func", {"desc": "timecourse"})
NULLS = OutputName("metrics", ".tsv", "func", {"desc": "timecoursenull"})



def write_times(
    outputs: PersonOutputs, scores: TimeScores, about: dict[str, Any], rng: np.random.Generator
) -> None:
    """Write the tables of scores, clusters and null distributions.

    Parameters
    ----------
    outputs : PersonOutputs
        Its card goes into all sidecars.
    scores : TimeScores
    about : dict
        Times and trials, of ``EstimateTimes``.
    rng : numpy.random.Generator
        For the interval of the peak.
    """
    table = scores.time_table()
    card = {**outputs.card, **_card(scores, about), **_peak(scores, table, rng)}
    outputs.table(TIMES, table, TIME_COLUMNS, card)
    outputs.table(GENERALISATION, scores.generalisation_table(), GENERALISATION_COLUMNS, card)
    if scores.n_null:
        outputs.table(CLUSTERS, scores.cluster_table(), CLUSTER_COLUMNS, card)
        outputs.table(NULLS, scores.null_table(), NULL_COLUMNS, card)


def _card(scores: TimeScores, about: dict[str, Any]) -> dict[str, Any]:
    times, tested = scores.times, scores.n_null > 0
    return {
        "Metric": METRIC, "Chance": scores.chance, "FirstTime": times[0], "LastTime": times[-1],
        "Times": len(times), "RepetitionTime": about["t_r"], "Trials": about["n_trials"],
        "TrialsLeftOut": about["n_left_out"], "TrialDuration": about["duration"],
        "HRF": about["hrf"], "ExpectedPeak": about["expected_peak"],
        "MeanShift": about["mean_shift"], "LargestShift": about["largest_shift"],
        "MedianShrinkage": about["shrinkage"], "Permutations": scores.n_null,
        "SmallestP": scores.p_min if tested else None,
    }


def _peak(
    scores: TimeScores, table: pd.DataFrame, rng: np.random.Generator
) -> dict[str, float | None]:
    """Return the time of the peak; none where no time is above chance, so that it is noise."""
    if not (table["p_max"] <= ALPHA).any():
        return {"PeakTime": None, "PeakLow": None, "PeakHigh": None}
    names = ("PeakTime", "PeakLow", "PeakHigh")
    return {name: value if np.isfinite(value) else None
            for name, value in zip(names, scores.peak(rng), strict=True)}
