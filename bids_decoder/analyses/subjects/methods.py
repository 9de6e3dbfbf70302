"""Methods texts of decoding one volume per participant."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results

TEXTS = {
    "Decoding": (
        "decoder-subjects",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""


def group_steps(results: Results) -> Steps:
    """Return the methods steps of decoding one volume per participant, if it was done."""
    card = results.card("subjects_metrics")
    table = results.table("subjects_metrics")
    if not card or table is None:
        return {}
    return {"decoder-subjects": {
        "n_people": int(table["n"].iloc[0]), "n_repeats": card["n_repeats"],
        "n_splits": card["n_splits"],
    }}
