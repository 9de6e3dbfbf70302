"""Methods texts on confounds."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.controls.outputs import CONTROLS
from bids_decoder.reports.results import Results, sidecar_of

TEXTS = {"Evaluation": ("controls", "controls-removed")}
"""Names of methods texts in ``boilerplate``, by heading."""


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
