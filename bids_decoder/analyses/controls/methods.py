"""Methods texts on confounds."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.controls.outputs import CONTROLS
from bids_decoder.reports.results import Results, sidecar_of

TEXTS = {"Evaluation": ("controls", "controls-removed")}
PASSAGES = {
    "controls": "To see what else could explain the result, the target was decoded from each of "
    "these confounds alone, on the same trials, folds and permutations: {names}.",
    "controls-removed": "{names} were regressed out of the responses of each voxel, with weights "
    "fitted on the training trials of each fold [@snoek].",
}


def steps(results: Results) -> Steps:
    """Return which confounds were decoded from and removed, if any."""
    table = results.table(CONTROLS)
    if table is None or table.empty:
        return {}
    found: Steps = {"controls": {"names": ", ".join(dict.fromkeys(table["model"]))}}
    removed = sidecar_of(results.files(CONTROLS)[0]).get("Removed", [])
    if removed:
        found["controls-removed"] = {"names": ", ".join(removed)}
    return found
