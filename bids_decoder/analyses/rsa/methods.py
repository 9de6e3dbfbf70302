"""Methods texts of representational similarity analysis."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.rsa.region_outputs import TABLE
from bids_decoder.reports.results import Results

TEXTS = {"Representational similarity": ("rsa", "rsa-test", "rsa-regions", "rsa-ceiling")}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of the analysis of a participant, if it was done."""
    card, table = results.card("rsa_metrics"), results.table("rsa_metrics")
    if not card or table is None:
        return {}
    found: Steps = {"rsa": {
        "n_conditions": card["Conditions"], "n_runs": card["Runs"], "n_voxels": card["Voxels"],
        "models": ", ".join(table["model"]), "residuals": card["Residuals"],
    }}
    if card["Permutations"]:
        found["rsa-test"] = {"n_permutations": card["Permutations"]}
    regions = results.card(TABLE)
    if regions:
        found["rsa-regions"] = {
            "n_regions": regions["Regions"], "atlases": ", ".join(regions["Atlases"]),
        }
    return found


def group_steps(results: Results) -> Steps:
    """Return the methods step of the noise ceiling over participants, if there is one."""
    from bids_decoder.analyses.rsa.report import shared_distances

    return {"rsa-ceiling": {}} if shared_distances(results) is not None else {}
