"""Methods texts of functional alignment."""

from __future__ import annotations

from bids_decoder.analyses.align.outputs import METRICS
from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results, sidecar_of

TEXTS = {"Evaluation": (
    "alignment-labels", "alignment-stimuli", "alignment-procrustes", "alignment-srm",
    "alignment-ot",
)}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods of alignment, if there was one."""
    files = results.files(METRICS)
    if not files:
        return {}
    card = sidecar_of(files[0])
    what = "labels" if card["Target"] == "category" else "stimuli"
    found: Steps = {f"alignment-{what}": {"n_sources": len(card["SourceParticipants"])}}
    return found | {f"alignment-{method}": {} for method in card["Methods"]}
