"""Methods texts on confounds."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.controls.outputs import CONTROLS
from bids_decoder.evaluation.counterbalance import CALIPER
from bids_decoder.reports.results import Results, sidecar_of

TEXTS = {"Evaluation": ("controls", "controls-removed", "controls-counterbalanced")}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return which confounds were decoded from and removed, if any."""
    table = results.table(CONTROLS)
    if table is None or table.empty:
        return {}
    found: Steps = {"controls": {"names": ", ".join(dict.fromkeys(table["model"]))}}
    card = sidecar_of(results.files(CONTROLS)[0])
    removed, balanced = card.get("Removed", []), card.get("Counterbalanced", [])
    if balanced:
        found["controls-counterbalanced"] = {"names": ", ".join(balanced), "caliper": CALIPER}
    if removed:
        found["controls-removed"] = {"names": ", ".join(removed)}
    return found
