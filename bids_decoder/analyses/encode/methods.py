"""Methods texts of encoding models."""

from __future__ import annotations

from bids_decoder.analyses.base import Steps
from bids_decoder.reports.results import Results

TEXTS = {
    "Encoding": (
        "encoder-etecrm",
        "encoder-etecrm-plain",
        "encoder-twostep-selective",
        "encoder-twostep-plain",
        "encoder-ridge",
        "encoding-screening",
        "encoding-accuracy",
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
    found: Steps = {f"encoder-{name}": facts for name in (card["encoder"], *card["beside"])}
    found["encoding-accuracy"] = {"n_voxels": card["n_voxels"]}
    mask = results.card("encoder_mask")
    if mask.get("n_candidates", 0) > card["n_voxels"]:
        found["encoding-screening"] = {"n_candidates": mask["n_candidates"]}
    repeats = {"test": "held-out", "train": "training"}.get(str(card["ceiling_from"]))
    if repeats:
        found["encoding-ceiling"] = {"ceiling_from": repeats}
    if card["beside"]:
        found["encoding-comparisons"] = {}
    return found
