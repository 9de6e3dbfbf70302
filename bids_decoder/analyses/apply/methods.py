"""Methods texts of applying a decoder."""

from __future__ import annotations

from bids_decoder.analyses.apply.outputs import ANSWERS, RELIABILITY, SHIFT
from bids_decoder.analyses.apply.reconstruction import METRICS as RECONSTRUCTION_METRICS
from bids_decoder.analyses.apply.reconstruction import PICTURES
from bids_decoder.analyses.base import Steps
from bids_decoder.evaluation.reconstruction import NEAREST
from bids_decoder.reports.results import Results

TEXTS = {"Application": (
    "split-new", "apply", "apply-zero-shot", "apply-aligned", "apply-calibration", "apply-shift",
    "apply-painted", "apply-generated", "apply-reconstruction-scores",
    "apply-nearest-training",
)}
"""Names of methods texts in ``boilerplate``, by heading."""
_SCALINGS = {"own": "statistics of their own session or run", "training": "those of training"}


def steps(results: Results) -> Steps:
    """Return the methods steps of a participant to whose data a decoder was applied."""
    table, card = results.table(ANSWERS), results.card(ANSWERS)
    if table is None:
        return {}
    said = {"dataset": card["TrainingDataset"], "n_trials": len(table)}
    if card["ZeroShot"]:
        found: Steps = {"apply-zero-shot": {**said, "n_people": card["SourceParticipants"]}}
    else:
        found = {"apply": {**said, "scaling": _SCALINGS[card["Scaling"]]}}
    if card["Aligned"]:
        found["apply-aligned"] = {}
    calibration, shift = results.card(RELIABILITY), results.card(SHIFT)
    if calibration:
        found["apply-calibration"] = {"n_trials": calibration["CalibrationTrials"]}
    if shift and shift["Judged"]:
        found["apply-shift"] = {"n_runs": shift["TrainingRuns"]}
    made, scores = results.card(PICTURES), results.table(RECONSTRUCTION_METRICS)
    if made:
        how = "apply-generated" if made["Method"] == "unclip" else "apply-painted"
        found[how] = {"n_images": len(results.table(PICTURES))}
    if scores is not None:
        found["apply-reconstruction-scores"] = {"n": int(float(scores["n"].iloc[0]))}
        if NEAREST in set(scores["model"]):
            found["apply-nearest-training"] = {}
    return found
