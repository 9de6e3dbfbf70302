"""Methods texts of searchlights."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.searchlight.outputs import main_map
from bids_decoder.reports.results import Results, sidecar_of
from bids_decoder.reports.search_maps import describe_size, grid_words, why_undescribed

TEXTS = {
    "Searchlight": (
        "searchlight", "searchlight-lda", "searchlight-ridge", "searchlight-gnb",
        "searchlight-crossnobis", "searchlight-surface", "searchlight-test",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of the searchlight of a participant, if any."""
    path = main_map(results)
    if path is None:
        return {}
    card = sidecar_of(path)
    if why_undescribed(card, "searchlight"):
        return {}  # the report says it
    found: Steps = {
        "searchlight": {"size": describe_size(card), "n_spheres": card["Spheres"],
                        "n_labels": card["Labels"], "measure": card["Measure"],
                        "voxels": grid_words(card).voxels},
        f"searchlight-{card['Estimator']}": {},
    }
    if grid_words(card).method:
        found[f"searchlight{grid_words(card).method}"] = {}
    if card["Permutations"]:
        how = "and all spheres were fitted again" if card["Null"] == "refitted" else \
            "in the test set, whose predictions do not depend on them"
        found["searchlight-test"] = {
            "n_permutations": card["Permutations"], "exchanged": card["ExchangedUnits"],
            "how": how, "neighbours": grid_words(card).neighbours,
        }
    return found
