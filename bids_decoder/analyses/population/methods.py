"""Methods texts of statistics over participants."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.bids.names import parse_entities
from bids_decoder.reports.results import Results

TEXTS = {"Statistics over participants": (
    "population", "population-permutation", "population-differences", "population-columns",
    "population-maps",
)}
"""Names of methods texts in ``boilerplate``, by heading."""


_OF_STATISTICS = {
    "prevalence_permutation": "population-permutation", "difference": "population-differences",
}


def group_steps(results: Results) -> Steps:
    """Return the methods steps of statistics over participants, where they are on disk."""
    card = results.card("group_metrics")
    if not card or not results.files("group_metrics"):
        return {}
    steps: Steps = {"population": {"n_participants": len(card["Participants"])}}
    computed = set(results.table("group_metrics")["statistic"])
    steps |= {text: {} for statistic, text in _OF_STATISTICS.items() if statistic in computed}
    named = " and ".join(sorted(set(card["Columns"].values())))
    if named:
        within = " within sites or families" if card["ExchangeWithin"] else ""
        steps["population-columns"] = {"columns": named, "within": within}
    tested = [path for path in results.files("group_map")
              if parse_entities(path)["stat"].endswith("logp")]
    if tested:
        steps["population-maps"] = {"space": parse_entities(tested[0])["space"]}
    return steps
