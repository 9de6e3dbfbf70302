"""Methods texts of retrieval among a gallery."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results

TEXTS = {
    "Evaluation": (
        "gallery",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of retrieval among a gallery, if there was one."""
    table = results.table("gallery")
    if table is None:
        return {}
    return {"gallery": {"pool_size": int(float(table["pool_size"].iloc[0]))}}
