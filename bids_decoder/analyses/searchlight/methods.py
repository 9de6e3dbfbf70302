"""Methods texts of searchlights."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.searchlight.outputs import SEARCH_MAP
from bids_decoder.reports.results import Results, sidecar_of

TEXTS = {
    "Searchlight": (
        "searchlight", "searchlight-lda", "searchlight-ridge", "searchlight-gnb",
        "searchlight-test",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of the searchlight of a participant, if any."""
    paths = results.files(SEARCH_MAP, stat="accuracy")
    if not paths:
        return {}
    card = sidecar_of(paths[0])
    size = f"its {card['VoxelsPerSphere']} nearest voxels"
    if "Radius" in card:
        size = f"all voxels within {card['Radius']:g} mm of it (median {card['VoxelsPerSphere']})"
    found: Steps = {
        "searchlight": {"size": size, "n_spheres": card["Spheres"], "n_labels": card["Labels"]},
        f"searchlight-{card['Estimator']}": {},
    }
    if card["Permutations"]:
        how = "and all spheres were fitted again" if card["Null"] == "refitted" else \
            "in the test set, whose predictions do not depend on them"
        found["searchlight-test"] = {
            "n_permutations": card["Permutations"], "exchanged": card["ExchangedUnits"],
            "how": how,
        }
    return found
