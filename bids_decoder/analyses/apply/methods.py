"""Methods texts of applying a decoder."""

from __future__ import annotations

from bids_decoder.analyses.apply.outputs import ANSWERS, RELIABILITY, SHIFT
from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results

TEXTS = {"Application": ("split-new", "apply", "apply-aligned", "apply-calibration",
                         "apply-shift")}
PASSAGES = {
    "split-new": "All trials were decoded by decoders that had been fitted to other data.",
    "apply": "The decoder of each participant, fitted to {dataset}, was applied to {n_trials} "
    "trials of new data. Responses were z-scored by {scaling}, without their labels.",
    "apply-aligned": "The reference image of the new data was aligned to that of the training data "
    "by a rigid registration, and responses were interpolated linearly at its voxels.",
    "apply-calibration": "Scores were turned into probabilities by temperature scaling "
    "[@temperature], fitted to {n_trials} held-out trials of the training data.",
    "apply-shift": "New runs were compared with {n_runs} training runs in the spread and mean of "
    "responses over voxels and in the spread and place of decoded embeddings, by prediction "
    "intervals with Bonferroni correction.",
}
_SCALINGS = {"own": "statistics of their own session or run", "training": "those of training"}


def steps(results: Results) -> Steps:
    """Return the methods steps of a participant to whose data a decoder was applied."""
    table, card = results.table(ANSWERS), results.card(ANSWERS)
    if table is None:
        return {}
    found: Steps = {"apply": {
        "dataset": card["TrainingDataset"], "n_trials": len(table),
        "scaling": _SCALINGS[card["Scaling"]],
    }}
    if card["Aligned"]:
        found["apply-aligned"] = {}
    calibration, shift = results.card(RELIABILITY), results.card(SHIFT)
    if calibration:
        found["apply-calibration"] = {"n_trials": calibration["CalibrationTrials"]}
    if shift and shift["Judged"]:
        found["apply-shift"] = {"n_runs": shift["TrainingRuns"]}
    return found
