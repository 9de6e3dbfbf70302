"""Methods texts of decoding in regions."""

from __future__ import annotations

from collections.abc import Iterable

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.regions.outputs import TABLE
from bids_decoder.reports.results import Results
from bids_decoder.reports.wording import words

TEXTS = {
    "Regions": (
        "regions", "regions-templateflow", "regions-schaefer", "regions-harvard-oxford",
        "regions-freesurfer", "regions-lda", "regions-ridge", "regions-retrieval",
        "regions-test", "regions-ceiling",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""

_MADE_BY = {
    "regions-schaefer": ("Schaefer2018",), "regions-harvard-oxford": ("HOCPA", "HOCPAL", "HOSPA"),
    "regions-freesurfer": ("aparcaseg", "aseg"),
}
"""Methods text -> atlases that it is about, without their variant."""

_PLACED = {
    "volume": "brought to the voxels of the participant by nearest neighbour, through the "
              "transforms of preprocessing where spaces differ",
    "surface": "those of the same vertices",
    "grayordinates": "those of the same grayordinates",
}
"""How labels came to the responses, by kind of grid; of vertices without a mesh nothing else is
known."""


def steps(results: Results) -> Steps:
    """Return the methods steps of the regions of a participant, if any."""
    card = results.card(TABLE)
    if not card:
        return {}
    atlases = card["Atlases"]
    found: Steps = {"regions": {
        "n_regions": card["Regions"], "atlases": ", ".join(atlases),
        "placed": _PLACED.get(card["Grid"], _PLACED["surface"]),
    }}
    found |= {name: {} for name in _origins(atlases)}
    if "PoolSize" in card:
        found["regions-retrieval"] = {"pool_size": card["PoolSize"]}
    else:
        found[f"regions-{card['Estimator']}"] = {}
    if results.table(TABLE)["noise_ceiling"].notna().any():
        found["regions-ceiling"] = {}
    if card["Permutations"]:
        how = "and all regions were fitted again" if card["Null"] == "refitted" else \
            "in the test set, whose predictions do not depend on them"
        found["regions-test"] = {
            "n_permutations": card["Permutations"], "exchanged": card["ExchangedUnits"],
            "how": how, "metric": words(card["Metric"]),
        }
    return found


def _origins(atlases: Iterable[str]) -> list[str]:
    names = {atlas.partition(":")[0] for atlas in atlases}
    found = [text for text, known in _MADE_BY.items() if names & set(known)]
    stored = any(":" in atlas for atlas in atlases) or names & set(_MADE_BY["regions-schaefer"])
    return [*(["regions-templateflow"] if stored else []), *found]
