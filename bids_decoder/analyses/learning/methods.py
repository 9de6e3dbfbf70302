"""Methods texts of learning curves."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results

TEXTS = {"Evaluation": ("learning-curve",)}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return how the learning curve was made, if there is one."""
    if results.table("curve_metrics") is None:
        return {}
    card = results.card("curve_metrics")
    return {"learning-curve": {
        "sizes": ", ".join(map(str, card["Sizes"])), "orders": card["Orders"],
        "folds": card["Folds"],
    }}
