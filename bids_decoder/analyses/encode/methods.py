"""Methods texts of encoding models."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results

TEXTS = {
    "Encoding": (
        "encoder-etecrm",
        "encoder-etecrm-plain",
        "encoder-etecrm-plain-alone",
        "encoder-twostep-selective",
        "encoder-twostep-plain",
        "encoder-ridge",
        "encoding-screening",
        "encoding-accuracy",
        "encoding-test",
        "encoding-ceiling",
        "encoding-comparisons",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of the encoding models of a participant, if any."""
    card = results.card("encoder_model")
    if not card:
        return {}
    source = card["features"]
    facts = {
        **results.settings.get("encoding", {}),
        "features": "a table" if source == "table" else f"image encoder “{source}”",
    }
    fitted = (card["encoder"], *card["beside"])
    found: Steps = {f"encoder-{name}": facts for name in fitted}
    if "etecrm" not in fitted and "etecrm-plain" in fitted:
        found["encoder-etecrm-plain-alone"] = found.pop("encoder-etecrm-plain")
    found["encoding-accuracy"] = {"n_voxels": card["n_voxels"]}
    n_permutations = results.setting("evaluation", "n_permutations", 0)
    if n_permutations:
        found["encoding-test"] = {"n_permutations": n_permutations}
    mask = results.card("encoder_mask")
    if mask.get("n_candidates", 0) > card["n_voxels"]:
        found["encoding-screening"] = {"n_candidates": mask["n_candidates"]}
    repeats = {"test": "held-out", "train": "training"}.get(str(card["ceiling_from"]))
    if repeats:
        found["encoding-ceiling"] = {"ceiling_from": repeats}
    if card["beside"]:
        found["encoding-comparisons"] = {}
    return found
