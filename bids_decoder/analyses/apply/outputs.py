"""Outputs of a decoder that is applied to new data."""

from __future__ import annotations

import pandas as pd

from bids_decoder.analyses.apply.answers import Answers, describe, summarise_shift
from bids_decoder.bids.names import OutputName
from bids_decoder.evaluation.calibration import RELIABILITY_COLUMNS
from bids_decoder.evaluation.shift import MEASURES, false_alarms
from bids_decoder.evaluation.statistics import ALPHA
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_COLUMNS, Nulls
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.training.fitted import FittedDecoder

ANSWERS = OutputName("predictions", ".tsv", "func", {"desc": "applied"})
METRICS = OutputName("metrics", ".tsv", "func", {"desc": "applied"})
NULLS = OutputName("metrics", ".tsv", "func", {"desc": "appliednull"})
RELIABILITY = OutputName("reliability", ".tsv", "func", {"desc": "applied"})
SHIFT = OutputName("shift", ".tsv", "func", {"desc": "applied"})

SHIFT_COLUMNS = {
    "run_group": "Session, task and run.",
    "measure": "What is compared; see Measures.",
    "value": "Of the new run.",
    "expected": "Mean of the training runs, each measured against the others.",
    "low": "Lower end of the interval in which a further training run would be with probability "
           "0.95; -inf where only high values are bad.",
    "high": "Upper end; inf where only low values are bad.",
    "p": "Of a value at least as bad, for a further training run (t distribution).",
    "p_corrected": "Corrected for the measures of the run (Bonferroni).",
}
_TRIALS = ("training: held-out training trials, each calibrated on the other runs; new: trials of "
           "these data whose label is known.")


def write_answers(outputs: PersonOutputs, fitted: FittedDecoder, answers: Answers) -> None:
    """Write the answers, their scores, calibration, and the distance from the training data.

    Parameters
    ----------
    outputs : PersonOutputs
        Its card is added to all sidecars.
    fitted : FittedDecoder
    answers : Answers
    """
    about = dict(outputs.card)
    outputs.table(ANSWERS, answers.table, describe(answers.table), {
        **about, "DecoderTarget": fitted.targets.kind, "Labels": list(fitted.targets.ids),
    })
    if answers.scores is not None:
        outputs.table(METRICS, answers.scores.metrics, METRIC_COLUMNS, about)
        _write_nulls(outputs, answers.scores.nulls)
    if len(answers.reliability):
        calibration = fitted.calibration
        outputs.table(RELIABILITY, answers.reliability, {
            **RELIABILITY_COLUMNS, "trials": _TRIALS,
        }, {"ExpectedCalibrationError": answers.errors, "Slope": calibration.slope,
            "CalibrationTrials": calibration.n_trials, "CalibrationSource": calibration.source,
            **about})
    _write_shift(outputs, fitted, answers.shift)


def _write_nulls(outputs: PersonOutputs, nulls: Nulls) -> None:
    if len(nulls.table):
        outputs.table(NULLS, nulls.table, {
            name: NULL_COLUMNS[name] for name in nulls.table.columns.astype(str)
        }, nulls.scheme)


def _write_shift(outputs: PersonOutputs, fitted: FittedDecoder, shift: pd.DataFrame) -> None:
    if shift.empty:
        return
    rate = false_alarms(fitted.reference.measures)
    outputs.table(SHIFT, shift, SHIFT_COLUMNS, {
        "Measures": {name: text for name, (_, text) in MEASURES.items()}, "Level": ALPHA,
        "TrainingRuns": len(fitted.reference.runs),
        "FalseAlarms": None if pd.isna(rate) else round(rate, 4),
        **summarise_shift(shift, ALPHA), **outputs.card,
    })
