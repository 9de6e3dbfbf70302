"""Methods texts of representational similarity analysis."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.rsa.region_outputs import TABLE
from bids_decoder.analyses.rsa.report_search import model_maps
from bids_decoder.evaluation.rdm_inference import N_BOOTSTRAP
from bids_decoder.reports.results import Results
from bids_decoder.reports.search_maps import describe_size, grid_words, why_undescribed

TEXTS = {"Representational similarity": (
    "rsa", "rsa-test", "rsa-pairs", "rsa-regions", "rsa-search", "rsa-search-surface",
    "rsa-search-test", "rsa-ceiling", "rsa-people",
)}
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
    if results.files("rsa_comparisons"):
        found["rsa-pairs"] = {"n_bootstrap": N_BOOTSTRAP}
    regions = results.card(TABLE)
    if regions:
        found["rsa-regions"] = {
            "n_regions": regions["Regions"], "atlases": ", ".join(regions["Atlases"]),
        }
    return found | _search_steps(results)


def _search_steps(results: Results) -> Steps:
    maps = model_maps(results)
    if not maps:
        return {}
    card = maps[0][1]
    if why_undescribed(card, "rsa"):
        return {}  # the report says it
    words = grid_words(card)
    found: Steps = {"rsa-search": {
        "n_spheres": card["Spheres"], "size": describe_size(card), "voxels": words.voxels,
    }}
    if words.method:
        found[f"rsa-search{words.method}"] = {}
    if card["Permutations"]:
        found["rsa-search-test"] = {
            "n_permutations": card["Permutations"], "neighbours": words.neighbours,
        }
    return found


def group_steps(results: Results) -> Steps:
    """Return the methods step of the comparison over participants, if there is one."""
    table = results.table("group_rsa")
    if table is None:
        return {}
    first = table.iloc[0]
    return {"rsa-ceiling": {}, "rsa-people": {
        "n_participants": first["n"], "n_conditions": first["n_conditions"],
        "holds_for": first["method"], "n_bootstrap": N_BOOTSTRAP,
    }}
